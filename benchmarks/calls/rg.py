"""Renormalisation: block spins, couplings and the map to Boltzmann machines."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rbm import machine, spins
from jaxrg import lattice

SQUARE = lattice.hypercubic((3, 3))
BASIS = lattice.standard_operators(SQUARE, ["nearest_neighbour", "next_nearest_neighbour"])


def hamiltonian(seed: int):
    coupling = jax.random.uniform(jax.random.key(seed))
    return lambda v: -coupling * jnp.sum(v * jnp.roll(v, 1)).astype(jnp.float32)


def halved(seed: int):
    centre = jax.random.uniform(jax.random.key(seed))
    return lambda couplings: centre + (couplings - centre) / 2


def table(name: str, num_bits: int):
    return lambda seed: {name: jax.random.normal(jax.random.key(seed), (2**num_bits,))}


def mapped(seed: int) -> dict:
    return {"machine": machine(seed), "hamiltonian": hamiltonian(seed)}


CALLS = [
    Call("rg.bond_machine", lambda seed: {"lattice": SQUARE, "coupling": jax.random.uniform(jax.random.key(seed))}),
    Call("rg.conditional_hamiltonian", mapped),
    Call("rg.decimate", lambda seed: {"spins": spins(seed, 4, 4), "block": 2}),
    Call("rg.decimation_kernel", lambda seed: {"block": 2}),
    Call(
        "rg.fixed_point",
        lambda seed: {"flow": halved(seed), "guess": jax.random.uniform(jax.random.key(seed), (2,)), "num_steps": 9},
    ),
    Call("rg.ising_couplings", table("energies", 4)),
    Call("rg.ising_to_lattice_gas", table("couplings", 4)),
    Call("rg.lattice_gas_couplings", table("energies", 4)),
    Call("rg.lattice_gas_to_ising", table("couplings", 4)),
    Call("rg.machine_kernel", mapped),
    Call("rg.majority", lambda seed: {"key": jax.random.key(seed), "spins": spins(seed, 4, 4), "block": 2}),
    Call("rg.majority_kernel", lambda seed: {"block": 2}),
    Call("rg.matching", mapped),
    Call("rg.normalized_machine_kernel", lambda seed: {"machine": machine(seed)}),
    Call("rg.project", lambda seed: {"operators": BASIS, **table("table", 9)(seed)}),
    Call(
        "rg.pseudo_likelihood_couplings",
        lambda seed: {"samples": spins(seed, 40, 3, 3), "operators": BASIS, "num_groups": 4},
    ),
    Call(
        "rg.scaling",
        lambda seed: {
            "matrix": jax.random.normal(jax.random.key(seed), (3, 3)),
            "rescaling": 2 + jax.random.uniform(jax.random.key(seed)),
        },
    ),
]
