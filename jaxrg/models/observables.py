"""What a model reports of one configuration."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import Model
from jaxrg.checks import as_spins

# Entries of size one that an int32 can sum, with room to spare.
_TERMS_AT_ONCE = 2**30


class Observables(NamedTuple):
    """What a model reports of one configuration, per site."""

    energy: Array  # [] in units of J where all couplings share one, else the reduced H(s)/N: see the model
    magnetization: Array  # [] mean spin


def magnetization(spins: Array, dtype: Any = jnp.float32) -> Array:
    r"""Mean spin :math:`m = N^{-1} \sum_i s_i` of one configuration; integer spins of any number are summed exactly.

    Args:
        spins: ``[*shape]`` ±1.
        dtype: of the result, floating.

    Raises:
        ValueError: other spins than ±1, or a type without -1, as bool and uint8 are.

    Example:
        >>> float(magnetization(jnp.array([1, -1, 1, 1])))
        0.5
    """
    kind = jnp.dtype(dtype)
    if not jnp.issubdtype(kind, jnp.floating):
        raise ValueError(f"dtype: expected a floating type, got {kind}")
    return _magnetization(as_spins("spins", spins), jax.dtypes.canonicalize_dtype(kind))


@functools.partial(jax.jit, static_argnames="dtype", inline=True)
def _magnetization(spins: Array, dtype: Any) -> Array:
    return exact_sum(spins, dtype) / float(spins.size)  # as an integer it may be more than an int32 holds


def exact_sum(values: Array, dtype: Any) -> Array:
    """The sum as this dtype; integers -1, 0 and 1 are summed exactly, however many, and rounded once."""
    if not jnp.issubdtype(values.dtype, jnp.integer):
        return jnp.sum(values.astype(dtype))
    if values.size <= _TERMS_AT_ONCE:
        return jnp.sum(values, dtype=jnp.int32).astype(dtype)
    flat = values.reshape(-1)
    parts = [
        jnp.sum(flat[start : start + _TERMS_AT_ONCE], dtype=jnp.int32)
        for start in range(0, values.size, _TERMS_AT_ONCE)
    ]
    high, low = sum(part >> 16 for part in parts), sum(part & 0xFFFF for part in parts)
    return jnp.asarray(high).astype(dtype) * 2**16 + jnp.asarray(low).astype(dtype)


def reduced_observables(model: Model, spins: Array) -> Observables:
    """Reduced Hamiltonian per site, for models whose couplings share no unit, and magnetisation."""
    energy = model.hamiltonian(spins) / float(spins.size)
    return Observables(energy, _magnetization(spins, energy.dtype))
