"""Kinds of units a layer can have: exponential families in the field that the other layer exerts on them.

A unit in the field f is distributed as :math:`p(v) \\propto e^{f·\\phi(v) - u(v)}`. What a machine asks of its units is
here, for layers ``[..., num_units]`` and their features and fields ``[..., num_units * num_features]``.
"""

import dataclasses
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.checks import as_array, as_integers, as_spins, is_traced, kind_of
from jaxrg.samplers.derivatives import without_derivatives

NO_DERIVATIVE = (
    "machine: expected no derivative through drawn spins, whose law it would miss, got one; draw from "
    "jax.lax.stop_gradient(machine) and differentiate rbm.visible_hamiltonian of the spins, or the exact "
    "rbm.log_likelihood"
)


class Units(Protocol):
    """What a machine asks of a kind of units; a pytree whose leaves are parameters of its own, if it has any."""

    @property
    def num_features(self) -> int:
        """Numbers a unit acts with on the other layer: rows of the weights for each."""
        ...

    @property
    def num_states(self) -> int | None:
        """States of a unit, numbered from 0; None where they are a continuum."""
        ...

    def checked(self, name: str, value: Any) -> Array:
        """A layer a user gives as an array of a type these units have; a ValueError where it is wrong and seen."""
        ...

    def are_valid(self, units: Array) -> Array:
        """Which entries of a layer are units of this kind."""
        ...

    def features(self, units: Array, dtype: Any) -> Array:
        """φ(v)."""
        ...

    def state_features(self, dtype: Any) -> Array:
        """``[num_states, num_features]`` φ of every state."""
        ...

    def base_energy(self, units: Array, dtype: Any) -> Array:
        """``[...]`` Σ u(v), zero of units that have none."""
        ...

    def log_partition(self, field: Array) -> Array:
        """``[..., num_units]`` ln Σ_v exp(f·φ(v) - u(v))."""
        ...

    def mean(self, field: Array) -> Array:
        """⟨φ(v)⟩, the derivative of `log_partition`."""
        ...

    def variance(self, field: Array) -> Array:
        """Variance of every feature, the derivative of its mean in its own field."""
        ...

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        """Independent draws, a value that is none of these units where the field is NaN.

        Draws of other numbers with one key are independent: a step of Gibbs sampling needs no keys of its own.
        """
        ...


@jax.custom_jvp
def log_two_cosh(x: Array) -> Array:
    r""":math:`\ln 2\cosh x = |x| + \ln(1 + e^{-2|x|})`, without overflow or switch points; its derivative is tanh."""
    magnitude = jnp.abs(x)
    return magnitude + jnp.log1p(jnp.exp(-2 * magnitude))


@log_two_cosh.defjvp
def _log_two_cosh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # JAX gives |x| the slope 1 at 0 and no curvature, where ln 2cosh x has 0 and 1; tanh is right to every order.
    (x,), (tangent,) = primals, tangents
    return log_two_cosh(x), jnp.tanh(x) * tangent


