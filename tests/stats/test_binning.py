"""Logarithmic binning against bins cut by hand, AR(1) chains known in closed form, and the Gamma method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from jaxrg import stats

BINS = stats.binning(14)
SHAPE = (2**13, 200)  # one shape for the statistical tests, which then share one compilation


@functools.partial(jax.jit, static_argnums=0)
def stream(accumulator, x):
    def update(state, value):
        return accumulator.update(state, value), None

    return jax.lax.scan(update, accumulator.init(jax.tree.map(lambda leaf: leaf[0], x)), x)[0]


@functools.partial(jax.jit, static_argnums=0)
def summary_on_device(accumulator, state):
    return accumulator.summary(state)


def summarize(accumulator, x):
    state = stream(accumulator, jax.tree.map(jnp.asarray, x))
    return jax.tree.map(np.asarray, summary_on_device(accumulator, state))


def ar1(coefficient: float, num_samples: int, num_series: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((num_samples, num_series))
    noise[0] /= np.sqrt(1 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise, axis=0)


def test_levels_are_the_bins_cut_by_hand(x64: None) -> None:
    x = ar1(0.5, 1000, 2) + 10.0
    result = summarize(BINS, x)
    np.testing.assert_allclose(result.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_array_equal(result.num_bins_by_level, [1000 >> level for level in range(14)])
    naive = x.std(axis=0, ddof=1) / np.sqrt(1000)
    for level in range(9):
        num_bins = 1000 >> level
        bins = x[: num_bins << level].reshape(num_bins, 1 << level, 2).mean(axis=1)
        error = bins.std(axis=0, ddof=1) / np.sqrt(num_bins)
        np.testing.assert_allclose(result.error_by_level[level], error, rtol=1e-11)
        np.testing.assert_allclose(result.tau_int_by_level[level], 0.5 * (error / naive) ** 2, rtol=1e-11)
    assert np.isnan(result.error_by_level[9:]).all()
    chosen = result.error_by_level[result.level, [0, 1]]
    np.testing.assert_array_equal(result.error, chosen)


def test_errors_of_ar1_chains_are_honest_and_agree_with_the_gamma_method() -> None:
    x = ar1(0.8, *SHAPE, seed=1).astype(np.float32)
    result = summarize(BINS, x)
    assert result.is_converged.all()
    pulls = result.mean / result.error
    assert abs(pulls.mean()) < 0.28
    assert abs(pulls.std() - 1) < 0.22
    # Bins of 128 samples at tau_int of 4.5 miss up to 4 % of it.
    np.testing.assert_allclose(result.tau_int.mean(), 4.5, rtol=0.08)
    np.testing.assert_allclose(result.error.std() / result.error_of_error.mean(), 1, atol=0.25)
    is_long = 8.0 ** np.arange(14)[:, None] > 8 * SHAPE[0] * result.tau_int_by_level**2
    np.testing.assert_array_equal(result.level, is_long.argmax(axis=0))

    gamma = jax.tree.map(np.asarray, stats.summary(jnp.asarray(x[None])))
    np.testing.assert_allclose(result.mean, gamma.mean, atol=1e-5)
    np.testing.assert_allclose((result.error / gamma.error).mean(), 1, atol=0.06)


@pytest.mark.parametrize("coefficient", [0.9995, 1 - 1e-7])
def test_no_plateau_is_flagged(coefficient: float) -> None:
    result = summarize(BINS, ar1(coefficient, *SHAPE, seed=3).astype(np.float32))
    assert result.is_converged.mean() < 0.02


def test_too_few_levels_are_flagged() -> None:
    result = summarize(stats.binning(4), ar1(0.9, 2**12, 1, seed=4).astype(np.float32))
    assert not result.is_converged.any()
    np.testing.assert_array_equal(result.level, 3)


def test_trees_of_integers_constant_series_nan_and_no_series() -> None:
    x = ar1(0.5, 200, 3).astype(np.float32)
    numbers = np.random.default_rng(6).integers(0, 10, 200)
    x[17, 1] = np.nan
    x[:, 2] = 0.1
    tree = summarize(BINS, {"x": x, "numbers": (numbers, numbers.astype(np.float32))})
    np.testing.assert_array_equal(*(leaf.error_by_level for leaf in tree["numbers"]))
    result = tree["x"]
    assert np.isfinite(result.error[0])
    assert np.isnan([result.mean[1], result.error[1], result.tau_int[1]]).all()
    assert (result.error[2], result.tau_int[2]) == (0.0, 0.5)
    np.testing.assert_allclose(result.mean[2], 0.1, rtol=1e-7)
    assert not result.is_converged[1:].any()
    empty = summary_on_device(BINS, BINS.init(jnp.zeros(3)))
    assert np.isnan(empty.mean).all()
    assert not np.asarray(empty.is_converged).any()


def test_merged_chains_pool_their_full_bins(x64: None) -> None:
    x = ar1(0.5, 100, 3, seed=5).T + np.array([[0.0], [0.1], [0.2]])

    @jax.jit
    def pooled(x):
        states = jax.vmap(lambda chain: stream(BINS, chain))(x)
        return BINS.summary(stats.merge_chains(BINS, states))

    result = pooled(jnp.asarray(x))
    np.testing.assert_allclose(result.mean, x.mean(), rtol=1e-12)
    for level in range(6):
        num_bins = 100 >> level
        bins = x[:, : num_bins << level].reshape(3 * num_bins, -1).mean(axis=1)
        assert float(result.num_bins_by_level[level]) == 3 * num_bins
        np.testing.assert_allclose(result.error_by_level[level], bins.std(ddof=1) / np.sqrt(bins.size), rtol=1e-11)


def test_number_of_levels() -> None:
    assert stats.binning(14) is BINS
    for wrong, message in ((1, "expected an integer >= 2"), (33, "expected at most 32")):
        with pytest.raises(ValueError, match=f"num_levels: {message}"):
            stats.binning(wrong)
