"""Restricted Boltzmann machines."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import rbm


def machine(seed: int, num_visible: int = 4, num_hidden: int = 3) -> rbm.RBM:
    weights = jax.random.normal(jax.random.key(seed), (num_visible, num_hidden))
    return rbm.RBM(weights, 0.1 * weights[:, 0], 0.1 * weights[0])


def spins(seed: int, *shape: int) -> jax.Array:
    return jax.random.rademacher(jax.random.key(seed), shape, jnp.float32)


def stack(seed: int) -> tuple[rbm.RBM, ...]:
    return machine(seed), machine(seed + 10, 3, 2)


def of_machine(seed: int) -> dict:
    return {"machine": machine(seed)}


def visible(seed: int) -> dict:
    return {"machine": machine(seed), "visible": spins(seed, 4)}


def hidden(seed: int) -> dict:
    return {"machine": machine(seed), "hidden": spins(seed, 3)}


def weighted(seed: int) -> dict:
    weights = jax.random.uniform(jax.random.key(seed + 1), (6,))
    return {"machine": machine(seed), "data": spins(seed, 6, 4), "weights": weights}


def keyed(arguments):
    return lambda seed: {"key": jax.random.key(seed), **arguments(seed)}


def with_gradient(seed: int) -> dict:
    return {"gradient_fn": rbm.contrastive_divergence_gradient(), "data": spins(seed, 6, 4)}


def filters(seed: int) -> rbm.Filters:
    weights = jax.random.normal(jax.random.key(seed), (2, 2, 2))
    return rbm.Filters(weights, weights[0, 0, 0], weights[:, 0, 0])


CALLS = [
    Call("rbm.align", lambda seed: {"machine": machine(seed), "reference": machine(seed + 1)}),
    Call("rbm.belief_sampler", lambda seed: {"stack": stack(seed)}),
    Call("rbm.centred", with_gradient),
    Call("rbm.contrastive_divergence_gradient", lambda seed: {"num_steps": 2}),
    Call("rbm.convolutional", lambda seed: {"filters": filters(seed), "shape": (2, 4), "stride": 2}),
    Call("rbm.energy", lambda seed: visible(seed) | hidden(seed)),
    Call("rbm.fix_gauge", of_machine),
    Call(
        "rbm.from_binary",
        lambda seed: {"machine": rbm.RBM(*machine(seed)[:3], rbm.units.Binary(), rbm.units.Binary())},
    ),
    Call("rbm.gibbs_sampler", of_machine),
    Call("rbm.gibbs_step", keyed(visible)),
    Call("rbm.hidden_distribution", of_machine),
    Call("rbm.hidden_hamiltonian", hidden),
    Call("rbm.hidden_mean", visible),
    Call("rbm.init", keyed(lambda seed: {"num_visible": 4, "num_hidden": 3, "scale": 0.1 * seed})),
    Call("rbm.l1_penalty", lambda seed: {"strength": jax.random.uniform(jax.random.key(seed))}),
    Call("rbm.lift", keyed(lambda seed: {"machine": machine(seed), "data": spins(seed, 6, 4)})),
    Call(
        "rbm.likelihood_gradient",
        keyed(lambda seed: {"machine": machine(seed), "aux": None, "batch": spins(seed, 6, 4)}),
    ),
    Call("rbm.locality", lambda seed: {"fields": jax.random.normal(jax.random.key(seed), (6, 2)), "shape": (2, 3)}),
    Call("rbm.log_likelihood", weighted),
    Call("rbm.log_partition", of_machine),
    Call("rbm.log_probability", visible),
    Call("rbm.negative_log_likelihood", weighted),
    Call("rbm.persistent_chains", keyed(lambda seed: {"machine": machine(seed), "num_chains": 3})),
    Call("rbm.persistent_contrastive_divergence_gradient", lambda seed: {"num_steps": 2}),
    Call("rbm.receptive_fields", lambda seed: {"stack": stack(seed)}),
    Call("rbm.reconstruct", keyed(lambda seed: {"stack": stack(seed), "visible": spins(seed, 4)})),
    Call("rbm.sample_hidden", keyed(visible)),
    Call("rbm.sample_visible", keyed(hidden)),
    Call("rbm.soft_threshold", lambda seed: {"threshold": jax.random.uniform(jax.random.key(seed))}),
    Call("rbm.standardized", with_gradient),
    Call(
        "rbm.through",
        lambda seed: {"gradient_fn": rbm.contrastive_divergence_gradient(), "build": rbm.transpose},
    ),
    Call("rbm.to_binary", of_machine),
    Call(
        "rbm.train_stack",
        keyed(lambda seed: {"data": spins(seed, 6, 4), "layer_sizes": (4, 4), "num_epochs": 1, "batch_size": 3}),
        why="a program each to start a machine, split its keys, train an epoch and lift the data to the next one",
        most=(12, 0),
    ),
    Call("rbm.transpose", of_machine),
    Call("rbm.visible_distribution", of_machine),
    Call("rbm.visible_hamiltonian", visible),
    Call("rbm.visible_mean", hidden),
]
