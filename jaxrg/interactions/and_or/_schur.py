r"""The exact projection of AND-OR extraction: solves with ``A⊗...⊗A + B⊗...⊗B + shift``, never as a matrix.

Such a sum acts on the players as on n spins one half. Within a half of them, only the total spin matters: in the basis
of (spin, path to that spin, projection) a tensor power of a 2x2 matrix of determinant one is block diagonal, with a
block of ``d + 1 <= n/2 + 1`` rows for spin d/2 that is the same for all paths. Both halves together leave blocks of at
most ``(n/2 + 1)**2`` rows, which are inverted once on the host. The basis change of a half has ``2**n`` entries, a
factor of ``2**n`` fewer than the operator, and is orthogonal, so nothing is lost to its condition number of 2.6**n.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

AND_GRAM = np.array([[1.0, 1.0], [1.0, 2.0]])  # zeta zeta^T of one player
OR_GRAM = np.array([[2.0, 1.0], [1.0, 1.0]])  # the same with absence and presence exchanged


class Multiplet(NamedTuple):
    """All paths to one total spin."""

    d: int  # twice the spin
    start: int  # first row in the basis
    num_paths: int


@functools.cache
def spin_basis(num_players: int) -> tuple[np.ndarray, tuple[Multiplet, ...]]:
    """Orthogonal ``[2**n, 2**n]`` with rows (spin, path, number of present players less the singlets), and its layout.

    Players are coupled one after another by the Clebsch-Gordan coefficients of a spin with a spin one half.
    """
    paths: list[np.ndarray] = [np.ones((1, 1))]  # each [d + 1, 2**players so far]
    for _ in range(num_players):
        coupled = []
        for states in paths:
            d = states.shape[0] - 1
            absent, present = np.kron([[1.0, 0.0]], states), np.kron([[0.0, 1.0]], states)
            none = np.zeros_like(absent[:1])
            k = np.arange(d + 2.0)[:, None]
            higher = np.sqrt(k / (d + 1)) * np.vstack([none, present])
            coupled.append(higher + np.sqrt(1 - k / (d + 1)) * np.vstack([absent, none]))
            if d > 0:
                k = np.arange(float(d))[:, None]
                coupled.append(np.sqrt((k + 1) / (d + 1)) * absent[1:] - np.sqrt((d - k) / (d + 1)) * present[:-1])
        paths = coupled
    paths.sort(key=lambda states: -states.shape[0])
    layout, start = [], 0
    for d in range(num_players, -1, -2):
        num_paths = sum(states.shape[0] == d + 1 for states in paths)
        layout.append(Multiplet(d, start, num_paths))
        start += num_paths * (d + 1)
    return np.vstack(paths), tuple(layout)


def symmetric_power(matrix: np.ndarray, d: int) -> np.ndarray:
    """A 2x2 matrix acting on d players alike, ``[d + 1, d + 1]`` between the normalised states of k present players."""
    power = np.zeros((d + 1, d + 1))
    for k in range(d + 1):
        for other in range(d + 1):
            total = sum(
                math.comb(k, both)
                * math.comb(d - k, other - both)
                * matrix[1, 1] ** both
                * matrix[1, 0] ** (k - both)
                * matrix[0, 1] ** (other - both)
                * matrix[0, 0] ** (d - k - other + both)
                for both in range(max(0, k + other - d), min(k, other) + 1)
            )
            power[k, other] = math.sqrt(math.comb(d, k) / math.comb(d, other)) * total
    return power


@functools.cache
def inverse_block(d: int, other: int, shift: float) -> np.ndarray:
    """Inverse of the operator on spins d/2 and other/2, ``[d + 1, other + 1, d + 1, other + 1]``."""
    grams = [np.kron(symmetric_power(gram, d), symmetric_power(gram, other)) for gram in (AND_GRAM, OR_GRAM)]
    values, vectors = np.linalg.eigh(grams[0] + grams[1])
    inverse = (vectors / (values + shift)) @ vectors.T
    return inverse.reshape(d + 1, other + 1, d + 1, other + 1)


def solve_gram(right_side: Array, shift: float) -> Array:
    r"""``(Z Z^T + R Z Z^T R + shift)^{-1} r`` for ``r[2**n, lanes]``; Z is the zeta transform, R swaps T and N∖T."""
    size, lanes = right_side.shape
    num_players, dtype = size.bit_length() - 1, right_side.dtype
    half = num_players // 2
    einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    (outer, outer_layout), (inner, inner_layout) = spin_basis(num_players - half), spin_basis(half)
    outer, inner = jnp.asarray(outer, dtype), jnp.asarray(inner, dtype)
    table = right_side.reshape(outer.shape[0], inner.shape[0], lanes)
    table = einsum("ij,pjb->pib", inner, einsum("pq,qjb->pjb", outer, table))
    rows = []
    for d, start, num_paths in outer_layout:
        stop = start + num_paths * (d + 1)
        columns = []
        for other, first, num_others in inner_layout:
            last = first + num_others * (other + 1)
            block = table[start:stop, first:last].reshape(num_paths, d + 1, num_others, other + 1, lanes)
            inverse = jnp.asarray(inverse_block(d, other, shift), dtype)
            columns.append(einsum("klmn,pmqnb->pkqlb", inverse, block).reshape(stop - start, last - first, lanes))
        rows.append(jnp.concatenate(columns, axis=1))
    table = jnp.concatenate(rows, axis=0)
    table = einsum("qp,qjb->pjb", outer, einsum("ij,pib->pjb", inner, table))
    return table.reshape(size, lanes)
