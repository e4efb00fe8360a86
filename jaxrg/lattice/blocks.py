"""Block views: a lattice as cells of block**ndim sites, and back."""

import functools
from collections.abc import Sequence

import jax
from jax import Array

from jaxrg.checks import as_array, as_count, as_sides


def block_shape(shape: Sequence[int], block: int) -> tuple[int, ...]:
    """Sides of the lattice of blocks.

    Raises:
        ValueError: a side is not a multiple of the block.
    """
    sides, length = as_sides("shape", shape), as_count("block", block)
    if any(side % length for side in sides):
        raise ValueError(f"block: expected a divisor of every side of {sides}, got {length}")
    return tuple(side // length for side in sides)


def to_blocks(values: Array, block: int) -> Array:
    """The sites of every block along one new last axis, ``[*shape] -> [*coarse_shape, block**ndim]``.

    Raises:
        ValueError: a side is not a multiple of ``block``.

    Example:
        >>> to_blocks(jnp.arange(16).reshape(4, 4), 2)[0, 1].tolist()
        [2, 3, 6, 7]
    """
    array = as_array("values", values)
    block_shape(array.shape, block)
    return _to_blocks(array, int(block))


@functools.partial(jax.jit, static_argnames="block", inline=True)
def _to_blocks(values: Array, block: int) -> Array:
    coarse = block_shape(values.shape, block)
    ndim = len(coarse)
    split = values.reshape([size for side in coarse for size in (side, block)])
    within_last = split.transpose([*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)])
    return within_last.reshape((*coarse, block**ndim))


def from_blocks(blocks: Array, block: int) -> Array:
    """Inverse of `to_blocks`, ``[*coarse_shape, block**ndim] -> [*shape]``.

    Raises:
        ValueError: the last axis does not hold ``block**ndim`` sites.
    """
    array, length = as_array("blocks", blocks), as_count("block", block)
    if not array.ndim:
        raise ValueError("blocks: expected a last axis of the sites of a block, got a scalar")
    *coarse, sites = array.shape
    expected = length ** len(coarse)
    if sites != expected:
        raise ValueError(f"blocks: expected a last axis of {length}**{len(coarse)} = {expected} sites, got {sites}")
    return _from_blocks(array, length)


@functools.partial(jax.jit, static_argnames="block", inline=True)
def _from_blocks(blocks: Array, block: int) -> Array:
    *coarse, _ = blocks.shape
    ndim = len(coarse)
    split = blocks.reshape((*coarse, *[block] * ndim))
    interleaved = split.transpose([axis for d in range(ndim) for axis in (d, ndim + d)])
    return interleaved.reshape([side * block for side in coarse])
