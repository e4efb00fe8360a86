"""Models, and the magnetization of one configuration."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from benchmarks.calls.lattice import EDGES, SQUARE, spins, values
from jaxrg import models


def matrix(seed: int) -> jax.Array:
    upper = np.triu(np.random.default_rng(seed).normal(size=(4, 4)), 1)
    return jnp.asarray(upper + upper.T, jnp.float32)


def replicas(seed: int) -> dict:
    return {"first": spins(seed, *SQUARE.shape), "second": spins(seed + 1, *SQUARE.shape)}


CALLS = [
    Call("models.dense_pairs", lambda seed: {"couplings": matrix(seed), "field": values(seed, 4)}),
    Call(
        "models.sparse_pairs",
        lambda seed: {"edges": EDGES, "couplings": values(seed, 5), "field": values(seed + 1, 4), "num_sites": 4},
    ),
    Call(
        "models.plus_minus_glass",
        lambda seed: {
            "key": jax.random.key(seed),
            "lattice": SQUARE,
            "coupling": values(seed),
            "positive_fraction": jnp.float32(0.25 + 0.25 * (seed % 2)),
        },
    ),
    Call(
        "models.gaussian_glass",
        lambda seed: {"key": jax.random.key(seed), "lattice": SQUARE, "coupling": values(seed)},
    ),
    Call("models.kappa_phi4", lambda seed: {"lattice": SQUARE, "kappa": values(seed), "quartic": values(seed + 1)}),
    Call(
        "models.kappa_complex_phi4",
        lambda seed: {"lattice": SQUARE, "kappa": values(seed), "quartic": values(seed + 1)},
    ),
    Call(
        "models.hopping_complex_phi4",
        lambda seed: {
            "lattice": SQUARE,
            "hopping": values(seed),
            "quadratic": values(seed + 1),
            "quartic": values(seed + 2),
        },
    ),
    Call("models.largest_cluster", lambda seed: {"lattice": SQUARE, "spins": spins(seed, *SQUARE.shape)}),
    Call(
        "models.link_overlap",
        lambda seed: {"model": models.Ising(SQUARE, values(seed))} | replicas(seed),
    ),
    Call("models.magnetization", lambda seed: {"spins": spins(seed, 4, 6)}),
    Call("models.overlap", replicas),
    Call(
        "models.site_energies",
        lambda seed: {"model": models.Ising(SQUARE, values(seed)), "spins": spins(seed, *SQUARE.shape)},
    ),
    Call("models.unlike_neighbours", lambda seed: {"lattice": SQUARE, "spins": spins(seed, *SQUARE.shape)}),
    Call("models.vortices", lambda seed: {"lattice": SQUARE, "angles": values(seed, *SQUARE.shape)}),
]
NOT_CALLED = {"models.pytree": "a decorator of classes"}
