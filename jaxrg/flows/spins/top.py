"""The coarsest lattice, so small that every class of symmetric states has a probability of its own."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.flows.patterns import SYMMETRIES


class Orbits(NamedTuple):
    """Classes of states that translations, symmetries of the square and a flip of all spins turn into each other."""

    number: np.ndarray  # [2**(n m)] int32 orbit of every state
    members: np.ndarray  # [2**(n m)] int32 states, orbit by orbit
    starts: np.ndarray  # [num_orbits] int32 where an orbit begins in ``members``
    sizes: np.ndarray  # [num_orbits] int32
    aligned: np.ndarray  # [num_orbits] float32 sum of the products over the bonds


@functools.lru_cache(maxsize=16)
def orbits_of(shape: tuple[int, int], num_symmetries: int) -> Orbits:
    """The orbits of a torus of at most 16 sites."""
    height, width = shape
    size = height * width
    states = np.arange(2**size, dtype=np.int64)
    sites = np.arange(size).reshape(shape)
    rows, columns = np.mgrid[:height, :width]
    images = set()
    for symmetry in SYMMETRIES[:num_symmetries]:
        moved = np.tensordot(symmetry, np.stack([rows, columns]), 1)
        for i in range(height):
            for j in range(width):
                images.add(tuple(sites[(moved[0] + i) % height, (moved[1] + j) % width].ravel().tolist()))
    smallest = states.copy()
    for image in images:
        moved = np.zeros_like(states)
        for here, there in enumerate(image):
            moved |= ((states >> here) & 1) << there
        np.minimum(smallest, moved, out=smallest)
        np.minimum(smallest, 2**size - 1 - moved, out=smallest)
    _, number, sizes = np.unique(smallest, return_inverse=True, return_counts=True)
    members = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    spins = ((members[starts, None] >> np.arange(size)) & 1).reshape(-1, *shape) * 2 - 1
    aligned = sum((spins * np.roll(spins, 1, axis)).sum((1, 2)) for axis in (1, 2))
    tables = [part.astype(np.int32) for part in (number, members, starts, sizes)]
    return Orbits(tables[0], tables[1], tables[2], tables[3], np.asarray(aligned, np.float32))


def log_probs(weights: Array, orbits: Orbits) -> Array:
    """``[num_orbits]`` ln probability of each single state of an orbit."""
    return weights - jax.nn.logsumexp(weights, b=orbits.sizes.astype(weights.dtype))


def state_numbers(spins: Array) -> Array:
    """``[*lanes]`` int32 index of the states ``[num_sites, *lanes]``."""
    bits = (spins > 0).astype(jnp.int32)
    return jnp.tensordot(2 ** jnp.arange(len(bits), dtype=jnp.int32), bits, 1)


def sample(key: Array, log_prob: Array, orbits: Orbits, num_samples: int) -> tuple[Array, Array]:
    """Spins ``[num_sites, num_samples]`` and the ln probability of each: an orbit first, then a member of it."""
    orbit_key, member_key = jax.random.split(key)
    weights = log_prob + jnp.log(orbits.sizes.astype(log_prob.dtype))
    orbit = jax.random.categorical(orbit_key, weights, shape=(num_samples,))
    sizes = jnp.asarray(orbits.sizes)[orbit]
    member = jax.random.randint(member_key, (num_samples,), 0, sizes, dtype=jnp.int32)
    state = jnp.asarray(orbits.members)[jnp.asarray(orbits.starts)[orbit] + member]
    num_sites = (len(orbits.members) - 1).bit_length()
    bits = (state[None] >> jnp.arange(num_sites, dtype=jnp.int32)[:, None]) & 1
    return (2 * bits - 1).astype(log_prob.dtype), log_prob[orbit]
