"""Sites with an angle for value: planar spins."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.checks import as_floating, check_shape
from jaxrg.models.sites.angles import angle_of, signed_of, vector_of, wrap_near
from jaxrg.models.sites.plane import Plane


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
    vectors = Plane()  # what the same spins are without their angles

    def checked(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        array = as_floating(name, values)
        check_shape(name, array, shape)
        return array

    def lift(self, values: Array) -> Array:
        """``[2, *sites]`` unit vectors, values of `vectors`."""
        return jnp.stack(vector_of(values))

    def lower(self, vectors: Array) -> Array:
        """The angles of vectors."""
        return wrap_near(angle_of(vectors[0], vectors[1]))

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        drawn, status = self.vectors.draw(key, sites, field)
        return self.lower(drawn), status

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """Any angle."""
        return math.pi * signed_of(random.bits(key, sites, 3)[2], values.dtype)

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        return self.vectors.log_ratio(self.lift(values), self.lift(proposed), field)

    def mirror(self, values: Array, field: Array) -> Array:
        """The image in the direction of the field; the value itself where there is none."""
        return self.lower(self.vectors.mirror(self.lift(values), field))
