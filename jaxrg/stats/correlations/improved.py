"""Improved estimators: moments and correlations averaged over the signs of the clusters of Swendsen and Wang.

A run of ``jaxrg.samplers.swendsen_wang`` reports the moments of every step: ``run.info.magnetization_squared`` and
``run.info.magnetization_fourth``, ``[1, samples]``, are series for ``jaxrg.stats.gamma_method`` like any other.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_array, as_integers, check_spins
from jaxrg.sums import blocked_sum


class ImprovedEstimators(NamedTuple):
    """Moments of the magnetization per site, averaged over the signs of all clusters of one configuration."""

    m2: Array  # []
    m4: Array  # []


def improved_estimators(labels: Array, spins: Array | None = None) -> ImprovedEstimators:
    r"""Moments of the magnetization averaged exactly over all signs that a Swendsen-Wang step chooses from.

    .. math::
        \langle m^2 \rangle = \sum_c w_c^2, \qquad
        \langle m^4 \rangle = 3 \Big( \sum_c w_c^2 \Big)^2 - 2 \sum_c w_c^4, \qquad
        w_c = \frac1N \sum_{i \in c} s_i

    because clusters take independent signs: of the fourth power only :math:`w_c^4`, and :math:`w_c^2 w_d^2` three times
    for every ordered pair, survive. Valid for Ising spins without a field. Cluster magnetizations are integers and
    exact, and divided by N before any power; the rest is float32 with a relative error below 1e-6 for any N below 2^31.

    Args:
        labels: integers in 0, ..., N - 1 of any shape with N sites; equal labels are one cluster.
        spins: +1 or -1, of the same shape, where clusters hold both signs (antiferromagnets, glasses); None for
            clusters of equal spins.

    Returns:
        Two scalars; NaN where a traced label is out of range.

    Raises:
        ValueError: labels that are no integers or out of range, or spins of another shape.

    Example:
        >>> improved_estimators(jnp.array([0, 0, 2, 2]))
        ImprovedEstimators(m2=Array(0.5, dtype=float32), m4=Array(0.5, dtype=float32))

    Reference:
        Wolff, Phys. Rev. Lett. 60, 1461 (1988); Hasenbusch, Nucl. Phys. B 333, 581 (1990).
    """
    labels = as_cluster_labels(labels)
    if spins is not None:
        check_spins("spins", spins, labels.shape)
        spins = as_array("spins", spins)
    return _improved_estimators(labels, spins)


@jax.jit
def _improved_estimators(labels: Array, spins: Array | None) -> ImprovedEstimators:
    num_sites = labels.size
    weights = jnp.ones(labels.shape, jnp.int32) if spins is None else spins.astype(jnp.int32)
    is_valid = jnp.all((labels >= 0) & (labels < num_sites))
    sums = jax.ops.segment_sum(weights.ravel(), labels.ravel(), num_segments=num_sites)
    squares = jnp.square(sums.astype(jnp.result_type(float)) / num_sites)
    m2, w4 = blocked_sum(squares), blocked_sum(jnp.square(squares))
    m4 = 3 * m2**2 - 2 * w4
    return ImprovedEstimators(jnp.where(is_valid, m2, jnp.nan), jnp.where(is_valid, m4, jnp.nan))


def improved_two_point_function(labels: Array, offsets: Sequence[Sequence[int]], spins: Array | None = None) -> Array:
    r"""Two-point function of a periodic lattice averaged exactly over the signs of all clusters.

    .. math:: G(r) = \frac1N \sum_x s_x s_{x+r} \, [\, c(x) = c(x+r) \,]

    Args:
        labels: integer cluster labels ``[L_1, ..., L_d]`` of a lattice periodic along every axis.
        offsets: displacements r, each of d integers; static.
        spins: +1 or -1, of the same shape, where clusters hold both signs; None for clusters of equal spins.

    Returns:
        ``[num_offsets]``; counted in integers, so exact before the division by N.

    Raises:
        ValueError: labels that are no integers or out of range, spins of another shape, offsets of another dimension.

    Example:
        >>> improved_two_point_function(jnp.array([[0, 0], [2, 3]]), [(0, 0), (0, 1)])
        Array([1. , 0.5], dtype=float32)
    """
    labels = as_cluster_labels(labels)
    if spins is not None:
        check_spins("spins", spins, labels.shape)
        spins = as_array("spins", spins)
    steps = np.asarray(as_integers("offsets", offsets))
    if steps.ndim != 2 or steps.shape[1] != labels.ndim or not len(steps):
        raise ValueError(f"offsets: expected displacements of {labels.ndim} integers, got {offsets!r}")
    return _improved_two_point_function(labels, spins, tuple(map(tuple, steps.tolist())))


@functools.partial(jax.jit, static_argnames="offsets")
def _improved_two_point_function(labels: Array, spins: Array | None, offsets: tuple[tuple[int, ...], ...]) -> Array:
    axes = tuple(range(labels.ndim))
    totals = []
    for offset in offsets:
        shifts = tuple(-step for step in offset)
        together = (labels == jnp.roll(labels, shifts, axes)).astype(jnp.int32)
        if spins is not None:
            together = together * (spins * jnp.roll(spins, shifts, axes)).astype(jnp.int32)
        totals.append(jnp.sum(together, dtype=jnp.int32))
    return jnp.stack(totals).astype(jnp.result_type(float)) / labels.size


def as_cluster_labels(labels: Array) -> Array:
    """Labels as integers, in range where they can be seen."""
    array = as_integers("labels", labels)
    if not array.size:
        raise ValueError(f"labels: expected at least one site, got shape {array.shape}")
    return as_integers("labels", array, minimum=0, maximum=array.size - 1)
