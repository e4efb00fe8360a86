"""Renormalisation: block spins, couplings in one operator basis, and the exact map to Boltzmann machines."""

from jaxrg.rg import tensor
from jaxrg.rg.blocking import decimate, majority
from jaxrg.rg.couplings import MeasuredCouplings, Projection, project, pseudo_likelihood_couplings
from jaxrg.rg.kernels import decimation_kernel, machine_kernel, majority_kernel, normalized_machine_kernel
from jaxrg.rg.many_body import ising_couplings, ising_to_lattice_gas, lattice_gas_couplings, lattice_gas_to_ising
from jaxrg.rg.matching import Matching, bond_machine, conditional_hamiltonian, matching

__all__ = [
    "Matching",
    "MeasuredCouplings",
    "Projection",
    "bond_machine",
    "conditional_hamiltonian",
    "decimate",
    "decimation_kernel",
    "ising_couplings",
    "ising_to_lattice_gas",
    "lattice_gas_couplings",
    "lattice_gas_to_ising",
    "machine_kernel",
    "majority",
    "majority_kernel",
    "matching",
    "normalized_machine_kernel",
    "project",
    "pseudo_likelihood_couplings",
    "tensor",
]
