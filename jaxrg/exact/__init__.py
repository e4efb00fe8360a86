"""Exact answers: enumeration, coarse-graining, transfer matrices, Kaufman's torus and its levels, the infinite lattice,
and the optimum of what learns phases.

``critical_coupling`` is a number, the Kc = ½ ln(1 + √2) = 0.44068679… of the square lattice.
"""

from jaxrg.exact.chain import chain_log_partition
from jaxrg.exact.coarse_graining import CoarseGraining, coarse_grain
from jaxrg.exact.enumeration import distribution, energies, expectation, log_partition
from jaxrg.exact.kaufman import torus_energy, torus_log_partition, torus_specific_heat
from jaxrg.exact.levels import torus_energy_distribution, torus_state_counts
from jaxrg.exact.onsager import (
    critical_coupling,
    onsager_correlation_length,
    onsager_energy,
    onsager_free_energy,
    onsager_specific_heat,
    yang_magnetization,
)
from jaxrg.exact.phases import (
    OptimalClassifier,
    OptimalPredictor,
    optimal_classifier,
    optimal_confusion,
    optimal_predictor,
)
from jaxrg.exact.strip import strip_correlation_length, strip_free_energy
from jaxrg.exact.transfer_matrix import strip_log_partition

__all__ = [
    "CoarseGraining",
    "OptimalClassifier",
    "OptimalPredictor",
    "chain_log_partition",
    "coarse_grain",
    "critical_coupling",
    "distribution",
    "energies",
    "expectation",
    "log_partition",
    "onsager_correlation_length",
    "onsager_energy",
    "onsager_free_energy",
    "onsager_specific_heat",
    "optimal_classifier",
    "optimal_confusion",
    "optimal_predictor",
    "strip_correlation_length",
    "strip_free_energy",
    "strip_log_partition",
    "torus_energy",
    "torus_energy_distribution",
    "torus_log_partition",
    "torus_specific_heat",
    "torus_state_counts",
    "yang_magnetization",
]
