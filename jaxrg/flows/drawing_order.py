"""In which order the sites of a square lattice are drawn from coarse to fine, and what each pass knows."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_static

from jaxrg.flows.patterns import pass_offsets

SPACING = 4  # of the sites of one pass, in sites of their level
TOP = 4  # side of the coarsest lattice, whose sites know all that were drawn before
IN_CLASS = 4  # passes


class Group(NamedTuple):
    """Four passes of one class of one level, which all have as many targets and are padded to as many inputs."""

    targets: np.ndarray  # [4, num_targets] sites
    inputs: np.ndarray  # [4, num_inputs, num_targets] sites that are known around each
    is_input: np.ndarray  # [4, num_inputs] False for padding
    sites: np.ndarray  # [level_sites] of the lattice of this level
    distances: np.ndarray  # [4, num_targets, level_sites] the entry of a kernel of the level between target and site
    is_known: np.ndarray  # [4, level_sites]


@register_static
@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static of a flow.

    Attributes:
        side: of the square lattice.
        num_pairs: pairs of components of a mixture, which change places under a change of sign.
        num_features: of the hidden layers.
        radius: how far a site sees the known ones around it, in sites of its level.
    """

    side: int
    num_pairs: int
    num_features: int
    radius: float

    @property
    def num_scales(self) -> int:
        """Levels of latents; on top are four sites."""
        return self.side.bit_length() - 1

    @functools.cached_property
    def groups(self) -> tuple[Group, ...]:
        """In the order of drawing: the four sites of the top, then three classes of every level."""
        return tuple(
            Group(*known_around(self.side, passes, radius), *_over_level(self.side, passes, step))
            for passes, radius, step in groups_of_passes(self.side, self.radius)
        )


Passes: TypeAlias = list[tuple[list[tuple[int, int]], np.ndarray]]
"""Of each pass its targets and, ``[side, side]`` bool, what is known before it."""


def groups_of_passes(side: int, radius: float, alone: int = TOP) -> Iterator[tuple[Passes, float, int]]:
    """Passes, how far their targets see, and the spacing of their level, in the order of drawing.

    Levels of up to ``alone`` sites a side are drawn site by site, each given all that are known.
    """
    half, size = side // 2, TOP
    known = np.zeros((side, side), bool)
    corners = [[(half * row, half * column)] for row, column in ((0, 0), (1, 1), (0, 1), (1, 0))]
    yield _as_drawn(known, corners), np.inf, half
    while size <= side:
        step = side // size
        tiles = range(0, size, SPACING)
        offsets = pass_offsets(SPACING)
        for first in range(0, len(offsets), IN_CLASS):
            passes = [
                [(step * (i + a), step * (j + b)) for i in tiles for j in tiles]
                for a, b in offsets[first : first + IN_CLASS]
            ]
            if size <= alone:
                passes = [[site] for sites in passes for site in sites]
            yield _as_drawn(known, passes), radius * step if size > alone else np.inf, step
        size *= 2


def _as_drawn(known: np.ndarray, passes: list[list[tuple[int, int]]]) -> Passes:
    """The passes with what is known before each; their sites become known."""
    found = []
    for targets in passes:
        found.append((targets, known.copy()))
        known[tuple(np.array(targets).T)] = True
    return found


class Around(NamedTuple):
    """The first fields of a `Group`; without wrap ``is_input`` is of each target, ``[passes, inputs, targets]``."""

    targets: np.ndarray
    inputs: np.ndarray
    is_input: np.ndarray


def known_around(side: int, passes: Passes, radius: float, *, is_periodic: bool = True) -> Around:
    """Where the targets of passes find the known sites around them, padded to as many for all."""
    found = []
    for targets, known in passes:
        rows, columns = np.array(targets).T
        offsets = np.argwhere(known) - targets[0]
        if is_periodic or len(targets) > 1:
            offsets = (offsets + side // 2) % side - side // 2
        # The pattern of known sites repeats from target to target, so the first one's offsets are those of all.
        offsets = offsets[np.sum(offsets**2, axis=1) <= radius**2 * (1 + 1e-6)]
        around = np.stack([rows + offsets[:, :1], columns + offsets[:, 1:]])
        is_inside = np.all((around >= 0) & (around < side), axis=0)
        around = around % side
        found.append((rows * side + columns, around[0] * side + around[1], is_inside))
    num_inputs = max(len(around) for _, around, _ in found)
    padding = [((0, num_inputs - len(around)), (0, 0)) for _, around, _ in found]
    inputs = np.stack([np.pad(around, pad) for (_, around, _), pad in zip(found, padding, strict=True)])
    is_input = np.stack([np.pad(inside, pad) for (_, _, inside), pad in zip(found, padding, strict=True)])
    if is_periodic:
        is_input = np.arange(num_inputs) < np.array([[len(around)] for _, around, _ in found])
    return Around(np.stack([targets for targets, _, _ in found]).astype(np.int32), inputs.astype(np.int32), is_input)


def _over_level(side: int, passes: Passes, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sites of the level, their distances from the targets, and which are known."""
    size = side // step
    level = step * np.indices((size, size)).reshape(2, -1)
    distances = []
    for targets, _ in passes:
        between = (level[:, None] - np.array(targets).T[:, :, None]) // step % size
        distances.append((between[0] * size + between[1]).astype(np.int32))
    seen = np.stack([known[tuple(level)] for _, known in passes])
    return (level[0] * side + level[1]).astype(np.int32), np.stack(distances), seen


class Pass(NamedTuple):
    """One pass of a group, or all four of them."""

    targets: Array
    inputs: Array
    is_input: Array
    distances: Array
    is_known: Array

    @classmethod
    def of(cls, group: Group) -> "Pass":
        """The passes of a group along a leading axis."""
        return cls(*(jnp.asarray(getattr(group, name)) for name in cls._fields))
