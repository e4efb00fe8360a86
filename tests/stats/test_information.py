"""Mutual information against closed forms, from both sides: estimates scatter about the value, and may be negative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats

NUM_TRIALS = 40


def pairs(correlation: float, num_samples: int) -> jax.Array:
    """``[NUM_TRIALS, 2, num_samples]`` Gaussian pairs."""
    x, y = np.random.default_rng(1).normal(size=(2, NUM_TRIALS, num_samples)).astype(np.float32)
    return jnp.asarray(np.stack([x, correlation * x + np.sqrt(1 - correlation**2) * y], axis=1))


def check(found: stats.Information, expected: float, bias: float = 0.0) -> None:
    """The mean of many estimates is the value up to the bias, with errors that are those of single estimates."""
    values, errors = np.asarray(found.value), np.asarray(found.error)
    spread = values.std(ddof=1)
    assert abs(values.mean() - expected) < 5 * spread / np.sqrt(len(values)) + bias
    assert 0.5 < spread / errors.mean() < 2


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_the_copula_finds_the_information_of_gaussian_pairs(correlation):
    samples = pairs(correlation, 500).transpose(0, 2, 1)
    found = jax.vmap(stats.pairwise_information)(samples)
    check(stats.Information(found.value[:, 0, 1], found.error[:, 0, 1]), -0.5 * np.log(1 - correlation**2), 0.006)
    cubed = jax.vmap(stats.pairwise_information)(samples**3)  # a monotonic function changes no rank
    np.testing.assert_allclose(cubed.value[:, 0, 1], found.value[:, 0, 1], atol=1e-6)


@jax.jit
def of_pairs(samples: jax.Array) -> stats.Information:
    return jax.lax.map(lambda pair: stats.mutual_information(pair[0], pair[1]), samples)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_neighbours_find_the_information_of_gaussian_pairs(correlation):
    samples = pairs(correlation, 300)
    check(of_pairs(samples), -0.5 * np.log(1 - correlation**2), 0.03)


def test_independent_variables_have_none_on_average():
    """Of components too, with few samples, where an estimate that forgets its bias would find 0.05 nats."""
    samples = np.random.default_rng(0).normal(size=(NUM_TRIALS, 40, 6, 2)).astype(np.float32)
    values = np.asarray(jax.vmap(stats.pairwise_information)(samples).value)
    off = values[:, ~np.eye(6, dtype=bool)].mean(axis=1)
    assert abs(off.mean()) < 5 * off.std(ddof=1) / np.sqrt(NUM_TRIALS) + 2e-3
    assert (values < 0).any()
    assert np.isposinf(values[:, 0, 0]).all()


def test_components_are_seen_together():
    """A rotation hides every correlation between single components of two plane vectors from none of the pair."""
    x, noise = np.random.default_rng(2).normal(size=(2, 4000, 2)).astype(np.float32)
    y = 0.6 * x[:, ::-1] + 0.8 * noise
    value, error = stats.pairwise_information(np.stack([x, y], axis=1))
    assert abs(value[0, 1] + np.log(1 - 0.36)) < 5 * error[0, 1]  # two independent pairs of half a logarithm


def test_neighbours_see_what_ranks_do_not():
    x, noise = np.random.default_rng(3).normal(size=(2, 1000)).astype(np.float32)
    y = x**2 + 0.3 * noise
    by_neighbours = stats.mutual_information(x, y)
    by_ranks = stats.pairwise_information(np.stack([x, y], axis=1))
    assert by_neighbours.value > 10 * by_neighbours.error
    assert by_ranks.value[0, 1] < 0.02


def test_nan_goes_through_and_what_is_no_sample_is_refused():
    samples = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    samples[3, 1] = np.nan
    value = stats.pairwise_information(samples).value
    assert np.isnan(value[0, 1])
    assert np.isfinite(value[0, 2])
    for fn, message in (
        (lambda: stats.pairwise_information(np.zeros(5)), "samples: expected"),
        (lambda: stats.pairwise_information(np.zeros((4, 3))), "samples: expected at least 5 samples"),
        (lambda: stats.mutual_information(np.zeros(5), np.zeros(4)), "y: expected as many samples"),
        (lambda: stats.mutual_information(np.zeros(4), np.zeros(4)), "num_neighbours: expected fewer"),
        (lambda: stats.mutual_information(np.zeros((2, 2, 2)), np.zeros(2)), "x: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            fn()
