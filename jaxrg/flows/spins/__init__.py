"""Decimation run backwards: a hierarchical sampler of Ising spins with exact probabilities."""

from jaxrg.flows.spins.conditionals import Conditional, local_operators, odd_network
from jaxrg.flows.spins.decimation import InverseDecimation, LevelLogProbs, inverse_decimation
from jaxrg.flows.spins.likelihood import Chains, extend, maximum_likelihood, start_chains
from jaxrg.flows.spins.refinement import MultilevelMean, multilevel_mean, refinement_metropolis

__all__ = [
    "Chains",
    "Conditional",
    "InverseDecimation",
    "LevelLogProbs",
    "MultilevelMean",
    "extend",
    "inverse_decimation",
    "local_operators",
    "maximum_likelihood",
    "multilevel_mean",
    "odd_network",
    "refinement_metropolis",
    "start_chains",
]
