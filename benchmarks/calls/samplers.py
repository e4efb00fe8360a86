"""Samplers of a small lattice, and what takes samplers."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import lattice, models, samplers, stats

SQUARE = lattice.hypercubic((4, 4))


def ising(seed: int) -> models.Ising:
    return models.Ising(SQUARE, jnp.float32(0.3 + 0.01 * seed))


def model(seed: int) -> dict:
    return {"model": ising(seed)}


def packed(seed: int) -> dict:
    return model(seed) | {"num_chains": 32, "num_draws": 4}


def chain(seed: int) -> dict:
    return {"sampler": samplers.heat_bath(ising(seed))}


def running(seed: int) -> dict:
    sampler = samplers.heat_bath(ising(seed))
    scale = jnp.float32(seed + 1)
    return {
        "key": jax.random.key(seed),
        "sampler": sampler,
        "state": sampler.init(jax.random.key(seed + 1)),
        "num_steps": 3 + seed,  # another number of steps compiles nothing
        "observe": lambda spins: scale * jnp.mean(spins, dtype=jnp.float32),
    }


def summing(seed: int) -> dict:
    return chain(seed) | {"accumulator": stats.streaming_moments(), "observe": ising(seed).observables}


def mixed(seed: int) -> dict:
    shift = 0.1 * seed
    chains = [samplers.heat_bath(ising(seed)), samplers.wolff(ising(seed))]
    return {"samplers": chains, "probabilities": jnp.array([0.5 + shift, 0.5 - shift])}


def start(key, spins=None):
    return samplers.SpinState(jnp.ones((4, 4), jnp.int8), jnp.uint32(0))


def flip(key, state):
    return state._replace(spins=-state.spins), samplers.SpinInfo(jnp.float32(1), jnp.uint32(0))


def see(fn, state):
    return fn(state.spins)


CALLS = [
    Call("samplers.accumulate", summing),
    Call("samplers.from_kernel", lambda seed: {"init": start, "kernel": flip, "measure": see}),
    Call("samplers.heat_bath", model),
    Call("samplers.metropolis", model),
    Call("samplers.mixture", mixed),
    Call("samplers.multispin_heat_bath", packed),
    Call("samplers.multispin_metropolis", packed),
    Call("samplers.random_scan_metropolis", model),
    Call("samplers.replicas", lambda seed: chain(seed) | {"num_chains": 3}),
    Call("samplers.run", running),
    Call("samplers.swendsen_wang", model),
    Call("samplers.thin", lambda seed: chain(seed) | {"num_steps": 5}),
    Call("samplers.wolff", model),
]
