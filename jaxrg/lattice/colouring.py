"""Sublattices whose sites do not interact with each other, so that all of them can be updated at once."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxrg.checks import as_count, as_integers, is_traced, kind_of
from jaxrg.lattice.geometry import Lattice, Offset, as_offset, check_lattice, inside
from jaxrg.lattice.graphs import as_edges

_MAX_RULES = 20_000  # tried for one number of colours, about 0.1 s


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
    check_lattice("lattice", lattice)
    for side, wraps in zip(lattice.shape, lattice.periodic, strict=True):
        if wraps and side % 2:
            raise ValueError(
                f"shape: expected even sides along periodic axes, because a loop around an odd side of a checkerboard "
                f"joins two sites of one colour, got {lattice.shape}"
            )
    if any(sum(bond) % 2 == 0 for bond in lattice.bonds):
        raise ValueError(f"lattice: expected bonds that change the parity of a site, got bonds {lattice.bonds}")
    return (np.indices(lattice.shape).sum(axis=0) % 2).astype(np.int32)


def _offsets(lattice: Lattice, offsets: Iterable[Offset] | None) -> list[Offset]:
    if offsets is not None and (not isinstance(offsets, Iterable) or isinstance(offsets, str | bytes)):
        raise ValueError(f"offsets: expected a sequence of steps between sites, got {kind_of(offsets)}")
    return [as_offset("offsets", offset, lattice.ndim) for offset in (lattice.bonds if offsets is None else offsets)]


def sublattice_colouring(
    lattice: Lattice, offsets: Iterable[Offset] | None = None, *, max_colours: int = 16
) -> np.ndarray:
    r"""A colouring in which no two interacting sites share a colour, with as few colours as a simple rule allows.

    .. math:: c(x) = \sum_d \sum_{y < x_d} a_d(y) \bmod q, \qquad \sum_{y < L_d} a_d(y) \equiv 0 \pmod q

    along a periodic axis, with one step :math:`a_d`, or two that are taken at different y where one does not close. The
    smallest q is taken whose colours differ at every interacting offset: 2 for hypercubic lattices of even sides, 3
    for those of any other sides, 3 to 5 for triangular ones but the smallest. Where no rule fits, sites are coloured
    greedily.

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
    check_lattice("lattice", lattice)
    max_colours = as_count("max_colours", max_colours)
    conflicts = np.array(_offsets(lattice, offsets), np.int64).reshape(-1, lattice.ndim)
    sides = np.array(lattice.shape)
    wraps = np.array(lattice.periodic)
    wrapped = np.where(wraps, conflicts % sides, conflicts)
    if np.any(np.all(wrapped == 0, axis=1)):
        raise ValueError(
            f"offsets: expected offsets between different sites of {lattice.shape}, got one that wraps to 0"
        )
    is_even = not np.any(sides[wraps] % 2)
    for by_one_step, by_two in ((True, False), (False, True)) if is_even else ((True, True),):
        for num_colours in range(1, max_colours + 1):
            steps = _one_step(num_colours, conflicts, lattice) if by_one_step else None
            if steps is None and by_two:
                steps = _two_steps(num_colours, conflicts, lattice)
            if steps is not None:
                return _walked(steps, num_colours, lattice)
    colours = greedy_colouring(_pairs(lattice, conflicts), lattice.num_sites).reshape(lattice.shape)
    if colours.max() < max_colours:
        return colours
    raise ValueError(
        f"shape: expected sides that close a colouring of {len(conflicts)} interacting offsets with at most "
        f"{max_colours} colours (an odd periodic side admits no checkerboard), got {lattice.shape} "
        f"with periodic {lattice.periodic}"
    )


Steps = Sequence[tuple[int, int, int]]  # for each axis: a step, another, and how many of its steps are the other


def _one_step(num_colours: int, conflicts: np.ndarray, lattice: Lattice) -> Steps | None:
    """The first linear rule that fits."""
    sides, wraps = np.array(lattice.shape), np.array(lattice.periodic)
    for coefficients in itertools.product(range(num_colours), repeat=lattice.ndim):
        rule = np.array(coefficients)
        if not np.any((rule * sides)[wraps] % num_colours) and np.all(conflicts @ rule % num_colours):
            return [(step, step, 0) for step in coefficients]
    return None


