"""Continuous flows of small blocks: the field moves along a velocity, in steps of the classical Runge-Kutta rule."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count
from jaxrg.flows.bijectors.conditioners import Conditioner, as_conditioner
from jaxrg.flows.bijectors.jacobians import MAX_FEATURES, divergence
from jaxrg.flows.bijectors.making import Event, bijector


@register_static
@dataclasses.dataclass(frozen=True)
class Course:
    """The event and the number of steps; static."""

    event: Event
    num_steps: int

    @property
    def num_features(self) -> int:
        """Number of entries of an event."""
        return math.prod(self.event.shape)


def continuous(event_shape: Sequence[int], velocity: Any, *, num_steps: int = 8) -> Bijector:
    r"""A small block moves along a velocity from time 0 to 1, with the exact divergence.

    .. math:: \dot x = f(x, t), \qquad \frac{d}{dt} \ln|\det| = \nabla \cdot f

    In fixed steps of fourth order, there and back: round trip and log-determinant are those of the flow up to errors
    :math:`O(\text{num\_steps}^{-4})`.

    Args:
        event_shape: shape of the block, of at most 64 entries.
        velocity: f, a `perceptron` or what else `affine_coupling` takes, of ``[features + 1, *lanes]`` with the time
            in the last row, with ``features`` outputs.
        num_steps: at least one.

    Raises:
        ValueError: more than 64 entries, no function, or no steps.

    Reference:
        Chen, Rubanova, Bettencourt & Duvenaud, NeurIPS 2018, arXiv:1806.07366.
    """
    static = Course(Event.of(event_shape), as_count("num_steps", num_steps))
    if static.num_features > MAX_FEATURES:
        raise ValueError(f"event_shape: expected at most {MAX_FEATURES} entries, got {static.event.shape}")
    return bijector(_init, _forward, _inverse, static, as_conditioner("velocity", velocity, ()))


def _init(static: Course, net: Conditioner, key: Array) -> PyTree:
    return net.init(key, jnp.zeros(static.num_features + 1, jnp.result_type(float)), static.num_features)


def _forward(static: Course, net: Conditioner, params: PyTree, values: Array) -> tuple[Array, Array]:
    return _integrate(static, net, params, values, 0.0, 1.0)


def _inverse(static: Course, net: Conditioner, params: PyTree, values: Array) -> tuple[Array, Array]:
    return _integrate(static, net, params, values, 1.0, 0.0)


def _integrate(
    static: Course, net: Conditioner, params: PyTree, values: Array, start: float, stop: float
) -> tuple[Array, Array]:
    static.event.check(values)
    features = values.reshape(static.num_features, *static.event.lanes(values))
    size = (stop - start) / static.num_steps

    def velocity(time: Array, features: Array) -> Array:
        clock = jnp.broadcast_to(time, (1, *features.shape[1:]))
        found = net.apply(params, jnp.concatenate([features, clock]))
        if found.shape != features.shape:
            raise ValueError(f"velocity: expected outputs of shape {features.shape}, got {found.shape}")
        return found

    def slopes(time: Array, features: Array) -> tuple[Array, Array]:
        at_time = jax.tree_util.Partial(velocity, time)
        return at_time(features), divergence(at_time, features)

    def step(state: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], None]:
        return _runge_kutta(slopes, start + size * number, size, state), None

    numbers = jnp.arange(static.num_steps, dtype=values.dtype)
    state = features, jnp.zeros(features.shape[1:], features.dtype)
    (features, log_det), _ = jax.lax.scan(step, state, numbers)
    return features.reshape(values.shape), log_det


def _runge_kutta(slopes: Callable, time: Array, size: float, state: tuple[Array, Array]) -> tuple[Array, Array]:
    features, log_det = state
    first, first_rate = slopes(time, features)
    second, second_rate = slopes(time + size / 2, features + size / 2 * first)
    third, third_rate = slopes(time + size / 2, features + size / 2 * second)
    fourth, fourth_rate = slopes(time + size, features + size * third)
    features = features + size / 6 * (first + 2 * (second + third) + fourth)
    return features, log_det + size / 6 * (first_rate + 2 * (second_rate + third_rate) + fourth_rate)
