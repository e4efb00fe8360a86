"""Tensor renormalisation with loops optimised: the scheme that holds a critical fixed point, for isotropic models."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.rg.tensor import loop
from jaxrg.rg.tensor.flow import Flow, padded, stacked
from jaxrg.rg.tensor.network import Tensor, normalized

POWER = 0.25  # of a leg's density, as its weight in what is minimised
LEAST = 1e-6  # of a density, relative to the largest


class Checkerboard(NamedTuple):
    """A network on the square lattice in which every second tensor is the same one turned by a quarter.

    A step of `loop_tnr` makes such a network of a symmetric one. The tensors of the other sublattice are
    ``jnp.transpose(entries, (1, 2, 3, 0))``; the whole has all symmetries of the lattice around every second plaquette,
    a single tensor those under reflection in its diagonals. A plain `Tensor` of it would be one of another network.

    Attributes:
        entries: ``[left, up, right, down]`` of one sublattice.
        log_factor: scalar; the true tensors are exp(log_factor) times the entries.
        num_sites: scalar, spins that one tensor stands for.
    """

    entries: Array
    log_factor: Array
    num_sites: Array


def turned(entries: Array) -> Array:
    """The tensor of the other sublattice."""
    return jnp.transpose(entries, (1, 2, 3, 0))


def log_partition(board: Checkerboard) -> Array:
    """ln Z per site of the torus of two tensors, one of each sublattice."""
    closed = jnp.einsum("abcd,cdab->", board.entries, turned(board.entries), precision=loop.HIGHEST)
    return (jnp.log(closed) / 2 + board.log_factor) / board.num_sites


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def matrix_power(matrix: Array, power: float) -> Array:
    """A power of a positive definite matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return loop.einsum("az,bz->ab", vectors * values[None] ** power, vectors)


@matrix_power.defjvp
def _matrix_power_jvp(power: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Divided differences of x^p between eigenvalues, which are its slope where they meet."""
    (matrix,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    gap = jnp.log(values[:, None]) - jnp.log(values[None, :])
    is_same = jnp.abs(gap) < jnp.finfo(values.dtype).eps ** 0.5
    safe = jnp.where(is_same, 1, gap)
    slopes = jnp.where(is_same, power, jnp.expm1(power * safe) / jnp.expm1(safe))
    slopes = slopes * values[None, :] ** (power - 1)
    inner = slopes * loop.einsum("ai,ab,bj->ij", vectors, change, vectors)
    return matrix_power(matrix, power), loop.einsum("ai,ij,bj->ab", vectors, inner, vectors)


def leg_weights(entries: Array) -> tuple[Array, Array]:
    """Square root of a leg's weight in what is minimised, and its inverse."""
    density = loop.einsum("abcd,abed->ce", entries, entries)
    size = len(density)
    floored = density / jnp.trace(density) + LEAST * jnp.eye(size, dtype=density.dtype)
    return matrix_power(floored, POWER / 2), matrix_power(floored, -POWER / 2)


def weighted(entries: Array, root: Array) -> Array:
    """The tensor as the optimisation sees it, with weights on its legs outside of the plaquette."""
    return loop.einsum("abcd,cC,dD->abCD", entries, root, root)


def joined(halves: Array) -> Array:
    """The new tensor of four halves around the other plaquettes."""
    pair = loop.einsum("lbj,ltk->btjk", halves, halves)
    return loop.einsum("btad,btgc->agcd", pair, pair)


def _start(entries: Array, rank: int, is_even: bool) -> Array:
    """Halves by truncation alone."""
    side = len(entries)
    matrix = jnp.transpose(entries, (3, 0, 2, 1)).reshape(side**2, side**2)
    halves = jnp.zeros((side**2, rank), entries.dtype)
    for parity, pairs in enumerate(loop.sectors(side, is_even)):
        block = matrix[pairs[:, None], pairs[None]]
        values, vectors = jnp.linalg.eigh((block + block.T) / 2)
        slots = np.arange(parity, rank, 2 if is_even else 1)[: len(pairs)]
        kept = slice(len(pairs) - len(slots), None)
        is_kept = values[kept] > 1e-14 * values[-1]
        columns = vectors[:, kept] * jnp.sqrt(jnp.where(is_kept, values[kept], 0))[None]
        halves = halves.at[pairs[:, None], slots[None]].set(columns[:, ::-1])
    return halves.reshape(side, side, rank)


def _in_natural_basis(halves: Array, is_even: bool) -> Array:
    """Halves with the legs across turned so that their density is diagonal and falls, in each sector."""
    rank = halves.shape[2]
    entries = joined(halves)
    density = loop.einsum("abcd,abed->ce", entries, entries)
    for parity in range(2 if is_even else 1):
        slots = np.arange(parity, rank, 2 if is_even else 1)
        _, vectors = jnp.linalg.eigh(density[slots[:, None], slots[None]])
        halves = halves.at[:, :, slots].set(jnp.matmul(halves[:, :, slots], vectors[:, ::-1], precision=loop.HIGHEST))
    return halves


def fitted(entries: Array, rank: int, is_even: bool) -> tuple[Array, Array]:
    """Halves of a tensor, and the relative distance of their ring from its."""
    root, inverse = leg_weights(entries)
    seen = weighted(entries, root)
    target = loop.ring_of_tensors(seen, is_even)
    halves = loop.fit(_start(seen, rank, is_even), target, is_even)
    left = loop.distance(halves, target, is_even)
    halves = loop.einsum("oik,oO->Oik", halves, inverse)
    return _in_natural_basis(halves, is_even), jnp.sqrt(jnp.abs(left))


def _step(board: Checkerboard, rank: int, is_even: bool) -> tuple[Checkerboard, Array]:
    halves, error = fitted(board.entries, rank, is_even)
    coarse = normalized(Tensor(joined(halves), 2 * board.log_factor, 2 * board.num_sites))
    return Checkerboard(*coarse), error


@functools.partial(jax.jit, static_argnames=("rank", "num_steps", "is_even"))
def flow_of(board: Checkerboard, observe: Any, rank: int, num_steps: int, is_even: bool) -> Flow:
    def step(board: Checkerboard, _: None) -> tuple[Checkerboard, tuple]:
        board, error = _step(board, rank, is_even)
        return board, (log_partition(board), error, observe(board))

    board = Checkerboard(*normalized(Tensor(*board._replace(entries=padded(board.entries, rank)))))
    before = []
    if len(board.entries) > rank:
        board, first = step(board, None)
        before.append(first)
    board, rest = lax.scan(step, board, None, length=num_steps - len(before))
    return Flow(board, *stacked(before, rest))
