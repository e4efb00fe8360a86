"""Hierarchical flows by index, one site at a time in NumPy: what the passes of the library must agree with.

All latents stay in one array of the shape of the field, as in the codes that were published.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def block_sites(
    sides: Sequence[int], block: int, level: int, offset: Sequence[int], *, is_periodic: bool = True
) -> list[np.ndarray]:
    """``[block**ndim, ndim]`` coordinates of the sites of every block of a pass, counted in C order."""
    dilation = 2**level
    counts = [
        (side // dilation) // block if is_periodic else (side // dilation - step) // block
        for side, step in zip(sides, offset, strict=True)
    ]
    found = []
    for block_index in itertools.product(*map(range, counts)):
        sites = []
        for inside in itertools.product(range(block), repeat=len(sides)):
            sites.append(
                [
                    ((number * block + within + step) * dilation) % side
                    for number, within, step, side in zip(block_index, inside, offset, sides, strict=True)
                ]
            )
        found.append(np.array(sites))
    return found


def published_indices(side: int, block: int, stride: int, dilation: int, offset: int) -> list[set[tuple[int, int]]]:
    """Blocks of one pass by the formula that both published codes share, as sets of sites."""
    num_blocks = (side - dilation * (block - 1) - 1) // stride + 1
    return [
        {
            ((row * stride + a * dilation + offset) % side, (column * stride + b * dilation + offset) % side)
            for a in range(block)
            for b in range(block)
        }
        for row in range(num_blocks)
        for column in range(num_blocks)
    ]


def renormalise(
    field: np.ndarray,
    inverse: Callable[[int, int, np.ndarray], np.ndarray],
    *,
    sides: Sequence[int],
    block: int,
    num_levels: int,
    offsets: Sequence[Sequence[int]],
    is_periodic: bool = True,
) -> np.ndarray:
    """All latents, at the sites where they stay; ``inverse(level, number, [block**ndim, ...])`` is of one block."""
    field = field.copy()
    for level in range(num_levels):
        for number, offset in enumerate(offsets):
            for sites in block_sites(sides, block, level, offset, is_periodic=is_periodic):
                place = tuple(sites.T)
                field[place] = inverse(level, number, field[place])
    return field


def level_of(site: Sequence[int], num_levels: int) -> int:
    """The level at which a site stays behind: how often all its coordinates can be halved."""
    level = 0
    while level < num_levels - 1 and all(coordinate % 2 ** (level + 1) == 0 for coordinate in site):
        level += 1
    return level


def spread(masks: np.ndarray, upwards: bool, **tree: Any) -> np.ndarray:
    """Sites that depend on those of a mask, up to the latents, or from them down."""
    mask = masks.copy()
    order = [(level, number) for level in range(tree["num_levels"]) for number in range(len(tree["offsets"]))]
    for level, number in order if upwards else order[::-1]:
        is_periodic = tree.get("is_periodic", True)
        for sites in block_sites(tree["sides"], tree["block"], level, tree["offsets"][number], is_periodic=is_periodic):
            place = tuple(sites.T)
            mask[place] = mask[place].any()
    return mask
