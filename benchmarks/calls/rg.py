"""Renormalisation: block spins, couplings and the map to Boltzmann machines."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rbm import machine, spins
from jaxrg import lattice, rg

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


def parameter(seed: int) -> dict:
    return {"parameter": jax.random.uniform(jax.random.key(seed)), "block": 2}


def linear(seed: int) -> dict:
    return {"factor": jax.random.normal(jax.random.key(seed)), "width": jnp.float32(0.5 + 0.1 * seed), "block": 2}


def drawn(seed: int) -> dict:
    return {"key": jax.random.key(seed), "spins": spins(seed, 4, 4)}


def on_a_line(seed: int) -> dict:
    slope = 1.5 + 0.1 * jax.random.uniform(jax.random.key(seed))
    matrix = jnp.array([[1.0, 0.0], [0.0, 0.0]]) * slope
    still = rg.FixedPoint(jnp.array([0.3, 0.0]), matrix, jnp.float32(0), jnp.int32(1), jnp.bool_(True))
    return {"flow": about(slope), "fixed": still, "direction": jnp.array([0.5, 0.0])}


def about(slope):
    return lambda k: jnp.stack([0.3 + slope * (k[0] - 0.3), 0.2 * k[1]])


def cutoff(seed: int):
    width = 1 + jax.random.uniform(jax.random.key(seed))
    return lambda time: jnp.exp(-width * time) / jnp.arange(1.0, 4.0)


CALLS = [
    Call("rg.block_kernel", lambda seed: {"log_weight": lambda h, spins: 0.0, "block": 2}),
    Call(
        "rg.block_means",
        lambda seed: (
            {"key": jax.random.key(seed), "field": jax.random.normal(jax.random.key(seed), (4, 4))} | linear(seed)
        ),
    ),
    Call("rg.bond_machine", lambda seed: {"lattice": SQUARE, "coupling": jax.random.uniform(jax.random.key(seed))}),
    Call("rg.conditional_hamiltonian", mapped),
    Call("rg.critical_coupling", on_a_line, sealed=("fixed",)),
    Call("rg.decimate", lambda seed: {"spins": spins(seed, 4, 4), "block": 2}),
    Call("rg.decimation_kernel", lambda seed: {"block": 2}),
    Call(
        "rg.fixed_point",
        lambda seed: {"flow": halved(seed), "guess": jax.random.uniform(jax.random.key(seed), (2,)), "num_steps": 9},
    ),
    Call("rg.gaussian_kernel", linear),
    Call("rg.ising_couplings", table("energies", 4)),
    Call("rg.ising_to_lattice_gas", table("couplings", 4)),
    Call("rg.kadanoff", lambda seed: drawn(seed) | parameter(seed)),
    Call("rg.kadanoff_kernel", parameter),
    Call(
        "rg.kernel_matching",
        lambda seed: {
            "hamiltonian": hamiltonian(seed),
            "shape": (6,),
            "log_kernel": rg.kadanoff_kernel(**parameter(seed)),
            "coarse_shape": (3,),
        },
    ),
    Call("rg.lattice_gas_couplings", table("energies", 4)),
    Call("rg.lattice_gas_to_ising", table("couplings", 4)),
    Call("rg.machine_kernel", mapped),
    Call("rg.majority", lambda seed: {"key": jax.random.key(seed), "spins": spins(seed, 4, 4), "block": 2}),
    Call("rg.majority_kernel", lambda seed: {"block": 2}),
    Call("rg.matching", mapped),
    Call("rg.normalized_machine_kernel", lambda seed: {"machine": machine(seed)}),
    Call(
        "rg.polchinski_flow",
        lambda seed: {
            "covariance": cutoff(seed),
            "interaction": jax.random.uniform(jax.random.key(seed), (3,)),
            "time": jnp.float32(0.5 + seed),
        },
    ),
    Call("rg.project", lambda seed: {"operators": BASIS, **table("table", 9)(seed)}),
    Call("rg.project_lattice_gas", lambda seed: {"operators": BASIS, **table("table", 9)(seed)}),
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
