"""Long sums that lose nothing: pairs of floats, sums in blocks, and a running log-sum-exp."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

SUM_BLOCK = 32  # rounding error of a blocked sum grows as SUM_BLOCK * log_SUM_BLOCK(n), least near this size


class Double(NamedTuple):
    """``high + low``, low at most half a unit in the last place of high: 48 bits from two float32."""

    high: Array
    low: Array

    @property
    def value(self) -> Array:
        """The sum, rounded once."""
        return self.high + self.low


def double(high: Array) -> Double:
    """A float as a pair."""
    return Double(high, jnp.zeros_like(high))


def add(total: Double, value: Array) -> Double:
    """Knuth's two-sum of the high part, then renormalised: without that ``low`` itself would stall after 2^24 terms."""
    high = total.high + value
    virtual = high - total.high
    low = total.low + ((total.high - (high - virtual)) + (value - virtual))
    renormalised = high + low
    return Double(renormalised, low - (renormalised - high))


def add_double(total: Double, other: Double) -> Double:
    """Sum of two pairs."""
    return add(add(total, other.high), other.low)


def subtract(total: Double, other: Double) -> Array:
    """Difference of two pairs, rounded once."""
    return add_double(total, Double(-other.high, -other.low)).value


def blocked_sum(x: Array) -> Array:
    """Sum over the leading axis in a tree of short sums: float32 neither stalls at 2^24 nor loses digits as n grows."""
    while x.shape[0] > 1:
        num_blocks = -(-x.shape[0] // SUM_BLOCK)
        padding = num_blocks * SUM_BLOCK - x.shape[0]
        x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
        x = jnp.sum(x.reshape((num_blocks, SUM_BLOCK, *x.shape[1:])), axis=1)
    return x[0]


class LogSumExp(NamedTuple):
    r"""A running :math:`\ln \sum_k e^{w_k}`: the largest w so far, and the sum of all weights relative to it.

    The maximum is no more than a scale: no derivative passes through it, and where it is not finite (nothing has
    contributed yet, or the sum is infinite) it scales as zero.
    """

    maximum: Array  # [...]
    total: Double  # [...]

    @property
    def value(self) -> Array:
        """Logarithm of the sum; -inf, with derivative zero, where nothing contributed; inf where one term is."""
        total = self.total.value
        is_empty = total == 0
        logarithm = _scale(self.maximum) + jnp.log(jnp.where(is_empty, 1, total))
        return jnp.where(is_empty, -jnp.inf, jnp.where(self.maximum == jnp.inf, jnp.inf, logarithm))


def _scale(maximum: Array) -> Array:
    return jnp.where(jnp.isfinite(maximum), maximum, 0)


def empty_log_sum(shape: tuple[int, ...], dtype) -> LogSumExp:
    """The sum of nothing."""
    return LogSumExp(jnp.full(shape, -jnp.inf, dtype), double(jnp.zeros(shape, dtype)))


def add_log_weights(state: LogSumExp, log_weights: Array) -> tuple[LogSumExp, Array, Array]:
    """Take in ``[..., chunk]`` logarithms along the last axis.

    Returns:
        The new state, and for other sums with these weights: the factor ``[...]`` for what they hold so far, and the
        weights ``[..., chunk]`` of the chunk, both relative to the new maximum.
    """
    maximum = jax.lax.stop_gradient(jnp.maximum(state.maximum, jnp.max(log_weights, axis=-1)))
    scale = _scale(maximum)
    factor, weights = jnp.exp(state.maximum - scale), jnp.exp(log_weights - scale[..., None])
    kept = Double(state.total.high * factor, state.total.low * factor)
    return LogSumExp(maximum, add(kept, jnp.sum(weights, axis=-1))), factor, weights


def weighted_mean(log_weights: Array, values: Array) -> Array:
    r"""Mean over the leading axis with weights :math:`e^{v}`, whose derivatives are connected correlations.

    .. math:: \bar f = \frac{\sum_i e^{v_i} f_i}{\sum_i e^{v_i}}, \qquad
        d\bar f = \overline{df} + \overline{(f - \bar f)\,dv}

    The log-weight and the value of one sample are taken off first: an offset that all have in common, as of large
    energies, costs no digits, of derivatives neither. Raises ValueError for complex values.
    """
    if jnp.issubdtype(values.dtype, jnp.complexfloating):
        raise ValueError(f"values: expected real numbers, got {values.dtype}; take real and imaginary parts apart")
    first = jnp.argmax(jax.lax.stop_gradient(log_weights))
    weights = jnp.exp(log_weights - log_weights[first])
    if not jnp.issubdtype(values.dtype, jnp.floating):
        values = values.astype(weights.dtype)
    origin = values[first]
    beside = weights.astype(values.dtype).reshape((-1,) + (1,) * (values.ndim - 1))
    return origin + blocked_sum(beside * (values - origin[None])) / blocked_sum(weights).astype(values.dtype)
