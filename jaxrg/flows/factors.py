r"""How latents and factors of images belong together: mutual information, and what is made of it.

Information is that of both in bins of equal shares. What independent numbers would have on the average is taken away,
and what they could have by chance is set to zero, so that thousands of latents that know nothing add nothing.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxrg.base import safe_divide
from jaxrg.checks import as_count, as_floating_alike, check_number

MAX_SIGMA = 4.0  # of chance: passed by one of 30,000 independent latents
RIDGE = 1e-2  # of the number of samples: the penalty on weights of standardised latents


class Disentanglement(NamedTuple):
    """What is known of factors from latents; all but ``information`` and ``explained`` is between 0 and 1.

    Attributes:
        information: ``[num_latents, num_factors]`` nats of one latent about one factor.
        gap: ``[num_factors]`` mutual information gap (MIG): what the best latent knows more than the second best, over
            the entropy of the factor.
        disentanglement: scalar; 1 where each latent knows of one factor only (DCI), weighted by what it knows.
        completeness: ``[num_factors]``; 1 where one latent alone knows of the factor (DCI).
        explained: ``[num_factors]`` share of the variance of a factor that a linear function of all latents explains
            on samples that it was not made with (DCI's informativeness), below zero where it does worse than the mean.
    """

    information: Array
    gap: Array
    disentanglement: Array
    completeness: Array
    explained: Array


def disentanglement(latents: Array, factors: Array, *, num_bins: int = 16, ridge: float = RIDGE) -> Disentanglement:
    r"""Mutual information gap, and disentanglement, completeness and informativeness, of latents about factors.

    .. math:: \mathrm{MIG}_k = \frac{I_{(1)k} - I_{(2)k}}{H_k}, \qquad
        D = \sum_j \frac{\sum_k I_{jk}}{\sum_{jk} I_{jk}}\left(1 + \sum_k P_{jk} \log_K P_{jk}\right), \qquad
        C_k = 1 + \sum_j Q_{jk} \log_J Q_{jk}

    with :math:`P_{jk} = I_{jk}/\sum_k I_{jk}` and :math:`Q_{jk} = I_{jk}/\sum_j I_{jk}`. As a null control, give the
    factors in another order of the samples. A factor that no latent knows of has gap and completeness 0. Where a few
    latents pass by chance, each knows of one factor, so that D and C are near 1: they say nothing where information is
    no more than in the control.

    Args:
        latents: ``[num_samples, num_latents]``, as those of one level.
        factors: ``[num_samples, num_factors]`` of the same samples, best in a random order: the first half makes the
            linear function and the second half tries it.
        num_bins: of equal shares of the samples, or fewer for a factor of few values.
        ridge: penalty on the squared weights of standardised latents, over the number of samples.

    Raises:
        ValueError: other shapes, fewer samples than bins squared, or values that are not finite.

    Example:
        >>> factors = jax.random.uniform(jax.random.key(0), (4000, 2))
        >>> disentanglement(factors, factors).gap.round(2).tolist()
        [0.9899..., 0.9899...]

    Reference:
        Chen, Li, Grosse & Duvenaud, NeurIPS (2018); Eastwood & Williams, ICLR (2018).
    """
    found, given = as_floating_alike(latents=latents, factors=factors)
    num_bins = as_count("num_bins", num_bins, minimum=2)
    for name, array in (("latents", found), ("factors", given)):
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name}: expected [num_samples, num_{name}], got shape {array.shape}")
        if not isinstance(array, Tracer) and not np.isfinite(np.asarray(array)).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinite entries")
    if found.shape[0] != given.shape[0]:
        raise ValueError(f"factors: expected {found.shape[0]} samples as of latents, got {given.shape[0]}")
    if found.shape[0] < num_bins**2:
        raise ValueError(f"latents: expected {num_bins**2} samples at least for {num_bins} bins, got {found.shape[0]}")
    check_number("ridge", ridge, above=0.0)
    return _disentanglement(found, given, jnp.asarray(ridge, found.dtype), num_bins=num_bins)


def _bins(values: Array, num_bins: int) -> Array:
    """``[num_samples]`` bin of each of ``[num_samples]`` values; equal values are in one bin."""
    edges = jnp.sort(values)[np.arange(1, num_bins) * len(values) // num_bins]
    return jnp.sum(values[:, None] >= edges[None], axis=1)


def _entropy(probabilities: Array, axis: int | tuple[int, ...]) -> Array:
    safe = jnp.where(probabilities > 0, probabilities, 1)
    return -jnp.sum(safe * jnp.log(safe), axis=axis)


@functools.partial(jax.jit, static_argnames="num_bins")
def _disentanglement(latents: Array, factors: Array, ridge: Array, *, num_bins: int) -> Disentanglement:
    num_samples, dtype = latents.shape[0], latents.dtype

    def marks(values: Array) -> Array:
        return jax.nn.one_hot(_bins(values, num_bins), num_bins, dtype=dtype)

    of_factors = jax.vmap(marks, in_axes=1)(factors)  # [num_factors, num_samples, num_bins]
    shares = jnp.mean(of_factors, axis=1)
    entropy = _entropy(shares, axis=1)
    used = jnp.sum((shares > 0).astype(dtype), axis=1)

    def of_latent(values: Array) -> Array:
        own = marks(values)
        together = jnp.einsum("sa,ksb->kab", own, of_factors) / num_samples
        share = jnp.mean(own, axis=0)
        information = _entropy(share, axis=0) + entropy - _entropy(together, axis=(1, 2))
        # 2 n I of independent numbers is chi-squared, with so many degrees of freedom.
        freedom = (jnp.sum((share > 0).astype(dtype)) - 1) * (used - 1)
        excess = information - freedom / (2 * num_samples)
        return jnp.where(excess > MAX_SIGMA * jnp.sqrt(2 * freedom) / (2 * num_samples), excess, 0)

    information = jax.lax.map(of_latent, latents.T)
    best = jnp.sort(jnp.pad(information, ((1, 0), (0, 0))), axis=0)  # a single latent has no second
    by_latent, by_factor = jnp.sum(information, axis=1), jnp.sum(information, axis=0)
    return Disentanglement(
        information,
        safe_divide(best[-1] - best[-2], entropy),
        safe_divide(jnp.sum(by_latent * _concentration(information.T)), jnp.sum(by_latent)),
        jnp.where(by_factor > 0, _concentration(information), 0),
        _explained(latents, factors, ridge),
    )


def _concentration(weights: Array) -> Array:
    """1 less the entropy of each column in units of the largest it can have."""
    largest = np.log(max(weights.shape[0], 2))
    return 1 - _entropy(safe_divide(weights, jnp.sum(weights, axis=0, keepdims=True)), axis=0) / largest


def _explained(latents: Array, factors: Array, ridge: Array) -> Array:
    half = latents.shape[0] // 2
    mean, spread = jnp.mean(latents[:half], axis=0), jnp.std(latents[:half], axis=0)
    inputs = safe_divide(latents - mean[None], spread[None])
    centred = factors - jnp.mean(factors[:half], axis=0)[None]
    known, tried = inputs[:half], inputs[half:]
    penalty = ridge * half * jnp.eye(latents.shape[1], dtype=latents.dtype)
    weights = jnp.linalg.solve(known.T @ known + penalty, known.T @ centred[:half])
    left = jnp.sum(jnp.square(centred[half:] - tried @ weights), axis=0)
    return 1 - safe_divide(left, jnp.sum(jnp.square(centred[half:]), axis=0))
