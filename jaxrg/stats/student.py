"""Student's t: how many errors wide an interval is."""

import jax
import jax.numpy as jnp
from jax import Array

BISECTIONS = 40
LARGEST = 1e4  # errors
MOST_DEGREES = 1e4  # beyond, t is that of a normal number to 1e-4, and the beta function has no digits in float32


def student_quantile(level: Array, num_degrees_of_freedom: Array) -> Array:
    r"""t with :math:`P(|T_\nu| < t)` equal to the level, by bisection of the incomplete beta function."""
    dtype = num_degrees_of_freedom.dtype
    degrees = jnp.minimum(num_degrees_of_freedom, MOST_DEGREES)
    half = jnp.full_like(degrees, 0.5)

    def inside(t: Array) -> Array:
        square = jnp.square(t)
        return jax.scipy.special.betainc(half, degrees / 2, square / (degrees + square))

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_low = inside(jnp.exp(middle)) < level
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    end = jnp.log(jnp.asarray(LARGEST, dtype))
    low, _ = jax.lax.fori_loop(0, BISECTIONS, halve, (jnp.full_like(half, -end), jnp.full_like(half, end)))
    return jnp.exp(low)
