r"""Importance weights :math:`w = e^{-S(x)}/q(x)`: the partition function, divergences and how far both can be trusted.

With log-weights of draws from q these are, with :math:`v = \ln w`,

.. math::
    \ln Z = \ln \overline{e^{v}}, \qquad \mathrm{KL}(q \,\|\, p) = \ln Z - \bar v, \qquad
    \mathrm{ESS} = \bar w^2 / \overline{w^2},

and with log-weights of samples of the target p the same with :math:`v = -\ln w` give
:math:`-\ln Z` and :math:`\mathrm{KL}(p \,\|\, q)`. Draws of a density that misses a phase of the target show a fine
effective sample size; samples of the target do not hide it.

Errors are those of independent draws. They can be trusted where the weights have a variance that shows:
``is_converged`` is False where fewer than 100 draws are effective, or where the tail of the weights, fitted by a Pareto
distribution of index k, is too heavy for the number of draws, k > min(0.7, 1 - 1/log10 N).

Reference:
    Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach. Learn. Res. 25, 72 (2024); for the fit Zhang & Stephens,
    Technometrics 51, 316 (2009); for both effective sample sizes Nicoli et al., Phys. Rev. E 101, 023304 (2020).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, as_integers, is_traced, kind_of
from jaxrg.stats._notation import written
from jaxrg.sums import blocked_sum

MIN_DRAWS = 10  # fewer show no tail
MIN_EFFECTIVE = 100
LARGEST_INDEX = 0.7


class ImportanceEstimate(NamedTuple):
    """What log-weights say; scalars."""

    log_partition: Array  # ln Z
    error: Array  # of ln Z
    bound: Array  # mean of ln w: below ln Z for draws of q, above for samples of the target
    bound_error: Array
    kl: Array  # KL(q || p) from draws of q, KL(p || q) from samples of the target, in nats
    kl_error: Array
    ess: Array  # effective share of draws of q, between 0 and 1; never below 1/num_samples
    num_samples: Array  # int32
    tail_index: Array  # Pareto k of the largest weights: below 1/2 they have a variance; -inf without a tail
    is_converged: Array  # whether the errors can be trusted

    def __str__(self) -> str:
        return written(self.log_partition, self.error)


class WeightedMean(NamedTuple):
    """The mean of an observable under the target; every field ``[...]``, the trailing shape of the values."""

    mean: Array
    error: Array
    is_converged: Array  # [] of the weights alone

    def __str__(self) -> str:
        return written(self.mean, self.error)


class Coverage(NamedTuple):
    """How draws are shared among the sectors of a target."""

    shares: Array  # [num_sectors] of the draws
    errors: Array  # [num_sectors] of independent draws
    reference: Array  # [num_sectors] of the target
    overlap: (
        Array  # [] sum of the smaller of both shares: 1 where all is covered, 1/2 where one of two phases is missed
    )
    missed: Array  # [] share of the target in sectors without a draw


def _as_log_weights(log_weights: Array) -> Array:
    array = as_floating("log_weights", log_weights)
    if array.ndim != 1 or array.shape[0] < MIN_DRAWS:
        raise ValueError(f"log_weights: expected [num_samples] with at least {MIN_DRAWS}, got shape {array.shape}")
    return array


def importance(log_weights: Array) -> ImportanceEstimate:
    r"""The partition function of a target, and how near a density is to it, from draws of the density.

    .. math:: \ln Z = \ln \frac1N \sum_i e^{v_i}, \qquad \sigma^2 = \frac{1}{N(N-1)} \sum_i (w_i/\bar w - 1)^2, \qquad
        v = -S(x) - \ln q(x)

    Args:
        log_weights: ``[num_samples]`` v of independent draws of q, as `jaxrg.samplers.weighted_draws` gives them.

    Returns:
        `ImportanceEstimate`. In float32 ln Z has a relative error of 6e-8, whatever its statistical one.

    Raises:
        ValueError: another shape, or fewer than 10 draws.

    Example:
        >>> noise = 0.5 * jax.random.normal(jax.random.key(0), (20_000,))
        >>> found = importance(noise)  # ln Z = 0.125 and KL = 0.125 for log-normal weights
        >>> bool(abs(found.log_partition - 0.125) < 0.02), bool(abs(found.ess - jnp.exp(-0.25)) < 0.02)
        (True, True)
        >>> bool(found.is_converged)
        True
    """
    return _importance(_as_log_weights(log_weights))


def importance_from_target(log_weights: Array) -> ImportanceEstimate:
    r"""The same from samples of the target: the forward divergence, and an effective sample size that misses no phase.

    .. math:: \ln Z = -\ln \overline{e^{-v}}, \qquad \mathrm{KL}(p \,\|\, q) = \bar v - \ln Z, \qquad
        \mathrm{ESS} = \frac{1}{\overline{w}\;\overline{1/w}}

    Args:
        log_weights: ``[num_samples]`` v = -S(x) - ln q(x) of independent samples x of the target. Of a Markov chain,
            thin it to independence first.

    Returns:
        `ImportanceEstimate`, whose ``tail_index`` and ``is_converged`` are of 1/w.

    Raises:
        ValueError: another shape, or fewer than 10 samples.
    """
    return _importance_from_target(_as_log_weights(log_weights))


@jax.jit
def _importance(v: Array) -> ImportanceEstimate:
    shape = _shape_of(v)
    ess = 1 / _mean(jnp.square(shape.relative))
    return _estimate(v, shape, ess, sign=1)


@jax.jit
def _importance_from_target(v: Array) -> ImportanceEstimate:
    shape = _shape_of(-v)
    ess = jnp.exp(-_log_mean_exp(v) - _log_mean_exp(-v))
    return _estimate(-v, shape, ess, sign=-1)


class _Shape(NamedTuple):
    """What weights e^v are like."""

    log_mean: Array
    relative: Array  # [n] over their mean
    tail_index: Array
    is_converged: Array


def _mean(values: Array) -> Array:
    return blocked_sum(values) / values.shape[0]


def _log_mean_exp(v: Array) -> Array:
    largest = jnp.max(v)
    return largest + jnp.log(_mean(jnp.exp(v - largest)))


def _shape_of(v: Array) -> _Shape:
    largest = jnp.max(v)
    weights = jnp.exp(v - largest)
    mean = _mean(weights)
    relative, num_samples = weights / mean, v.shape[0]
    tail_index = _tail_index(weights)
    limit = min(LARGEST_INDEX, 1 - 1 / np.log10(num_samples))
    num_effective = num_samples / _mean(jnp.square(relative))
    is_converged = (tail_index <= limit) & (num_effective >= MIN_EFFECTIVE) & jnp.isfinite(mean)
    return _Shape(largest + jnp.log(mean), relative, tail_index, is_converged)


def is_trustworthy(log_weights: Array) -> Array:
    """[] whether errors of means with these weights ``[n]`` can be trusted; False of fewer than show a tail."""
    return _shape_of(log_weights).is_converged if log_weights.size >= MIN_DRAWS else jnp.bool_(False)


def _error(influence: Array) -> Array:
    """Of a mean of terms that sum to zero."""
    num_samples = influence.shape[0]
    return jnp.sqrt(blocked_sum(jnp.square(influence)) / num_samples / (num_samples - 1))


def _estimate(v: Array, shape: _Shape, ess: Array, sign: int) -> ImportanceEstimate:
    offset = _mean(v - v[0])  # the first is taken off, so that a large ln Z costs no digits
    deviations = v - v[0] - offset
    return ImportanceEstimate(
        log_partition=sign * shape.log_mean,
        error=_error(shape.relative - 1),
        bound=sign * (v[0] + offset),
        bound_error=_error(deviations),
        kl=shape.log_mean - v[0] - offset,
        kl_error=_error(shape.relative - 1 - deviations),
        ess=ess,
        num_samples=jnp.int32(v.shape[0]),
        tail_index=shape.tail_index,
        is_converged=shape.is_converged,
    )


def _tail_index(weights: Array) -> Array:
    """k of a generalised Pareto distribution of what the largest weights have over the next one; weights at most 1."""
    num_samples = weights.shape[0]
    num_tail = int(min(num_samples / 5, 3 * num_samples**0.5))
    largest, _ = jax.lax.top_k(weights, num_tail + 1)
    excess = largest[:-1] - largest[-1]  # falls
    tiny = jnp.finfo(weights.dtype).tiny
    top = jnp.maximum(excess[0], tiny)
    quartile = jnp.maximum(excess[-max(num_tail // 4, 1)], 1e-6 * top)
    num_points = 30 + int(num_tail**0.5)
    spread = 1 - np.sqrt(num_points / (np.arange(num_points) + 0.5))
    # Points around the profile likelihood's maximum, where 1/top bounds them; their mean under it is the estimate.
    points = 1 / top + jnp.asarray(spread, weights.dtype) / (3 * quartile)
    index = jnp.mean(jnp.log1p(-points[:, None] * excess[None]), axis=1)
    log_likelihood = num_tail * (jnp.log(-points / index) - index - 1)
    point = jnp.sum(jax.nn.softmax(log_likelihood) * points)
    raw = jnp.mean(jnp.log1p(-point * excess))
    # Ten observations of index 1/2 as a prior, which steadies a short tail.
    found = (num_tail * raw + 5) / (num_tail + 10)
    return jnp.where(excess[0] > 0, found, jnp.where(jnp.isnan(excess[0]), jnp.nan, -jnp.inf))


def reweighted(log_weights: Array, values: PyTree) -> PyTree:
    r"""Means of observables under the target, from weighted draws.

    .. math:: \bar O = \frac{\sum_i w_i O_i}{\sum_i w_i}, \qquad
        \sigma^2 = \frac{\sum_i w_i^2 (O_i - \bar O)^2}{\left(\sum_i w_i\right)^2}

    Args:
        log_weights: ``[num_samples]`` as for `importance`.
        values: a pytree of arrays ``[num_samples, ...]``, observables of the same draws.

    Returns:
        A `WeightedMean` in place of every leaf.

    Raises:
        ValueError: other shapes, or fewer than 10 draws.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (20_000,))
        >>> found = reweighted(0.5 * x, {"x": x})  # e^{x/2} moves a Gaussian by 1/2
        >>> bool(abs(found["x"].mean - 0.5) < 5 * found["x"].error), bool(found["x"].error < 0.02)
        (True, True)
    """
    array = _as_log_weights(log_weights)
    arrays = jax.tree.map(lambda leaf: as_floating("values", leaf), values, is_leaf=lambda node: isinstance(node, list))
    for leaf in jax.tree.leaves(arrays):
        if leaf.ndim == 0 or leaf.shape[0] != array.shape[0]:
            raise ValueError(f"values: expected [{array.shape[0]}, ...], one for each weight, got shape {leaf.shape}")
    return _reweighted(array, arrays)


@jax.jit
def _reweighted(v: Array, values: PyTree) -> PyTree:
    shape = _shape_of(v)

    def mean(leaf: Array) -> WeightedMean:
        weights = shape.relative.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))
        first = leaf[0]
        offset = _mean(weights * (leaf - first[None]))
        return WeightedMean(first + offset, _error(weights * (leaf - first[None] - offset[None])), shape.is_converged)

    return jax.tree.map(mean, values)


def mode_coverage(sectors: Array, reference: Array) -> Coverage:
    r"""Shares of draws in each sector of a target, such as the two signs of the magnetisation, against what is right.

    .. math:: \text{overlap} = \sum_k \min(n_k/N, p_k)

    Args:
        sectors: ``[num_samples]`` integers 0, ..., k - 1: the sector of every draw.
        reference: ``[k]`` what share of the target, or how many of its samples, each sector has.

    Returns:
        `Coverage`.

    Raises:
        ValueError: sectors that are none, or a reference that is negative or all zero.

    Example:
        >>> found = mode_coverage(jnp.array([1, 1, 1, 1]), jnp.array([0.5, 0.5]))
        >>> found.shares.tolist(), float(found.overlap), float(found.missed)
        ([0.0, 1.0], 0.5, 0.5)
    """
    shares = as_floating("reference", reference)
    if shares.ndim != 1 or not shares.size:
        raise ValueError(f"reference: expected [k], one for each sector, got shape {shares.shape}")
    if not is_traced(shares) and (np.any(np.asarray(shares) < 0) or float(jnp.sum(shares)) == 0):
        raise ValueError(f"reference: expected numbers >= 0, not all zero, got {kind_of(reference)} with others")
    labels = as_integers("sectors", sectors, minimum=0, maximum=as_count("reference", shares.size) - 1)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"sectors: expected [num_samples], got shape {labels.shape}")
    return _mode_coverage(labels.astype(jnp.int32), shares)


@jax.jit
def _mode_coverage(sectors: Array, reference: Array) -> Coverage:
    num_samples = sectors.shape[0]
    expected = reference / jnp.sum(reference)
    # A label that is none, which only tracing lets through, is in no sector: the shares no longer sum to one.
    counts = jax.ops.segment_sum(jnp.ones_like(sectors), sectors, reference.shape[0])
    shares = counts.astype(reference.dtype) / num_samples
    return Coverage(
        shares=shares,
        errors=jnp.sqrt(shares * (1 - shares) / num_samples),
        reference=expected,
        overlap=jnp.sum(jnp.minimum(shares, expected)),
        missed=jnp.sum(jnp.where(counts == 0, expected, 0)),
    )
