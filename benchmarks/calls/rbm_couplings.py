"""Couplings of the marginal of a machine."""

import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rbm import machine


def sets(seed: int) -> dict:
    return {"machine": machine(seed), "sets": jnp.array([[seed % 2, 2], [1 - seed % 2, 3]])}


NODES = "a quadrature with as many nodes as the largest field asks for, in powers of two"

CALLS = [
    Call("rbm.couplings.gaussian_approximation", sets, why=NODES, most=(2, 1)),
    Call("rbm.couplings.lattice_gas", sets),
    Call("rbm.couplings.of_sets", sets, why=NODES, most=(2, 1)),
    Call("rbm.couplings.pairs", lambda seed: {"machine": machine(seed)}, why=NODES, most=(2, 1)),
]
