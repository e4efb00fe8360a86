"""What sites with a unit vector for value have in common. Values are ``[n, *sites]``, components first."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, check_shape, is_traced

_SLACK = 1e-4  # by which the length of a given vector may differ from one


class UnitVectors:
    """Unit vectors of n components, which come last in configurations, in local fields of n components."""

    num_components: int

    is_integer = False

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (self.num_components,)

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.num_components,)

    def checked(self, name: str, values: object, shape: tuple[int, ...]) -> Array:
        array = as_floating(name, values)
        check_shape(name, array, shape)
        if not is_traced(array):
            lengths = np.linalg.norm(np.asarray(array), axis=-1)
            wrong = lengths[~(np.abs(lengths - 1) < _SLACK)]
            if wrong.size:
                raise ValueError(f"{name}: expected unit vectors, got one of length {wrong.ravel()[0]}")
        return array

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        return dot(field, proposed - values)

    def mirror(self, values: Array, field: Array) -> Array:
        """The image in the direction of the field; the value itself where there is none."""
        largest = jnp.max(jnp.abs(field), axis=0)  # by which the field is divided: a square might be infinite
        along = field / jnp.broadcast_to(jnp.where(largest > 0, largest, 1), field.shape)
        square = dot(along, along)
        twice = 2 * dot(along, values) / jnp.where(square > 0, square, 1)
        image = normalised(jnp.stack([twice * f - v for f, v in zip(along, values, strict=True)]))
        return jnp.where(jnp.broadcast_to(square > 0, image.shape), image, values)


def dot(first: Array, second: Array) -> Array:
    """Written out, which XLA fuses better than a sum over a leading axis."""
    total = first[0] * second[0]
    for a, b in zip(first[1:], second[1:], strict=True):
        total = total + a * b
    return total


def normalised(vectors: Array) -> Array:
    """Vectors ``[n, ...]`` of length one, which rounding takes them from."""
    return vectors * jnp.broadcast_to(jax.lax.rsqrt(dot(vectors, vectors)), vectors.shape)
