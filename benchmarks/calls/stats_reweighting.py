"""Reweighting: small series of a Gaussian variable, of values that differ with the seed."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.stats import series
from jaxrg import stats


def hamiltonian(field: jax.Array, x: jax.Array) -> jax.Array:
    values = x.astype(field.dtype)
    return values**2 / 2 - field * values


def slope(ensemble: stats.reweighting.Ensemble, field: jax.Array) -> jax.Array:
    return jax.grad(ensemble.expectation(lambda x: x))(field)


CALLS = [
    Call(
        "stats.reweighting.estimate",
        lambda seed: {
            "quantity": slope,
            "ensemble": stats.reweighting.single_histogram(hamiltonian, series(seed), 0.1),
            "couplings": jnp.float32(0.2 + 0.1 * seed),
        },
    ),
    Call(
        "stats.reweighting.multiple_histograms",
        lambda seed: {
            "hamiltonian": hamiltonian,
            "samples": series(seed, 2, 32, 3),
            "couplings": jnp.array([0.0, 0.5, 1.0]) + 0.1 * seed,
        },
    ),
    Call(
        "stats.reweighting.single_histogram",
        lambda seed: {
            "hamiltonian": hamiltonian,
            "samples": series(seed),
            "couplings": jnp.float32(0.2 + 0.1 * seed),
        },
    ),
]
