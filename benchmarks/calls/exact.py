"""Exact answers."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call


def coupling(seed: int) -> jax.Array:
    return jnp.float32(0.25 + 0.125 * (seed % 3))


def hamiltonian(seed: int):
    strength = coupling(seed)
    return lambda spins: -strength * jnp.sum((spins * jnp.roll(spins, 1)).astype(jnp.float32))


def log_kernel(seed: int):
    strength = coupling(seed)

    def log_weight(coarse: jax.Array, fine: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid(2 * strength * jnp.float32(coarse[0]) * jnp.float32(fine[0]))

    return log_weight


def of_torus(seed: int) -> dict:
    return {"coupling": coupling(seed), "shape": (4, 6)}


def of_strip(seed: int) -> dict:
    return {"coupling": coupling(seed), "width": 4, "field": jnp.float32(0.25), "num_iterations": 100}


def of_plane(seed: int) -> dict:
    return {"coupling": coupling(seed)}


def table(seed: int) -> jax.Array:
    return jax.nn.log_softmax(jax.random.normal(jax.random.key(seed), (4, 6)))


CALLS = [
    Call("exact.chain_log_partition", lambda seed: of_plane(seed) | {"field": jnp.float32(0.5), "num_sites": 8}),
    Call(
        "exact.coarse_grain",
        lambda seed: {
            "hamiltonian": hamiltonian(seed),
            "shape": (6,),
            "log_kernel": log_kernel(seed),
            "coarse_shape": (2,),
            "chunk_size": 16,
        },
    ),
    Call("exact.energies", lambda seed: {"hamiltonian": hamiltonian(seed), "shape": (6,)}),
    Call("exact.distribution", lambda seed: {"hamiltonian": hamiltonian(seed), "shape": (6,)}),
    Call("exact.log_partition", lambda seed: {"hamiltonian": hamiltonian(seed), "shape": (6,), "chunk_size": 16}),
    Call(
        "exact.expectation",
        lambda seed: {
            "hamiltonian": hamiltonian(seed),
            "observe": lambda spins: jnp.sum(spins),
            "shape": (6,),
            "chunk_size": 16,
        },
    ),
    Call(
        "exact.optimal_classifier",
        lambda seed: {
            "log_probabilities": table(seed),
            "labels": (jnp.arange(4) > 1 + seed % 2).astype(int),
            "num_classes": 2,
            "weights": jnp.array([1.0, 0.0, 1.0, 0.5]),
        },
    ),
    Call("exact.optimal_confusion", lambda seed: {"log_probabilities": table(seed), "weights": jnp.ones(4)}),
    Call(
        "exact.optimal_predictor",
        lambda seed: {"log_probabilities": table(seed), "parameters": jnp.arange(4.0) + seed, "weights": jnp.ones(4)},
    ),
    Call("exact.torus_energy_distribution", of_torus),
    Call("exact.torus_log_partition", of_torus),
    Call("exact.torus_state_counts", lambda seed: {"shape": (4, 6)}),
    Call("exact.torus_energy", of_torus),
    Call("exact.torus_specific_heat", of_torus),
    Call("exact.strip_free_energy", of_strip),
    Call("exact.strip_correlation_length", of_strip),
    Call("exact.strip_log_partition", lambda seed: of_torus(seed) | {"field": jnp.float32(0.25)}),
    Call("exact.onsager_free_energy", of_plane),
    Call("exact.onsager_energy", of_plane),
    Call("exact.onsager_correlation_length", of_plane),
    Call("exact.onsager_specific_heat", of_plane),
    Call("exact.yang_magnetization", of_plane),
]
