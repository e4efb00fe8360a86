"""Configurations moved, turned and mirrored at random, as a lattice knows no place and no direction."""

import functools

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
        values: ``[..., *shape]``, real numbers, integers or booleans.

    Raises:
        ValueError: no typed key, no lattice, or values that are complex or of another shape.

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
    matrices, corners = _point_symmetries(lattice)
    turn_key, *move_keys = jax.random.split(key, 1 + lattice.ndim)
    turns = jax.random.randint(turn_key, (len(flat),), 0, len(matrices), dtype=jnp.int32)
    places = jnp.asarray(np.indices(lattice.shape, np.int32).reshape(lattice.ndim, -1))
    index = jnp.zeros((), jnp.int32)
    for axis, (side, wraps) in enumerate(zip(lattice.shape, lattice.periodic, strict=True)):
        # Integers: a sum over the axes, not a product of matrices, which is slow for them.
        there = jnp.asarray(corners[:, axis])[turns][:, None]
        for other in range(lattice.ndim):
            there = there + jnp.asarray(matrices[:, axis, other])[turns][:, None] * places[other][None]
        if wraps:
            there = there + jax.random.randint(move_keys[axis], (len(flat), 1), 0, side, dtype=jnp.int32)
        index = index * side + there % side
    return jnp.take_along_axis(flat, index, axis=1).reshape(values.shape)


@functools.lru_cache(maxsize=64)
def _point_symmetries(lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Matrices ``[num, ndim, ndim]`` of the point group that keep the box, and ``[num, ndim]`` where its corner goes.

    All of them map bonds onto bonds. A way around a periodic side must come out as ways around periodic sides, and an
    open side as one of its length.
    """
    sides, wraps = np.array(lattice.shape), np.array(lattice.periodic)
    matrices, corners = [], []
    for matrix in np.array(point_group(lattice), np.int32):
        around = matrix[:, wraps] * sides[wraps]
        is_closed = not np.any(around[wraps] % sides[wraps][:, None]) and not np.any(around[~wraps])
        across = np.abs(matrix[~wraps][:, ~wraps])
        is_box = np.all(np.sum(across, axis=1) == 1) and np.array_equal(across @ sides[~wraps], sides[~wraps])
        if is_closed and is_box:
            matrices.append(matrix)
            corners.append(np.where(~wraps & np.any(matrix < 0, axis=1), sides - 1, 0))
    return np.array(matrices, np.int32), np.array(corners, np.int32)
