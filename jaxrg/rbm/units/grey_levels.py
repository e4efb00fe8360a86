"""Units of grey levels, whose sums over levels are closed."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import zeta

from jaxrg import random
from jaxrg.checks import as_count
from jaxrg.rbm.units.spins import NO_DERIVATIVE, Discrete, OneFeature, are_states, as_states, counters_of
from jaxrg.samplers.derivatives import without_derivatives

# sinh(x)/x and its logarithmic derivative coth x - 1/x = Σ_n c_n x^(2n-1), c_n = (-1)^(n+1) 2 ζ(2n) / π^(2n).
_ORDERS = np.arange(1, 20)
_LANGEVIN = (-1.0) ** (_ORDERS + 1) * 2 * zeta(2 * _ORDERS) / np.pi ** (2 * _ORDERS)
_SMALL = 0.5  # (x/π)^(2n) is below rounding after 19 orders there, and cancellation costs a digit beyond


def _series(coefficients: np.ndarray, square: Array) -> Array:
    return functools.reduce(
        lambda total, c: total * square + c, reversed(coefficients.tolist()), jnp.zeros_like(square)
    )


def _langevin(x: Array) -> Array:
    is_small = jnp.abs(x) < _SMALL
    near, far = jnp.where(is_small, x, 0), jnp.where(is_small, 1, x)
    return jnp.where(is_small, near * _series(_LANGEVIN, near**2), 1 / jnp.tanh(far) - 1 / far)


@jax.custom_jvp
def _log_sinhc(x: Array) -> Array:
    """ln(sinh(x)/x)."""
    magnitude = jnp.abs(x)
    is_small = magnitude < _SMALL
    near, far = jnp.where(is_small, x, 0), jnp.where(is_small, 1, magnitude)
    series = near**2 * _series(_LANGEVIN / (2 * _ORDERS), near**2)
    return jnp.where(is_small, series, far + jnp.log(-jnp.expm1(-2 * far) / (2 * far)))


@_log_sinhc.defjvp
def _log_sinhc_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return _log_sinhc(x), _langevin(x) * tangent


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class GreyLevels(OneFeature, Discrete):
    r"""Units of L grey levels, integers 0, ..., L - 1: :math:`\phi(v) = 2v/(L-1) - 1`, from black -1 to white +1.

    Two levels are spins. The sums over levels are closed: hundreds of levels cost what two do.
    """

    num_states: int

    def __post_init__(self):
        as_count("num_states", self.num_states, minimum=2)

    def checked(self, name: str, value: Any) -> Array:
        return as_states(name, value, self.num_states)

    def are_valid(self, units: Array) -> Array:
        return are_states(units, self.num_states)

    def features(self, units: Array, dtype: Any) -> Array:
        return units.astype(dtype) * (2 / (self.num_states - 1)) - 1

    def state_features(self, dtype: Any) -> Array:
        return jnp.linspace(-1, 1, self.num_states, dtype=dtype)[:, None]

    def log_partition(self, field: Array) -> Array:
        # Σ_k exp(f φ_k) = sinh(L g) / sinh(g), g = f / (L - 1): a geometric series.
        step = field / (self.num_states - 1)
        return _log_sinhc(self.num_states * step) - _log_sinhc(step) + math.log(self.num_states)

    def mean(self, field: Array) -> Array:
        step = field / (self.num_states - 1)
        ratio = self.num_states / (self.num_states - 1)
        return ratio * _langevin(self.num_states * step) - _langevin(step) / (self.num_states - 1)

    def variance(self, field: Array) -> Array:
        return jax.jvp(self.mean, (field,), (jnp.ones_like(field),))[1]

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        # The inverse of the distribution function 1 - r^k of levels counted from the likelier end, r = exp(-2 |g|).
        field = without_derivatives(field, NO_DERIVATIVE)
        decay = 2 * jnp.abs(field) / (self.num_states - 1)
        sites, draws = counters_of(field, draw)
        level = random.uniform(key, sites, replicas=draws).astype(field.dtype)
        is_flat = decay * self.num_states < 1e-3
        safe = jnp.where(is_flat, 1, decay)
        steep = -jnp.log1p(level * jnp.expm1(-safe * self.num_states)) / safe
        # Where the levels are almost alike, to second order in the decay.
        flat = self.num_states * level * (1 - decay * self.num_states * (1 - level) / 2)
        index = jnp.clip(jnp.floor(jnp.where(is_flat, flat, steep)), 0, self.num_states - 1)
        index = jnp.where(field > 0, self.num_states - 1 - index, index)
        return jnp.where(jnp.isnan(field), -1, index).astype(jnp.int32)
