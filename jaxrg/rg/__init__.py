"""Renormalisation: block spins, couplings in one operator basis, and the exact map to Boltzmann machines."""

from jaxrg.rg import information, monte_carlo, real_space, tensor
from jaxrg.rg.blocking import block_means, decimate, kadanoff, majority
from jaxrg.rg.couplings import (
    MeasuredCouplings,
    Projection,
    project,
    project_lattice_gas,
    pseudo_likelihood_couplings,
)
from jaxrg.rg.critical import CriticalCoupling, critical_coupling
from jaxrg.rg.fixed_points import FixedPoint, Scaling, fixed_point, scaling
from jaxrg.rg.kernels import (
    BlockKernel,
    block_kernel,
    decimation_kernel,
    gaussian_kernel,
    kadanoff_kernel,
    machine_kernel,
    majority_kernel,
    normalized_machine_kernel,
)
from jaxrg.rg.many_body import ising_couplings, ising_to_lattice_gas, lattice_gas_couplings, lattice_gas_to_ising
from jaxrg.rg.matching import Matching, bond_machine, conditional_hamiltonian, kernel_matching, matching
from jaxrg.rg.polchinski import GaussianFlow, polchinski_flow

__all__ = [
    "BlockKernel",
    "CriticalCoupling",
    "FixedPoint",
    "GaussianFlow",
    "Matching",
    "MeasuredCouplings",
    "Projection",
    "Scaling",
    "block_kernel",
    "block_means",
    "bond_machine",
    "conditional_hamiltonian",
    "critical_coupling",
    "decimate",
    "decimation_kernel",
    "fixed_point",
    "gaussian_kernel",
    "information",
    "ising_couplings",
    "ising_to_lattice_gas",
    "kadanoff",
    "kadanoff_kernel",
    "kernel_matching",
    "lattice_gas_couplings",
    "lattice_gas_to_ising",
    "machine_kernel",
    "majority",
    "majority_kernel",
    "matching",
    "monte_carlo",
    "normalized_machine_kernel",
    "polchinski_flow",
    "project",
    "project_lattice_gas",
    "pseudo_likelihood_couplings",
    "real_space",
    "scaling",
    "tensor",
]
