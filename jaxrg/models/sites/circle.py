"""Sites with an angle for value: planar spins."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Status, computed_once
from jaxrg.checks import as_floating, check_shape
from jaxrg.models.sites.angles import angle_of, signed_of, uniform_of, vector_of, wrap_near

# A proposal is accepted with probability 0.658 or more, so that 0.342^128 = 1e-59 of all sites need more of them.
_MAX_PROPOSALS = 128
# Sites that take their turns in one lane. If all were proposed to at once, until the last is done, seven of eight
# proposals would go to sites that are done; in a lane the next site follows as soon as one is done.
_LANE = 8
_FEW = 1024


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Circle:
    r"""Angles with density proportional to :math:`\exp(f_1\cos\theta + f_2\sin\theta)`, a local field ``[2, *sites]``.

    Draws are exact, to the rounding of single precision: von Mises angles around that of f by the rejection of Best
    and Fisher, from a wrapped Cauchy distribution

    .. math:: \tan\frac{\theta}{2} = g \tan\frac{\pi u}{2}, \qquad g^2 = \frac{R}{(R + \kappa)^2}, \qquad
        R = \frac{1 + \sqrt{1 + 4\kappa^2}}{2}, \qquad \kappa = |f|

    with u uniform in (-1, 1), accepted with probability :math:`c\,e^{1-c}`, :math:`c = R - \kappa\cos\theta`.

    Reference:
        Best & Fisher, J. R. Stat. Soc. C 28, 152 (1979).
    """

    is_integer = False
    value_shape = ()
    field_shape = (2,)

    def checked(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        array = as_floating(name, values)
        check_shape(name, array, shape)
        return array

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        strength = jnp.sqrt(field[0] * field[0] + field[1] * field[1])
        turn, is_done = _cauchy_turns(key, sites, strength)
        cosine, sine = vector_of(turn * (math.pi / 2))
        g = jnp.sqrt(_envelope(strength)[0])
        angle = angle_of(field[0], field[1]) + 2 * angle_of(cosine, g * sine)
        return wrap_near(angle), Status.NOT_CONVERGED.when(~is_done)

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """Any angle."""
        return math.pi * signed_of(random.bits(key, sites, 3)[2], values.dtype)

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        before, after = vector_of(values), vector_of(proposed)
        return field[0] * (after[0] - before[0]) + field[1] * (after[1] - before[1])

    def mirror(self, values: Array, field: Array) -> Array:
        """The image in the direction of the field."""
        return wrap_near(2 * angle_of(field[0], field[1]) - values)


def _envelope(strength: Array) -> tuple[Array, Array]:
    """g² and R - kappa, without a difference of large numbers."""
    root = jnp.sqrt(1 + 4 * strength * strength)
    reach = (1 + root) / 2 + strength
    return (1 + root) / 2 / (reach * reach), (1 + 1 / (root + 2 * strength)) / 2


def _cauchy_turns(key: Array, sites: Array, strength: Array) -> tuple[Array, Array]:
    """``[*sites]`` the accepted u of every site, and whether all have one."""
    length = _LANE if strength.size >= _FEW else 1
    num_lanes = -(-strength.size // length)

    def in_lanes(values: Array) -> Array:
        flat = jnp.pad(values.reshape(-1), (0, length * num_lanes - values.size))
        return flat.reshape(length, num_lanes)

    places = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32)[:, None], (length, num_lanes))
    kappas, counters = in_lanes(strength), in_lanes(sites)

    def here(values: Array, place: Array) -> Array:
        chosen = values[0]
        for number in range(1, length):
            chosen = jnp.where(place == number, values[number], chosen)
        return chosen

    def goes_on(carry):
        number, place, _, _ = carry
        return jnp.any(place < length) & (number < length * _MAX_PROPOSALS)

    def proposed(place: Array, attempt: Array) -> tuple[Array, Array]:
        kappa = here(kappas, place)
        first, second, third = random.bits(key, here(counters, place), 3, replicas=attempt)
        fresh = signed_of(third, strength.dtype)
        cosine, sine = vector_of(fresh * (math.pi / 2))
        squared, least = _envelope(kappa)
        square = squared * sine * sine
        c = least + 2 * kappa * square / (cosine * cosine + square)  # kappa (1 - cos θ) more than the least
        # Where the field is not finite nothing can be accepted, and the status says so elsewhere.
        return fresh, (uniform_of(first, second, strength.dtype) <= c * jnp.exp(1 - c)) | ~jnp.isfinite(kappa)

    def propose(carry):
        number, place, attempt, turns = carry
        fresh, accepted = computed_once(number, proposed, place, attempt)
        is_here = (places == place[None]) & accepted[None]
        turns = jnp.where(is_here, jnp.broadcast_to(fresh, turns.shape), turns)
        return number + 1, place + accepted.astype(jnp.int32), jnp.where(accepted, 0, attempt + 1), turns

    lanes = jnp.zeros((num_lanes,), jnp.int32)
    start = (jnp.int32(0), lanes, lanes.astype(jnp.uint32), jnp.zeros_like(kappas))
    _, place, _, turns = jax.lax.while_loop(goes_on, propose, start)
    return turns.reshape(-1)[: strength.size].reshape(strength.shape), jnp.all(place >= length)
