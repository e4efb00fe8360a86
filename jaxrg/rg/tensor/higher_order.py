r"""Renormalisation by joining neighbours along one direction and truncating the legs across it, in 2D and 3D.

Two tensors T and T' joined along the last direction have doubled legs across it; the isometries U that keep the most of
them are the leading eigenvectors of :math:`M M^T`, with M the pair as a matrix from one doubled leg to everything else,
taken on the side that loses less. After each step the directions move on by one, so that d steps are one block.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.rg.tensor.contraction import einsum, matmul
from jaxrg.rg.tensor.decompositions import truncated_svd
from jaxrg.rg.tensor.flow import Flow, checked, padded, stacked
from jaxrg.rg.tensor.network import Tensor, log_trace, normalized


def _gram(entries: Array, leg: int) -> Array:
    """M M^T of a pair joined along the last direction, with M from the doubled leg to everything else."""
    ndim = entries.ndim // 2

    def paired(joined: int) -> Array:
        rows = jnp.moveaxis(entries, (leg, joined), (0, 1))
        matrix = rows.reshape(math.prod(rows.shape[:2]), -1)
        return matmul(matrix, matrix.T).reshape(rows.shape[:2] * 2)

    size = entries.shape[leg] ** 2
    return einsum("xmkn,ymln->xykl", paired(2 * ndim - 1), paired(ndim - 1)).reshape(size, size)


def _isometry(entries: Array, direction: int, rank: int) -> tuple[Array, Array]:
    """``[leg, leg, rank]`` of the side that loses less, and the relative Frobenius norm lost."""
    sides = []
    for leg in (direction, direction + entries.ndim // 2):
        gram = _gram(entries, leg)
        left, core, _ = truncated_svd(gram, rank)
        lost = lax.stop_gradient(1 - jnp.trace(core) / jnp.trace(gram))
        sides.append((left, jnp.sqrt(jnp.maximum(lost, 0))))
    (backward, lost), (forward, lost_forward) = sides
    size = entries.shape[direction]
    vectors = jnp.where(lost <= lost_forward, backward, forward)
    return vectors.reshape(size, size, rank), jnp.minimum(lost, lost_forward)


def _joined_square(entries: Array, across: Array) -> Array:
    upper = einsum("lurm,lka->urmka", entries, across)
    pair = einsum("urmka,kmsd->urasd", upper, entries)
    return einsum("urasd,rsb->aubd", pair, across)


def _joined_cubic(entries: Array, first: Array, second: Array) -> Array:
    """The pair has legs [a y q z A Y Q Z] before its last two isometries: eight legs are the most there ever are."""
    upper = einsum("xyzXYm,xpa->ayzYXpm", entries, first)
    lower = einsum("pqmPQZ,XPA->XpmqAQZ", entries, first)
    pair = einsum("ayzYXpm,XpmqAQZ->ayzYqAQZ", upper, lower)
    pair = einsum("ayzYqAQZ,yqb->abzYAQZ", pair, second)
    return einsum("abzYAQZ,YQB->abzABZ", pair, second)


def _step(tensor: Tensor, rank: int) -> tuple[Tensor, Array]:
    ndim = tensor.entries.ndim // 2
    isometries, errors = zip(*(_isometry(tensor.entries, axis, rank) for axis in range(ndim - 1)), strict=True)
    joined = (_joined_square if ndim == 2 else _joined_cubic)(tensor.entries, *isometries)
    order = [ndim - 1, *range(ndim - 1)]
    entries = jnp.transpose(joined, order + [ndim + axis for axis in order])
    error = functools.reduce(jnp.maximum, errors)
    return normalized(Tensor(entries, 2 * tensor.log_factor, 2 * tensor.num_sites)), error


@functools.partial(jax.jit, static_argnames=("rank", "num_steps"))
def _flow(tensor: Tensor, observe: Any, rank: int, num_steps: int) -> Flow:
    def step(current: Tensor, _: None) -> tuple[Tensor, tuple]:
        current, error = _step(current, rank)
        return current, (log_trace(current), error, observe(current))

    current, before = normalized(tensor._replace(entries=padded(tensor.entries, rank))), []
    while max(current.entries.shape) > rank and len(before) < num_steps:  # a direction a step
        current, first = step(current, None)
        before.append(first)
    if len(before) == num_steps:
        return Flow(current, *jax.tree.map(lambda *parts: jnp.stack(parts), *before))
    current, rest = lax.scan(step, current, None, length=num_steps - len(before))
    return Flow(current, *stacked(before, rest))


def _words(ndim: int, size: int) -> int:
    """The largest arrays of a step: three of a joined pair, beside the halves it is made of."""
    return 8 * size**5 if ndim == 2 else 3 * size**8 + 6 * size**7


def hotrg(tensor: Tensor, chi: int, num_steps: int, *, observe: Any = None) -> Flow:
    r"""Higher-order tensor renormalisation of a square or cubic network.

    .. math:: T'_{a u b d} = \sum U_{l l' a}\, T_{l u r m}\, T_{l' m r' d}\, U_{r r' b}

    A step joins two tensors along the last direction; then the directions move on by one, so that on the square lattice
    every second tensor has its axes in the order they came. The cost of a step grows as χ^7 in two dimensions and χ^11
    in three, memory as χ^5 and χ^8.

    Args:
        tensor: of a square or a cubic network.
        chi: χ, the states a leg keeps.
        num_steps: joinings, each of which doubles the sites of a tensor.
        observe: ``values = observe(tensor)`` of every tensor after a step, any tree of arrays.

    Returns:
        The last tensor, ln Z per site, what was cut, and what was observed. All are differentiable, in both modes and
        to any order, in what the tensor is a function of.

    Raises:
        ValueError: no Tensor with its number of sites and four or six legs, opposite ones alike; counts that are no
            such integers; a χ whose step needs more than 2 GiB.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor.initial import ising_tensor
        >>> flow = hotrg(ising_tensor(0.4), 4, 20)
        >>> round(float(flow.log_partition[-1]), 3), round(float(exact.onsager_free_energy(0.4)), 3)
        (0.879, 0.879)

    Reference:
        Xie, Chen, Qin, Zhu, Yang & Xiang, Phys. Rev. B 86, 045139 (2012).
    """
    given, *options = checked(tensor, chi, num_steps, observe, ndims=(2, 3), words=_words)
    return _flow(given, options[2], *options[:2])
