r"""Close-packed dimers on a torus: a worm sampler, bonds with noise between them, and the exact strip.

Two parallel dimers on a plaquette have energy -1. A worm opens a dimer to two monomers, moves one of them by dimers
that turn about their other end, and closes when they meet: a Metropolis walk in the space of coverings with at most two
monomers, whose visits to coverings are distributed as those of the model.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.rg import information

RIGHT, LEFT, DOWN, UP, MONOMER = 0, 1, 2, 3, 4  # where the partner of a site is; the other end says it ^ 1
CHUNK = 256  # steps between looks at whether all chains are done
Shape = tuple[int, int]


class Worm(NamedTuple):
    """A covering with at most two monomers."""

    partners: Array  # [sites] int32 direction of the partner
    head: Array  # [] int32 site of the monomer that moves
    tail: Array  # [] int32
    is_open: Array  # [] bool
    num_visits: Array  # [] int32 steps at whose end there were no monomers


def neighbours(shape: Shape) -> np.ndarray:
    """``[4, sites]`` in every direction."""
    sites = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.stack([np.roll(sites, shift, axis).ravel() for axis, shift in ((1, -1), (1, 1), (0, -1), (0, 1))])


def columnar(shape: Shape) -> Array:
    """All dimers along rows."""
    return jnp.tile(jnp.array([RIGHT, LEFT], jnp.int32), shape[0] * shape[1] // 2)


def _parallel(partners: Array, beside: Array, site: Array, direction: Array) -> Array:
    """Dimers parallel to the bond of a site, on the two plaquettes that it is part of."""
    across = jnp.where(direction < 2, 2, 0)
    found = [partners[beside[across + side, site]] == direction for side in (0, 1)]
    return found[0].astype(jnp.int32) + found[1].astype(jnp.int32)


def _step(beside: Array, beta: Array, target: Array, worm: Worm, bits: Array) -> Worm:
    """One move of one chain with two words of random bits; none once it has made its visits."""
    partners = worm.partners
    uniform = (bits[1] >> 8).astype(jnp.float32) / 2**24
    # A covering opens at a random site; one with monomers moves its head in a random direction.
    start = (bits[0] % jnp.uint32(len(partners))).astype(jnp.int32)
    site = jnp.where(worm.is_open, worm.head, start)
    direction = jnp.where(worm.is_open, (bits[0] >> 30).astype(jnp.int32), partners[site])
    pivot = beside[direction, site]
    closes = worm.is_open & (pivot == worm.tail)
    turns = worm.is_open & ~closes
    new = _parallel(partners, beside, site, direction)
    old_direction = partners[pivot]
    end = jnp.where(turns, beside[jnp.minimum(old_direction, 3), pivot], pivot)
    old = _parallel(partners, beside, pivot, old_direction)
    gain = jnp.where(turns, new - old, jnp.where(closes, new, -new))
    is_accepted = (uniform < jnp.exp(beta * gain.astype(beta.dtype))) & (worm.num_visits < target)
    opens = ~worm.is_open
    # The last of the three writes to the end of a turning dimer; else end and pivot are one.
    ends = jnp.stack([site, pivot, end])
    values = jnp.stack(
        [
            jnp.where(opens, MONOMER, direction),
            jnp.where(opens, MONOMER, direction ^ 1),
            jnp.where(closes, direction ^ 1, MONOMER),
        ]
    )
    moved = partners
    for place, value in zip(ends, values, strict=True):
        moved = moved.at[place].set(jnp.where(is_accepted, value, moved[place]))
    is_open = jnp.where(is_accepted, ~closes, worm.is_open)
    is_visit = (worm.num_visits < target) & ~is_open
    return Worm(
        moved,
        jnp.where(is_accepted & ~closes, end, worm.head),
        jnp.where(is_accepted & opens, site, worm.tail),
        is_open,
        worm.num_visits + is_visit,
    )


@functools.partial(jax.jit, static_argnames=("shape", "num_visits"))
def sweep(key: Array, partners: Array, beta: Array, *, shape: Shape, num_visits: int) -> Array:
    """Coverings ``[chains, sites]`` after so many visits to coverings, of chains side by side."""
    beside, target = jnp.asarray(neighbours(shape), jnp.int32), jnp.int32(num_visits)
    chains = len(partners)
    zero = jnp.zeros(chains, jnp.int32)
    step = jax.vmap(_step, (None, None, None, 0, 0))

    def goes_on(carry: tuple[Worm, Array]) -> Array:
        return jnp.any(carry[0].num_visits < target)

    def advance(carry: tuple[Worm, Array]) -> tuple[Worm, Array]:
        worm, number = carry
        bits = jax.random.bits(jax.random.fold_in(key, number), (CHUNK, chains, 2))
        worm, _ = jax.lax.scan(lambda worm, words: (step(beside, beta, target, worm, words), None), worm, bits)
        return worm, number + 1

    worm = Worm(partners, zero, zero, jnp.zeros(chains, bool), zero)
    worm, _ = jax.lax.while_loop(goes_on, advance, (worm, jnp.int32(0)))
    return worm.partners


def coverings(
    key: Array, shape: Shape, beta: float, *, num_chains: int, num_samples: int, num_visits: int, num_burn: int
) -> np.ndarray:
    """``[num_samples, num_chains, *shape]`` int8 directions, so many visits apart, after ``num_burn`` that are left."""
    partners = jnp.tile(columnar(shape)[None], (num_chains, 1))
    strength, found = jnp.float32(beta), []
    for number in range(num_burn + num_samples):
        partners = sweep(jax.random.fold_in(key, number), partners, strength, shape=shape, num_visits=num_visits)
        if number >= num_burn:
            found.append(np.asarray(partners, np.int8).reshape(num_chains, *shape))
    return np.stack(found)


def all_coverings(shape: Shape) -> np.ndarray:
    """``[coverings, *shape]`` directions of every covering of a small torus."""
    beside, found = neighbours(shape), []

    def cover(partners: list[int]) -> None:
        if -1 not in partners:
            found.append(partners)
            return
        site = partners.index(-1)
        for direction in range(4):
            other = beside[direction, site]
            if partners[other] == -1 and other != site:
                filled = partners.copy()
                filled[site], filled[other] = direction, direction ^ 1
                cover(filled)

    cover([-1] * (shape[0] * shape[1]))
    return np.array(found, np.int8).reshape(-1, *shape)


def energies(directions: np.ndarray) -> np.ndarray:
    """Less the plaquettes with two parallel dimers."""
    pairs = 0
    for direction, axis in ((RIGHT, -2), (DOWN, -1)):
        lies = directions == direction
        pairs = pairs + (lies & np.roll(lies, -1, axis)).sum(axis=(-1, -2))
    return -pairs


def bond_picture(random: np.random.Generator, directions: np.ndarray) -> np.ndarray:
    """``[..., 2 rows, 2 columns]`` +-1: dimers on bonds, and noise, alike on a site and the plaquette beside it."""
    rows, columns = directions.shape[-2:]
    picture = np.zeros((*directions.shape[:-2], 2 * rows, 2 * columns), np.int8)
    noise = random.integers(0, 2, directions.shape, np.int8)
    picture[..., ::2, ::2] = picture[..., 1::2, 1::2] = noise
    picture[..., ::2, 1::2] = directions == RIGHT
    picture[..., 1::2, ::2] = directions == DOWN
    return 2 * picture - 1


class Windows(NamedTuple):
    """Blocks and the rings around them, all windows of a covering before the next covering."""

    visible: np.ndarray  # [samples, block * block]
    environment: np.ndarray  # [samples, ring]


def windows(pictures: np.ndarray, *, corner: int, spacing: int, block: int, buffer: int, environment: int) -> Windows:
    """Windows of pictures ``[coverings, rows, columns]`` at so many rows and columns from each other."""
    size = block + 2 * (buffer + environment)
    ring = np.ones((size, size), bool)
    ring[environment:-environment, environment:-environment] = False
    inner = slice(buffer + environment, buffer + environment + block)
    corners = np.arange(corner, corner + pictures.shape[1], spacing) - buffer - environment
    found: tuple[list, list] = ([], [])
    for start in range(0, len(pictures), 1024):  # of which copies are made
        for row, column in itertools.product(corners, corners):
            part = np.take(pictures[start : start + 1024], np.arange(row, row + size), axis=1, mode="wrap")
            part = np.take(part, np.arange(column, column + size), axis=2, mode="wrap")
            found[0].append(part[:, inner, inner].reshape(len(part), -1))
            found[1].append(part[:, ring])
    return Windows(*map(np.concatenate, found))


def is_noise(block: int) -> np.ndarray:
    """``[block * block]`` which entries of a block are noise."""
    return (np.add.outer(np.arange(block), np.arange(block)) % 2 == 0).ravel()


def staggered_fields(block: int) -> np.ndarray:
    """``[block * block, 2]`` the electric fields along rows and along columns, summed over the block, of length one."""
    places = np.arange(block)
    sign = (-1.0) ** np.add.outer(places // 2, places // 2)
    rows, columns = np.meshgrid(places % 2, places % 2, indexing="ij")
    fields = np.stack([sign * ((rows == 0) & (columns == 1)), sign * ((rows == 1) & (columns == 0))], axis=-1)
    return (fields / np.sqrt((fields**2).sum(axis=(0, 1)))).reshape(-1, 2)


def columns_of_strip(width: int) -> np.ndarray:
    """``[states, width]`` directions of every column of a strip that closes across."""
    found = [
        states
        for states in itertools.product(range(4), repeat=width)
        if all((states[y] == DOWN) == (states[(y + 1) % width] == UP) for y in range(width))
    ]
    return np.array(found, np.int8)


def strip_transfer(width: int, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Transfer matrix ``[states, states]`` of columns, and their directions ``[states, width]``."""
    states = columns_of_strip(width)
    goes, comes, down = states == RIGHT, states == LEFT, states == DOWN
    fits = (goes[:, None] == comes[None]).all(axis=-1)
    pairs = (goes & np.roll(goes, -1, axis=1)).sum(axis=1)[:, None] + down.astype(int) @ down.T.astype(int)
    return fits * np.exp(beta * pairs), states


def bonds(directions: np.ndarray) -> np.ndarray:
    """``[..., 2]`` +-1, whether a site has a dimer to the right and one down."""
    return np.stack([2 * (directions == kind) - 1 for kind in (RIGHT, DOWN)], axis=-1).astype(np.int8)


def strip_table(width: int, beta: float, length: int, buffer: int) -> tuple[Array, np.ndarray]:
    """P(v, e) of so many whole columns of an infinite strip, and the bonds ``[states, features]`` of every block."""
    transfer, states = strip_transfer(width, beta)
    table = information.column_joint(transfer, np.arange(len(states)), length, buffer)
    digits = np.arange(len(states) ** length)[:, None] // len(states) ** np.arange(length) % len(states)
    return table, bonds(states[digits]).reshape(len(digits), -1)
