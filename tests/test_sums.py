"""Pairs of floats against exact integers, running sums of exponentials against one sum in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.sums import (
    Double,
    LogSumExp,
    add,
    add_double,
    add_log_weights,
    blocked_sum,
    double,
    empty_log_sum,
    subtract,
    weighted_mean,
)


def exact(total: Double) -> float:
    return float(total.high) + float(total.low)


def test_low_part_never_stalls() -> None:
    """Values below half a unit of 2^40 all go to the low part, which must hand them on before it loses the ones."""
    values = jnp.concatenate([jnp.full(2**10, 2.0**15), jnp.ones(2**10)])
    total, _ = jax.lax.scan(lambda total, value: (add(total, value), None), double(jnp.float32(2.0**40)), values)
    assert exact(total) == 2.0**40 + 2.0**25 + 2.0**10


def test_sums_and_differences_of_pairs() -> None:
    left, right = (add(double(jnp.float32(2.0**30)), jnp.float32(value)) for value in (3.0, 1.0))
    assert exact(add_double(left, right)) == 2.0**31 + 4.0
    assert float(subtract(left, right)) == 2.0
    assert np.isnan(float(add(left, jnp.float32(np.nan)).value))


@pytest.mark.parametrize("length", [1, 31, 33, 1100])
def test_blocked_sum_of_integers_is_exact(length: int) -> None:
    x = np.random.default_rng(length).integers(-100, 100, (length, 2))
    np.testing.assert_array_equal(blocked_sum(jnp.asarray(x, jnp.float32)), x.sum(axis=0))


@functools.partial(jax.jit, static_argnames="chunk_size")
def log_sum(log_weights: jax.Array, chunk_size: int = 2) -> LogSumExp:
    """Of ``[..., n]``, in chunks."""
    chunks = jnp.moveaxis(log_weights.reshape((*log_weights.shape[:-1], -1, chunk_size)), -2, 0)
    start = empty_log_sum(log_weights.shape[:-1], log_weights.dtype)
    return jax.lax.scan(lambda state, chunk: (add_log_weights(state, chunk)[0], None), start, chunks)[0]


def numpy_log_sum(log_weights: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(log_weights.astype(np.float64), axis=-1)


@pytest.mark.parametrize("chunk_size", [1, 2, 6])
@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_log_sum_does_not_depend_on_order_or_chunks(order: str, chunk_size: int) -> None:
    """Spread over e^300, far beyond the range of float32, however the largest term comes."""
    rows = np.sort(np.random.default_rng(0).uniform(-300, 300, (3, 6)).astype(np.float32))
    log_weights = {"rising": rows, "falling": rows[:, ::-1], "mixed": rows[:, [2, 5, 0, 4, 1, 3]]}[order]
    result = log_sum(jnp.asarray(log_weights), chunk_size=chunk_size)
    np.testing.assert_allclose(result.value, numpy_log_sum(rows), rtol=2e-7)
    np.testing.assert_array_equal(result.maximum, rows.max(axis=-1))


def test_log_sum_of_many_equal_terms_does_not_stall() -> None:
    """Each of 2^12 ones is half a unit in the last place of 2^24, where a float32 would stay for ever."""
    log_weights = jnp.zeros(2**12 + 1).at[0].set(24 * np.log(2.0))
    np.testing.assert_allclose(log_sum(log_weights, chunk_size=1).value, np.log(2.0**24 + 2.0**12), atol=4e-6)


def test_log_sum_of_nothing_infinity_and_nan() -> None:
    inf, nan = np.inf, np.nan
    rows = np.array(
        [[-inf] * 4, [-inf, 1, -inf, 2], [0, inf, 1, -inf], [inf] * 4, [nan, 0, 0, 0], [0, 0, 0, nan]], np.float32
    )
    rows = np.pad(rows, ((0, 0), (0, 2)), constant_values=-inf)  # chunks that contribute nothing, at the end
    np.testing.assert_allclose(
        log_sum(jnp.asarray(rows)).value, [-inf, np.logaddexp(1.0, 2.0), inf, inf, nan, nan], rtol=1e-6
    )


def test_derivative_of_the_log_sum_is_the_softmax() -> None:
    rows = np.random.default_rng(1).normal(0, 30, (3, 6)).astype(np.float32)
    rows[0] = -np.inf  # nothing contributes: no derivative, and no NaN
    rows[1, 4] = -np.inf
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(log_sum(x).value)))
    expected = np.exp(rows[1:] - numpy_log_sum(rows[1:])[:, None])
    found = gradient(jnp.asarray(rows))
    np.testing.assert_allclose(found[1:], expected, atol=1e-6)
    np.testing.assert_array_equal(found[0], np.zeros(6))


def test_other_sums_share_the_weights() -> None:
    """The mean of x with weights e^w, streamed by the factors that every chunk returns."""
    log_weights, x = np.random.default_rng(2).normal(0, 20, (2, 12)).astype(np.float32)

    @jax.jit
    def mean(log_weights, x):
        def update(carry, chunk):
            state, total = carry
            state, factor, weights = add_log_weights(state, chunk[0])
            return (state, total * factor + weights @ chunk[1]), None

        start = empty_log_sum((), log_weights.dtype), jnp.float32(0.0)
        (state, total), _ = jax.lax.scan(update, start, (log_weights.reshape(4, 3), x.reshape(4, 3)))
        return total / state.total.value

    weights = np.exp(log_weights.astype(np.float64) - log_weights.max())
    expected = np.sum(weights * x) / np.sum(weights)
    np.testing.assert_allclose(mean(jnp.asarray(log_weights), jnp.asarray(x)), expected, rtol=1e-5)


def test_weighted_means_have_connected_correlations_for_derivatives():
    noise = np.random.default_rng(0)
    values, slopes = noise.normal(size=(2, 300)).astype(np.float32)
    offset = 1_000.0  # common to all values and to all log-weights
    weights = np.exp(0.5 * slopes.astype(np.float64))
    weights /= weights.sum()
    mean, center = weights @ values, weights @ slopes

    def found(x):
        return weighted_mean(x * (slopes + np.float32(offset)), jnp.asarray(values + np.float32(offset)))

    assert abs(float(found(0.5)) - offset - mean) < 1e-3
    np.testing.assert_allclose(jax.grad(found)(0.5), weights @ ((values - mean) * (slopes - center)), atol=1e-3)
    third = weights @ ((values - mean) * (slopes - center) ** 2)
    np.testing.assert_allclose(jax.hessian(found)(0.5), third, atol=2e-3)


def test_a_sample_without_weight_has_no_part_in_a_weighted_mean():
    weights = jnp.array([-jnp.inf, 0.0, jnp.log(3.0)])
    np.testing.assert_allclose(weighted_mean(weights, jnp.array([7, 1, 2], jnp.int8)), 1.75, rtol=1e-6)
    assert np.isnan(weighted_mean(jnp.array([0.0, jnp.nan]), jnp.ones(2)))
