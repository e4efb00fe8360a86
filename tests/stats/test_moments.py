"""Streaming moments against two passes in float64, merged and in the regime where float32 sums stall."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats

MOMENTS = stats.streaming_moments()


@jax.jit
def stream(accumulator, x):
    def update(state, value):
        return accumulator.update(state, value), None

    return jax.lax.scan(update, accumulator.init(jax.tree.map(lambda leaf: leaf[0], x)), x)[0]


summary = jax.jit(MOMENTS.summary)
merge = jax.jit(MOMENTS.merge)


def two_pass(x: np.ndarray) -> list[np.ndarray]:
    x = np.asarray(x, np.longdouble)
    mean = x.mean(axis=0)
    return [mean, *(((x - mean) ** k).mean(axis=0) for k in (2, 3, 4))]


def skewed(num_samples: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=(num_samples, *shape)) + 3.0


def test_stream_equals_two_passes(x64: None) -> None:
    x = skewed(2000, 3)
    result = summary(stream(MOMENTS, jnp.asarray(x)))
    assert float(result.count) == 2000
    for streamed, exact in zip(result[1:], two_pass(x), strict=True):
        np.testing.assert_allclose(streamed, exact.astype(float), rtol=1e-12)
    np.testing.assert_allclose(result.variance, x.var(axis=0, ddof=1), rtol=1e-12)
    centred = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(result.skewness, (centred**3).mean(axis=0), rtol=1e-11)
    np.testing.assert_allclose(result.excess_kurtosis, (centred**4).mean(axis=0) - 3, rtol=1e-11)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_float32_loses_a_millionth_of_sigma(offset: float) -> None:
    x = (skewed(200_000) + offset).astype(np.float32)
    result = summary(stream(MOMENTS, jnp.asarray(x)))
    sigma = float(x.std(dtype=np.float64))
    np.testing.assert_allclose(result.mean, float(two_pass(x)[0]), rtol=6e-8)
    for k, streamed, exact in zip((2, 3, 4), result[2:], two_pass(x)[1:], strict=True):
        assert abs(float(streamed) - float(exact)) < 1e-6 * sigma**k


def test_nothing_stalls_after_a_thousand_million_samples() -> None:
    """A stream doubled by merging with itself, then fed values that one float32 sum would no longer notice."""
    early, late = skewed(1024, seed=1).astype(np.float32), (skewed(20_000, seed=2) + 50.0).astype(np.float32)
    state = stream(MOMENTS, jnp.asarray(early))
    doublings = 20
    state = jax.jit(lambda s: jax.lax.fori_loop(0, doublings, lambda _, s: merge(s, s), s))(state)

    def update(state, value):
        return MOMENTS.update(state, value), None

    state = jax.jit(lambda s, x: jax.lax.scan(update, s, x)[0])(state, jnp.asarray(late))
    result = summary(state)

    many, few = 1024.0 * 2**doublings, float(late.size)
    early, late = early.astype(np.longdouble), late.astype(np.longdouble)
    mean = (many * early.mean() + few * late.mean()) / (many + few)
    exact = [
        (many * ((early - mean) ** k).mean() + few * ((late - mean) ** k).mean()) / (many + few) for k in (2, 3, 4)
    ]
    # The late values shift the mean by 1e-3 and the fourth moment by 1e2: lost terms would be seen at once.
    np.testing.assert_allclose(result.count, many + few, rtol=1e-7)
    np.testing.assert_allclose(result.mean, float(mean), rtol=1e-6)
    for streamed, value in zip(result[2:], exact, strict=True):
        np.testing.assert_allclose(streamed, float(value), rtol=3e-6)


def test_merged_streams_of_different_lengths_are_one_stream(x64: None) -> None:
    parts = [skewed(2000, 3, seed=seed) + seed for seed in range(3)]
    first, second, third = (stream(MOMENTS, jnp.asarray(part)) for part in parts)
    for merged in (merge(merge(first, second), third), merge(third, merge(first, second))):
        result = summary(merged)
        assert float(result.count) == 6000
        for streamed, exact in zip(result[1:], two_pass(np.concatenate(parts)), strict=True):
            np.testing.assert_allclose(streamed, exact.astype(float), rtol=1e-12)


def test_merge_with_an_empty_stream_changes_nothing() -> None:
    state = stream(MOMENTS, jnp.asarray(skewed(50), jnp.float32))
    empty = MOMENTS.init(jnp.float32(0.0))
    for merged in (merge(state, empty), merge(empty, state)):
        np.testing.assert_allclose(np.array(summary(merged)), np.array(summary(state)), rtol=1e-6)
    nothing = summary(merge(empty, empty))
    assert float(nothing.count) == 0
    assert np.isnan(nothing[1:]).all()


@pytest.mark.parametrize("num_chains", [1, 3])
def test_chains_under_vmap_merge_to_one_stream(x64: None, num_chains: int) -> None:
    x = skewed(num_chains * 40, seed=4).reshape(num_chains, 40)
    states = jax.vmap(lambda chain: stream(MOMENTS, chain))(jnp.asarray(x))
    result = summary(jax.jit(lambda states: stats.merge_chains(MOMENTS, states))(states))
    assert float(result.count) == x.size
    for merged, exact in zip(result[1:], two_pass(x.ravel()), strict=True):
        np.testing.assert_allclose(merged, float(exact), rtol=1e-12)


def test_integers_become_floats_and_nan_shows() -> None:
    tree = {"counts": jnp.arange(5), "wrong": jnp.array([1.0, jnp.nan, 2.0, 3.0, 4.0])}
    result = MOMENTS.summary(stream(MOMENTS, tree))
    assert (float(result["counts"].mean), float(result["counts"].variance)) == (2.0, 2.5)
    assert np.isnan(result["wrong"][1:]).all()
    single = summary(MOMENTS.update(MOMENTS.init(jnp.float32(0.0)), jnp.float32(3.0)))
    assert float(single.central_2) == 0
    assert np.isnan(single.variance)


def test_values_must_look_like_the_example() -> None:
    state = MOMENTS.init(jax.ShapeDtypeStruct((2,), jnp.float32))
    with pytest.raises(ValueError, match=r"value: expected shape \(2,\)"):
        MOMENTS.update(state, jnp.ones(3))
    with pytest.raises(ValueError, match="value: expected dtype float32"):
        MOMENTS.update(state, jnp.ones(2, jnp.bfloat16))
    with pytest.raises(ValueError, match="states: expected a leading axis of chains"):
        stats.merge_chains(MOMENTS, jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape)), state))
