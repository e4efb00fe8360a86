"""Which sites are drawn in which pass of a level, and what is known around them: small static tables.

A level doubles the spins on the (even, even) sites of a torus to all of its sites. Its passes go through the (odd, odd)
sites first, then through the (even, odd) and the (odd, even) ones. The sites of one pass are ``spacing`` apart; a pass
that is split draws its two diagonal halves one after the other. The order is such that in every pass what is known
looks the same from each of its sites and in each of eight directions.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SYMMETRIES = tuple(
    np.array(rows)
    for rows in (
        *(((i, 0), (0, j)) for i in (1, -1) for j in (1, -1)),
        *(((0, i), (j, 0)) for i in (1, -1) for j in (1, -1)),
    )
)  # of the square; the first four are those of a rectangle

Step = tuple[int, int]


class Passes(NamedTuple):
    """The passes of a level in their order; steps lead from a site that is drawn to one that is known.

    Passes with fewer known sites than others are filled up with steps that count for nothing.
    """

    offsets: np.ndarray  # [num_passes, 2] int32 row and column of the first site
    steps: np.ndarray  # [num_passes, num_known, 2] int32
    is_known: np.ndarray  # [num_passes, num_known] bool, False for what fills up
    images: np.ndarray  # [num_passes, num_symmetries, num_known] int32: which step a symmetry makes of each
    orbits: np.ndarray  # [num_passes, num_known] int32: steps that symmetries make of each other share a number


def spread(size: int) -> list[Step]:
    """All ``(i, j)`` below a power of two: the first, and every power of four of them, as far apart as can be."""
    if size == 1:
        return [(0, 0)]
    return [(2 * i + a, 2 * j + b) for a, b in ((0, 0), (1, 1), (0, 1), (1, 0)) for i, j in spread(size // 2)]


def pass_offsets(spacing: int) -> list[Step]:
    """Rows and columns of the first site of every pass, in their order."""
    return [(2 * i + a, 2 * j + b) for a, b in ((1, 1), (0, 1), (1, 0)) for i, j in spread(spacing // 2)]


def image(symmetry: np.ndarray, step: Step) -> Step:
    """Where a symmetry takes a step."""
    moved = symmetry @ np.array(step)
    return int(moved[0]), int(moved[1])


@functools.lru_cache(maxsize=64)
def level_passes(spacing: int, radius: float, num_symmetries: int, num_passes: int, is_split: bool = False) -> Passes:
    """The first passes of a level, each with the known sites within a radius; split ones count as two."""
    reach = math.floor(radius)
    disc = [step for step in itertools.product(range(-reach, reach + 1), repeat=2) if 0 < math.hypot(*step) <= radius]
    symmetries = SYMMETRIES[:num_symmetries]
    offsets, period = pass_offsets(spacing), spacing
    if is_split:
        offsets, period = [(i + a, j) for i, j in offsets for a in (0, spacing)], 2 * spacing
    offsets = offsets[:num_passes]
    drawn, seen = {(i, j) for i, j in itertools.product(range(0, period, 2), repeat=2)}, []
    for row, column in offsets:
        seen.append([step for step in disc if ((row + step[0]) % period, (column + step[1]) % period) in drawn])
        drawn |= {(row, column), ((row + spacing) % period, (column + spacing) % period)}
    longest = max(map(len, seen))
    steps = np.zeros((num_passes, longest, 2), np.int32)
    images = np.tile(np.arange(longest, dtype=np.int32), (num_passes, num_symmetries, 1))
    orbits = np.zeros((num_passes, longest), np.int32)
    for number, found in enumerate(seen):
        index = {step: place for place, step in enumerate(found)}
        steps[number, : len(found)] = found
        images[number, :, : len(found)] = [[index[image(symmetry, step)] for step in found] for symmetry in symmetries]
        _, orbits[number, : len(found)] = np.unique(images[number, :, : len(found)].min(axis=0), return_inverse=True)
    is_known = np.arange(longest) < np.array([[len(found)] for found in seen])
    return Passes(np.array(offsets, np.int32), steps, is_known, images, orbits)


def sites_of(passes: Passes, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> tuple[Any, jax.Array]:
    """Of one pass: the sites drawn ``[lanes]``, and those known ``[num_known, lanes]``, beyond the end for none.

    Rows and columns are those of the sites from the first one on.
    """
    height, width = shape
    rows, columns = (passes.offsets[0] + rows) % height, (passes.offsets[1] + columns) % width
    known_rows = (rows[None] + passes.steps[:, :1]) % height
    known_columns = (columns[None] + passes.steps[:, 1:]) % width
    known = jnp.where(passes.is_known[:, None], known_rows * width + known_columns, height * width)
    return rows * width + columns, known


@functools.lru_cache(maxsize=2)
def quotients(num_symmetries: int) -> np.ndarray:
    """``[g, h]`` int32 the number of the symmetry g h^{-1}."""
    symmetries = SYMMETRIES[:num_symmetries]
    number = {symmetry.tobytes(): place for place, symmetry in enumerate(symmetries)}
    return np.array(
        [[number[np.ascontiguousarray(g @ h.T).tobytes()] for h in symmetries] for g in symmetries], np.int32
    )
