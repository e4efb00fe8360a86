"""The blocked jackknife in the cases known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from jaxrg import stats


def run(fn, x, num_blocks: int):
    function = jax.jit(lambda x: stats.jackknife(fn, x, num_blocks))
    return jax.tree.map(np.asarray, function(jnp.asarray(x)))


def test_error_of_the_mean_is_the_standard_error_of_the_blocks(x64: None) -> None:
    x = np.random.default_rng(0).standard_normal((600, 2)) + 5.0
    for num_blocks in (600, 20):
        result = run(lambda mean: mean, x[None], num_blocks)
        blocks = x.reshape(num_blocks, -1, 2).mean(axis=1)
        np.testing.assert_allclose(result.value, x.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(result.bias_corrected, x.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(result.error, blocks.std(axis=0, ddof=1) / np.sqrt(num_blocks), rtol=1e-12)


def test_bias_of_the_square_is_removed_exactly(x64: None) -> None:
    """E(mean^2) exceeds mu^2 by the squared standard error, and that is what the jackknife takes off."""
    x = np.random.default_rng(1).standard_normal(60) + 2.0
    square, variance = run(lambda m: (m[0] ** 2, m[1] - m[0] ** 2), np.stack([x, x**2], axis=-1)[None], 60)
    np.testing.assert_allclose(square.bias_corrected, x.mean() ** 2 - x.var(ddof=1) / 60, rtol=1e-12)
    np.testing.assert_allclose(variance.bias_corrected, x.var(ddof=1), rtol=1e-12)


@pytest.mark.slow
def test_agrees_with_the_gamma_method_on_a_correlated_chain() -> None:
    noise = np.random.default_rng(2).standard_normal((2**14, 2))
    x = jnp.asarray(lfilter([1.0], [1.0, -0.7], noise, axis=0)[None] + 8.0, jnp.float32)

    def ratio(mean):
        return {"ratio": mean[0] / mean[1]}

    jackknife = run(ratio, x, 128)["ratio"]
    gamma = jax.jit(lambda x: stats.gamma_method(ratio, x))(x)["ratio"]
    np.testing.assert_allclose(jackknife.value, gamma.value, rtol=1e-6)
    np.testing.assert_allclose(jackknife.error, gamma.error, rtol=4 / np.sqrt(2 * 127))


def test_chains_and_functions_without_derivative() -> None:
    x = np.random.default_rng(3).standard_normal((100, 4)).astype(np.float32) + 5.0
    by_chain = run(jnp.abs, -x.T, 4)
    np.testing.assert_allclose(by_chain.error, x.mean(axis=0).std(ddof=1) / 2, rtol=1e-4)
    by_block = run(jnp.abs, x.T, 20)
    blocks = x.T.reshape(20, 20).mean(axis=1)
    np.testing.assert_allclose(by_block.error, blocks.std(ddof=1) / np.sqrt(20), rtol=1e-4)


def test_nan_shows() -> None:
    x = np.ones(8, np.float32)
    x[3] = np.nan
    result = run(lambda mean: mean, x[None], 4)
    assert np.isnan(result[:3]).all()
    assert not result.is_converged


@pytest.mark.parametrize("num_blocks", [7, 6, 124])
def test_blocks_keep_to_their_chains(num_blocks: int) -> None:
    with pytest.raises(ValueError, match=r"num_blocks: expected whole blocks in each of the 4 chains of 30 samples"):
        stats.jackknife(lambda mean: mean, jnp.ones((4, 30)), num_blocks)


def test_samples_that_fill_no_block_count_in_the_value(x64: None) -> None:
    x = np.random.default_rng(4).standard_normal(1000)
    result = run(lambda mean: mean, x[None], 64)  # blocks of 15 and 40 samples before them
    blocks = (x - x.mean())[40:].reshape(64, 15).mean(axis=1)
    np.testing.assert_allclose(result.value, x.mean(), rtol=1e-12)
    np.testing.assert_allclose(result.error, np.sqrt(blocks.var(ddof=1) * 15 / 1000), rtol=1e-9)


def test_blocks_shorter_than_the_correlation_are_flagged_and_the_default_knows_it() -> None:
    """AR(1) at 0.95, tau_int 19.5: 8192 samples in 512 blocks of 16 have half the error."""
    noise = np.random.default_rng(5).standard_normal((8192, 100))
    x = jnp.asarray(lfilter([1.0], [1.0, -0.95], noise, axis=0), jnp.float32)
    exact = 20 / np.sqrt(8192)

    def both(column):
        chain = column[None]
        return stats.jackknife(lambda m: m, chain, 512), stats.jackknife(lambda m: m, chain)

    short, default = jax.tree.map(np.asarray, jax.jit(jax.vmap(both, in_axes=1))(x))
    assert short.error.mean() < 0.6 * exact
    assert short.is_converged.mean() < 0.05
    np.testing.assert_allclose(default.error.mean(), exact, rtol=0.06)
    assert default.is_converged.mean() > 0.7


def test_one_block_and_disagreeing_traces() -> None:
    with pytest.raises(ValueError, match="num_blocks: expected an integer >= 2"):
        stats.jackknife(lambda mean: mean, jnp.ones((1, 30)), 1)
    with pytest.raises(ValueError, match="x: expected series of one number"):
        stats.jackknife(lambda mean: mean[0], (jnp.ones((1, 30)), jnp.ones((1, 20))), 2)
