"""The blocked jackknife: error and bias of a function of means without derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_count
from jaxrg.stats._layout import as_chains, mean_and_deviations
from jaxrg.sums import blocked_sum


class JackknifeEstimate(NamedTuple):
    """A function of means; every field has the shape of the function's value."""

    value: Array
    bias_corrected: Array
    error: Array


def jackknife(fn: Callable[[PyTree], PyTree], x: PyTree, num_blocks: int = 64) -> PyTree:
    r"""Value, bias-corrected value and error of a function of several means, leaving out one block at a time.

    .. math::
        \sigma^2 = \frac{B-1}{B} \sum_{b=1}^B (F_{(b)} - F_{(\cdot)})^2, \qquad
        F_\mathrm{corrected} = F - (B-1)(F_{(\cdot)} - F)

    with :math:`F_{(b)}` the function of the means without block b and :math:`F_{(\cdot)}` their average. The error is
    honest only for blocks much longer than ``2 tau_int``, and is itself uncertain by a fraction
    :math:`1/\sqrt{2(B-1)}`. In float32 rounding of ``fn`` adds about :math:`10^{-7} \sqrt{B} |F|` to it;
    ``gamma_method`` has no such floor.

    Args:
        fn: function of the means, which have the structure of ``x`` without the chain and sample axes; need not be
            differentiable; returns an array or a pytree of arrays.
        x: series ``[chains, samples, ...]``: one array or a pytree.
        num_blocks: B, at least 2; divides the number of samples over all chains. Blocks do not straddle chains.

    Returns:
        A ``JackknifeEstimate`` for every array that ``fn`` returns.

    Raises:
        ValueError: fewer than 4 samples a chain, or blocks that do not divide them evenly.

    Example:
        >>> estimate = jackknife(lambda mean: mean**2, jnp.arange(8.0)[None], num_blocks=4)
        >>> float(estimate.value), float(estimate.error) > 0
        (12.25, True)

    Reference:
        Efron, The Jackknife, the Bootstrap and Other Resampling Plans (SIAM, 1982).
    """
    check_count("num_blocks", num_blocks, minimum=2)
    chains = as_chains("x", x)
    num_chains, num_samples = jax.tree.leaves(chains)[0].shape[:2]
    if (num_chains * num_samples) % num_blocks or (num_blocks % num_chains and num_chains % num_blocks):
        raise ValueError(
            f"num_blocks: expected a divisor of the {num_chains} x {num_samples} samples with whole blocks in a chain "
            f"or whole chains in a block, got {num_blocks}"
        )

    def leave_one_out(leaf: Array) -> tuple[Array, Array]:
        mean, deviations = mean_and_deviations(leaf)
        blocks = deviations.reshape((num_blocks, -1, *leaf.shape[2:]))
        block_mean = blocked_sum(jnp.swapaxes(blocks, 0, 1)) / blocks.shape[1]
        return mean, mean[None] - block_mean / (num_blocks - 1)

    pairs = jax.tree.map(leave_one_out, chains)
    mean, others = jax.tree.transpose(jax.tree.structure(chains), jax.tree.structure((0, 0)), pairs)

    def estimate(value: Array, replicates: Array) -> JackknifeEstimate:
        differences = replicates - value[None]
        shift = jnp.mean(differences, axis=0)
        scatter = jnp.sum(jnp.square(differences - shift[None]), axis=0)
        error = jnp.sqrt(scatter * ((num_blocks - 1) / num_blocks))
        return JackknifeEstimate(value, value - (num_blocks - 1) * shift, error)

    return jax.tree.map(estimate, jax.tree.map(jnp.asarray, fn(mean)), jax.vmap(fn)(others))
