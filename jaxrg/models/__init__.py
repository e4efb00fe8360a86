"""Energies of spins (Ising, glasses, operators, graphs), of q states, of vectors, of fields; overlaps of replicas."""

from jaxrg.models.construction import pytree
from jaxrg.models.fields import PhaseObservables, Reflection
from jaxrg.models.general import OperatorModel
from jaxrg.models.glass import Glass, gaussian_glass, plus_minus_glass
from jaxrg.models.heisenberg import Heisenberg, VectorObservables
from jaxrg.models.ising import Ising
from jaxrg.models.ising_dual import IsingDual
from jaxrg.models.observables import Observables, magnetization
from jaxrg.models.pairs import DensePairs, SparsePairs, dense_pairs, sparse_pairs
from jaxrg.models.phi4 import ComplexPhi4, Phi4, hopping_complex_phi4, kappa_complex_phi4, kappa_phi4
from jaxrg.models.potts import Clock, Potts, PottsObservables
from jaxrg.models.replicas import ReplicaObservables, TwoReplicas, link_overlap, overlap
from jaxrg.models.site_fields import largest_cluster, site_energies, unlike_neighbours, vortices
from jaxrg.models.xy import XY

__all__ = [
    "XY",
    "Clock",
    "ComplexPhi4",
    "DensePairs",
    "Glass",
    "Heisenberg",
    "Ising",
    "IsingDual",
    "Observables",
    "OperatorModel",
    "PhaseObservables",
    "Phi4",
    "Potts",
    "PottsObservables",
    "Reflection",
    "ReplicaObservables",
    "SparsePairs",
    "TwoReplicas",
    "VectorObservables",
    "dense_pairs",
    "gaussian_glass",
    "hopping_complex_phi4",
    "kappa_complex_phi4",
    "kappa_phi4",
    "largest_cluster",
    "link_overlap",
    "magnetization",
    "overlap",
    "plus_minus_glass",
    "pytree",
    "site_energies",
    "sparse_pairs",
    "unlike_neighbours",
    "vortices",
]
