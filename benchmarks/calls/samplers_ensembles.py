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


def annealed(seed: int) -> dict:
    return {"key": jax.random.key(seed), "family": family, "couplings": couplings(seed), "num_steps": 2}


def levels(seed: int) -> dict:
    return {"model": models.Ising(SQUARE, 1.0 + seed), "energies": jnp.linspace(-32.0, 32.0, 17) * (1 + seed)}


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
    Call("samplers.ensembles.houdayer", lambda seed: {"model": models.TwoReplicas(family(0.3 + 0.01 * seed))}),
    Call(
        "samplers.ensembles.multicanonical",
        lambda seed: levels(seed) | {"log_weights": jnp.linspace(0.0, 1.0 + seed, 17), "num_chains": 4},
    ),
    Call("samplers.ensembles.parallel_tempering", lambda seed: {"family": family, "couplings": couplings(seed)}),
    Call(
        "samplers.ensembles.population_annealing",
        lambda seed: annealed(seed) | {"population_size": 8, "num_repeats": 2, "observe": family(0.3).observables},
        why="it makes and checks the samplers of its ladder before it runs",
        most=(3, 0),
    ),
    Call(
        "samplers.ensembles.simulated_annealing",
        lambda seed: annealed(seed) | {"num_restarts": 4},
        why="it makes and checks the samplers of its ladder before it runs",
        most=(3, 0),
    ),
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
    Call(
        "samplers.ensembles.wang_landau",
        lambda seed: levels(seed) | {"key": jax.random.key(seed), "num_steps": 1000 + seed, "num_chains": 8},
        why="it puts the bonds of every site in order before it runs",
        most=(3, 0),
    ),
]
