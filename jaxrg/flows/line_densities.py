"""Densities of one number that are known on a grid: their normaliser, and draws by the inverse of their integral.

The grid is uniform and reaches to where a density vanishes, so that the trapezoidal rule is exact to rounding.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

NUM_POINTS = 65
NUM_BISECTIONS = 23  # within a cell, to the last bit of float32
_CELL = (11 / 1440, -93 / 1440, 802 / 1440, 802 / 1440, -93 / 1440, 11 / 1440)  # mass of a cell from six points


def grid(bound: Array) -> Array:
    """``[NUM_POINTS]`` from -bound to bound."""
    return bound * jnp.asarray(np.linspace(-1, 1, NUM_POINTS), bound.dtype)


def log_normaliser(logs: Array, bound: Array) -> Array:
    """``[...]`` ln of the integral of a density given by its logarithms ``[NUM_POINTS, ...]``."""
    return jax.nn.logsumexp(logs, axis=0) + jnp.log(2 * bound / (NUM_POINTS - 1))


def draw(uniforms: Array, logs: Array, bound: Array) -> Array:
    """``[lanes]`` the quantiles of uniform numbers under densities ``[NUM_POINTS, lanes]``, which need no normaliser.

    The numbers are those of `jax.random.uniform`, which stand for the interval up to the next; its middle is taken.
    The integral is one of degree six at the points of the grid and a cubic between them. Derivatives by the logarithms
    are those of a fixed quantile.
    """
    step = 2 * bound / (NUM_POINTS - 1)
    density = jnp.exp(logs - jax.lax.stop_gradient(jnp.max(logs, axis=0, keepdims=True)))
    wide = jnp.pad(density, ((2, 2), (0, 0)))
    num_cells = NUM_POINTS - 1
    # Rounding makes what vanishes negative.
    masses = jnp.maximum(sum(weight * wide[i : i + num_cells] for i, weight in enumerate(_CELL)), 0)
    ends = jnp.cumsum(masses, axis=0)
    wanted = (uniforms + jnp.finfo(uniforms.dtype).eps / 2) * ends[-1]
    cell = jnp.minimum(jnp.sum(ends < wanted[None], axis=0), num_cells - 1)[None]
    mass, end, left, right = (
        jnp.take_along_axis(values, place, axis=0)[0]
        for values, place in ((masses, cell), (ends, cell), (density, cell), (density, cell + 1))
    )
    whole = jnp.maximum(mass, jnp.finfo(mass.dtype).tiny)
    # Slopes up to three keep the cubic monotone; beyond, which is far out in a tail, they are cut.
    at_left, at_right = (jnp.minimum(slope / whole, 3) for slope in (left, right))
    square, cube = 3 - 2 * at_left - at_right, at_left + at_right - 2

    def share(t: Array) -> Array:
        return t * (at_left + t * (square + t * cube))

    fixed = jax.lax.stop_gradient((end, mass, wanted))
    part = (fixed[2] - (fixed[0] - fixed[1])) / jnp.maximum(fixed[1], jnp.finfo(mass.dtype).tiny)

    def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        is_below = jax.lax.stop_gradient(share(middle)) < part
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    start = jnp.zeros_like(part), jnp.ones_like(part)
    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, start)
    t = (low + high) / 2
    quantile = (end - mass + mass * share(t)) / ends[-1]
    slope = mass * (at_left + t * (2 * square + 3 * t * cube)) / ends[-1]
    x = step * (cell[0].astype(t.dtype) + t) - bound
    slope = jax.lax.stop_gradient(jnp.maximum(slope, jnp.finfo(t.dtype).tiny))
    return x - step * (quantile - jax.lax.stop_gradient(quantile)) / slope
