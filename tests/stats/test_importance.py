"""Importance weights: exact on what can be summed, honest where they can be trusted, flagged where they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as distributions

from jaxrg import stats

# p and q on four states; all draws in the right proportions make every mean exact.
TARGET, DENSITY, LOG_PARTITION = np.array([1, 2, 3, 4]) / 10, np.array([4, 3, 2, 1]) / 10, 7.5
LOG_RATIO = np.log(TARGET / DENSITY) + LOG_PARTITION


def test_draws_in_their_exact_proportions_give_the_exact_answers():
    found = stats.importance(jnp.asarray(np.repeat(LOG_RATIO, [400, 300, 200, 100]), jnp.float32))
    weights = np.repeat(TARGET / DENSITY, [400, 300, 200, 100])
    np.testing.assert_allclose(found.log_partition, LOG_PARTITION, rtol=1e-6)
    np.testing.assert_allclose(found.kl, np.sum(DENSITY * np.log(DENSITY / TARGET)), rtol=1e-5)
    np.testing.assert_allclose(found.bound, LOG_PARTITION - np.sum(DENSITY * np.log(DENSITY / TARGET)), rtol=1e-6)
    np.testing.assert_allclose(found.ess, 1 / np.sum(TARGET**2 / DENSITY), rtol=1e-5)
    np.testing.assert_allclose(found.error, weights.std(ddof=1) / np.sqrt(1000), rtol=1e-5)
    assert int(found.num_samples) == 1000
    assert bool(found.is_converged)


def test_samples_of_the_target_give_the_same_partition_function_and_the_forward_divergence():
    found = stats.importance_from_target(jnp.asarray(np.repeat(LOG_RATIO, [100, 200, 300, 400]), jnp.float32))
    np.testing.assert_allclose(found.log_partition, LOG_PARTITION, rtol=1e-6)
    np.testing.assert_allclose(found.kl, np.sum(TARGET * np.log(TARGET / DENSITY)), rtol=1e-5)
    np.testing.assert_allclose(found.bound - found.kl, LOG_PARTITION, rtol=1e-6)
    np.testing.assert_allclose(found.ess, 1 / np.sum(TARGET**2 / DENSITY), rtol=1e-5)


def test_a_large_partition_function_costs_no_digits_of_the_divergence():
    noise = np.random.default_rng(0).normal(0, 0.25, 10_000).astype(np.float32)
    small, large = stats.importance(noise), stats.importance(np.round(noise * 512) / 512 + np.float32(8192))
    np.testing.assert_allclose(large.kl, small.kl, atol=1e-3)
    np.testing.assert_allclose(large.log_partition - 8192, small.log_partition, atol=2e-3)
    exact = stats.importance(np.full(100, 9000.123, np.float32))
    assert float(exact.kl) == 0.0
    assert float(exact.error) == 0.0
    assert float(exact.tail_index) == -np.inf
    assert bool(exact.is_converged)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_errors_of_log_normal_weights_are_honest(spread):
    noise = spread * jax.random.normal(jax.random.key(0), (300, 4000))
    found = jax.vmap(stats.importance)(noise)
    for value, error, exact in (
        (found.log_partition, found.error, spread**2 / 2),
        (found.kl, found.kl_error, spread**2 / 2),
        (found.bound, found.bound_error, 0.0),
    ):
        z = (np.asarray(value) - exact) / np.asarray(error)
        assert abs(z.mean()) < 0.4  # ln of a mean is low by half its relative variance
        assert 0.85 < z.std() < 1.25
    assert np.mean(found.is_converged) > 0.95


def test_the_tail_index_is_that_of_the_weights():
    uniform = np.random.default_rng(1).uniform(size=100_000)
    for index in (0.2, 0.5, 0.9):
        found = stats.importance(jnp.asarray(-index * np.log(uniform), jnp.float32))  # w = u^-k
        assert abs(float(found.tail_index) - index) < 0.12
        assert bool(found.is_converged) == (index < 0.7)


def test_weights_that_cannot_be_trusted_are_flagged():
    normal = np.random.default_rng(2).normal(size=10_000)
    assert not bool(stats.importance(jnp.asarray(4 * normal, jnp.float32)).is_converged)  # one weight is all
    assert not bool(stats.importance(jnp.asarray(normal[:50], jnp.float32)).is_converged)  # too few
    broken = stats.importance(jnp.asarray([0.0] * 200 + [np.nan]))
    assert np.isnan(broken.log_partition)
    assert not bool(broken.is_converged)
    empty = stats.importance(jnp.asarray([0.0] * 300 + [-np.inf] * 100))  # where the target vanishes
    np.testing.assert_allclose(empty.log_partition, np.log(0.75), rtol=1e-5)
    assert float(empty.kl) == np.inf


def test_reweighted_means_are_exact_with_exact_proportions():
    rows = np.repeat(np.arange(4), [400, 300, 200, 100])
    values = {"x": rows.astype(np.float32), "vector": np.eye(4, dtype=np.float32)[rows] + 100}
    found = stats.reweighted(jnp.asarray(LOG_RATIO[rows], jnp.float32), values)
    np.testing.assert_allclose(found["x"].mean, TARGET @ np.arange(4), rtol=1e-6)
    np.testing.assert_allclose(found["vector"].mean, TARGET + 100, rtol=1e-6)
    weights = (TARGET / DENSITY)[rows]
    exact = np.sqrt(np.sum(weights**2 * (rows - TARGET @ np.arange(4)) ** 2) / 1000 / 999)
    np.testing.assert_allclose(found["x"].error, exact, rtol=1e-4)


@pytest.mark.slow
def test_errors_of_reweighted_means_are_honest():
    x = jax.random.normal(jax.random.key(3), (300, 2000))
    found = jax.vmap(stats.reweighted)(0.8 * x, x)
    z = (np.asarray(found.mean) - 0.8) / np.asarray(found.error)
    assert abs(z.mean()) < 0.3
    assert 0.85 < z.std() < 1.25


def test_coverage_tells_a_missed_phase():
    found = stats.mode_coverage(np.repeat([0, 2], [300, 100]), [20, 30, 50])
    np.testing.assert_allclose(found.shares, [0.75, 0, 0.25])
    np.testing.assert_allclose(found.reference, [0.2, 0.3, 0.5])
    np.testing.assert_allclose(found.errors, distributions.binom.std(400, [0.75, 0, 0.25]) / 400, rtol=1e-6)
    np.testing.assert_allclose(found.overlap, 0.45, rtol=1e-6)
    np.testing.assert_allclose(found.missed, 0.3, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.importance(jnp.zeros((3, 20))), r"log_weights: expected \[num_samples\] with at least 10"),
        (lambda: stats.importance_from_target([0.0]), r"log_weights: expected \[num_samples\] with at least 10"),
        (lambda: stats.reweighted(jnp.zeros(20), jnp.zeros(19)), r"values: expected \[20, ...\]"),
        (lambda: stats.mode_coverage([0, 3], [0.5, 0.5]), r"sectors: expected integers from 0 to 1, got 3"),
        (lambda: stats.mode_coverage([0, 1], [0.0, 0.0]), r"reference: expected numbers >= 0, not all zero"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
