"""Real units, normally distributed in a field."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, as_parameter, is_traced
from jaxrg.rbm.units.spins import NO_DERIVATIVE, OneFeature
from jaxrg.samplers.derivatives import without_derivatives


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian(OneFeature):
    r"""Real units: φ(v) = v, :math:`u(v) = e^\lambda v^2 / 2`; a field f makes their mean :math:`f e^{-\lambda}`.

    Attributes:
        log_precision: λ, one number or one for each unit, learnt with the weights. Zero where data are standardised.
    """

    log_precision: Any = 0.0

    @property
    def num_states(self) -> None:
        return None

    def __post_init__(self):
        object.__setattr__(self, "log_precision", as_parameter("log_precision", self.log_precision))

    def tree_flatten_with_keys(self):
        return ((jax.tree_util.GetAttrKey("log_precision"), self.log_precision),), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Any) -> "Gaussian":
        """Of any leaves, as of a gradient that is NaN: what is wrong with it is for those to say who use it."""
        units = object.__new__(cls)
        object.__setattr__(units, "log_precision", leaves[0])
        return units

    def checked(self, name: str, value: Any) -> Array:
        units = as_floating(name, value)
        if not is_traced(units) and not np.all(np.isfinite(np.asarray(units))):
            raise ValueError(f"{name}: expected finite real units, got NaN or infinity")
        return units

    def are_valid(self, units: Array) -> Array:
        return jnp.isfinite(units)

    def state_features(self, dtype: Any) -> Array:
        raise ValueError("machine: expected a layer whose states can be enumerated, got real units")

    def precision(self, num_units: int, dtype: Any) -> Array:
        """``[num_units]`` exp(λ)."""
        return jnp.broadcast_to(jnp.exp(self.log_precision.astype(dtype)), (num_units,))

    def base_energy(self, units: Array, dtype: Any) -> Array:
        return units.astype(dtype) ** 2 @ self.precision(units.shape[-1], dtype) / 2

    def log_partition(self, field: Array) -> Array:
        precision = self._along(field)
        return field**2 / (2 * precision) + jnp.log(2 * jnp.pi / precision) / 2

    def mean(self, field: Array) -> Array:
        return field / self._along(field)

    def variance(self, field: Array) -> Array:
        return jnp.broadcast_to(1 / self._along(field), field.shape)

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        field = without_derivatives(field, NO_DERIVATIVE)
        noise = jax.random.normal(jax.random.fold_in(key, draw), field.shape, field.dtype)
        return self.mean(field) + noise / jnp.sqrt(self._along(field))

    def _along(self, field: Array) -> Array:
        precision = self.precision(field.shape[-1], field.dtype)
        return precision.reshape((1,) * (field.ndim - 1) + precision.shape)


def _precisions(weights: Array, visible_units: Gaussian, hidden_units: Gaussian) -> list[Array]:
    layers = zip((visible_units, hidden_units), weights.shape, strict=True)
    return [units.precision(length, weights.dtype) for units, length in layers]


def _scaled(weights: Array, precisions: list[Array]) -> Array:
    """Weights in the standard deviations of the units at both ends."""
    return weights / jnp.sqrt(precisions[0][:, None] * precisions[1][None, :])


def check_normalizable(weights: Array, visible_units: Gaussian, hidden_units: Gaussian) -> None:
    """Raise ValueError where two Gaussian layers have a quadratic energy that is not positive definite."""
    if is_traced((weights, visible_units, hidden_units)):
        return
    deviations = [
        np.broadcast_to(np.exp(-0.5 * np.asarray(units.log_precision)), (length,))
        for units, length in zip((visible_units, hidden_units), weights.shape, strict=True)
    ]
    largest = float(np.linalg.norm(np.outer(*deviations) * np.asarray(weights), 2))
    if not largest < 1:
        raise ValueError(
            "weights: expected a largest singular value below 1 in the standard deviations of Gaussian units in both "
            f"layers, got {largest}: the machine has no finite partition function"
        )


def gaussian_log_partition(
    weights: Array, visible_bias: Array, hidden_bias: Array, visible_units: Gaussian, hidden_units: Gaussian
) -> Array:
    """ln Z of two Gaussian layers in closed form, NaN where it is not finite."""
    precisions = _precisions(weights, visible_units, hidden_units)
    scaled = _scaled(weights, precisions)
    num_visible, num_units = len(scaled), sum(scaled.shape)
    matrix = jnp.eye(num_units, dtype=scaled.dtype)
    matrix = matrix.at[:num_visible, num_visible:].set(-scaled).at[num_visible:, :num_visible].set(-scaled.T)
    lower = jnp.linalg.cholesky(matrix)
    precision = jnp.concatenate(precisions)
    field = jnp.concatenate([visible_bias, hidden_bias]) / jnp.sqrt(precision)
    solved = jax.scipy.linalg.solve_triangular(lower, field, lower=True)
    log_determinant = 2 * jnp.sum(jnp.log(jnp.diag(lower))) + jnp.sum(jnp.log(precision))
    return (solved @ solved + num_units * jnp.log(2 * jnp.pi) - log_determinant) / 2
