"""Sites with a unit vector of two components for value: planar spins while a sweep lasts."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Status, computed_once
from jaxrg.models.sites.angles import vector_of
from jaxrg.models.sites.unit_vectors import UnitVectors, dot, normalised

# A proposal is accepted with probability 0.658 or more, so that 0.342^128 = 1e-59 of all sites need more of them.
_MAX_PAIRS = 64
# One site in ten waits for a second pair; such sites take their turns in a lane. If all were proposed to at once, until
# the last is done, nearly all proposals would go to sites that are done; in a lane the next one follows at once.
_LANE = 8
_FEW = 1024


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Plane(UnitVectors):
    r"""Unit vectors of a plane with density proportional to :math:`e^{f\cdot s}`, a local field ``[2, *sites]``.

    The spins of `Circle` without their angles, which a sweep does not need: draws are the von Mises law of `Circle`,
    turned from the direction of the field by twice the angle :math:`\arctan(g \tan(\pi u/2))`. Here u is one of 2^24
    numbers, in double precision too.
    """

    num_components = 2

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        strength = jnp.sqrt(dot(field, field))
        turn, is_done = _cauchy_turns(key, sites, strength)
        cosine, sine = vector_of(turn * (math.pi / 2))
        squared = _envelope(strength)[0]
        across = jnp.sqrt(squared) * sine
        length = cosine * cosine + squared * sine * sine
        along, aside = (cosine * cosine - across * across) / length, 2 * cosine * across / length
        is_free = strength == 0
        safe = jnp.where(is_free, 1, strength)
        x, y = jnp.where(is_free, 1, field[0] / safe), field[1] / safe
        drawn = jnp.stack([x * along - y * aside, y * along + x * aside])
        return normalised(drawn), Status.NOT_CONVERGED.when(~is_done)


def _envelope(strength: Array) -> tuple[Array, Array]:
    """g² and R - kappa, without a difference of large numbers."""
    root = jnp.sqrt(1 + 4 * strength * strength)
    reach = (1 + root) / 2 + strength
    return (1 + root) / 2 / (reach * reach), (1 + 1 / (root + 2 * strength)) / 2


def _proposed(key: Array, sites: Array, kappa: Array, number: Array) -> Array:
    """Of two proposals the u of the first one accepted, and NaN where none is; both are made of one block of words."""
    squared, least = _envelope(kappa)
    words = random.bits(key, sites, 4, replicas=number)
    found = jnp.full_like(kappa, jnp.nan)
    for level, word in (words[2:], words[:2]):
        # 24 bits of a word are a number in (-1, 1), the other eight go on where the 32 of the level end.
        signed = jax.lax.bitcast_convert_type(word, jnp.int32) >> 8
        fresh = (signed.astype(kappa.dtype) + 0.5) * 2.0**-23
        uniform = (level.astype(kappa.dtype) + ((word & 255).astype(kappa.dtype) + 0.5) * 2.0**-8) * 2.0**-32
        cosine, sine = vector_of(fresh * (math.pi / 2))
        square = squared * sine * sine
        c = least + 2 * kappa * square / (cosine * cosine + square)  # kappa (1 - cos θ) more than the least
        # Where the field is not finite nothing can be accepted, and the status says so elsewhere.
        found = jnp.where((uniform <= c * jnp.exp(1 - c)) | ~jnp.isfinite(kappa), fresh, found)
    return found


def _cauchy_turns(key: Array, sites: Array, strength: Array) -> tuple[Array, Array]:
    """``[*sites]`` the accepted u of every site, and whether all have one.

    It is the first of the proposals to a site that is accepted, all functions of key, site and number.
    """

    def first(sites: Array, strength: Array) -> Array:
        return _proposed(key, sites, strength, jnp.zeros_like(sites))

    turns = computed_once(sites.reshape(-1)[0].astype(jnp.int32), first, sites, strength)
    return _waited(key, sites, strength, turns)


def _waited(key: Array, sites: Array, strength: Array, turns: Array) -> tuple[Array, Array]:
    """What is NaN filled by more proposals."""
    length = _LANE if strength.size >= _FEW else 1
    num_lanes = -(-strength.size // length)

    def in_lanes(values: Array) -> Array:
        flat = jnp.pad(values.reshape(-1), (0, length * num_lanes - values.size))
        return flat.reshape(length, num_lanes)

    kappas, counters, found = in_lanes(strength), in_lanes(sites), in_lanes(turns)
    bits = [jnp.int32(1 << place) for place in range(length)]
    waiting = sum(jnp.where(jnp.isnan(row), bit, 0) for bit, row in zip(bits, found, strict=True))

    def here(values: Array, place: Array) -> Array:
        chosen = values[0]
        for bit, row in zip(bits[1:], values[1:], strict=True):
            chosen = jnp.where(place == bit, row, chosen)
        return chosen

    def goes_on(carry):
        number, waiting, *_ = carry
        return jnp.any(waiting != 0) & (number < length * _MAX_PAIRS)

    def propose(carry):
        number, waiting, attempt, found = carry
        place = waiting & -waiting  # the lowest bit

        def proposed(place: Array, attempt: Array) -> Array:
            return _proposed(key, here(counters, place), here(kappas, place), attempt)

        fresh = computed_once(number, proposed, place, attempt)
        is_accepted = ~jnp.isnan(fresh)
        rows = [jnp.where((place == bit) & is_accepted, fresh, row) for bit, row in zip(bits, list(found), strict=True)]
        attempt = jnp.where(is_accepted, 1, attempt + 1)
        return number + 1, jnp.where(is_accepted, waiting ^ place, waiting), attempt, jnp.stack(rows)

    start = (jnp.int32(0), waiting, jnp.ones((num_lanes,), jnp.uint32), found)
    _, waiting, _, found = jax.lax.while_loop(goes_on, propose, start)
    return found.reshape(-1)[: strength.size].reshape(strength.shape), jnp.all(waiting == 0)
