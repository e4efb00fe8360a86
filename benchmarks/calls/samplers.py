"""Samplers of a small lattice, and what takes samplers."""

import itertools
import pathlib
import tempfile

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Density

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


def drawn(seed: int) -> dict:
    """A Gaussian that stands in for one of another width."""
    width = jnp.float32(0.4 + 0.1 * seed)
    return {"density": GAUSSIAN, "params": (), "action": lambda x: width * jnp.sum(x**2)}


GAUSSIAN = Density(
    lambda key: (),
    lambda key, params, num_samples: (jax.random.normal(key, (num_samples, 2)), jnp.zeros(num_samples)),
    lambda params, x: -0.5 * jnp.sum(x**2, axis=1),
)


def phi4(seed: int) -> models.Phi4:
    return models.Phi4(SQUARE, jnp.float32(-1 - 0.01 * seed), 1.0)


def tuning(seed: int) -> dict:
    model = phi4(seed)
    state = samplers.hmc(model, 0.1, 3).init(jax.random.key(seed))
    return {
        "key": jax.random.key(seed),
        "make": lambda step_size: samplers.hmc(model, step_size, 3),
        "state": state,
        "step_size": jnp.float32(0.2 + 0.1 * seed),
        "num_steps": 3 + seed,
        "target_acceptance": jnp.float32(0.7),
    }


def tempered(seed: int) -> dict:
    return {
        "key": jax.random.key(seed),
        "model": phi4(seed),
        "num_particles": 8,
        "num_repeats": 2,
        "num_moves": 1 + seed,
        "num_leapfrog": 2 + seed,
        "step_size": jnp.float32(0.2 + 0.1 * seed),
        "effective_fraction": jnp.float32(0.8),
    }


FOLDER = tempfile.TemporaryDirectory()  # of what these calls write; it goes with the process
names = (pathlib.Path(FOLDER.name, str(number)) for number in itertools.count())


def recorded(seed: int) -> dict:
    return chain(seed) | {"folder": next(names), "key": jax.random.key(seed), "num_samples": 3 + seed}


def written(seed: int) -> dict:
    arguments = recorded(seed)
    samplers.sample(**arguments)
    del arguments["num_samples"]
    return arguments


def saved(seed: int) -> dict:
    state = samplers.SpinState(jnp.ones((4, 4), jnp.int8), jnp.uint32(seed))
    return {"file": next(names), "state": state}


def loaded(seed: int) -> dict:
    arguments = saved(seed)
    samplers.save(**arguments)
    return {"file": arguments["file"]}


CALLS = [
    Call("samplers.accumulate", summing),
    Call("samplers.from_kernel", lambda seed: {"init": start, "kernel": flip, "measure": see}),
    Call("samplers.heat_bath", model),
    Call(
        "samplers.hmc",
        lambda seed: {"model": phi4(seed), "step_size": jnp.float32(0.1 + 0.1 * seed), "num_leapfrog": 3 + seed},
    ),
    Call(
        "samplers.independence_chain",
        lambda seed: {"key": jax.random.key(seed), "log_weights": jax.random.normal(jax.random.key(seed + 1), (20,))},
    ),
    Call("samplers.independence_metropolis", drawn, sealed=("density",)),
    Call("samplers.load", loaded),
    Call("samplers.metropolis", model),
    Call("samplers.mixture", mixed),
    Call("samplers.multispin_heat_bath", packed),
    Call("samplers.multispin_metropolis", packed),
    Call("samplers.over_relaxation", lambda seed: {"model": models.XY(SQUARE, jnp.float32(0.5 + 0.1 * seed))}),
    Call("samplers.random_scan_metropolis", model),
    Call("samplers.repair", written, sealed=("folder",)),
    Call("samplers.replicas", lambda seed: chain(seed) | {"num_chains": 3}),
    Call("samplers.run", running),
    Call(
        "samplers.sample",
        recorded,
        sealed=("folder",),
        most=(3, 0),
        why="the chain, what is kept of it, and the packing of both into words",
    ),
    Call("samplers.save", saved),
    Call("samplers.swendsen_wang", model),
    Call("samplers.swendsen_wang_embedding", lambda seed: {"model": phi4(seed)}),
    Call("samplers.ensembles.tempered_smc", tempered),
    Call("samplers.thin", lambda seed: chain(seed) | {"num_steps": 5}),
    Call("samplers.tune_step_size", tuning, sealed=("state", "make")),
    Call(
        "samplers.verify",
        written,
        sealed=("folder",),
        most=(3, 0),
        why="the chain, what is kept of it, and the packing of both into words",
    ),
    Call("samplers.warm_up", lambda seed: {name: value for name, value in running(seed).items() if name != "observe"}),
    Call(
        "samplers.weighted_draws",
        lambda seed: drawn(seed) | {"key": jax.random.key(seed), "num_samples": 5 + seed, "batch_size": 4},
        sealed=("density", "batch_size"),
    ),
    Call("samplers.wolff", model),
    Call("samplers.wolff_embedding", lambda seed: {"model": phi4(seed)}),
]
