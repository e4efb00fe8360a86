"""Information in a layer with noise: bounds from distances of pairs of inputs, around a Monte Carlo estimate."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating_alike, check_key, check_number

ROWS_AT_ONCE = 64  # inputs whose distances to all others are held at a time


class NoisyInformation(NamedTuple):
    """Information of a noisy layer about its input, in bits."""

    lower: Array  # scalar bound, by Bhattacharyya distances of pairs
    upper: Array  # scalar bound, by Kullback-Leibler divergences of pairs
    value: Array  # scalar Monte Carlo estimate without bias
    error: Array  # scalar, its standard error


def noisy_information_bits(key: Array, values: Any, noise_variance: Any, *, num_draws: int = 2) -> NoisyInformation:
    r"""Information of a layer with Gaussian noise about equally likely inputs, in bits, between two bounds.

    .. math:: T = f(X) + \sigma\xi, \qquad -\frac1N \sum_i \log_2 \frac1N \sum_j e^{-d_{ij}^2/8\sigma^2} \le I(X; T)
        = -E_{i,\xi} \log_2 \frac1N \sum_j e^{-(|f_i + \sigma\xi - f_j|^2 - |\sigma\xi|^2)/2\sigma^2}
        \le -\frac1N \sum_i \log_2 \frac1N \sum_j e^{-d_{ij}^2/2\sigma^2}

    with :math:`d_{ij} = |f(x_i) - f(x_j)|`. All three go to H(f(X)), the `entropy_bits`, as the noise vanishes, and to
    zero as it grows. Information about a label that the input fixes is I(X; T) less the mean over labels of that of the
    inputs with this label. The cost is N² distances, and a product of matrices for the draws; memory is that of the
    values a few times, and 64 N numbers for each draw. Differences are taken before squares: small noise is resolved
    down to the rounding of the values.

    Args:
        values: ``[num_inputs, ...]`` f of every input.
        noise_variance: σ² of each unit, a positive number.
        num_draws: of the noise for each input, at least two.

    Returns:
        `NoisyInformation`. The error is that of independent draws of the noise; the inputs are all there are.

    Raises:
        ValueError: no real numbers, no inputs, a variance that is not positive.

    Example:
        >>> found = noisy_information_bits(jax.random.key(0), jnp.arange(8.0), 0.05)
        >>> bool(found.lower < found.value < found.upper)
        True

    Reference:
        Kolchinsky & Tracey, Entropy 19, 361 (2017).
    """
    check_key("key", key)
    num_draws = as_count("num_draws", num_draws, minimum=2)
    found, variance = as_floating_alike(values=values, noise_variance=noise_variance)
    check_number("noise_variance", variance, above=0)
    if not found.ndim or not found.size:
        raise ValueError(f"values: expected [num_inputs, ...], got shape {tuple(found.shape)}")
    return _noisy_information(key, found.reshape(len(found), -1), variance, num_draws=num_draws)


@functools.partial(jax.jit, static_argnames="num_draws")
def _noisy_information(key: Array, values: Array, variance: Array, *, num_draws: int) -> NoisyInformation:
    num_inputs, num_units = values.shape
    units, deviation = values.T, jnp.sqrt(variance)
    centred = units - jnp.mean(units, axis=1, keepdims=True)  # without what would cancel in the overlap

    def of_input(inputs: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        draw_key, row = inputs

        def add(unit: Array, squares: Array) -> Array:
            away = (units[unit, row] - units[unit]) / deviation
            return squares + away * away

        half = 0.5 * jax.lax.fori_loop(0, num_units, add, jnp.zeros(num_inputs, values.dtype))
        noise = jax.random.normal(draw_key, (num_draws, num_units), values.dtype)
        along = jnp.matmul(noise, centred, precision="highest") / deviation
        return _surprise(half / 4), _surprise(half), _surprise(half[None] + (along[:, row][:, None] - along))

    rows = jax.random.split(key, num_inputs), jnp.arange(num_inputs)
    lower, upper, draws = jax.lax.map(of_input, rows, batch_size=min(ROWS_AT_ONCE, num_inputs))
    # The inputs are all there are: only the noise makes the mean uncertain.
    error = jnp.sqrt(jnp.sum(jnp.var(draws, axis=1, ddof=1)) / num_draws) / num_inputs
    return NoisyInformation(jnp.mean(lower), jnp.mean(upper), jnp.mean(draws), error)


def _surprise(distances: Array) -> Array:
    """Minus the binary logarithm of the mean overlap ``[...]`` of distances ``[..., num_inputs]``."""
    return (math.log(distances.shape[-1]) - jax.nn.logsumexp(-distances, axis=-1)) / math.log(2)
