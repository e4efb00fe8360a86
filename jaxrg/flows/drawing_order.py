"""In which order the sites of a square lattice are drawn from coarse to fine, and what each pass knows."""

import dataclasses
import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_static

SPACING = 4  # of the sites of one pass, in sites of their level
TOP = 4  # side of the coarsest lattice, whose sites know all that were drawn before
OFFSETS = ((0, 0), (2, 2), (0, 2), (2, 0))  # of the passes of a class: the first two are farthest apart
CLASSES = ((1, 1), (0, 1), (1, 0))  # drawn in this order on top of (0, 0), the sites of the next coarser level


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

    @functools.cached_property
    def groups(self) -> tuple[Group, ...]:
        """In the order of drawing: the four sites of the top, then three classes of every level."""
        known = np.zeros((self.side, self.side), bool)
        half = self.side // 2
        top = [[(half * row, half * column)] for row, column in ((0, 0), (1, 1), (0, 1), (1, 0))]
        groups, size = [_group(known, top, np.inf, half)], TOP
        while size <= self.side:
            step = self.side // size
            tiles = range(0, size, SPACING)
            for row, column in CLASSES:
                passes = [
                    [(step * (i + row + a), step * (j + column + b)) for i in tiles for j in tiles] for a, b in OFFSETS
                ]
                groups.append(_group(known, passes, self.radius * step if size > TOP else np.inf, step))
            size *= 2
        return tuple(groups)


def _group(known: np.ndarray, passes: list[list[tuple[int, int]]], radius: float, step: int) -> Group:
    """The passes of a group; their sites become known."""
    side = known.shape[0]
    size = side // step
    level = step * np.indices((size, size)).reshape(2, -1)
    found, seen, distances = [], [], []
    for targets in passes:
        rows, columns = np.array(targets).T
        row, column = targets[0]
        offsets = np.argwhere(known) - (row, column)
        offsets = (offsets + side // 2) % side - side // 2
        # The pattern of known sites repeats from target to target, so the first one's offsets are those of all.
        offsets = offsets[np.sum(offsets**2, axis=1) <= radius**2 * (1 + 1e-6)]
        around = (rows + offsets[:, :1]) % side * side + (columns + offsets[:, 1:]) % side
        seen.append(known[tuple(level)])
        between = (level[:, None] - np.stack([rows, columns])[:, :, None]) // step % size
        distances.append((between[0] * size + between[1]).astype(np.int32))
        found.append(((rows * side + columns).astype(np.int32), around.astype(np.int32)))
        known[rows, columns] = True
    num_inputs = max(len(around) for _, around in found)
    padded = [np.pad(around, ((0, num_inputs - len(around)), (0, 0))) for _, around in found]
    is_input = [np.arange(num_inputs) < len(around) for _, around in found]
    return Group(
        np.stack([targets for targets, _ in found]),
        np.stack(padded),
        np.stack(is_input),
        (level[0] * side + level[1]).astype(np.int32),
        np.stack(distances),
        np.stack(seen),
    )


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
