"""The noise floor: exact variances, and rounding as it happens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxrg.explain import noise
from jaxrg.interactions import harsanyi, harsanyi_or

N = 6
ORDERS = np.array([bin(index).count("1") for index in range(2**N)])


@pytest.mark.parametrize("transform", [harsanyi, harsanyi_or])
@pytest.mark.usefixtures("x64")
def test_variance_is_the_row_norm_of_the_transform(transform):
    # Var I = sigma^2 (M M^T)_SS, from the matrix of the transform itself.
    matrix = np.asarray(transform(jnp.eye(2**N, dtype=jnp.float64))).T
    exact = 0.3 * np.sqrt(np.sum(matrix**2, axis=1))
    np.testing.assert_allclose(noise.noise_by_order(0.09, N)[ORDERS], exact, rtol=1e-14)


def test_mean_by_order_counts_the_sets():
    table = jnp.asarray(ORDERS, jnp.float32)
    np.testing.assert_allclose(noise._mean_by_order(jnp.stack([table, 2 * table]))[1], 2.0 * np.arange(N + 1))


def arrays_of(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for inner in equation.params.values():
            if hasattr(inner, "jaxpr"):
                yield from arrays_of(inner.jaxpr)


@pytest.mark.parametrize("function", [noise._mean_by_order, lambda table: noise.noise_floor(table, 1.0)])
def test_takes_a_few_tables_of_memory(function):
    table = jax.ShapeDtypeStruct((2**16,), jnp.float32)
    sizes = [array.size for array in arrays_of(jax.make_jaxpr(function)(table).jaxpr)]
    # A matrix of sets times orders would be seventeen tables.
    assert 2**16 <= max(sizes) <= 2 * 2**16


@pytest.mark.usefixtures("x64")
def test_measures_the_noise_that_was_added():
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(200, 2**N))
    noisy = reference + 0.1 * generator.normal(size=reference.shape) + 7.0
    measured = noise.measured_noise(jnp.asarray(noisy), jnp.asarray(reference))
    # The mean of 200 x 64 squares has a relative error of sqrt(2 / 12800); taking off each mean removes one in 64.
    assert abs(float(measured.variance.mean()) / (0.01 * 63 / 64) - 1) < 5 * np.sqrt(2 / 12800)
    for by_order in (measured.and_by_order, measured.or_by_order):
        mean_square = np.mean(np.asarray(by_order)[:, 1:] ** 2, axis=0)
        # At least the 200 independent sets N of the highest order.
        assert np.all(np.abs(mean_square / (0.01 * 2.0 ** np.arange(1, N + 1)) - 1) < 5 * np.sqrt(2 / 200))


@pytest.mark.usefixtures("x64")
def test_a_constant_error_has_no_interactions():
    reference = jnp.asarray(np.random.default_rng(1).normal(size=2**N))
    measured = noise.measured_noise(reference + 3.0, reference)
    assert float(measured.variance) < 1e-28
    assert float(jnp.max(measured.and_by_order)) < 1e-13


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("smoothness", ["random", "monotone"])
def test_rounding_estimate_is_right_within_a_factor(smoothness):
    generator = np.random.default_rng(2)
    games = generator.normal(size=(400, 2**N))
    if smoothness == "monotone":
        games = 1.0 + 0.1 * games + 0.3 * ORDERS
    in_single = harsanyi(jnp.asarray(games, jnp.float32)).astype(jnp.float64)
    error = in_single - harsanyi(jnp.asarray(games))
    measured = np.sqrt(np.asarray(noise._mean_by_order(jnp.mean(jnp.square(error), axis=0))))
    estimate = np.sqrt(np.mean(np.asarray(noise.rounding_by_order(jnp.asarray(games, jnp.float32))) ** 2, axis=0))
    ratio = estimate / measured
    assert np.all((ratio > 1 / 3) & (ratio < 3)), ratio


def test_floor_says_which_orders_are_noise():
    table = np.zeros(2**N, np.float32)
    table[0], table[1], table[3] = 100.0, 1.0, -2.0
    floor = noise.noise_floor(jnp.asarray(table), 4e-4)
    assert float(floor.threshold) == pytest.approx(0.1)  # the constant does not count
    median = norm.ppf(0.5 * (1 + 0.5 ** (1 / np.array([1, 6, 15, 20, 15, 6, 1]))))
    expected = 0.02 * 2.0 ** (np.arange(N + 1) / 2) * median
    np.testing.assert_allclose(floor.largest, expected, rtol=1e-5)
    assert np.asarray(floor.is_below).tolist() == (expected >= 0.1).tolist()
    other = np.random.default_rng(0).normal(size=2**N)
    medians = [np.median(np.abs(other)[k == ORDERS]) for k in range(N + 1)]
    np.testing.assert_allclose(noise.noise_floor(jnp.asarray(other), 1.0).median_strength, medians, rtol=1e-6)
    raised = noise.noise_floor(jnp.asarray(table), 4e-4, rounding=jnp.full(N + 1, 1.0))
    assert bool(jnp.all(raised.is_below))


def test_largest_is_what_the_transform_makes_of_gaussian_noise():
    tables = np.asarray(harsanyi(jax.random.normal(jax.random.key(0), (2000, 2**N))))
    floor = noise.noise_floor(jnp.ones(2**N), 1.0)
    for k in range(1, N + 1):
        largest = np.abs(tables)[:, k == ORDERS].max(axis=1)
        # Half were they independent, with a standard error of 0.011; values that sets share lower it, most at order 1.
        assert 0.33 < np.mean(largest > float(floor.largest[k])) < 0.55


@pytest.mark.usefixtures("x64")
def test_refuses_bad_input():
    with pytest.raises(ValueError, match="expected one table"):
        noise.noise_floor(jnp.zeros((2, 4)), 1.0)
    with pytest.raises(ValueError, match="fraction: expected a number"):
        noise.noise_floor(jnp.zeros(4), 1.0, fraction=0.0)
    with pytest.raises(ValueError, match=r"reference: expected shape \(4,\), got \(8,\)"):
        noise.measured_noise(jnp.zeros(4), jnp.zeros(8))
    with pytest.raises(ValueError, match=r"2\*\*n"):
        noise.rounding_by_order(jnp.zeros(3))
