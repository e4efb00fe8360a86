"""Binning against bins cut by hand, AR(1) chains known in closed form, and estimates from whole series."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from jaxrg import stats
from jaxrg.models import Observables

BINS = stats.binning()
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


def groups_by_hand(x: np.ndarray, size: int) -> np.ndarray:
    """128 groups of equal length of the full bins ``[bins, ...]`` of this size, fractions of a bin included."""
    num_full = len(x) // size
    bins = x[: num_full * size].reshape(num_full, size, *x.shape[1:]).mean(axis=1)
    ends = np.linspace(0, num_full, 129)
    groups = []
    for left, right in itertools.pairwise(ends):
        overlap = np.clip(np.minimum(np.arange(num_full) + 1, right) - np.maximum(np.arange(num_full), left), 0, None)
        groups.append(np.tensordot(overlap, bins, 1) / (right - left))
    return np.stack(groups)


@pytest.mark.parametrize(("num_samples", "size"), [(200, 1), (256, 2), (2000, 8)])
def test_bin_means_are_the_bins_cut_by_hand(x64: None, num_samples: int, size: int) -> None:
    x = ar1(0.5, num_samples, 2) + 10.0
    state = stream(BINS, jnp.asarray(x))
    assert (int(state.size), int(state.num_full)) == (size, num_samples // size)
    np.testing.assert_allclose(stats.bin_means(state)[0], groups_by_hand(x, size), rtol=1e-11)
    result = summary_on_device(BINS, state)
    np.testing.assert_allclose(result.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        result.num_effective_samples, x.var(axis=0) / np.asarray(result.error) ** 2, rtol=0.05 if size == 1 else 0.1
    )


@pytest.mark.slow
def test_errors_of_ar1_chains_are_honest_and_agree_with_the_whole_series() -> None:
    x = ar1(0.8, *SHAPE, seed=1).astype(np.float32)
    result = jax.tree.map(np.asarray, summaries(jnp.asarray(x)))
    assert result.is_converged.mean() > 0.8
    pulls = result.mean / result.error
    assert abs(pulls.mean()) < 0.28
    assert abs(pulls.std() - 1) < 0.22
    np.testing.assert_allclose(result.tau_int.mean(), 4.5, rtol=0.1)
    np.testing.assert_allclose(result.error.std() / result.error_of_error.mean(), 1, atol=0.4)
    whole = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda x: stats.summary(x[None]), in_axes=1))(jnp.asarray(x)))
    np.testing.assert_allclose(result.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose((result.error / whole.error).mean(), 1, atol=0.06)


summaries = jax.jit(jax.vmap(lambda x: BINS.summary(stream(BINS, x)), in_axes=1))


@pytest.mark.parametrize("coefficient", [0.9995, 1 - 1e-7])
def test_correlation_beyond_the_bins_is_flagged(coefficient: float) -> None:
    x = ar1(coefficient, *SHAPE, seed=3).astype(np.float32)
    assert np.asarray(summaries(jnp.asarray(x)).is_converged).mean() < 0.02


@pytest.mark.parametrize("coefficient", [-0.3, -0.6, -0.9])
def test_recoiling_series_have_the_error_of_their_mean(coefficient: float) -> None:
    x = ar1(coefficient, *SHAPE, seed=4).astype(np.float32)
    expected = 1 / ((1 - coefficient) * np.sqrt(SHAPE[0]))
    np.testing.assert_allclose(np.asarray(summaries(jnp.asarray(x)).error).mean(), expected, rtol=0.06)


@pytest.mark.slow
def test_trees_of_integers_constant_series_nan_and_no_series() -> None:
    x = ar1(0.5, 200, 3).astype(np.float32)
    numbers = np.random.default_rng(6).integers(0, 10, 200)
    x[17, 1] = np.nan
    x[:, 2] = 0.1
    tree = summarize(BINS, {"x": x, "numbers": (numbers, numbers.astype(np.float32))})
    np.testing.assert_array_equal(*(leaf.error for leaf in tree["numbers"]))
    result = tree["x"]
    assert np.isfinite(result.error[0])
    assert np.isnan([result.mean[1], result.error[1], result.tau_int[1]]).all()
    assert (result.error[2], result.tau_int[2]) == (0.0, 0.5)
    np.testing.assert_allclose(result.mean[2], 0.1, rtol=1e-7)
    assert not result.is_converged[1:].any()
    empty = summary_on_device(BINS, BINS.init(jnp.zeros(3)))
    assert np.isnan(empty.mean).all()
    assert not np.asarray(empty.is_converged).any()


def test_merged_chains_pool_their_bins_around_one_mean(x64: None) -> None:
    x = ar1(0.5, 200, 3, seed=5).T + np.array([[0.0], [0.1], [0.2]])
    states = jax.vmap(lambda chain: stream(BINS, chain))(jnp.asarray(x))
    merged = stats.merge_chains(BINS, states)
    assert (float(merged.count.value), int(merged.size), int(merged.num_full)) == (600, 4, 150)
    result = BINS.summary(merged)
    np.testing.assert_allclose(result.mean, x.mean(), rtol=1e-12)
    np.testing.assert_allclose(result.num_effective_samples * result.error**2, x.var(), rtol=0.02)
    np.testing.assert_allclose(stats.bin_means(states)[1], groups_by_hand(x[1], 1), rtol=1e-11, atol=1e-13)


def test_chains_that_disagree_are_seen_in_the_pooled_error() -> None:
    x = ar1(0.0, 400, 4, seed=7).T + np.array([[0.0], [0.0], [2.0], [2.0]])
    states = jax.vmap(lambda chain: stream(BINS, chain))(jnp.asarray(x, jnp.float32))
    result = BINS.summary(stats.merge_chains(BINS, states))
    assert not bool(result.is_converged)
    assert float(result.error) > 0.3  # independent samples of this width would have 0.035


@pytest.mark.slow
def test_functions_of_means_without_a_trace_have_the_errors_of_a_trace() -> None:
    """The specific heat and Binder's cumulant of a Gaussian stream, whose moments are correlated."""
    x = np.random.default_rng(8).standard_normal((2, 3, 20_000)).astype(np.float32)
    energy, magnetization = x[0] * 0.1 - 1.4, x[1] * 0.25
    options = {"coupling": 0.5, "num_sites": 16}
    whole = stats.thermodynamics(Observables(energy, magnetization), **options)
    moments = stats.thermodynamic_moments(energy, magnetization, around=-1.4)
    states = jax.vmap(lambda chain: stream(BINS, chain))(moments)
    binned = stats.thermodynamics(stats.bin_means(states), around=-1.4, **options)
    for name in binned._fields:
        one, other = getattr(whole, name), getattr(binned, name)
        # The last bins of each chain, which are not full, are missing from the means of the bins.
        np.testing.assert_allclose(other.value, one.value, atol=0.2 * float(one.error), err_msg=name)
        np.testing.assert_allclose(other.error, one.error, rtol=0.25, err_msg=name)
        assert bool(other.is_converged)


def test_number_of_bins() -> None:
    assert stats.binning(256) is BINS
    for wrong, message in ((1, "expected an integer >= 128"), (129, "expected an even number")):
        with pytest.raises(ValueError, match=f"num_bins: {message}"):
            stats.binning(wrong)
    with pytest.raises(ValueError, match="states: expected those of binning"):
        stats.bin_means(jnp.ones(3))


def test_stacked_chains_are_summarised_one_by_one() -> None:
    x = ar1(0.5, 300, 3, seed=9).T.astype(np.float32)
    states = jax.vmap(lambda chain: stream(BINS, chain))(jnp.asarray(x))
    found = BINS.summary(states)
    for chain in range(3):
        alone = BINS.summary(jax.tree.map(lambda leaf, chain=chain: leaf[chain], states))
        np.testing.assert_allclose(found.error[chain], alone.error, rtol=1e-5)
    with pytest.raises(ValueError, match="state: expected one of binning"):
        BINS.summary(jnp.ones(3))
