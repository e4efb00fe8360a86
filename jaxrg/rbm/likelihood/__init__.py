"""Likelihoods with errors: annealed importance sampling both ways, tempered chains with Bennett's acceptance ratio.

Every ln Z is a `jaxrg.stats.GammaEstimate`: value, error and the degrees of freedom of the error; `interval` makes
the ends of an interval of it. One direction of annealing alone says nothing of a phase that it missed; both together
are a bracket.
"""

from jaxrg.rbm.likelihood.annealing import AnnealedImportance, annealed_importance, reverse_annealed_importance
from jaxrg.rbm.likelihood.brackets import Bracket, bracket, interval, log_likelihood
from jaxrg.rbm.likelihood.pseudolikelihood import pseudo_log_likelihood
from jaxrg.rbm.likelihood.tempered import TemperedLogPartition, multistate_log_partition, tempered_log_partition

__all__ = [
    "AnnealedImportance",
    "Bracket",
    "TemperedLogPartition",
    "annealed_importance",
    "bracket",
    "interval",
    "log_likelihood",
    "multistate_log_partition",
    "pseudo_log_likelihood",
    "reverse_annealed_importance",
    "tempered_log_partition",
]
