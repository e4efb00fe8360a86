"""What a model reports of one configuration."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxrg.base import Model


class Observables(NamedTuple):
    """What a model reports of one configuration, per site."""

    energy: Array  # [] see the model for its unit
    magnetization: Array  # [] mean spin


def magnetization(spins: Array, dtype=jnp.float32) -> Array:
    r"""Mean spin :math:`m = N^{-1} \sum_i s_i` of one configuration; integer spins are summed exactly in int32."""
    return exact_sum(spins, dtype) / spins.size


def exact_sum(values: Array, dtype) -> Array:
    """The sum as this dtype; integers are summed exactly in int32."""
    if jnp.issubdtype(values.dtype, jnp.integer):
        return jnp.sum(values, dtype=jnp.int32).astype(dtype)
    return jnp.sum(values.astype(dtype))


def reduced_observables(model: Model, spins: Array) -> Observables:
    """Reduced Hamiltonian per site, for models whose couplings share no unit, and magnetisation."""
    energy = model.hamiltonian(spins) / spins.size
    return Observables(energy, magnetization(spins, energy.dtype))
