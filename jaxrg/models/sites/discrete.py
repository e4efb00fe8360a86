"""Sites with finitely many values: signs, and q states."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.base import Status
from jaxrg.checks import as_array, as_count, as_spins, check_shape, is_traced
from jaxrg.models.sites.angles import uniform_of


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Signs:
    """Spins ±1 with P(s) proportional to exp(f s): the sites of a model that names no others."""

    is_integer = True
    value_shape = ()
    field_shape = ()
    ordered = 1  # every site of the configuration in which cluster samplers start

    def checked(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        return as_spins(name, values, shape)

    def random(self, key: Array, shape: tuple[int, ...]) -> Array:
        return _random_signs(key, shape=shape)

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        # Not from the probability: in float32 one close to 1 would freeze the rare flips of low temperatures.
        is_up = random.bernoulli_logit(key, sites, 2 * field)
        return jnp.where(is_up, jnp.int8(1), jnp.int8(-1)), jnp.uint32(Status.OK)

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        return -values

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        return -(2 * values.astype(field.dtype) * field)


@functools.partial(jax.jit, static_argnames="shape")
def _random_signs(key: Array, *, shape: tuple[int, ...]) -> Array:
    return jax.random.rademacher(key, shape, jnp.int8)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class States:
    r"""Integers 0, ..., q - 1 with P(s) proportional to :math:`e^{f_s}`: a local field ``[q, *sites]`` of log-weights.

    A draw compares a uniform number of 64 bits with the cumulated probabilities of all states but the likeliest, which
    takes the rest: probabilities are right to 1e-7 of that of all the others together, so that no cold system freezes.

    Attributes:
        num_states: q, from 2 to 127, as states are stored in eight bits.
    """

    num_states: int

    is_integer = True
    value_shape = ()
    ordered = 0

    def __post_init__(self) -> None:
        if as_count("num_states", self.num_states, minimum=2) > 127:
            raise ValueError(f"num_states: expected at most 127, which an int8 holds, got {self.num_states}")
        object.__setattr__(self, "num_states", int(self.num_states))

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.num_states,)

    def checked(self, name: str, values: Any, shape: tuple[int, ...]) -> Array:
        array = as_array(name, values)
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"{name}: expected states as integers, got {array.dtype}")
        check_shape(name, array, shape)
        if not is_traced(array):
            host = np.asarray(array)
            wrong = host[(host < 0) | (host >= self.num_states)]
            if wrong.size:
                raise ValueError(f"{name}: expected states from 0 to {self.num_states - 1}, got {wrong.ravel()[0]}")
        return array.astype(jnp.int8)

    def numbers(self, ndim: int) -> np.ndarray:
        """``[q, 1, ..., 1]`` int8: all states, to be compared with a configuration of this many axes."""
        return np.arange(self.num_states, dtype=np.int8).reshape(-1, *[1] * ndim)

    def are(self, values: Array) -> Array:
        """``[q, *sites]`` bool: whether a site is in each state."""
        return values[None] == self.numbers(values.ndim)

    def random(self, key: Array, shape: tuple[int, ...]) -> Array:
        return _random_states(key, shape=shape, num_states=self.num_states)

    def draw(self, key: Array, sites: Array, field: Array) -> tuple[Array, Array]:
        highest, likeliest = field[0], jnp.zeros(field.shape[1:], jnp.int8)
        for number in range(1, self.num_states):
            likeliest = jnp.where(field[number] > highest, jnp.int8(number), likeliest)
            highest = jnp.maximum(field[number], highest)
        weights = [jnp.exp(one - highest) for one in field]
        first, second = random.bits(key, sites, 2)
        level = uniform_of(first, second, field.dtype) * functools.reduce(jnp.add, weights)
        cumulated, drawn = jnp.zeros_like(highest), likeliest
        for number, weight in enumerate(weights):
            after = jnp.where(likeliest == number, cumulated, cumulated + weight)
            drawn = jnp.where((cumulated < level) & (level <= after), jnp.int8(number), drawn)
            cumulated = after
        return drawn, jnp.uint32(Status.OK)

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """One of the other states, each as likely to within 2^-32."""
        others = jnp.uint32(self.num_states - 1)
        word = random.bits(key, sites, 3)[2]  # of the block whose first two decide about acceptance
        # From the state after this one on, around: the sum stays below 2 q, which an int8 does not hold.
        moved = values.astype(jnp.uint32) + 1 + jax.lax.mulhi(word, jnp.full_like(word, others))
        return jnp.where(moved >= self.num_states, moved - self.num_states, moved).astype(jnp.int8)

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        return self.at(proposed, field) - self.at(values, field)

    def at(self, values: Array, field: Array) -> Array:
        """``[*sites]`` the entry of the field ``[q, *sites]`` that belongs to the state of a site."""
        taken = field[0]
        for number in range(1, self.num_states):
            taken = jnp.where(values == number, field[number], taken)
        return taken


@functools.partial(jax.jit, static_argnames=("shape", "num_states"))
def _random_states(key: Array, *, shape: tuple[int, ...], num_states: int) -> Array:
    return jax.random.randint(key, shape, 0, num_states, jnp.int8)
