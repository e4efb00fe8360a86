"""Mixtures of logistic distributions of whole levels, uniform inside each: maps of [0, 1] to a standard normal number.

Level n of K is the cell ``[n / K, (n + 1) / K]``; the first and the last take all that lies beyond them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

EDGE = 2.0**-15  # as near as a draw comes to the edge of its cell, which float32 tells from the next up to 256 levels
MAX_LEVELS = 256
LEAST_MASS = 1e-18  # whose square float32 still has, as derivatives ask for


class LevelMixture(NamedTuple):
    """Mixtures side by side; components along the leading axis, in units where [0, 1] is [-1, 1]."""

    log_weights: Array  # of weights that sum to one
    means: Array
    log_scales: Array

    def at(self, edge: Array) -> Array:
        """``[num_components, ...]`` an edge, ``[...]`` from 0 to 1, in the units of each component."""
        return (2 * edge[None] - 1 - self.means) * jnp.exp(-self.log_scales)


class Cell(NamedTuple):
    """A level, and what a mixture says of it."""

    below: Array  # probability of all lower levels
    above: Array  # of all higher ones
    log_of_components: Array  # [num_components, ...] ln P of the level in each component
    log_mass: Array  # ln P of the level


def cell_of(mixture: LevelMixture, level: Array, num_levels: int) -> Cell:
    r"""Of whole numbers ``[...]`` as floats: :math:`\sigma(a) - \sigma(b) = \sigma(a)\,\sigma(-b)\,(1 - e^{b - a})`."""
    low, high = mixture.at(level / num_levels), mixture.at((level + 1) / num_levels)
    is_first, is_last = level == 0, level == num_levels - 1
    up_to, beyond = jax.nn.log_sigmoid(high), jax.nn.log_sigmoid(-low)
    inside = up_to + beyond + jnp.log(-jnp.expm1(low - high))
    outer = jnp.where(is_last[None], beyond, inside)
    logs = jnp.where(is_first[None], up_to, outer)
    weights = jnp.exp(mixture.log_weights)
    below = jnp.where(is_first, 0.0, jnp.sum(weights * jax.nn.sigmoid(low), axis=0))
    above = jnp.where(is_last, 0.0, jnp.sum(weights * jax.nn.sigmoid(-high), axis=0))
    return Cell(below, above, logs, jax.nn.logsumexp(mixture.log_weights + logs, axis=0))


def level_of(x: Array, num_levels: int) -> Array:
    """``[...]`` whole numbers, as floats, of numbers from 0 to 1: that of the cell that begins at or below each."""
    fixed = jax.lax.stop_gradient(x)
    level = jnp.floor(fixed * num_levels)
    rounded_up = jnp.where(fixed < level / num_levels, level - 1, level)
    level = jnp.where(fixed >= (level + 1) / num_levels, level + 1, rounded_up)
    return jnp.clip(level, 0, num_levels - 1)


def middle_of(level: Array, num_levels: int) -> Array:
    """The middle of the cells of levels, from -1 to 1."""
    return (2 * level + 1) / num_levels - 1


def to_normal(cell: Cell, level: Array, x: Array, num_levels: int) -> tuple[Array, Array]:
    r"""The standard normal number at the quantile of x, which is in the cell, and ln dz/dx."""
    share = jnp.clip(x * num_levels - level, EDGE, 1 - EDGE)
    mass, tiny = jnp.exp(cell.log_mass), jnp.finfo(x.dtype).tiny
    below = jnp.maximum(cell.below + share * mass, tiny)
    above = jnp.maximum(cell.above + (1 - share) * mass, tiny)
    # From the smaller tail, which keeps its digits.
    tail = jax.scipy.special.ndtri(jnp.minimum(jnp.minimum(below, above), 0.5))
    z = jnp.where(below < above, tail, -tail)
    return z, cell.log_mass + _log_density_over(z, num_levels)


def _log_density_over(z: Array, num_levels: int) -> Array:
    """ln of the number of levels over the standard normal density."""
    return (jnp.square(z) + np.asarray(np.log(2 * np.pi) + 2 * np.log(num_levels), z.dtype)) / 2


def from_normal(mixture: LevelMixture, z: Array, num_levels: int) -> tuple[Array, Array, Array, Cell]:
    """The level and x at the quantile of z, ln dx/dz, and the cell; x moves with z inside its level."""
    fixed, tail = jax.lax.stop_gradient(mixture), jax.scipy.special.ndtr(-jnp.abs(z))
    is_left, weights, goal = z < 0, jnp.exp(fixed.log_weights), jax.lax.stop_gradient(tail)

    def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket  # the level is in [low, high)
        middle = jnp.floor((low + high) / 2)
        t = fixed.at(middle / num_levels)
        mass = jnp.sum(weights * jax.nn.sigmoid(jnp.where(is_left, t, -t)), axis=0)  # of the smaller tail
        is_above = (middle > low) & jnp.where(is_left, mass <= goal, mass >= goal)
        return jnp.where(is_above, middle, low), jnp.where(is_above, high, jnp.maximum(middle, low + 1))

    start = jnp.zeros_like(z), jnp.full_like(z, num_levels)
    level, _ = jax.lax.fori_loop(0, int(num_levels - 1).bit_length(), halve, start)
    cell = cell_of(mixture, level, num_levels)
    mass = jnp.exp(jnp.maximum(cell.log_mass, np.log(LEAST_MASS).astype(z.dtype)))
    share = jnp.where(is_left, (tail - cell.below) / mass, 1 - (tail - cell.above) / mass)
    x = (level + jnp.clip(share, EDGE, 1 - EDGE)) / num_levels
    return level, x, -cell.log_mass - _log_density_over(z, num_levels), cell
