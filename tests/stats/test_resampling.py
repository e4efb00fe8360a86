"""Bootstrap errors against the known error of a mean, permutations against exchangeable groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats


def difference_of_means(first, second):
    return jnp.mean(second, axis=0) - jnp.mean(first, axis=0)


@jax.jit
def estimate(key, first, second):
    return stats.bootstrap(key, difference_of_means, first, second, num_resamples=2000)


@jax.jit
def null(key, first, second):
    return stats.permutation_null(key, difference_of_means, first, second, num_permutations=2000)


@pytest.fixture(scope="module")
def groups() -> tuple[jax.Array, jax.Array]:
    first, second = (np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32) for n in (50, 80))
    return jnp.asarray(first), jnp.asarray(2 + 2 * second)


@pytest.mark.slow
def test_bootstrap_error_is_that_of_a_difference_of_means(groups):
    first, second = (np.asarray(group) for group in groups)
    result = estimate(jax.random.key(1), *groups)
    np.testing.assert_allclose(result.value, second.mean(0) - first.mean(0), atol=1e-6)
    # The plug-in variance, exactly what infinitely many resamples give; 2,000 know it to 1.6 per cent.
    exact = np.sqrt(first.var(0) / 50 + second.var(0) / 80)
    np.testing.assert_allclose(result.error, exact, rtol=0.08)
    np.testing.assert_allclose(result.upper - result.lower, 2 * 0.9945 * exact, rtol=0.12)


def test_permutations_have_no_difference_on_average(groups):
    draws = np.asarray(null(jax.random.key(2), *groups))
    pooled = np.concatenate(groups)
    exact = np.sqrt(pooled.var(0, ddof=1) * (1 / 50 + 1 / 80))
    np.testing.assert_allclose(draws.std(0), exact, rtol=0.08)
    assert np.all(np.abs(draws.mean(0)) < 5 * exact / np.sqrt(2000))
    observed = np.asarray(groups[1]).mean(0) - np.asarray(groups[0]).mean(0)
    assert np.mean(np.abs(draws) >= np.abs(observed), axis=0).max() < 0.01


def test_leaves_of_one_group_are_drawn_together():
    group = {"number": jnp.arange(20.0), "square": jnp.arange(20.0) ** 2}
    mismatch = jax.jit(
        lambda key, group: stats.bootstrap(
            key, lambda group: jnp.max(jnp.abs(group["number"] ** 2 - group["square"])), group
        )
    )
    result = mismatch(jax.random.key(0), group)
    assert (float(result.value), float(result.error)) == (0.0, 0.0)


def test_bad_input_is_refused():
    key, values = jax.random.key(0), jnp.zeros(4)
    with pytest.raises(ValueError, match="groups: expected at least one"):
        stats.bootstrap(key, jnp.mean)
    with pytest.raises(ValueError, match="groups: expected arrays with one common leading axis"):
        stats.bootstrap(key, jnp.mean, (values, jnp.zeros(3)))
    with pytest.raises(ValueError, match="num_resamples: expected an integer >= 2"):
        stats.bootstrap(key, jnp.mean, values, num_resamples=1)
    with pytest.raises(ValueError, match="coverage: expected a number between 0 and 1"):
        stats.bootstrap(key, jnp.mean, values, coverage=1.0)
    with pytest.raises(ValueError, match="second: expected samples of shape"):
        stats.permutation_null(key, difference_of_means, jnp.zeros((3, 2)), jnp.zeros((3, 4)))