# The generator is a hundred integer operations: compiled, they are one call even outside of any jit.
@functools.partial(jax.jit, static_argnames="dtype", inline=True)
def sample_spins(key: Array, mean: Array, draw: Array | int = 0, dtype: Any = jnp.int8) -> Array:
    """Independent ±1 spins with these means, of any shape; a NaN mean gives 0, which is no spin."""
    mean = without_derivatives(mean, NO_DERIVATIVE)
    is_wide = mean.dtype == jnp.float64
    num_spins = 2 if is_wide else 4  # that share a block of four words, from rows far apart
    rows = jnp.atleast_1d(mean)
    num_missing = -len(rows) % num_spins
    padded = jnp.pad(rows, [(0, num_missing)] + [(0, 0)] * (rows.ndim - 1))
    padded = padded.reshape(num_spins, len(padded) // num_spins, *rows.shape[1:])
    sites, draws = counters_of(padded[0], draw)
    words = random.bits(key, sites, 4, replicas=draws)
    # All spins of a block go into one number: what came out as four arrays would compute the block four times. So would
    # what reads it, but for a root at its end: XLA copies cheap operations into every kernel that uses their result.
    squares = jnp.zeros(sites.shape, jnp.uint32)
    for number in range(num_spins):
        own = words[2 * number : 2 * number + 2] if is_wide else words[number : number + 1]
        code = jnp.where(jnp.isnan(padded[number]), 0, jnp.where(_are_up(own, padded[number]), 3, 1))
        squares |= code.astype(jnp.uint32) << (2 * number)
    packed = jnp.round(jnp.sqrt((squares * squares).astype(jnp.float32))).astype(jnp.uint8)
    shifts = jnp.arange(0, 2 * num_spins, 2, dtype=jnp.uint8).reshape(-1, *[1] * rows.ndim)
    codes = ((packed[None] >> shifts) & 3).reshape(len(rows) + num_missing, *rows.shape[1:])
    codes = codes[: len(rows)].reshape(mean.shape)
    return jnp.where(codes == 0, 0, codes.astype(jnp.int8) - 2).astype(dtype)


def _are_up(words: tuple[Array, ...], mean: Array) -> Array:
    """Whether words are below the probability (1 + mean) / 2, exactly: in float32, 1 + mean is a multiple of 2^-24."""
    if len(words) == 1:
        return (words[0] >> 7).astype(jnp.int32) < (2.0**24 * (1 + mean.astype(jnp.float32))).astype(jnp.int32)
    head, tail, certain = random.binary_expansion(0.5 * (1 + mean), num_planes=32)
    return (words[0] < head) | ((words[0] == head) & (words[1] < tail)) | (certain != 0)


def counters_of(values: Array, draw: Array | int) -> tuple[Array, Array]:
    """Site and draw of every random number."""
    sites = jnp.arange(values.size, dtype=jnp.uint32).reshape(values.shape)
    return sites, jnp.full(values.shape, draw, jnp.uint32)


class OneFeature:
    """Units that act with a number of their own."""

    @property
    def num_features(self) -> int:
        return 1

    def features(self, units: Array, dtype: Any) -> Array:
        return units.astype(dtype)


class Discrete:
    """Units of states that weigh the same."""

    def base_energy(self, units: Array, dtype: Any) -> Array:
        return jnp.zeros(units.shape[:-1], dtype)


class TwoStates(OneFeature, Discrete):
    """Units of two numbers."""

    @property
    def num_states(self) -> int:
        return 2


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Spins(TwoStates):
    """Units ±1, signed integers or floats: φ(v) = v."""

    def checked(self, name: str, value: Any) -> Array:
        units = as_array(name, value)
        if not is_traced(units):
            host = np.asarray(units)
            if host.dtype == bool or (np.any(host == 0) and np.all((host == 0) | (host == 1))):
                raise ValueError(
                    f"{name}: expected spins +1 or -1, got 0 or 1; 2 * {name} - 1 are the spins of 0/1 units, and "
                    "rbm.from_binary makes the machine for spins of one for 0/1 units, rbm.units.Binary()"
                )
        return as_spins(name, units)

    def are_valid(self, units: Array) -> Array:
        return jnp.abs(units) == 1

    def state_features(self, dtype: Any) -> Array:
        return jnp.array([[-1], [1]], dtype)

    def log_partition(self, field: Array) -> Array:
        return log_two_cosh(field)

    def mean(self, field: Array) -> Array:
        return jnp.tanh(field)

    def variance(self, field: Array) -> Array:
        return 1 - jnp.tanh(field) ** 2

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        return sample_spins(key, jnp.tanh(field), draw)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Binary(TwoStates):
    """Units 0 or 1, of any type: φ(v) = v. `from_binary` makes the machine of spins that is equal to one of these."""

    def checked(self, name: str, value: Any) -> Array:
        units = as_array(name, value)
        if not is_traced(units):
            host = np.asarray(units)
            wrong = host[(host != 0) & (host != 1)]
            if wrong.size:
                raise ValueError(f"{name}: expected units 0 or 1, got {wrong.ravel()[0]}")
        return units.astype(jnp.int8) if units.dtype == jnp.bool_ else units

    def are_valid(self, units: Array) -> Array:
        return (units == 0) | (units == 1)

    def state_features(self, dtype: Any) -> Array:
        return jnp.array([[0], [1]], dtype)

    def log_partition(self, field: Array) -> Array:
        return field / 2 + log_two_cosh(field / 2)

    def mean(self, field: Array) -> Array:
        return (1 + jnp.tanh(field / 2)) / 2

    def variance(self, field: Array) -> Array:
        return (1 - jnp.tanh(field / 2) ** 2) / 4

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        spins = sample_spins(key, jnp.tanh(field / 2), draw)
        return jnp.where(spins == 0, -1, (1 + spins) // 2).astype(jnp.int8)


def are_states(units: Array, num_states: int) -> Array:
    """Which entries are integers 0, ..., num_states - 1, of any type."""
    is_whole = True if jnp.issubdtype(units.dtype, jnp.integer) else units == jnp.round(units)
    return (units >= 0) & (units < num_states) & is_whole


def as_states(name: str, value: Any, num_states: int) -> Array:
    """Integers 0, ..., num_states - 1; floats that are such integers count as them."""
    units = as_array(name, value)
    if not jnp.issubdtype(units.dtype, jnp.integer) and not is_traced(units):
        host = np.asarray(units)
        if host.dtype == bool or not np.all(host == np.round(host)):
            raise ValueError(f"{name}: expected integers 0 to {num_states - 1}, got {kind_of(value)}")
        units = jnp.asarray(host.astype(np.int32))
    if is_traced(units) and not jnp.issubdtype(units.dtype, jnp.integer):
        return units
    return as_integers(name, units, minimum=0, maximum=num_states - 1)


SPINS = Spins()
