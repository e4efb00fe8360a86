"""Walkers on a ladder: who is where after swaps of neighbours, and the round trips from end to end."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Walkers(NamedTuple):
    """The walkers that carry configurations up and down a ladder."""

    walker: Array  # [num_rungs] int32: which one is on each rung
    ends: Array  # [num_rungs] int8, by walker: 1 where it has been on the first rung, 2 where on the last since


def at_home(num_rungs: int) -> Walkers:
    """Every walker on the rung of its number, from which nobody has walked yet."""
    return Walkers(jnp.arange(num_rungs, dtype=jnp.int32), jnp.zeros(num_rungs, jnp.int8).at[0].set(1))


def tried_pairs(num_rungs: int, step: Array) -> Array:
    """``[num_rungs - 1]`` bool: even pairs of neighbours and odd ones in turn, so that walkers go on in a direction."""
    return (jnp.arange(num_rungs - 1, dtype=jnp.uint32) + step) % jnp.uint32(2) == 0


def swap_places(is_swapped: Array) -> Array:
    """``[num_rungs]`` from which rung each gets what it holds, where disjoint pairs of neighbours swap."""
    up, none = is_swapped.astype(jnp.int32), jnp.zeros(1, jnp.int32)
    return jnp.arange(is_swapped.size + 1, dtype=jnp.int32) + jnp.append(up, none) - jnp.append(none, up)


def walk(walkers: Walkers, places: Array) -> tuple[Walkers, Array]:
    """The walkers after a swap of places, and how many of them ended a trip to the last rung and back, [] int32."""
    walker = walkers.walker[places]
    first, last = walker[0], walker[-1]
    ends = walkers.ends.at[last].set(jnp.where(walkers.ends[last] == 1, 2, walkers.ends[last]).astype(jnp.int8))
    num_ended = (ends[first] == 2).astype(jnp.int32)
    return Walkers(walker, ends.at[first].set(jnp.int8(1))), num_ended
