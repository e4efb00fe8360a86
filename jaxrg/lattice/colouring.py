"""Sublattices whose sites do not interact with each other, so that all of them can be updated at once."""

import itertools
from collections.abc import Iterable

import numpy as np

from jaxrg.lattice.geometry import Lattice, Offset, inside


def checkerboard(lattice: Lattice) -> np.ndarray:
    """The two-colouring of a hypercubic lattice, ``[*shape]`` int32, parity of the sum of the coordinates.

    Raises:
        ValueError: a periodic side is odd, so that a walk around it changes colour and the lattice is not bipartite, or
            the lattice has bonds between equal parities.

    Example:
        >>> from jaxrg.lattice import hypercubic
        >>> checkerboard(hypercubic((2, 2))).tolist()
        [[0, 1], [1, 0]]
    """
    for side, wraps in zip(lattice.shape, lattice.periodic, strict=True):
        if wraps and side % 2:
            raise ValueError(
                f"shape: expected even sides along periodic axes, because a loop around an odd side of a checkerboard "
                f"joins two sites of one colour, got {lattice.shape}"
            )
    if any(sum(bond) % 2 == 0 for bond in lattice.bonds):
        raise ValueError(f"lattice: expected bonds that change the parity of a site, got bonds {lattice.bonds}")
    return (np.indices(lattice.shape).sum(axis=0) % 2).astype(np.int32)


def sublattice_colouring(
    lattice: Lattice, offsets: Iterable[Offset] | None = None, *, max_colours: int = 16
) -> np.ndarray:
    r"""A colouring in which no two interacting sites share a colour, with as few colours as a linear rule allows.

    .. math:: c(x) = \sum_d a_d x_d \bmod q

    is a proper colouring when :math:`a \cdot b \not\equiv 0` for every interacting offset :math:`b`, and fits a
    periodic axis when :math:`a_d L_d \equiv 0 \pmod q`. The smallest such q is taken; where no rule fits, as on a
    ring of 17 sites, sites are coloured greedily.

    Args:
        lattice: its sides and boundaries.
        offsets: differences of interacting sites; the lattice's bonds by default.
        max_colours: where the search stops.

    Returns:
        ``[*shape]`` int32 colours, all of which occur.

    Raises:
        ValueError: no colouring with at most ``max_colours`` colours fits the sides, or a site would interact with
            itself.

    Example:
        >>> from jaxrg.lattice import triangular
        >>> sublattice_colouring(triangular((3, 3))).tolist()
        [[0, 2, 1], [1, 0, 2], [2, 1, 0]]
    """
    conflicts = np.array(tuple(lattice.bonds if offsets is None else offsets), np.int64).reshape(-1, lattice.ndim)
    sides = np.array(lattice.shape)
    wraps = np.array(lattice.periodic)
    wrapped = np.where(wraps, conflicts % sides, conflicts)
    if np.any(np.all(wrapped == 0, axis=1)):
        raise ValueError(
            f"offsets: expected offsets between different sites of {lattice.shape}, got one that wraps to 0"
        )
    for num_colours in range(1, max_colours + 1):
        for coefficients in itertools.product(range(num_colours), repeat=lattice.ndim):
            rule = np.array(coefficients)
            closes = not np.any((rule * sides)[wraps] % num_colours)
            if closes and np.all(conflicts @ rule % num_colours):
                indices = np.indices(lattice.shape).reshape(lattice.ndim, -1)
                colours = (rule @ indices % num_colours).reshape(lattice.shape)
                # An open side shorter than q may skip colours.
                return np.unique(colours, return_inverse=True)[1].reshape(lattice.shape).astype(np.int32)
    colours = greedy_colouring(_pairs(lattice, conflicts), lattice.num_sites).reshape(lattice.shape)
    if colours.max() < max_colours:
        return colours
    raise ValueError(
        f"shape: expected sides that close a colouring of {len(conflicts)} interacting offsets with at most "
        f"{max_colours} colours (an odd periodic side admits no checkerboard), got {lattice.shape} "
        f"with periodic {lattice.periodic}"
    )


def _pairs(lattice: Lattice, offsets: np.ndarray) -> np.ndarray:
    """``[num_pairs, 2]`` sites at any of the offsets from each other."""
    bonds = tuple(tuple(int(step) for step in offset) for offset in offsets)
    return Lattice(lattice.shape, lattice.periodic, bonds).edges()


def greedy_colouring(edges: np.ndarray, num_sites: int) -> np.ndarray:
    """``[num_sites]`` int32 colours, different across every edge, given to the most connected sites first."""
    neighbours: list[list[int]] = [[] for _ in range(num_sites)]
    for first, second in edges.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    colours = np.full(num_sites, -1, np.int32)
    for site in sorted(range(num_sites), key=lambda i: -len(neighbours[i])):
        taken = {int(colours[other]) for other in neighbours[site]}
        colours[site] = next(colour for colour in range(len(taken) + 1) if colour not in taken)
    return colours


def check_colouring(lattice: Lattice, colours: np.ndarray, offsets: Iterable[Offset] | None = None) -> None:
    """Raise ValueError if two sites that interact share a colour.

    Args:
        lattice: its sides and boundaries.
        colours: ``[*shape]`` integers.
        offsets: differences of interacting sites; the lattice's bonds by default.
    """
    if colours.shape != lattice.shape:
        raise ValueError(f"colours: expected shape {lattice.shape}, got {colours.shape}")
    for offset in lattice.bonds if offsets is None else offsets:
        neighbour = np.roll(colours, tuple(-step for step in offset), axis=tuple(range(lattice.ndim)))
        clash = (colours == neighbour) & inside(lattice, offset)
        if clash.any():
            site = tuple(int(i) for i in np.argwhere(clash)[0])
            raise ValueError(
                f"colours: expected different colours at offset {offset}, got {colours[site]} twice at {site}"
            )
