"""A shear: every entry of an event but the first is moved by a learned multiple of the first."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import Bijector
from jaxrg.checks import as_count
from jaxrg.flows.bijectors.making import Event, beside_lanes, bijector


def shear(num_features: int) -> Bijector:
    r"""One line; the equation, :math:`y_i = x_i + w_i x_0` for i > 0; Args; Returns; Raises; Reference."""
    return bijector(_init, _forward, _inverse, Event((as_count("num_features", num_features, minimum=2),)))


def _init(event: Event, key: Array) -> Array:
    """The first arguments of all three are what `bijector` was given after them: static values and arrays."""
    return 0.1 * jax.random.normal(key, (event.shape[0] - 1,))


def _forward(event: Event, weights: Array, values: Array) -> tuple[Array, Array]:
    event.check(values)  # [features, *lanes]
    moved = values[1:] + beside_lanes(weights, values) * values[:1]
    return jnp.concatenate([values[:1], moved]), event.zeros(values)


def _inverse(event: Event, weights: Array, values: Array) -> tuple[Array, Array]:
    event.check(values)
    moved = values[1:] - beside_lanes(weights, values) * values[:1]
    return jnp.concatenate([values[:1], moved]), event.zeros(values)
