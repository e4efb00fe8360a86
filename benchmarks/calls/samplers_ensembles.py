"""Ladders of small Ising models, whose couplings differ with the seed."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.lattice import SQUARE
from jaxrg import models


def family(coupling):
    return models.Ising(SQUARE, coupling)


def couplings(seed: int) -> jax.Array:
    return jnp.array([0.2, 0.3, 0.4]) + 0.01 * seed


CALLS = [
    Call(
        "samplers.ensembles.expectation",
        lambda seed: {
            "key": jax.random.key(seed),
            "observe": jnp.mean,
            "family": family,
            "num_steps": 4,
            "num_burn_in": 2,
        },
    ),
    Call(
        "samplers.ensembles.equal_acceptance",
        lambda seed: {
            "couplings": couplings(seed),
            "swap_acceptance": jax.random.uniform(jax.random.key(seed), (1, 8, 2)),
        },
    ),
    Call("samplers.ensembles.parallel_tempering", lambda seed: {"family": family, "couplings": couplings(seed)}),
    Call(
        "samplers.ensembles.tempering_ladder",
        lambda seed: {
            "key": jax.random.key(seed),
            "family": family,
            "couplings": couplings(seed),
            "num_rounds": 2,
            "num_steps": 8,
        },
        why="it makes a ladder, starts it, runs it and evens it out",
        most=(9, 0),
    ),
]
