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

# A scan over more states than this is a loop; fewer are written out, which XLA fuses.
_UNROLLED = 16


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

    A draw compares 64 random bits with the probabilities as integers of as many digits, summed with carries over all
    states but the likeliest, which takes the rest: every state has its probability to the rounding of the field,
    however rare it is.

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
        likeliest = jnp.argmax(field, axis=0).astype(jnp.int8)
        weights = jnp.exp(field - jnp.max(field, axis=0, keepdims=True))
        digits = random.binary_expansion(weights / jnp.sum(weights, axis=0, keepdims=True), num_planes=32)
        first, second = random.bits(key, sites, 2)

        def add(carry, state):
            number, head, tail, drawn = carry
            counts = number != likeliest
            new_tail = tail + jnp.where(counts, state.tail, 0)
            new_head = head + jnp.where(counts, state.head, 0) + (new_tail < tail).astype(jnp.uint32)
            is_below = (first < new_head) | ((first == new_head) & (second < new_tail))
            drawn = jnp.where(counts & is_below & (drawn == likeliest), number, drawn)
            return (number + jnp.int8(1), new_head, new_tail, drawn), None

        zero = jnp.zeros_like(first)
        unroll = self.num_states if self.num_states <= _UNROLLED else 8
        carry, _ = jax.lax.scan(add, (jnp.int8(0), zero, zero, likeliest), digits, unroll=unroll)
        return carry[3], jnp.uint32(Status.OK)

    def propose(self, key: Array, sites: Array, values: Array) -> Array:
        """One of the other states, each as likely to within 2^-32."""
        others = jnp.uint32(self.num_states - 1)
        word = random.bits(key, sites, 3)[2]  # of the block whose first two decide about acceptance
        steps = 1 + jax.lax.mulhi(word, jnp.full_like(word, others))
        return ((values.astype(jnp.uint32) + steps) % self.num_states).astype(jnp.int8)

    def log_ratio(self, values: Array, proposed: Array, field: Array) -> Array:
        return jnp.sum(jnp.where(self.are(proposed), field, 0) - jnp.where(self.are(values), field, 0), axis=0)


@functools.partial(jax.jit, static_argnames=("shape", "num_states"))
def _random_states(key: Array, *, shape: tuple[int, ...], num_states: int) -> Array:
    return jax.random.randint(key, shape, 0, num_states, jnp.int8)
