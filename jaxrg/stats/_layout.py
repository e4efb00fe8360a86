"""How series are laid out, ``[chains, samples, ...]``, and what every estimator of this folder starts with."""

import jax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_floating
from jaxrg.sums import blocked_sum

MIN_SAMPLES = 4  # half the series is the largest lag, so this leaves two lags beside zero


def as_chains(name: str, traces: PyTree) -> PyTree:
    """Every leaf as floating ``[chains, samples, ...]``.

    Raises:
        ValueError: leaves without both axes, with fewer than 4 samples a chain, or that disagree in these numbers.
    """
    chains = jax.tree.map(lambda leaf: as_floating(name, leaf), traces)
    shapes = [leaf.shape for leaf in jax.tree.leaves(chains)]
    for shape in shapes:
        if len(shape) < 2:
            raise ValueError(
                f"{name}: expected [chains, samples, ...], got shape {shape}; write {name}[None] for one chain"
            )
        if shape[0] < 1 or shape[1] < MIN_SAMPLES:
            raise ValueError(
                f"{name}: expected [chains, samples, ...] with at least {MIN_SAMPLES} samples, got shape {shape}; "
                "of a mapped run, map the estimator too"
            )
    if len({shape[:2] for shape in shapes}) != 1:
        raise ValueError(f"{name}: expected series of one number of chains and samples, got shapes {shapes}")
    return chains


@jax.jit
def mean_and_deviations(chains: Array) -> tuple[Array, Array]:
    """Overall mean of ``[chains, samples, ...]`` and what is left of every sample, which sums to zero.

    The first sample is taken off before anything is summed, so a constant series leaves deviations of exactly zero and
    an offset large against the fluctuations costs no digits. Jitted, because calls from a notebook would compile its
    operations one by one.
    """
    samples = chains.reshape((-1, *chains.shape[2:]))
    shifted = samples - samples[:1]
    offset = blocked_sum(shifted) / samples.shape[0]
    return samples[0] + offset, (shifted - offset[None]).reshape(chains.shape)


def means_and_deviations(chains: PyTree) -> tuple[PyTree, PyTree]:
    """`mean_and_deviations` of every leaf, as two trees."""
    pairs = jax.tree.map(mean_and_deviations, chains)
    return jax.tree.transpose(jax.tree.structure(chains), jax.tree.structure((0, 0)), pairs)
