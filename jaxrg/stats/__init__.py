"""Error analysis of Markov chains: moments, binning, autocorrelation times, jackknife and physical estimators.

Every series is ``[chains, samples, ...]``, as ``jaxrg.samplers.run`` gives it; write ``x[None]`` for one chain of your
own. ``tau_int`` is ``1/2 + sum of rho`` throughout: independent samples have 1/2.
"""

from jaxrg.stats import correlations, free_energies, reweighting, scaling
from jaxrg.stats.autocorrelation import GammaEstimate, Summary, autocorrelation_function, gamma_method, summary
from jaxrg.stats.binning import BinningState, BinningSummary, bin_means, binning
from jaxrg.stats.importance import (
    Coverage,
    ImportanceEstimate,
    WeightedMean,
    importance,
    importance_from_target,
    mode_coverage,
    reweighted,
)
from jaxrg.stats.information import Information, mutual_information, pairwise_information
from jaxrg.stats.jackknife import JackknifeEstimate, jackknife
from jaxrg.stats.moments import Moments, merge_chains, streaming_moments
from jaxrg.stats.resampling import Bootstrap, bootstrap, permutation_null
from jaxrg.stats.significance import ChiSquared, chi_squared, z_score
from jaxrg.stats.thermodynamics import (
    ThermodynamicMoments,
    Thermodynamics,
    binder_cumulant,
    specific_heat,
    susceptibility,
    thermodynamic_moments,
    thermodynamics,
)
from jaxrg.stats.turning import Turn, turning_point

__all__ = [
    "BinningState",
    "BinningSummary",
    "Bootstrap",
    "ChiSquared",
    "Coverage",
    "GammaEstimate",
    "ImportanceEstimate",
    "Information",
    "JackknifeEstimate",
    "Moments",
    "Summary",
    "ThermodynamicMoments",
    "Thermodynamics",
    "Turn",
    "WeightedMean",
    "autocorrelation_function",
    "bin_means",
    "binder_cumulant",
    "binning",
    "bootstrap",
    "chi_squared",
    "correlations",
    "free_energies",
    "gamma_method",
    "importance",
    "importance_from_target",
    "jackknife",
    "merge_chains",
    "mode_coverage",
    "mutual_information",
    "pairwise_information",
    "permutation_null",
    "reweighted",
    "reweighting",
    "scaling",
    "specific_heat",
    "streaming_moments",
    "summary",
    "susceptibility",
    "thermodynamic_moments",
    "thermodynamics",
    "turning_point",
    "z_score",
]
