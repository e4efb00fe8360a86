"""Block views: a lattice as cells of block**ndim sites, and back."""

from collections.abc import Sequence

from jax import Array

from jaxrg.checks import check_count


def block_shape(shape: Sequence[int], block: int) -> tuple[int, ...]:
    """Sides of the lattice of blocks.

    Raises:
        ValueError: a side is not a multiple of the block.
    """
    check_count("block", block)
    if any(side % block for side in shape):
        raise ValueError(f"block: expected a divisor of every side of {tuple(shape)}, got {block}")
    return tuple(side // block for side in shape)


def to_blocks(values: Array, block: int) -> Array:
    """The sites of every block along one new last axis, ``[*shape] -> [*coarse_shape, block**ndim]``.

    Raises:
        ValueError: a side is not a multiple of ``block``.

    Example:
        >>> to_blocks(jnp.arange(16).reshape(4, 4), 2)[0, 1].tolist()
        [2, 3, 6, 7]
    """
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
    *coarse, sites = blocks.shape
    ndim = len(coarse)
    if sites != block**ndim:
        raise ValueError(f"blocks: expected a last axis of {block}**{ndim} = {block**ndim} sites, got {sites}")
    split = blocks.reshape((*coarse, *[block] * ndim))
    interleaved = split.transpose([axis for d in range(ndim) for axis in (d, ndim + d)])
    return interleaved.reshape([side * block for side in coarse])
