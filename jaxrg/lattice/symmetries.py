"""Configurations moved, turned and mirrored at random, as a lattice knows no place and no direction."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_array, check_key, kind_of
from jaxrg.lattice.geometry import Lattice, check_lattice
from jaxrg.lattice.operators import point_group


def random_symmetry(key: Array, lattice: Lattice, values: Array) -> Array:
    r"""Every configuration under a symmetry of the lattice of its own, all of them equally likely.

    .. math:: \phi'(x) = \phi(g x + t)

    with g from the point group, so far as it keeps the sides and the boundaries, and t a translation along the periodic
    axes. What learns from such configurations learns from as many times more of them.

    Args:
        key: typed key; the same one gives the same symmetries, for parts of a field with several components.
        lattice: whose symmetries are meant.
        values: ``[..., *shape]``, any dtype.

    Raises:
        ValueError: no typed key, no lattice, or values of another shape.

    Example:
        >>> from jaxrg.lattice import hypercubic
        >>> random_symmetry(jax.random.key(2), hypercubic((4,)), jnp.arange(8).reshape(2, 4)).tolist()
        [[3, 0, 1, 2], [5, 4, 7, 6]]
    """
    check_key("key", key)
    geometry, array = check_lattice("lattice", lattice), as_array("values", values)
    if array.shape[max(0, array.ndim - geometry.ndim) :] != geometry.shape:
        sides = ", ".join(map(str, geometry.shape))
        raise ValueError(f"values: expected [..., {sides}], got {kind_of(values)}")
    return _random_symmetry(key, array, geometry)


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _random_symmetry(key: Array, values: Array, lattice: Lattice) -> Array:
    flat = values.reshape(-1, lattice.num_sites)
    matrices, origins = _point_symmetries(lattice)
    turn_key, *move_keys = jax.random.split(key, 1 + lattice.ndim)
    turns = jax.random.randint(turn_key, (len(flat),), 0, len(matrices), dtype=jnp.int32)
    places = jnp.asarray(np.indices(lattice.shape, np.int32).reshape(lattice.ndim, -1))
    index = jnp.zeros((), jnp.int32)
    for axis, (side, wraps) in enumerate(zip(lattice.shape, lattice.periodic, strict=True)):
        # Integers: a sum over the axes, not a product of matrices, which is slow for them.
        there = jnp.asarray(origins[:, axis])[turns][:, None]
        for other in range(lattice.ndim):
            there = there + jnp.asarray(matrices[:, axis, other])[turns][:, None] * places[other][None]
        if wraps:
            there = there + jax.random.randint(move_keys[axis], (len(flat), 1), 0, side, dtype=jnp.int32)
        index = index * side + there % side
    return jnp.take_along_axis(flat, index, axis=1).reshape(values.shape)


@functools.lru_cache(maxsize=64)
def _point_symmetries(lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Matrices ``[num, ndim, ndim]`` of the point group and origins ``[num, ndim]`` that map all bonds onto bonds."""
    places = np.indices(lattice.shape).reshape(lattice.ndim, lattice.num_sites)
    sides, edges = np.array(lattice.shape)[:, None], lattice.edges().astype(np.int64)

    def sorted_pairs(ends: np.ndarray) -> np.ndarray:
        return np.sort(ends.min(axis=1) * math.prod(lattice.shape) + ends.max(axis=1))

    matrices, origins = [], []
    for matrix in np.array(point_group(lattice), np.int32):
        moved = matrix @ places
        origin = np.where(lattice.periodic, 0, -moved.min(axis=1))
        moved = moved + origin[:, None]
        if np.any((moved >= sides) & ~np.array(lattice.periodic)[:, None]):
            continue
        index = np.asarray(np.ravel_multi_index(tuple(moved % sides), lattice.shape))
        is_permutation = len(np.unique(index)) == lattice.num_sites
        if is_permutation and np.array_equal(sorted_pairs(index[edges]), sorted_pairs(edges)):
            matrices.append(matrix)
            origins.append(origin)
    return np.array(matrices, np.int32), np.array(origins, np.int32)
