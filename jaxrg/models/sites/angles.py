"""Angles to vectors and back, by polynomials where XLA calls a library for every number; uniform numbers of words."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# Of single precision, on a quarter of a right angle to either side and on 0 to tan(pi/8): Moshier's Cephes library.
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_ARCTANGENT = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
# pi/2 in parts, of which the first two have so few digits that their products with small integers are exact.
_RIGHT_ANGLE = (1.5703125, 4.837512969970703125e-4, 7.54978995489188e-8)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def vector_of(angle: Array) -> tuple[Array, Array]:
    """Cosine and sine; in single precision to 1e-7 for angles within some thousand turns."""
    if angle.dtype != jnp.float32:
        return jnp.cos(angle), jnp.sin(angle)
    quarter = jnp.round(angle * (2 / math.pi))
    rest = angle
    for part in _RIGHT_ANGLE:
        rest = rest - quarter * part
    square = rest * rest
    sine = rest + rest * square * _polynomial(_SINE, square)
    cosine = 1 - square / 2 + square * square * _polynomial(_COSINE, square)
    number = quarter.astype(jnp.int32)
    is_odd = (number & 1) == 1
    first, second = jnp.where(is_odd, sine, cosine), jnp.where(is_odd, cosine, sine)
    return jnp.where(((number + 1) & 2) == 0, first, -first), jnp.where((number & 2) == 0, second, -second)


def angle_of(first: Array, second: Array) -> Array:
    r"""The angle in :math:`[-\pi, \pi]` of the vector (first, second), zero for none."""
    if first.dtype != jnp.float32:
        return jnp.arctan2(second, first)
    x, y = jnp.abs(first), jnp.abs(second)
    low, high = jnp.minimum(x, y), jnp.maximum(x, y)
    is_far = low > math.tan(math.pi / 8) * high  # then from the diagonal
    above = jnp.where(is_far, low - high, low)
    below = jnp.where(is_far, low + high, high)
    slope = above / jnp.where(below == 0, 1, below)
    square = slope * slope
    angle = slope + slope * square * _polynomial(_ARCTANGENT, square)
    angle = jnp.where(is_far, angle + math.pi / 4, angle)
    angle = jnp.where(y > x, math.pi / 2 - angle, angle)
    angle = jnp.where(first < 0, math.pi - angle, angle)
    return jnp.where(second < 0, -angle, angle)


def wrap_angles(angles: Array) -> Array:
    r"""Angles modulo 2 pi, in :math:`[-\pi, \pi)`."""
    wrapped = jnp.mod(angles + math.pi, 2 * math.pi) - math.pi
    return jnp.where(wrapped >= math.pi, -math.pi, wrapped)  # which rounding can give


def wrap_near(angles: Array) -> Array:
    """The same of angles within some turns, without a remainder, which XLA does not vectorise."""
    wrapped = angles - 2 * math.pi * jnp.round(angles * (0.5 / math.pi))
    return jnp.where((wrapped >= math.pi) | (wrapped < -math.pi), -math.pi, wrapped)


def uniform_of(first: Array, second: Array, dtype: Any) -> Array:
    """A uniform number in (0, 1] of 64 bits, as fine around zero as floats are."""
    return (first.astype(dtype) + (second.astype(dtype) + 0.5) * 2.0**-32) * 2.0**-32


def signed_of(word: Array, dtype: Any) -> Array:
    """A uniform number in (-1, 1) of 32 bits, fine around zero."""
    return (jax.lax.bitcast_convert_type(word, jnp.int32).astype(dtype) + 0.5) * 2.0**-31
