"""Energies: the Ising model, spin glasses, general operator Hamiltonians and pair couplings on any graph."""

from jaxrg.models.general import OperatorModel
from jaxrg.models.glass import Glass, gaussian_glass, plus_minus_glass
from jaxrg.models.ising import Ising
from jaxrg.models.observables import Observables, magnetization
from jaxrg.models.pairs import DensePairs, SparsePairs, dense_pairs, sparse_pairs

__all__ = [
    "DensePairs",
    "Glass",
    "Ising",
    "Observables",
    "OperatorModel",
    "SparsePairs",
    "dense_pairs",
    "gaussian_glass",
    "magnetization",
    "plus_minus_glass",
    "sparse_pairs",
]
