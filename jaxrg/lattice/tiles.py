"""Clusters inside the tiles of a square lattice, by elementwise operations on bytes that run over all tiles at once."""

from dataclasses import dataclass
from math import prod

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_SIDE = 16  # 16 × 16 sites are numbered 0..255, so that a label inside a tile is one byte
_TILES_PER_GROUP = 2048  # of 256 bytes each: the labels of a group stay in the second-level cache of a CPU
_RIGHT, _DOWN = np.uint8(1), np.uint8(2)


@dataclass(frozen=True)
class Tiling:
    """A stack of lattices of one shape, each cut into a grid of tiles; the last row and column of tiles may stick out.

    Attributes:
        num_lattices: lattices in the stack; they share no bonds.
        sides: sites of a lattice along each axis.
    """

    num_lattices: int
    sides: tuple[int, int]

    @property
    def tile(self) -> tuple[int, int]:
        """Sites of a tile along each axis, powers of two."""
        rows, columns = (min(_SIDE, 1 << (side - 1).bit_length()) for side in self.sides)
        return rows, columns

    @property
    def grid(self) -> tuple[int, int, int]:
        """Lattices, rows of tiles in a lattice, columns of tiles."""
        rows, columns = (-(-side // length) for side, length in zip(self.sides, self.tile, strict=True))
        return self.num_lattices, rows, columns

    @property
    def last(self) -> tuple[int, int]:
        """Where, inside the last tile along each axis, the lattice ends."""
        rows, columns = ((side - 1) % length for side, length in zip(self.sides, self.tile, strict=True))
        return rows, columns

    @property
    def num_tiles(self) -> int:
        return prod(self.grid)

    @property
    def tile_size(self) -> int:
        """Sites of a tile."""
        return prod(self.tile)


def pack_bonds(right: Array, down: Array, periodic: tuple[bool, bool], tiling: Tiling) -> Array:
    """Both bonds of every site as a byte, ``[lattices, grid rows, tile rows, grid columns, tile columns]``.

    Sites that stick out get no bonds. The bonds that close a periodic axis may then join the last sites to one of these
    as well: it is a dead end with a larger number inside the tile, which changes no label.
    """
    _, *sides = right.shape
    for axis, closes in enumerate(periodic):
        inner = lax.broadcasted_iota(jnp.int32, right.shape, axis + 1) < sides[axis] - 1
        if not closes:
            right, down = (right & inner, down) if axis == 1 else (right, down & inner)
    bits = right.astype(jnp.uint8) * _RIGHT | down.astype(jnp.uint8) * _DOWN
    (_, rows, columns), (height, width) = tiling.grid, tiling.tile
    beyond = [(0, 0), (0, rows * height - sides[0]), (0, columns * width - sides[1])]
    return jnp.pad(bits, beyond).reshape(-1, rows, height, columns, width)


def label_tiles(bits: Array, tiling: Tiling) -> Array:
    """Label the clusters inside each tile by their smallest site, the sites of a tile being numbered row by row.

    Args:
        bits: packed bonds, as from :func:`pack_bonds`.

    Returns:
        ``[groups, tile rows, tile columns, rows of tiles in a group, grid columns]`` uint8; the groups go through the
        rows of tiles of all lattices in order, and past the last.
    """
    (lattices, rows, columns), (height, width) = tiling.grid, tiling.tile
    num_groups = -(-lattices * rows * columns // _TILES_PER_GROUP)
    rows_per_group = -(-lattices * rows // num_groups)
    num_groups = -(-lattices * rows // rows_per_group)
    bits = jnp.pad(
        bits.reshape(-1, height, columns, width), [(0, num_groups * rows_per_group - lattices * rows)] + [(0, 0)] * 3
    )
    labels = lax.map(_label_group, bits.reshape(num_groups, rows_per_group, height, columns, width))
    return labels.reshape(num_groups, height, width, rows_per_group, columns)


def _label_group(bits: Array) -> Array:
    """``[tile rows, tile columns, num_tiles]`` labels of the packed bonds of some rows of tiles."""
    _, height, _, width = bits.shape
    # A loop's result is stored once; without one XLA would repeat the transposition, byte by byte, in each consumer.
    bits = lax.map(lambda row: row.transpose(2, 0, 1).reshape(width, -1), bits.transpose(1, 0, 2, 3))
    num_tiles = bits.shape[-1]
    labels = jnp.arange(height * width, dtype=jnp.uint8).reshape(height, width, 1)
    labels = jnp.broadcast_to(labels, bits.shape)
    rows = columns = 1  # of the blocks whose labels are final
    while (rows, columns) != (height, width):
        if columns < width:
            pairs = (height // rows, rows, width // (2 * columns), 2 * columns, num_tiles)
            labels = _merge(labels.reshape(pairs), bits.reshape(pairs) & _RIGHT, 3).reshape(bits.shape)
            columns *= 2
        if rows < height:
            pairs = (height // (2 * rows), 2 * rows, width // columns, columns, num_tiles)
            labels = _merge(labels.reshape(pairs), bits.reshape(pairs) & _DOWN, 1).reshape(bits.shape)
            rows *= 2
    return labels


def _merge(labels: Array, bond: Array, axis: int) -> Array:
    """Merge pairs of blocks across the seam in the middle of ``axis``; the seam runs along axis ``4 - axis``."""
    along = 4 - axis
    middle = labels.shape[axis] // 2
    here, there = (lax.slice_in_dim(labels, middle + step, middle + step + 1, axis=axis) for step in (-1, 0))
    there = jnp.where(lax.slice_in_dim(bond, middle - 1, middle, axis=axis) != 0, there, here)
    shift = [(-1, 1, 0) if dimension == along else (0, 0, 0) for dimension in range(5)]

    def step(_, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        # The seam moves past a window that always looks at its first bond: fixed slices vectorise, moving ones do not.
        labels, here, there = state
        first, second = (lax.slice_in_dim(side, 0, 1, axis=along) for side in (here, there))
        low, high = jnp.minimum(first, second), jnp.maximum(first, second)
        here, there = (lax.pad(side, np.uint8(0), shift) for side in (here, there))
        labels, here, there = (jnp.where(array == high, low, array) for array in (labels, here, there))
        return labels, here, there

    return lax.fori_loop(0, labels.shape[along], step, (labels, here, there))[0]


def border_labels(labels: Array, tiling: Tiling) -> Array:
    """``[*grid, 2 * (tile rows + tile columns)]`` labels along the right, lower, left and upper border of each tile.

    In the last tiles of an axis the right or lower border is where the lattice ends.
    """
    (last_row, last_column), (height, width) = tiling.last, tiling.tile
    right, right_end, left = (_by_tile(labels[:, :, y], tiling) for y in (width - 1, last_column, 0))
    lower, lower_end, upper = (_by_tile(labels[:, x], tiling) for x in (height - 1, last_row, 0))
    return jnp.concatenate([_at_end(right, right_end, 2), _at_end(lower, lower_end, 1), left, upper], axis=-1)


def border_bonds(bits: Array, tiling: Tiling) -> Array:
    """``[*grid, tile rows + tile columns]`` bool, the bonds from the right and the lower border of each tile."""
    (last_row, last_column), (height, width) = tiling.last, tiling.tile
    right, right_end = (bits[..., y].transpose(0, 1, 3, 2) & _RIGHT for y in (width - 1, last_column))
    lower, lower_end = (bits[:, :, x] & _DOWN for x in (height - 1, last_row))
    return jnp.concatenate([_at_end(right, right_end, 2), _at_end(lower, lower_end, 1)], axis=-1) != 0


def across_borders(border: Array, tiling: Tiling) -> tuple[Array, Array]:
    """``[*grid, tile rows + tile columns]`` values on both sides of the right and the lower border of each tile."""
    here, left, upper = jnp.split(border, [sum(tiling.tile), sum(tiling.tile) + tiling.tile[0]], axis=-1)
    return here, jnp.concatenate([jnp.roll(left, -1, axis=2), jnp.roll(upper, -1, axis=1)], axis=-1)


def sites_of_tiles(tiling: Tiling) -> Array:
    """``[*grid, tile rows, tile columns]`` int32, the flat index in its lattice of each site of each tile."""
    shape = (*tiling.grid, *tiling.tile)
    row, column, x, y = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (1, 2, 3, 4))
    (height, width), (_, side) = tiling.tile, tiling.sides
    return (row * height + x) * side + column * width + y


def tile_cluster_of_sites(labels: Array, tiling: Tiling) -> Array:
    """``[num_lattices, *sides]`` int32: tile times tile size plus label."""
    (lattices, rows, columns), (height, width) = tiling.grid, tiling.tile
    labels = labels.transpose(0, 3, 1, 4, 2).reshape(-1, height, columns, width)[: lattices * rows]
    labels = labels.reshape(lattices, rows * height, columns * width)[:, : tiling.sides[0], : tiling.sides[1]]
    lattice, x, y = (lax.broadcasted_iota(jnp.int32, labels.shape, axis) for axis in (0, 1, 2))
    tile = (lattice * rows + x // height) * columns + y // width
    return tile * tiling.tile_size + labels.astype(jnp.int32)


def _by_tile(side: Array, tiling: Tiling) -> Array:
    """``[*grid, length]`` from ``[groups, length, rows of a group, columns]``."""
    lattices, rows, columns = tiling.grid
    side = side.transpose(0, 2, 3, 1).reshape(-1, columns, side.shape[1])
    return side[: lattices * rows].reshape(*tiling.grid, -1)


def _at_end(inner: Array, end: Array, axis: int) -> Array:
    index = lax.broadcasted_iota(jnp.int32, inner.shape, axis)
    return jnp.where(index == inner.shape[axis] - 1, end, inner)
