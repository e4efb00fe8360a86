"""Translation-invariant lattices: sides, boundaries and one offset for each direction of bond."""

import dataclasses
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count

Offset = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Sites ``x`` of a box with a bond from ``x`` to ``x + b`` for every offset ``b`` in ``bonds``; hashable, static.

    A periodic side of two sites carries both bonds between a pair, as the torus formulas count them.

    Attributes:
        shape: number of sites along each axis.
        periodic: whether each axis wraps around.
        bonds: one offset per direction of bond, half of a site's neighbours.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    bonds: tuple[Offset, ...]

    def __post_init__(self) -> None:
        for side, wraps in zip(self.shape, self.periodic, strict=True):
            check_count("shape", side, minimum=2 if wraps else 1)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def num_sites(self) -> int:
        return math.prod(self.shape)

    @property
    def coordination_number(self) -> int:
        """Neighbours of a site far from any open boundary."""
        return 2 * len(self.bonds)

    @property
    def num_bonds(self) -> int:
        return sum(int(inside(self, bond).sum()) for bond in self.bonds)

    def bonds_inside(self) -> np.ndarray:
        """``[num_directions, *shape]`` bool: whether the bond from ``x`` to ``x + b`` stays within open boundaries."""
        return np.stack([inside(self, bond) for bond in self.bonds])

    def edges(self) -> np.ndarray:
        """``[num_bonds, 2]`` int32 flat indices of the sites each bond joins, direction by direction."""
        index = np.arange(self.num_sites, dtype=np.int32).reshape(self.shape)
        pairs = []
        for bond in self.bonds:
            kept = inside(self, bond)
            other = np.roll(index, tuple(-step for step in bond), axis=tuple(range(self.ndim)))
            pairs.append(np.stack([index[kept], other[kept]], axis=-1))
        return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int32)


def _boundaries(shape: Sequence[int], periodic: bool | Sequence[bool]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    sides = tuple(shape)
    wraps = (bool(periodic),) * len(sides) if isinstance(periodic, (bool, np.bool_)) else tuple(map(bool, periodic))
    if len(wraps) != len(sides):
        raise ValueError(f"periodic: expected one flag or {len(sides)}, one for each side, got {len(wraps)}")
    return sides, wraps


def hypercubic(shape: Sequence[int], *, periodic: bool | Sequence[bool] = True) -> Lattice:
    """Chain, square, cubic or four-dimensional hypercubic lattice.

    Args:
        shape: one to four sides, in sites.
        periodic: one flag for all axes or one for each.

    Raises:
        ValueError: no or more than four sides, or a side below one site (two where periodic).

    Example:
        >>> hypercubic((4, 4)).num_bonds, hypercubic((4, 4), periodic=False).num_bonds
        (32, 24)
    """
    sides, wraps = _boundaries(shape, periodic)
    if not 1 <= len(sides) <= 4:
        raise ValueError(f"shape: expected 1 to 4 sides, got {len(sides)}")
    bonds = tuple(tuple(int(axis == d) for axis in range(len(sides))) for d in range(len(sides)))
    return Lattice(sides, wraps, bonds)


def triangular(shape: Sequence[int], *, periodic: bool | Sequence[bool] = True) -> Lattice:
    """Triangular lattice, as a sheared square one: six neighbours (±1, 0), (0, ±1) and ±(1, -1).

    Raises:
        ValueError: other than two sides, or a side below one site (two where periodic).

    Example:
        >>> triangular((3, 3)).coordination_number
        6
    """
    sides, wraps = _boundaries(shape, periodic)
    if len(sides) != 2:
        raise ValueError(f"shape: expected 2 sides, got {len(sides)}")
    return Lattice(sides, wraps, ((1, 0), (0, 1), (1, -1)))


def inside(lattice: Lattice, offset: Offset) -> np.ndarray:
    """``[*shape]`` bool: whether ``x + offset`` is a site (always along a periodic axis)."""
    kept = np.ones(lattice.shape, bool)
    for axis, (side, wraps, step) in enumerate(zip(lattice.shape, lattice.periodic, offset, strict=True)):
        if not wraps:
            position = np.arange(side) + step
            along = [1] * lattice.ndim
            along[axis] = side
            kept = kept & ((position >= 0) & (position < side)).reshape(along)
    return kept


def shift(lattice: Lattice, values: Array, offset: Offset) -> Array:
    """``values[x + offset]`` at every site ``x``; zero where ``x + offset`` lies outside an open boundary.

    Args:
        lattice: whose boundaries decide what lies beyond an edge.
        values: ``[*shape]``, any dtype.
        offset: one step count for each axis.

    Example:
        >>> shift(hypercubic((3,), periodic=False), jnp.array([1, 2, 3]), (1,)).tolist()
        [2, 3, 0]
    """
    moved = tuple(axis for axis, step in enumerate(offset) if step)
    if moved:
        values = jnp.roll(values, tuple(-offset[axis] for axis in moved), axis=moved)
    kept = inside(lattice, offset)
    return values if kept.all() else jnp.where(kept, values, 0)
