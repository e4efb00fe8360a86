"""The geometry of a hierarchical flow: which sites a block of each pass holds, and which stay behind at each level.

Level h works on the lattice of the sites ``[::2**h]`` of the field. Each of its passes tiles that lattice with blocks
of ``block`` sites a side, moved by the offset of the pass; the bijector of the pass works on all blocks side by side.
Then the even sites go up and the others stay as the latents of the level; the last level keeps all its sites. Nothing
is gathered: a pass is a roll, a reshape and a transposition. The same walk takes NumPy arrays, of indices or of masks.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg.sums import SUM_BLOCK, blocked_sum

FACTOR = 2  # a level halves every side, as both published hierarchies do

Act: TypeAlias = Callable[[int, int, Any], tuple[Any, Any]]
"""``blocks, extra = act(level, number, blocks)`` of one pass: ``[*[block] * ndim, (channels), *blocks, *lanes]``."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Geometry:
    """The tree of scales of a field.

    Attributes:
        sides: of the lattice.
        num_channels: length of the last axis of the field, or None where it has none.
        block: sites along a side of a block.
        num_levels: number of levels.
        offsets: of every pass along every axis, in sites of the level, in the order of renormalisation.
        is_periodic: whether blocks wrap around; else a moved pass leaves the sites of its partial blocks alone.
        has_top: whether one more bijector acts on the whole lattice of the last level.
    """

    sides: tuple[int, ...]
    num_channels: int | None
    block: int
    num_levels: int
    offsets: tuple[tuple[int, ...], ...]
    is_periodic: bool
    has_top: bool

    @property
    def ndim(self) -> int:
        """Number of axes of the lattice."""
        return len(self.sides)

    @property
    def channels(self) -> tuple[int, ...]:
        """The axis of channels, or nothing."""
        return () if self.num_channels is None else (self.num_channels,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a field."""
        return self.sides + self.channels

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of a block."""
        return (self.block,) * self.ndim + self.channels

    @property
    def latent_shapes(self) -> dict[int, tuple[int, ...]]:
        """Shape of the latents of every level: sites of a cell that stay, cells, channels; at the top, sites."""
        return shapes_by_level(self.sides, self.num_levels, self.channels)

    def without_channels(self) -> "Geometry":
        """The same tree of a field of one number a site."""
        return dataclasses.replace(self, num_channels=None)

    def sides_of(self, level: int) -> tuple[int, ...]:
        """Sides of the lattice of a level."""
        return tuple(side // FACTOR**level for side in self.sides)

    def num_blocks(self, level: int, number: int) -> tuple[int, ...]:
        """Blocks along every axis in one pass; none where a moved pass without wrap finds no whole block."""
        starts = (0,) * self.ndim if self.is_periodic else self.offsets[number]
        return tuple(
            max(0, side - start) // self.block for side, start in zip(self.sides_of(level), starts, strict=True)
        )

    def is_empty(self, level: int, number: int) -> bool:
        """Whether a pass has no blocks."""
        return 0 in self.num_blocks(level, number)


def shapes_by_level(sides: tuple[int, ...], num_levels: int, channels: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Of each level the sites of a cell that stay, the cells, channels; at the top, all sites."""
    found, stay = {}, FACTOR ** len(sides) - 1
    for level in range(num_levels - 1):
        sides = tuple(side // FACTOR for side in sides)
        found[level] = (stay, *sides, *channels)
    return found | {num_levels - 1: sides + channels}


def _axes(ndim: int, num_inner: int, size: int) -> list[int]:
    """Order of axes that brings those inside a cell first, with the inner axes that follow the lattice."""
    inside, cells = range(1, 2 * ndim, 2), range(0, 2 * ndim, 2)
    inner = range(2 * ndim, 2 * ndim + num_inner)
    return [*inside, *inner, *cells, *range(2 * ndim + num_inner, size)]


def to_cells(values: Any, cell: int, ndim: int, num_inner: int = 0) -> Any:
    """``[*sides, *inner, *rest] -> [*[cell] * ndim, *inner, *cells, *rest]``, cells = sides / cell."""
    split = [size for side in values.shape[:ndim] for size in (side // cell, cell)]
    values = values.reshape((*split, *values.shape[ndim:]))
    return values.transpose(_axes(ndim, num_inner, values.ndim))


def from_cells(values: Any, ndim: int, num_inner: int = 0) -> Any:
    """Inverse of `to_cells`."""
    values = values.transpose(np.argsort(_axes(ndim, num_inner, values.ndim)).tolist())
    sides = [values.shape[2 * axis] * values.shape[2 * axis + 1] for axis in range(ndim)]
    return values.reshape((*sides, *values.shape[2 * ndim :]))


def _numpy_of(values: Any) -> Any:
    return np if isinstance(values, np.ndarray) else jnp


def _moved(values: Any, starts: Any) -> Any:
    """The periodic array with the site ``starts`` first."""
    if isinstance(starts, jax.Array):  # of one of several passes that are compiled as one
        for axis in range(starts.shape[0]):
            side, twice = values.shape[axis], jnp.concatenate([values, values], axis=axis)
            values = jax.lax.dynamic_slice_in_dim(twice, starts[axis] % side, side, axis)
        return values
    axes = [axis for axis, start in enumerate(starts) if start]
    return _numpy_of(values).roll(values, [-starts[axis] for axis in axes], axes) if axes else values


def on_blocks(geometry: Geometry, level: int, number: Any, act: Act, values: Any) -> tuple[Any, Any]:
    """One pass: what ``act`` makes of all blocks, put back, and what else it returns; with wrap, of a traced number."""
    if geometry.is_periodic:
        starts = jnp.array(geometry.offsets)[number] if isinstance(number, jax.Array) else geometry.offsets[number]
        window, extra = _on_window(geometry, level, number, act, _moved(values, starts))
        back = -starts if isinstance(starts, jax.Array) else tuple(-start for start in starts)
        return _moved(window, back), extra
    counts = zip(geometry.offsets[number], geometry.num_blocks(level, number), strict=True)
    inside = tuple(slice(start, start + count * geometry.block) for start, count in counts)
    window, extra = _on_window(geometry, level, number, act, values[inside])
    if isinstance(values, np.ndarray):
        values = values.copy()
        values[inside] = window
        return values, extra
    return values.at[inside].set(window), extra


def _on_window(geometry: Geometry, level: int, number: Any, act: Act, window: Any) -> tuple[Any, Any]:
    num_inner = len(geometry.channels)
    blocks, extra = act(level, number, to_cells(window, geometry.block, geometry.ndim, num_inner))
    return from_cells(blocks, geometry.ndim, num_inner), extra


def split(values: Any, ndim: int) -> tuple[Any, Any]:
    """The even sites of a level, and the others as ``[2**ndim - 1, *coarse_sides, ...]``."""
    cells = to_cells(values, FACTOR, ndim)
    cells = cells.reshape((FACTOR**ndim, *cells.shape[ndim:]))
    return cells[0], cells[1:]


def merge(coarse: Any, latents: Any, ndim: int) -> Any:
    """Inverse of `split`."""
    cells = _numpy_of(coarse).concatenate([coarse[None], latents])
    return from_cells(cells.reshape((*[FACTOR] * ndim, *coarse.shape)), ndim)


def by_level(lattice: Any, num_levels: int, ndim: int) -> dict[int, Any]:
    """Sites of a lattice ``[*sides, ...]`` by the level at which they stay behind, as of `Geometry.latent_shapes`."""
    levels = {}
    for level in range(num_levels - 1):
        lattice, levels[level] = split(lattice, ndim)
    return levels | {num_levels - 1: lattice}


def over_lattice(levels: dict[int, Any], ndim: int) -> Any:
    """Inverse of `by_level`."""
    top = len(levels) - 1
    return functools.reduce(lambda coarse, level: merge(coarse, levels[level], ndim), reversed(range(top)), levels[top])


def passes(geometry: Geometry, level: int) -> list[int]:
    """Numbers of the passes of a level that have blocks, in the order of renormalisation."""
    return [number for number in range(len(geometry.offsets)) if not geometry.is_empty(level, number)]


def _in_turn(
    geometry: Geometry, level: int, numbers: list[int], act: Act, field: Any, is_one: bool
) -> tuple[Any, list[Any]]:
    """Passes of a level one after the other; as one that is repeated where they are alike, which compiles once."""
    if is_one and geometry.is_periodic and len(numbers) > 1:
        field, extras = jax.lax.scan(
            lambda field, number: on_blocks(geometry, level, number, act, field), field, jnp.array(numbers)
        )
        leaves, structure = jax.tree.flatten(extras)
        return field, [structure.unflatten(parts) for parts in zip(*leaves, strict=True)]
    found = []
    for number in numbers:
        field, extra = on_blocks(geometry, level, number, act, field)
        found.append(extra)
    return field, found


def renormalise(
    geometry: Geometry, act: Act, field: Any, are_alike: Callable[[int], bool] = lambda _: False
) -> tuple[dict[int, Any], list[Any]]:
    """From a field ``[*shape, *lanes]`` to the latents of all levels, and the extras of all passes.

    Where the passes of a level are alike, ``act`` gets their number as a traced array.
    """
    latents, extras = {}, []
    for level in range(geometry.num_levels):
        field, found = _in_turn(geometry, level, passes(geometry, level), act, field, are_alike(level))
        extras += found
        if level < geometry.num_levels - 1:
            field, latents[level] = split(field, geometry.ndim)
    return latents | {geometry.num_levels - 1: field}, extras


def generate(
    geometry: Geometry, act: Act, latents: dict[int, Any], are_alike: Callable[[int], bool] = lambda _: False
) -> tuple[Any, list[Any]]:
    """From latents to the field, the walk of `renormalise` backwards."""
    field, extras = latents[geometry.num_levels - 1], []
    for level in reversed(range(geometry.num_levels)):
        if level < geometry.num_levels - 1:
            field = merge(field, latents[level], geometry.ndim)
        field, found = _in_turn(geometry, level, passes(geometry, level)[::-1], act, field, are_alike(level))
        extras += found
    return field, extras


def sum_of_blocks(log_dets: Any, ndim: int) -> Any:
    """``[*blocks, *lanes] -> [*lanes]`` log-determinants of all blocks; in short sums, which float32 needs."""
    count = math.prod(log_dets.shape[:ndim])
    flat = log_dets.reshape((count, *log_dets.shape[ndim:]))
    return jnp.sum(flat, axis=0) if count <= SUM_BLOCK else blocked_sum(flat)
