"""Particles drawn anew by their weights, and the mean of what populations of them estimate."""

import math

import jax
import jax.numpy as jnp
from jax import Array


def systematic(key: Array, log_weights: Array) -> Array:
    """``[num_particles]`` which particles go on: of each as many copies as its weight wants, up to one.

    One uniform number places a comb of equal teeth along the shares.
    """
    count = log_weights.size
    bounds = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jnp.arange(count, dtype=bounds.dtype) + jax.random.uniform(key, dtype=bounds.dtype)) / count
    return jnp.minimum(jnp.searchsorted(bounds / bounds[-1], places, side="right"), count - 1)


def mean_of_logs(logs: Array) -> tuple[Array, Array]:
    """ln of the mean of independent estimates given by their logarithms ``[num_repeats, ...]``, and its error."""
    most = jnp.max(logs, axis=0)
    ratios = jnp.exp(logs - most[None])
    mean = jnp.mean(ratios, axis=0)
    return most + jnp.log(mean), jnp.std(ratios, axis=0, ddof=1) / (mean * math.sqrt(len(logs)))
