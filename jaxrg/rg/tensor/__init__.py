"""Tensor renormalisation: lattice models as networks of one tensor, coarse-grained until one tensor is the lattice."""

from jaxrg.rg.tensor.dilatation import Dilatation, OperatorProducts, dilatation_spectrum, operator_products
from jaxrg.rg.tensor.fixed_tensor import FixedTensor, fixed_tensor
from jaxrg.rg.tensor.flow import Flow
from jaxrg.rg.tensor.higher_order import hotrg
from jaxrg.rg.tensor.initial import ising_tensor, phi4_tensor, potts_tensor, spin_tensor
from jaxrg.rg.tensor.loops import loop_tnr
from jaxrg.rg.tensor.network import Checkerboard, Tensor, free_energy
from jaxrg.rg.tensor.spectrum import Plateau, Spectrum, plateau, transfer_spectrum
from jaxrg.rg.tensor.square import btrg, trg

__all__ = [
    "Checkerboard",
    "Dilatation",
    "FixedTensor",
    "Flow",
    "OperatorProducts",
    "Plateau",
    "Spectrum",
    "Tensor",
    "btrg",
    "dilatation_spectrum",
    "fixed_tensor",
    "free_energy",
    "hotrg",
    "ising_tensor",
    "loop_tnr",
    "operator_products",
    "phi4_tensor",
    "plateau",
    "potts_tensor",
    "spin_tensor",
    "transfer_spectrum",
    "trg",
]
