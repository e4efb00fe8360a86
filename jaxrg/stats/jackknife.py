"""The blocked jackknife: error and bias of a function of means without derivatives."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_function
from jaxrg.closures import as_partial
from jaxrg.stats._layout import as_chains, means_and_deviations
from jaxrg.stats._notation import written
from jaxrg.stats.autocorrelation import GammaEstimate, estimates
from jaxrg.sums import blocked_sum

DEFAULT_BLOCKS = 256  # over all chains
MIN_BLOCKS = 16  # of given ones, for an error that is known to a fifth
MIN_MEMORIES = 16  # times tau_int - 1/2 in a given block: its squared error is then about a sixteenth too small


class JackknifeEstimate(NamedTuple):
    """A function of means; every field has the shape of the function's value."""

    value: Array
    bias_corrected: Array
    error: Array
    is_converged: Array  # whether the error can be trusted

    def __str__(self) -> str:
        return written(self.value, self.error)


def jackknife(fn: Callable[[PyTree], PyTree], x: PyTree, num_blocks: int | None = None) -> PyTree:
    r"""Value, bias-corrected value and error of a function of several means, leaving out one block at a time.

    .. math::
        \sigma^2 = \frac{B-1}{B} \sum_{b=1}^B (F_{(b)} - F_{(\cdot)})^2, \qquad
        F_\mathrm{corrected} = F - (B-1)(F_{(\cdot)} - F)

    with :math:`F_{(b)}` the function of the means without block b and :math:`F_{(\cdot)}` their average. For a given
    number of blocks the error is this formula; it is honest only for blocks much longer than ``2 tau_int``, and
    uncertain by a fraction :math:`1/\sqrt{2(B-1)}`. By default there are some hundred blocks, long or not, and the
    error is the long-run variance of their pseudo-values :math:`F - (B-1)(F_{(b)} - F)`, which takes in the correlation
    that is left between them, as in `gamma_method`. In float32 rounding of ``fn`` adds about
    :math:`10^{-7} \sqrt{B} |F|` to the error; ``gamma_method`` has no such floor.

    Args:
        fn: function of the means, which have the structure of ``x`` without the chain and sample axes; need not be
            differentiable; returns an array or a pytree of arrays.
        x: series ``[chains, samples, ...]``: one array or a pytree.
        num_blocks: B over all chains, at least 2 and a multiple of the number of chains, or a divisor of it. Samples at
            the start that fill no block count in the value, not in the error. None for the default.

    Returns:
        A ``JackknifeEstimate`` for every array that ``fn`` returns. ``is_converged`` is False where `gamma_method`
        would not trust the error, and for fewer than 16 given blocks, or given ones shorter than the correlation.

    Raises:
        ValueError: fewer than 4 samples a chain, more blocks than samples, or blocks that straddle chains.

    Example:
        >>> estimate = jackknife(lambda mean: mean**2, jnp.arange(8.0)[None], num_blocks=4)
        >>> float(estimate.value), float(estimate.error) > 0, bool(estimate.is_converged)
        (12.25, True, False)

    Reference:
        Efron, The Jackknife, the Bootstrap and Other Resampling Plans (SIAM, 1982).
    """
    check_function("fn", fn, of="the means")
    chains = as_chains("x", x, keep_integers=True)
    num_chains, num_samples = jax.tree.leaves(chains)[0].shape[:2]
    if num_blocks is not None:
        num_blocks = as_count("num_blocks", num_blocks, minimum=2)
        if (num_blocks % num_chains and num_chains % num_blocks) or num_blocks > num_chains * num_samples:
            raise ValueError(
                f"num_blocks: expected whole blocks in each of the {num_chains} chains of {num_samples} samples, or "
                f"whole chains in a block, got {num_blocks}"
            )
    return _jackknife(as_partial(fn), chains, num_blocks)


@functools.partial(jax.jit, static_argnames="num_blocks")
def _jackknife(fn: Callable, chains: PyTree, num_blocks: int | None) -> PyTree:
    mean, deviations = means_and_deviations(chains)
    value = jax.tree.map(jnp.asarray, fn(mean))
    num_chains, num_samples = jax.tree.leaves(chains)[0].shape[:2]
    per_chain = min(num_samples, max(-(-DEFAULT_BLOCKS // num_chains), 4))
    pseudo, shift = _pseudo_values(fn, value, mean, deviations, per_chain)
    judged = estimates(value, pseudo, None, jnp.float32(0))

    def by_default(one: Array, offset: Array, found: GammaEstimate) -> JackknifeEstimate:
        return JackknifeEstimate(one, one - offset, found.error, found.is_converged)

    if num_blocks is None:
        return jax.tree.map(by_default, value, shift, judged)

    if num_blocks < num_chains:  # whole chains in a block
        deviations = jax.tree.map(lambda leaf: leaf.reshape((num_blocks, -1, *leaf.shape[2:])), deviations)
    given, shift = _pseudo_values(fn, value, mean, deviations, max(num_blocks // num_chains, 1))
    short_length = num_samples // per_chain
    length = num_chains * num_samples // num_blocks

    def by_formula(one: Array, offset: Array, found: GammaEstimate, values: Array) -> JackknifeEstimate:
        scatter = jnp.sum(jnp.square(values), axis=(0, 1)) / (num_blocks - 1)
        error = jnp.sqrt(scatter * (length / (num_chains * num_samples)))
        is_long = length >= MIN_MEMORIES * (found.tau_int - 0.5) * short_length
        return JackknifeEstimate(one, one - offset, error, found.is_converged & is_long & (num_blocks >= MIN_BLOCKS))

    return jax.tree.map(by_formula, value, shift, judged, given)


def _pseudo_values(fn: Callable, value: PyTree, mean: PyTree, deviations: PyTree, per_chain: int) -> tuple:
    """``[chains, per_chain, ...]`` what every block adds to the value, around their mean, and the bias of the value."""
    num_chains, num_samples = jax.tree.leaves(deviations)[0].shape[:2]
    length = num_samples // per_chain
    ratio = num_chains * num_samples / length - 1  # of the samples outside a block to those inside

    def leave_one_out(center: Array, leaf: Array) -> Array:
        cut = leaf[:, num_samples - length * per_chain :]
        blocks = blocked_sum(jnp.swapaxes(cut.reshape((num_chains * per_chain, length, *leaf.shape[2:])), 0, 1))
        return center[None] - blocks / (length * ratio)

    replicates = jax.vmap(fn)(jax.tree.map(leave_one_out, mean, deviations))
    differences = jax.tree.map(lambda one, others: others - one[None], value, replicates)
    shift = jax.tree.map(lambda difference: jnp.mean(difference, axis=0), differences)

    def pseudo(difference: Array, center: Array) -> Array:
        return (-ratio * (difference - center[None])).reshape((num_chains, per_chain, *center.shape))

    return jax.tree.map(pseudo, differences, shift), jax.tree.map(lambda center: ratio * center, shift)
