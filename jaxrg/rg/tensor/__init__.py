"""Tensor renormalisation: lattice models as networks of one tensor, coarse-grained until one tensor is the lattice."""

from jaxrg.rg.tensor.initial import ising_tensor, phi4_tensor, potts_tensor, spin_tensor
from jaxrg.rg.tensor.network import Tensor, free_energy

__all__ = [
    "Tensor",
    "free_energy",
    "ising_tensor",
    "phi4_tensor",
    "potts_tensor",
    "spin_tensor",
]
