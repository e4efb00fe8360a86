"""Many chains that go down a ladder of couplings side by side: what annealed populations and restarts share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree, Sampler, Status
from jaxrg.checks import is_traced
from jaxrg.samplers.ensembles.ladders import Family, energy_of


class Rung(NamedTuple):
    """One coupling of the ladder."""

    sampler: Sampler
    coupling: Array
    step: Array  # [] from the coupling before


def rungs_of(family: Family) -> Rung:
    return Rung(family.samplers, family.couplings, jnp.diff(family.couplings, prepend=family.couplings[:1]))


def keys_of(key: Array, size: int) -> Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(size, dtype=jnp.uint32))


def start_of(family: Family, keys: Array) -> PyTree:
    """Chains where the sampler of the first coupling starts."""
    first = jax.tree.map(lambda leaf: leaf[0], family.samplers)
    return jax.vmap(first.init)(keys)


def measured(fn: Callable, rung: Rung, chains: PyTree) -> PyTree:
    """``fn(configuration)`` of every chain."""

    def one(chain: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], rung.sampler.measure(fn, chain))

    return jax.vmap(one)(chains)


def energies_of(family: Family, rung: Rung, chains: PyTree) -> Array:
    return measured(functools.partial(energy_of, family.model, rung.coupling), rung, chains)


def moved(rung: Rung, keys: Array, chains: PyTree) -> tuple[PyTree, Array]:
    """All chains after a step, each with a key of its own, and a status."""
    chains, infos = jax.vmap(rung.sampler.step)(keys, chains)
    return chains, jnp.bitwise_or.reduce(infos.status.reshape(-1))


def not_finite(values: Array) -> Array:
    return Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(values)))


def raised(name: str, expected: str, result: Any) -> Any:
    """The result, or FloatingPointError where its status can be seen and is not OK."""
    if not is_traced(result.status) and int(result.status):
        raise FloatingPointError(f"{name}: expected {expected}, got {Status(int(result.status)).message}")
    return result