def _two_steps(num_colours: int, conflicts: np.ndarray, lattice: Lattice) -> Steps | None:
    """The first rule that fits with one step or two along each axis, or None, also where there are many to try."""
    choices = [
        _closing_steps(num_colours, side) if wraps else [(step, step, 0) for step in range(num_colours)]
        for side, wraps in zip(lattice.shape, lattice.periodic, strict=True)
    ]
    if math.prod(map(len, choices)) > _MAX_RULES:
        return None
    fits = (rule for rule in itertools.product(*choices) if not _meets(rule, num_colours, conflicts))
    return next(fits, None)


def _closing_steps(num_colours: int, side: int) -> list[tuple[int, int, int]]:
    """Pairs of steps that return to the first colour around a ring, with the fewest of the second kind."""
    found = []
    for step, other in itertools.combinations_with_replacement(range(num_colours), 2):
        counts = range(1 if step == other else side)
        count = next((n for n in counts if ((side - n) * step + n * other) % num_colours == 0), None)
        if count is not None:
            found.append((step, other, count))
    return found


def _meets(rule: Steps, num_colours: int, conflicts: np.ndarray) -> bool:
    """Whether sites at one of the offsets may have one colour, wherever along an axis its two steps are taken."""
    for offset in conflicts.tolist():
        differences = {0}
        for moved, (step, other, count) in zip(offset, rule, strict=True):
            size = abs(moved)
            along = {size * step + n * (other - step) for n in range(min(size, count) + 1)}
            sign = 1 if moved >= 0 else -1
            differences = {(total + sign * part) % num_colours for total in differences for part in along}
        if 0 in differences:
            return True
    return False


def _walked(rule: Steps, num_colours: int, lattice: Lattice) -> np.ndarray:
    """Colours of all sites by walking along the axes."""
    colours = np.zeros(lattice.shape, np.int32)
    for axis, (side, (step, other, count)) in enumerate(zip(lattice.shape, rule, strict=True)):
        steps = np.where(np.arange(side) < side - count, step, other)
        along = np.concatenate([[0], np.cumsum(steps)[:-1]]) % num_colours
        colours += along.reshape([side if d == axis else 1 for d in range(lattice.ndim)]).astype(np.int32)
    colours %= num_colours
    is_used = np.bincount(colours.ravel(), minlength=num_colours) > 0  # an open side shorter than q may skip colours
    return (np.cumsum(is_used, dtype=np.int32) - 1)[colours]


def _pairs(lattice: Lattice, offsets: np.ndarray) -> np.ndarray:
    """``[num_pairs, 2]`` sites at any of the offsets from each other."""
    bonds = tuple(tuple(int(step) for step in offset) for offset in offsets)
    return Lattice(lattice.shape, lattice.periodic, bonds).edges()


def greedy_colouring(edges: np.ndarray, num_sites: int) -> np.ndarray:
    """``[num_sites]`` int32 colours, different across every edge, given to the most connected sites first.

    Raises:
        ValueError: no integers ``[num_edges, 2]``, sites that are none, or an edge from a site to itself.
    """
    size = as_count("num_sites", num_sites)
    if is_traced(edges):
        raise ValueError("edges: expected integers that can be seen, got a traced array")
    neighbours: list[list[int]] = [[] for _ in range(size)]
    for first, second in np.asarray(as_edges("edges", edges, size, has_loops=False)).tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    colours = np.full(size, -1, np.int32)
    for site in sorted(range(size), key=lambda i: -len(neighbours[i])):
        taken = {int(colours[other]) for other in neighbours[site]}
        colours[site] = next(colour for colour in range(len(taken) + 1) if colour not in taken)
    return colours


def check_colouring(lattice: Lattice, colours: Any, offsets: Iterable[Offset] | None = None) -> None:
    """Raise ValueError if two sites that interact share a colour.

    Args:
        lattice: its sides and boundaries.
        colours: ``[*shape]`` integers.
        offsets: differences of interacting sites; the lattice's bonds by default.
    """
    check_lattice("lattice", lattice)
    if is_traced(colours):
        raise ValueError("colours: expected integers that can be seen, got a traced array")
    host = np.asarray(as_integers("colours", colours))
    if host.shape != lattice.shape:
        raise ValueError(f"colours: expected shape {lattice.shape}, got {host.shape}")
    for offset in _offsets(lattice, offsets):
        neighbour = np.roll(host, tuple(-step for step in offset), axis=tuple(range(lattice.ndim)))
        clash = (host == neighbour) & inside(lattice, offset)
        if clash.any():
            site = tuple(int(i) for i in np.argwhere(clash)[0])
            raise ValueError(
                f"colours: expected different colours at offset {offset}, got {host[site]} twice at {site}"
            )
