"""Sites with an angle for value: planar spins."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Status
from jaxrg.checks import as_floating, check_shape
from jaxrg.models.sites.angles import angle_of, vector_of, wrap_angles

# A proposal is accepted with probability 0.658 or more, so that 0.342^128 = 1e-59 of all sites are still without value.
_MAX_ROUNDS = 128


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
        root = jnp.sqrt(1 + 4 * strength * strength)
        middle = (1 + root) / 2  # R
        squared = middle / ((middle + strength) * (middle + strength))  # g²
        least = (1 + 1 / (root + 2 * strength)) / 2  # R - kappa, without a difference of large numbers

        def is_pending(carry):
            attempt, pending, _ = carry
            return jnp.any(pending) & (attempt < _MAX_ROUNDS)

        def propose(carry):
            attempt, pending, turn = carry
            replicas = jnp.full_like(sites, attempt)
            fresh = _signed(random.bits(key, sites, 3, replicas=replicas)[2], field.dtype)
            cosine, sine = vector_of(fresh * (math.pi / 2))
            square = squared * sine * sine
            c = least + 2 * strength * square / (cosine * cosine + square)  # 1 - cos θ = 2 g²T²/(1 + g²T²)
            accepted = random.bernoulli(key, sites, jnp.minimum(c * jnp.exp(1 - c), 1), replicas=replicas)
            return attempt + 1, pending & ~accepted, jnp.where(pending & accepted, fresh, turn)

        start = (jnp.uint32(0), jnp.isfinite(strength), jnp.zeros_like(strength))
        _, pending, turn = jax.lax.while_loop(is_pending, propose, start)
        cosine, sine = vector_of(turn * (math.pi / 2))
        angle = angle_of(field[0], field[1]) + 2 * angle_of(cosine, jnp.sqrt(squared) * sine)
        return wrap_angles(angle), Status.NOT_CONVERGED.when(jnp.any(pending))

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """Any angle."""
        return math.pi * _signed(random.bits(key, sites, 3)[2], values.dtype)

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        before, after = vector_of(values), vector_of(proposed)
        return field[0] * (after[0] - before[0]) + field[1] * (after[1] - before[1])

    def mirror(self, values: Array, field: Array) -> Array:
        """The image in the direction of the field."""
        return wrap_angles(2 * angle_of(field[0], field[1]) - values)


def _signed(word: Array, dtype: Any) -> Array:
    """A uniform number in (-1, 1), fine around zero."""
    return (jax.lax.bitcast_convert_type(word, jnp.int32).astype(dtype) + 0.5) * 2.0**-31
