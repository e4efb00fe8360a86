"""Sites with a unit vector of three components for value."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Status
from jaxrg.models.sites.angles import signed_of, vector_of
from jaxrg.models.sites.unit_vectors import UnitVectors, dot, normalised


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Sphere(UnitVectors):
    r"""Unit vectors with density proportional to :math:`e^{f\cdot s}`, a local field ``[3, *sites]``.

    Draws are exact, by inversion: with :math:`\kappa = |f|` and u uniform,

    .. math:: 1 - \cos\theta = -\frac1\kappa \ln\!\big(u + (1 - u)\, e^{-2\kappa}\big)

    around the direction of f, and any azimuth. Values are ``[3, *sites]`` here, components first, and last in
    configurations.
    """

    num_components = 3

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        first, second = random.bits(key, sites, 2)
        # Both u and 1 - u, each fine around its zero.
        low, high = _unit(first, field.dtype), _unit(~first, field.dtype)
        strength = jnp.sqrt(dot(field, field))
        is_free = strength == 0
        safe = jnp.where(is_free, 1, strength)
        near = jnp.log1p(high * jnp.expm1(-2 * safe))  # where the argument of the logarithm is near one
        far = jnp.log(low + high * jnp.exp(-2 * safe))
        height = jnp.where(is_free, 2 * high, -jnp.where((low > 0.5) | (safe < 1), near, far) / safe)  # 1 - cos θ
        cosine, sine = vector_of(math.pi * signed_of(second, field.dtype))
        radius = jnp.sqrt(jnp.maximum(height * (2 - height), 0))
        x, y, z = (component / safe for component in field)
        z = jnp.where(is_free, 1, z)
        across, along = _frame(x, y, z)
        around = [cosine * a + sine * b for a, b in zip(across, along, strict=True)]
        parts = [(1 - height) * p + radius * a for p, a in zip((x, y, z), around, strict=True)]
        return normalised(jnp.stack(parts)), jnp.uint32(Status.OK)

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """Any vector."""
        third, fourth = random.bits(key, sites, 4)[2:]
        height = signed_of(third, values.dtype)
        cosine, sine = vector_of(math.pi * signed_of(fourth, values.dtype))
        radius = jnp.sqrt(jnp.maximum(1 - height * height, 0))
        return normalised(jnp.stack([radius * cosine, radius * sine, height]))


def _unit(word: Array, dtype: Any) -> Array:
    """A uniform number in (0, 1], fine around zero."""
    return (word.astype(dtype) + 0.5) * 2.0**-32


def _frame(x: Array, y: Array, z: Array) -> tuple[list[Array], list[Array]]:
    """Two unit vectors perpendicular to a third and to each other (Duff et al., J. Comput. Graph. Tech. 6, 1, 2017)."""
    sign = jnp.where(z < 0, jnp.asarray(-1, z.dtype), jnp.asarray(1, z.dtype))
    a = -1 / (sign + z)
    b = x * y * a
    return [1 + sign * x * x * a, sign * b, -sign * x], [b, sign + y * y * a, -y]
