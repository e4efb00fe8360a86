"""Mixtures of Gaussians of one number each, as densities and as monotone maps to a standard normal number."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

NUM_BISECTIONS = 40  # from a bracket of some ten standard deviations to the last bit of float32, and nearly of float64


class Mixture(NamedTuple):
    """Mixtures side by side; components along the leading axis, ``[num_components, ...]``."""

    log_weights: Array  # of weights that sum to one
    means: Array
    log_scales: Array

    def standardized(self, x: Array) -> Array:
        """``[num_components, ...]`` x in the units of each component."""
        return (x[None] - self.means) * jnp.exp(-self.log_scales)


def log_density(mixture: Mixture, x: Array) -> Array:
    """``[...]`` ln q(x)."""
    t = mixture.standardized(x)
    half_log_tau = np.log(2 * np.pi).astype(x.dtype) / 2
    return jax.nn.logsumexp(mixture.log_weights - mixture.log_scales - jnp.square(t) / 2, axis=0) - half_log_tau


def to_normal(mixture: Mixture, x: Array) -> tuple[Array, Array]:
    r"""The standard normal number at the quantile of x, :math:`z = \Phi^{-1}(F(x))`, and ln dz/dx."""
    t, weights = mixture.standardized(x), jnp.exp(mixture.log_weights)
    tiny = jnp.finfo(x.dtype).tiny
    below = jnp.maximum(jnp.sum(weights * jax.scipy.special.ndtr(t), axis=0), tiny)
    above = jnp.maximum(jnp.sum(weights * jax.scipy.special.ndtr(-t), axis=0), tiny)
    # From the smaller tail, which keeps its digits.
    tail = jax.scipy.special.ndtri(jnp.minimum(below, above))
    z = jnp.where(below < above, tail, -tail)
    return z, log_density(mixture, x) + (jnp.square(z) + np.log(2 * np.pi).astype(x.dtype)) / 2


def from_normal(mixture: Mixture, z: Array) -> tuple[Array, Array]:
    """x at the quantile of a standard normal number, and ln dx/dz; its first derivatives are exact."""
    fixed = jax.lax.stop_gradient(mixture)
    quantiles = fixed.means + jnp.exp(fixed.log_scales) * jax.lax.stop_gradient(z)[None]
    low, high = jnp.min(quantiles, axis=0), jnp.max(quantiles, axis=0)  # the mixture's lies between its components'

    weights = jnp.exp(fixed.log_weights)
    is_left, tail = z < 0, jax.scipy.special.ndtr(-jnp.abs(jax.lax.stop_gradient(z)))

    def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = low + (high - low) / 2
        t = fixed.standardized(middle)
        mass = jnp.sum(weights * jax.scipy.special.ndtr(jnp.where(is_left, t, -t)), axis=0)  # of the smaller tail
        is_below = jnp.where(is_left, mass < tail, mass > tail)
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, (low, high))
    x = follow(mixture, low + (high - low) / 2, z)
    return x, -to_normal(mixture, x)[1]


def follow(mixture: Mixture, x: Array, z: Array) -> Array:
    """x, which is at the quantile of z, with the derivatives it has by the mixture and by z: one step of Newton's."""
    found, log_slope = to_normal(mixture, jax.lax.stop_gradient(x))
    return x - (found - z) * jnp.exp(-jax.lax.stop_gradient(log_slope))


def draw(mixture: Mixture, key: Array) -> Array:
    """``[...]`` numbers, each of a component drawn first; their derivatives are those of a fixed quantile."""
    choice_key, noise_key = jax.random.split(key)
    choice = jax.random.categorical(choice_key, mixture.log_weights, axis=0)[None]
    mean, log_scale = (jnp.take_along_axis(part, choice, axis=0)[0] for part in (mixture.means, mixture.log_scales))
    x = jax.lax.stop_gradient(mean + jnp.exp(log_scale) * jax.random.normal(noise_key, mean.shape, mean.dtype))
    return follow(mixture, x, jax.lax.stop_gradient(to_normal(mixture, x)[0]))
