"""Linear maps of channels: invertible 1x1 convolutions, and scales and shifts that start from data."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_static

from jaxrg.base import Bijector
from jaxrg.checks import as_floating, as_integers
from jaxrg.flows.bijectors.making import Event, beside_lanes, bijector

ANGLE = 0.5  # radians per root of channels of the first rotation: it mixes all of them, and its minors are positive


class Plu(NamedTuple):
    """A matrix W = P L U with positive diagonal; what is not below or above the diagonal is not looked at."""

    lower: Array  # [channels, channels] L below its diagonal of ones
    upper: Array  # [channels, channels] U above its diagonal
    log_diagonal: Array  # [channels] logarithm of the diagonal of U


@register_static
@dataclasses.dataclass(frozen=True)
class Channels:
    """The event and P, static: row i of the product is row ``order[i]`` of L U."""

    event: Event
    order: tuple[int, ...]

    @property
    def area(self) -> int:
        """Number of sites that each channel has."""
        return math.prod(self.event.shape[1:])


def invertible_convolution(event_shape: Sequence[int], *, order: Any = None) -> Bijector:
    r"""The channels of every site, the event's first axis, are multiplied by one matrix.

    .. math:: y = P L U x, \qquad \ln|\det| = (\text{sites}) \sum_c \ln U_{cc}

    It starts at a random rotation of the channels, followed by P. The inverse is a product with the inverse matrix,
    found from the triangles.

    Args:
        event_shape: ``(channels, *rest)``.
        order: the permutation P of the channels, which is not trained; reversed if None.

    Raises:
        ValueError: no shape, or no permutation of the channels.

    Example:
        >>> turn = invertible_convolution((3, 4, 4))
        >>> _, log_det = turn.forward(turn.init(jax.random.key(0)), jnp.ones((3, 4, 4)))
        >>> abs(float(log_det)) < 1e-4  # a rotation
        True

    Reference:
        Kingma & Dhariwal, NeurIPS 2018, arXiv:1807.03039.
    """
    event = Event.of(event_shape)
    channels = event.shape[0]
    rows = np.asarray(as_integers("order", np.arange(channels)[::-1].copy() if order is None else order))
    if rows.shape != (channels,) or not np.array_equal(np.sort(rows), np.arange(channels)):
        raise ValueError(f"order: expected every integer from 0 to {channels - 1} once, got {rows.tolist()}")
    static = Channels(event, tuple(rows.tolist()))
    return bijector(_init_plu, _multiply, _divide, static)


def _init_plu(static: Channels, key: Array) -> Plu:
    channels = len(static.order)
    angles = jax.random.normal(key, (channels, channels)) * (ANGLE / channels**0.5)
    skew, one = (angles - angles.T) / 2, jnp.eye(channels, dtype=angles.dtype)
    rotation = jnp.linalg.solve(one - skew, one + skew)  # Cayley's
    row = jnp.arange(channels, dtype=jnp.int32)

    def eliminate(step: Array, matrix: Array) -> Array:
        factors = jnp.where(row > step, matrix[:, step] / matrix[step, step], 0)
        matrix = matrix - factors[:, None] * jnp.where(row > step, matrix[step], 0)[None]
        return matrix.at[:, step].set(jnp.where(row > step, factors, matrix[:, step]))

    both = jax.lax.fori_loop(0, channels, eliminate, rotation)
    return Plu(jnp.tril(both, -1), jnp.triu(both, 1), jnp.log(jnp.diagonal(both)))


def _triangles(params: Plu) -> tuple[Array, Array]:
    lower = jnp.tril(params.lower, -1) + jnp.eye(params.lower.shape[0], dtype=params.lower.dtype)
    return lower, jnp.triu(params.upper, 1) + jnp.diag(jnp.exp(params.log_diagonal))


def _multiply(static: Channels, params: Plu, values: Array) -> tuple[Array, Array]:
    static.event.check(values)
    lower, upper = _triangles(params)
    matrix = (lower @ upper)[np.array(static.order)]
    return jnp.tensordot(matrix, values, 1), _log_det(static, params.log_diagonal, values)


def _divide(static: Channels, params: Plu, values: Array) -> tuple[Array, Array]:
    static.event.check(values)
    lower, upper = _triangles(params)
    moved = jnp.eye(len(static.order), dtype=lower.dtype)[np.argsort(static.order)]
    solved = jax.scipy.linalg.solve_triangular(lower, moved, lower=True, unit_diagonal=True)
    inverse = jax.scipy.linalg.solve_triangular(upper, solved)
    return jnp.tensordot(inverse, values, 1), -_log_det(static, params.log_diagonal, values)


def _log_det(static: Channels, log_scales: Array, values: Array) -> Array:
    total = static.area * jnp.sum(log_scales)
    return jnp.broadcast_to(total, static.event.lanes(values))


class ActNorm(NamedTuple):
    """Scale and shift of every channel."""

    log_scale: Array  # [channels]
    shift: Array  # [channels]


def actnorm(event_shape: Sequence[int]) -> Bijector:
    r"""Every channel, a row of the event's first axis, is scaled and shifted, :math:`y_c = e^{s_c} x_c + t_c`.

    It starts at the identity; `actnorm_params` starts it from data.

    Raises:
        ValueError: no shape.

    Reference:
        Kingma & Dhariwal, NeurIPS 2018, arXiv:1807.03039.
    """
    return bijector(_init_actnorm, _scale, _unscale, Channels(Event.of(event_shape), ()))


def _init_actnorm(static: Channels, key: Array) -> ActNorm:
    zeros = jnp.zeros(static.event.shape[0])
    return ActNorm(zeros, zeros)


def _scale(static: Channels, params: ActNorm, values: Array) -> tuple[Array, Array]:
    static.event.check(values)
    scaled = values * beside_lanes(jnp.exp(params.log_scale), values) + beside_lanes(params.shift, values)
    return scaled, _log_det(static, params.log_scale, values)


def _unscale(static: Channels, params: ActNorm, values: Array) -> tuple[Array, Array]:
    static.event.check(values)
    scaled = (values - beside_lanes(params.shift, values)) * beside_lanes(jnp.exp(-params.log_scale), values)
    return scaled, -_log_det(static, params.log_scale, values)


def actnorm_params(samples: Array, event_shape: Sequence[int]) -> ActNorm:
    """Parameters with which the inverse of `actnorm` gives these samples mean zero and variance one in every channel.

    Args:
        samples: ``[*event, *lanes]`` data, on the side of the field.
        event_shape: shape of the event.

    Returns:
        Parameters; a channel without variance keeps its scale.

    Raises:
        ValueError: another shape than the event's.

    Example:
        >>> samples = jnp.array([[1.0, 3.0], [5.0, 5.0]])
        >>> actnorm((2,)).inverse(actnorm_params(samples, (2,)), samples)[0].tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    values = as_floating("samples", samples)
    event = Event.of(event_shape)
    event.check(values, "samples")
    if not values.size:
        raise ValueError(f"samples: expected at least one, got shape {values.shape}")
    return _actnorm_params(values)


@jax.jit
def _actnorm_params(values: Array) -> ActNorm:
    axes = tuple(range(1, values.ndim))
    shift = jnp.mean(values, axis=axes)
    variance = jnp.mean((values - beside_lanes(shift, values)) ** 2, axis=axes)
    return ActNorm(0.5 * jnp.log(jnp.where(variance == 0, 1, variance)), shift)
