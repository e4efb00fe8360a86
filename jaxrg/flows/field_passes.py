"""In which order the sites of a field are drawn from coarse to fine, and what each pass knows: small static tables."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from jax import Array

from jaxrg.flows.patterns import Passes, level_passes, sites_of

SPACING = 4  # of the sites of a pass, in sites of their level
KNIGHT = 5  # smallest odd side of a class whose sites can be drawn a knight's move apart
LARGEST_TOP = 7  # side of a lattice that is drawn site by site from nothing
NUM_SYMMETRIES = 8  # of what the passes of a level know


def level_sides(side: int) -> tuple[int, ...]:
    """Sides of the lattices from the finest to the top, whose side is odd or at most four."""
    sides = [side]
    while sides[-1] % 2 == 0 and sides[-1] > SPACING:
        sides.append(sides[-1] // 2)
    return tuple(sides)


@dataclasses.dataclass(frozen=True)
class Level:
    """A lattice whose (even, even) sites are known, unless it is the top; the other sites come pass by pass.

    Where its side is a multiple of four, the sites of a pass are four apart and what they know has the symmetries of
    the square. Else a class, whose side is odd, comes in passes of sites a knight's move apart, 2 sqrt(5) in sites of
    the level, or site by site where it has three of a side. So does the top.
    """

    side: int
    is_top: bool
    is_finest: bool
    radius: float

    @property
    def has_symmetries(self) -> bool:
        """Whether what is known looks the same in all directions."""
        return not self.is_top and self.side % SPACING == 0

    @property
    def steps(self) -> np.ndarray:
        """``[num_targets, 2]`` from the first site of a pass to each."""
        if self.has_symmetries:
            return np.stack(np.meshgrid(*[np.arange(0, self.side, SPACING)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
        return _knight_steps(self.side, self.is_top)

    @property
    def passes(self) -> Passes:
        """Those that are learned; on the finest lattice two of twelve, as the others are drawn without."""
        if self.has_symmetries:
            return level_passes(SPACING, self.radius, NUM_SYMMETRIES, 2 if self.is_finest else 12)
        return _passes(self.side, self.is_top, np.inf if self.is_top else self.radius)

    def sites(self, passes: Passes) -> tuple[Array, Array]:
        """Of one pass: those drawn ``[lanes]``, and those known ``[num_known, lanes]``, beyond the end for none."""
        rows, columns = self.steps.astype(np.int32).T
        return sites_of(passes, rows, columns, (self.side, self.side))


@functools.lru_cache(maxsize=64)
def levels_of(side: int, radius: float) -> tuple[Level, ...]:
    """The finest first, the top last."""
    sides = level_sides(side)
    return tuple(Level(size, number == len(sides) - 1, number == 0, radius) for number, size in enumerate(sides))


def _knight_steps(side: int, is_top: bool) -> np.ndarray:
    number = np.arange(side // 2)
    if is_top or len(number) < KNIGHT:
        return np.zeros((1, 2), int)
    return np.stack([-4 * number, 2 * number], axis=-1) % side


@functools.lru_cache(maxsize=64)
def _passes(side: int, is_top: bool, radius: float) -> Passes:
    """Passes of a level without symmetries, which know all that was drawn before within a radius."""
    everywhere = list(itertools.product(range(side), repeat=2))
    moves = _knight_steps(side, is_top)
    drawn = set() if is_top else {site for site in everywhere if site[0] % 2 == 0 == site[1] % 2}
    classes = (((0, 0), 1),) if is_top else (((1, 1), 2), ((0, 1), 2), ((1, 0), 2))
    offsets, found = [], []
    for (row, column), step in classes:
        for first in itertools.product(range(row, side, step), range(column, side, step)):
            if first in drawn:
                continue
            around = [
                tuple((b - a + side // 2) % side - side // 2 for a, b in zip(first, site, strict=True))
                for site in everywhere
                if site in drawn
            ]
            offsets.append(first)
            found.append([move for move in around if math.hypot(*move) <= radius])
            drawn |= {tuple(site) for site in ((moves + first) % side).tolist()}
    longest = max(1, *map(len, found))
    steps = np.zeros((len(offsets), longest, 2), np.int32)
    for number, known in enumerate(found):
        steps[number, : len(known)] = np.reshape(known, (-1, 2))
    images = np.tile(np.arange(longest, dtype=np.int32), (len(offsets), 1, 1))
    is_known = np.arange(longest) < np.array([[len(known)] for known in found])
    return Passes(np.array(offsets, np.int32), steps, is_known, images, images[:, 0])
