"""Units in one of q states."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.checks import as_count
from jaxrg.rbm.units.spins import NO_DERIVATIVE, Discrete, are_states, as_states, counters_of
from jaxrg.samplers.derivatives import without_derivatives


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Potts(Discrete):
    r"""Units in one of q states, integers 0, ..., q - 1: :math:`\phi_s(v) = \delta_{vs}`.

    The weights have q rows for each unit, ``weights.reshape(num_units, q, ...)``, and so has the bias.
    """

    num_states: int

    def __post_init__(self):
        as_count("num_states", self.num_states, minimum=2)

    @property
    def num_features(self) -> int:
        return self.num_states

    def checked(self, name: str, value: Any) -> Array:
        return as_states(name, value, self.num_states)

    def are_valid(self, units: Array) -> Array:
        return are_states(units, self.num_states)

    def features(self, units: Array, dtype: Any) -> Array:
        return self._flat(jax.nn.one_hot(units.astype(jnp.int32), self.num_states, dtype=dtype))

    def state_features(self, dtype: Any) -> Array:
        return jnp.eye(self.num_states, dtype=dtype)

    def log_partition(self, field: Array) -> Array:
        return jax.nn.logsumexp(self._by_state(field), axis=-1)

    def mean(self, field: Array) -> Array:
        return self._flat(jax.nn.softmax(self._by_state(field), axis=-1))

    def variance(self, field: Array) -> Array:
        mean = self.mean(field)
        return mean * (1 - mean)

    def sample(self, key: Array, field: Array, draw: Array | int = 0) -> Array:
        field = without_derivatives(field, NO_DERIVATIVE)
        cumulative = jnp.cumsum(jax.nn.softmax(self._by_state(field), axis=-1), axis=-1)
        total = cumulative[..., -1]
        sites, draws = counters_of(total, draw)
        level = random.uniform(key, sites, replicas=draws).astype(total.dtype) * total
        drawn = jnp.sum(cumulative[..., :-1] <= level[..., None], axis=-1, dtype=jnp.int32)
        return jnp.where(jnp.isnan(total), -1, drawn)

    def _by_state(self, field: Array) -> Array:
        return field.reshape(*field.shape[:-1], -1, self.num_states)

    def _flat(self, by_state: Array) -> Array:
        return by_state.reshape(*by_state.shape[:-2], -1)
