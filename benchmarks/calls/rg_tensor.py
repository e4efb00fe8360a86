"""Tensor renormalisation: small legs and few steps."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import lattice, models
from jaxrg.rg import tensor as networks


def coupling(seed: int) -> jax.Array:
    return jnp.float32(0.4 + 0.01 * seed)


def tensor(seed: int, ndim: int = 2) -> networks.Tensor:
    size = (2,) * (2 * ndim)
    entries = jax.random.uniform(jax.random.key(seed), size, jnp.float32, 0.5, 1.5)
    return networks.Tensor(entries, jnp.float32(0.1 * seed), jnp.float32(1.0))


def steps(seed: int) -> dict:
    return {"tensor": tensor(seed), "chi": 3, "num_steps": 3}


def symmetric(seed: int) -> networks.Tensor:
    entries = networks.ising_tensor(coupling(seed)).entries
    return networks.Tensor(entries, jnp.float32(0.1 * seed), jnp.float32(1.0))


def bonds(seed: int) -> jax.Array:
    half = jax.random.normal(jax.random.key(seed), (3, 3))
    return jnp.exp(half @ half.T / 4)


def phi4(seed: int) -> models.Phi4:
    return models.kappa_phi4(lattice.hypercubic((4, 4)), 0.2 + 0.01 * seed, 0.1)


def operators(seed: int) -> dict:
    return {"board": networks.Checkerboard(*symmetric(seed)), "num_states": 2}


CALLS = [
    Call("rg.tensor.btrg", steps),
    Call("rg.tensor.dilatation_spectrum", lambda seed: {**operators(seed), "num_levels": 3}),
    Call("rg.tensor.fixed_tensor", lambda seed: {"board": networks.Checkerboard(*symmetric(seed)), "num_steps": 2}),
    Call("rg.tensor.free_energy", lambda seed: {"tensor": tensor(seed)}),
    Call("rg.tensor.hotrg", steps),
    Call("rg.tensor.ising_tensor", lambda seed: {"coupling": coupling(seed), "field": jnp.float32(0.1), "ndim": 2}),
    Call("rg.tensor.loop_tnr", lambda seed: {"tensor": symmetric(seed), "chi": 3, "num_steps": 3}),
    Call("rg.tensor.operator_products", lambda seed: {**operators(seed), "num_operators": 2}),
    Call("rg.tensor.phi4_tensor", lambda seed: {"model": phi4(seed), "num_legs": 3, "num_nodes": 12}),
    Call("rg.tensor.plateau", lambda seed: {"values": np.arange(6, dtype=np.float32) ** 2 + seed, "width": 3}),
    Call(
        "rg.tensor.potts_tensor",
        lambda seed: {"num_states": 3, "coupling": coupling(seed), "field": jnp.float32(0.1)},
    ),
    Call(
        "rg.tensor.spin_tensor",
        lambda seed: {"bond_weights": bonds(seed), "site_weights": jnp.ones(3) + 0.1 * seed, "num_legs": 2},
    ),
    Call("rg.tensor.transfer_spectrum", lambda seed: {"tensor": tensor(seed), "num_levels": 2}),
    Call("rg.tensor.trg", steps),
]
