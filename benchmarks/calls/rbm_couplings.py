"""Couplings of the marginal of a machine."""

import jax.numpy as jnp

from benchmarks.calls import Call
from benchmarks.calls.rbm import machine


def sets(seed: int) -> dict:
    return {"machine": machine(seed), "sets": jnp.array([[seed % 2, 2], [1 - seed % 2, 3]])}


CALLS = [
    Call("rbm.couplings.gaussian_approximation", sets),
    Call("rbm.couplings.lattice_gas", sets),
    Call("rbm.couplings.of_sets", sets),
    Call("rbm.couplings.pairs", lambda seed: {"machine": machine(seed)}),
]
