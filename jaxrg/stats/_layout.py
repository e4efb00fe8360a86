"""How series are laid out, ``[chains, samples, ...]``, and what every estimator of this folder starts with."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_array, as_floating
from jaxrg.sums import blocked_sum

MIN_SAMPLES = 4  # half the series is the largest lag, so this leaves two lags beside zero


def as_chains(name: str, traces: PyTree, *, keep_integers: bool = False) -> PyTree:
    """Every leaf as floating ``[chains, samples, ...]``; integers stay what they are if asked for.

    Raises:
        ValueError: leaves without both axes, with fewer than 4 samples a chain, or that disagree in these numbers.
    """

    def array(leaf: PyTree) -> Array:
        given = as_array(name, leaf)
        return given if keep_integers and given.dtype in (jnp.int8, jnp.int16, jnp.int32) else as_floating(name, leaf)

    chains = jax.tree.map(array, traces, is_leaf=lambda node: isinstance(node, list))
    shapes = [leaf.shape for leaf in jax.tree.leaves(chains)]
    if not shapes:
        raise ValueError(f"{name}: expected series [chains, samples, ...], got none")
    for shape in shapes:
        if len(shape) < 2:
            raise ValueError(
                f"{name}: expected [chains, samples, ...], got shape {shape}; write {name}[None] for one chain"
            )
        if shape[0] < 1 or shape[1] < MIN_SAMPLES or 0 in shape:
            raise ValueError(
                f"{name}: expected [chains, samples, ...] with at least {MIN_SAMPLES} samples, got shape {shape}; "
                "of a mapped run, map the estimator too"
            )
    if len({shape[:2] for shape in shapes}) != 1:
        raise ValueError(f"{name}: expected series of one number of chains and samples, got shapes {shapes}")
    return chains


def mean_and_deviations(chains: Array) -> tuple[Array, Array]:
    """Overall mean of ``[chains, samples, ...]`` and what is left of every sample, which sums to zero.

    The first sample is taken off before anything is summed, so a constant series leaves deviations of exactly zero and
    an offset large against the fluctuations costs no digits, of integers not even beyond 2^24.
    """
    samples = chains.reshape((-1, *chains.shape[2:]))
    shifted = _difference(samples, samples[:1])
    offset = blocked_sum(shifted) / samples.shape[0]
    return samples[0].astype(shifted.dtype) + offset, (shifted - offset[None]).reshape(chains.shape)


def _difference(samples: Array, first: Array) -> Array:
    if jnp.issubdtype(samples.dtype, jnp.floating):
        return samples - first
    wide, origin = samples.astype(jnp.int32), first.astype(jnp.int32)
    dtype = jnp.result_type(float)
    high, low = ((wide >> 16) - (origin >> 16)).astype(dtype), ((wide & 0xFFFF) - (origin & 0xFFFF)).astype(dtype)
    return high * 65536 + low  # exact where a plain difference of int32 may wrap


def means_and_deviations(chains: PyTree) -> tuple[PyTree, PyTree]:
    """`mean_and_deviations` of every leaf, as two trees."""
    pairs = jax.tree.map(mean_and_deviations, chains)
    return jax.tree.transpose(jax.tree.structure(chains), jax.tree.structure((0, 0)), pairs)
