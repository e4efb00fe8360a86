"""Inverse decimation of a small lattice, and what takes it."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import lattice, models
from jaxrg.flows import spins

SQUARE = lattice.hypercubic((8, 8))
FIELDS = spins.local_operators(2)


def model(seed: int) -> dict:
    return {"model": models.Ising(SQUARE, jnp.float32(0.3 + 0.01 * seed)), "num_levels": 2, "conditional": FIELDS}


def density(seed: int) -> dict:
    return {"density": spins.inverse_decimation(**model(seed))}


@functools.cache
def _start(seed: int):
    return density(seed)["density"].init(jax.random.key(seed))


def with_params(seed: int) -> dict:
    return density(seed) | {"params": _start(seed)}


def square(configuration):
    return jnp.mean(configuration, dtype=jnp.float32) ** 2


CALLS = [
    Call("flows.spins.extend", lambda seed: with_params(seed) | {"smaller": _start(seed + 1)}, sealed=("smaller",)),
    Call("flows.spins.inverse_decimation", model),
    Call("flows.spins.local_operators", lambda seed: {"num_operators": 2 + seed}),
    Call("flows.spins.maximum_likelihood", lambda seed: density(seed) | {"num_sites": 16, "num_sweeps": 1}),
    Call(
        "flows.spins.multilevel_mean",
        lambda seed: with_params(seed) | {"key": jax.random.key(seed), "observe": square, "num_samples": [4, 8]},
    ),
    Call("flows.spins.odd_network", lambda seed: {"num_features": 2 + seed, "num_layers": 1}),
    Call("flows.spins.refinement_metropolis", lambda seed: with_params(seed) | {"level": 1}),
    Call(
        "flows.spins.start_chains",
        lambda seed: density(seed) | {"key": jax.random.key(seed), "num_chains": 3, "num_sweeps": 2},
    ),
]
