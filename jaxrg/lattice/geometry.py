"""Translation-invariant lattices: sides, boundaries and one offset for each direction of bond."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_array, as_sides, check_count, check_shape, kind_of

Offset = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Sites ``x`` of a box with a bond from ``x`` to ``x + b`` for every offset ``b`` in ``bonds``; hashable, static.

    A periodic side of two sites carries both bonds between a pair, as the torus formulas count them.

    Attributes:
        shape: number of sites along each axis.
        periodic: whether each axis wraps around.
        bonds: one offset per direction of bond, half of a site's neighbours.

    Raises:
        ValueError: no sides, one below one site (two where periodic), flags that are no booleans or not one for each
            side, or bonds that are no integer steps along each axis or that end where they start.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    bonds: tuple[Offset, ...]

    def __post_init__(self) -> None:
        sides, wraps = as_boundaries(self.shape, self.periodic)
        if not sides:
            raise ValueError("shape: expected at least one side, got none")
        bonds = tuple(as_offset("bonds", bond, len(sides)) for bond in self.bonds)
        for bond in bonds:
            if not any(step % side if wrap else step for step, side, wrap in zip(bond, sides, wraps, strict=True)):
                raise ValueError(f"bonds: expected steps to another site of {sides}, got {bond}")
        for name, value in (("shape", sides), ("periodic", wraps), ("bonds", bonds)):
            object.__setattr__(self, name, value)

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


def as_flags(name: str, flags: Any, ndim: int) -> tuple[bool, ...]:
    """A flag for each axis from one for all or one for each, or ValueError."""
    given = [flags] * ndim if isinstance(flags, bool | np.bool_) else flags
    is_proper = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes)
    if not is_proper or not all(isinstance(flag, bool | np.bool_) for flag in given):
        raise ValueError(f"{name}: expected True, False or one such flag for each side, got {flags!r}")
    if len(given) != ndim:
        raise ValueError(f"{name}: expected one flag or {ndim}, one for each side, got {len(given)}")
    return tuple(map(bool, given))


def as_boundaries(shape: Any, periodic: Any) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Sides, at least two sites where they wrap around and one elsewhere, and whether they do; or ValueError."""
    sides = as_sides("shape", shape, minimum=2 if periodic is True else 1)
    wraps = as_flags("periodic", periodic, len(sides))
    for side, wrap in zip(sides, wraps, strict=True):
        check_count("shape", side, minimum=2 if wrap else 1)
    return sides, wraps


def as_offset(name: str, offset: Any, ndim: int) -> Offset:
    """A step along each of ``ndim`` axes as ints, or ValueError."""
    steps = list(offset) if isinstance(offset, Iterable) and not isinstance(offset, str | bytes) else [offset]
    if len(steps) != ndim or not all(isinstance(step, int | np.integer) and step is not True for step in steps):
        raise ValueError(f"{name}: expected {ndim} integer steps, one along each axis, got {offset!r}")
    return tuple(int(step) for step in steps)


def check_lattice(name: str, value: Any) -> Lattice:
    """The lattice, or ValueError when it is something else, as a bare shape is."""
    if not isinstance(value, Lattice):
        raise ValueError(f"{name}: expected a Lattice such as lattice.hypercubic((4, 4)), got {kind_of(value)}")
    return value


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
    sides, wraps = as_boundaries(shape, periodic)
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
    sides, wraps = as_boundaries(shape, periodic)
    if len(sides) != 2:
        raise ValueError(f"shape: expected 2 sides, got {len(sides)}")
    return Lattice(sides, wraps, ((1, 0), (0, 1), (1, -1)))


def inside(lattice: Lattice, offset: Offset) -> np.ndarray:
    """``[*shape]`` bool: whether ``x + offset`` is a site (always along a periodic axis).

    Raises:
        ValueError: no lattice, or an offset that is not one integer for each axis.
    """
    geometry = check_lattice("lattice", lattice)
    offset = as_offset("offset", offset, geometry.ndim)
    kept = np.ones(geometry.shape, bool)
    for axis, (side, wraps, step) in enumerate(zip(geometry.shape, geometry.periodic, offset, strict=True)):
        if not wraps:
            position = np.arange(side) + step
            along = [1] * geometry.ndim
            along[axis] = side
            kept = kept & ((position >= 0) & (position < side)).reshape(along)
    return kept


def shift(lattice: Lattice, values: Array, offset: Offset) -> Array:
    """``values[x + offset]`` at every site ``x``; zero where ``x + offset`` lies outside an open boundary.

    Args:
        lattice: whose boundaries decide what lies beyond an edge.
        values: ``[*shape]``, any dtype.
        offset: one step count for each axis.

    Raises:
        ValueError: values of another shape, or an offset that is not one integer for each axis.

    Example:
        >>> shift(hypercubic((3,), periodic=False), jnp.array([1, 2, 3]), (1,)).tolist()
        [2, 3, 0]
    """
    geometry = check_lattice("lattice", lattice)
    array = as_array("values", values)
    check_shape("values", array, geometry.shape)
    return _shift(array, geometry, as_offset("offset", offset, geometry.ndim))


@functools.partial(jax.jit, static_argnames=("lattice", "offset"), inline=True)
def _shift(values: Array, lattice: Lattice, offset: Offset) -> Array:
    moved = tuple(axis for axis, step in enumerate(offset) if step)
    if moved:
        values = jnp.roll(values, tuple(-offset[axis] for axis in moved), axis=moved)
    kept = inside(lattice, offset)
    return values if kept.all() else jnp.where(kept, values, 0)


def laplacian_eigenvalues(lattice: Lattice) -> np.ndarray:
    r"""Eigenvalues of minus the Laplacian of a periodic lattice: the square of every wave vector, on the lattice.

    .. math:: \hat k^2 = \sum_b 4 \sin^2(k \cdot b/2), \qquad
        \sum_{b,x} (\phi_{x+b} - \phi_x)^2 = \frac1N \sum_k \hat k^2 |\tilde\phi_k|^2, \qquad k_\mu = 2\pi n_\mu/L_\mu

    Args:
        lattice: periodic along all axes.

    Returns:
        ``[*shape]`` float64, in the order of ``jnp.fft.fftn``: n from 0 up, negative ones at the end.

    Raises:
        ValueError: no Lattice, or an open side, whose modes are no plane waves.

    Example:
        >>> laplacian_eigenvalues(hypercubic((4,))).round(6).tolist()
        [0.0, 2.0, 4.0, 2.0]
    """
    check_lattice("lattice", lattice)
    if not all(lattice.periodic):
        raise ValueError(f"lattice: expected periodic sides, got {lattice.periodic}")
    waves = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(side) for side in lattice.shape), indexing="ij")
    phases = [sum(step * wave for step, wave in zip(bond, waves, strict=True)) for bond in lattice.bonds]
    return np.sum([4 * np.sin(phase / 2) ** 2 for phase in phases] or [0 * waves[0]], axis=0)
