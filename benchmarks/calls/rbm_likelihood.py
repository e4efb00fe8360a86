"""Tempering of Boltzmann machines and their likelihoods."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rbm import machine, spins
from jaxrg import rbm, stats
from jaxrg.rbm import tempering

BETAS = jnp.array([0.0, 0.5, 1.0])


def tempered_machine(seed: int) -> dict:
    reference = tempering.independent_units(machine(seed))
    return {"machine": machine(seed), "reference": reference, "inverse_temperatures": BETAS}


def ladder(seed: int) -> rbm.RBM:
    return tempering.tempered(**tempered_machine(seed))


def estimate(seed: int) -> stats.GammaEstimate:
    return stats.gamma_method(lambda mean: mean, jax.random.normal(jax.random.key(seed), (2, 20)))


def sampled(seed: int) -> dict:
    counts = {"num_chains": 2, "num_steps": 8, "num_burn_in": 2}
    return {"key": jax.random.key(seed), "machines": ladder(seed), **counts}


def annealed(seed: int) -> dict:
    return {
        "key": jax.random.key(seed),
        "machine": machine(seed),
        "num_particles": 16,
        "num_moves": 1 + seed,
        "effective_fraction": jnp.float32(0.9),
    }


CHAIN = "a program each for the way to the machines, the start, the chains, what they say together, and the ends of it"

CALLS = [
    Call("rbm.likelihood.annealed_importance", annealed),
    Call(
        "rbm.likelihood.bracket",
        lambda seed: annealed(seed) | {"samples": spins(seed, 2, 8, 4)},
        why="a program for the reference, for either direction and for both together",
        most=(6, 0),
    ),
    Call("rbm.likelihood.interval", lambda seed: {"estimate": estimate(seed), "level": jnp.float32(0.9)}),
    Call(
        "rbm.likelihood.log_likelihood",
        lambda seed: {"machine": machine(seed), "data": spins(seed, 6, 4), "log_partition": estimate(seed)},
    ),
    Call("rbm.likelihood.multistate_log_partition", sampled, why=CHAIN, most=(16, 0)),
    Call(
        "rbm.likelihood.reverse_annealed_importance",
        lambda seed: {
            "key": jax.random.key(seed),
            "machine": machine(seed),
            "samples": spins(seed, 2, 8, 4),
            "inverse_temperatures": jnp.array([0.5, 1.0]),
            "num_moves": 1 + seed,
        },
    ),
    Call("rbm.likelihood.tempered_log_partition", sampled, why=CHAIN, most=(16, 0)),
    Call("rbm.likelihood.pseudo_log_likelihood", lambda seed: {"machine": machine(seed), "data": spins(seed, 6, 4)}),
    Call(
        "rbm.tempering.choose_machines",
        lambda seed: {
            "key": jax.random.key(seed),
            "machines": ladder(seed),
            "target_acceptance": 0.3 + 0.1 * seed,
            "num_chains": 4,
            "num_steps": 2,
        },
        why="chains through all machines, then acceptances from each chosen one; runs on the host",
        most=(8, 0),
    ),
    Call("rbm.tempering.independent_units", lambda seed: {"machine": machine(seed), "data": spins(seed, 6, 4)}),
    Call("rbm.tempering.tempered", tempered_machine),
    Call(
        "rbm.tempering.tempered_chains",
        lambda seed: {"key": jax.random.key(seed), "machines": ladder(seed), "num_chains": 3},
    ),
    Call("rbm.tempering.tempered_gibbs_sampler", lambda seed: {"machines": ladder(seed)}),
    Call("rbm.tempering.tempered_gradient", lambda seed: {"ladder": ladder, "num_steps": 2}),
    Call(
        "rbm.tempering.tunnelling_rate",
        lambda seed: {"magnetization": jax.random.normal(jax.random.key(seed), (2, 9))},
    ),
]
