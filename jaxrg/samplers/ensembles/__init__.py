"""Ensembles: many configurations that help each other, at the couplings of a ladder or as a population that anneals.

A ladder is sampled by `parallel_tempering`, whose couplings `tempering_ladder` chooses; `tempered_smc` gives ln Z.
`expectation` is the mean over a chain as a function to differentiate.
"""

from jaxrg.samplers.ensembles.expectations import expectation
from jaxrg.samplers.ensembles.ladders import (
    TemperingInfo,
    TemperingState,
    equal_acceptance,
    parallel_tempering,
    tempering_ladder,
)
from jaxrg.samplers.ensembles.populations import TemperedSMC, tempered_smc

__all__ = [
    "TemperedSMC",
    "TemperingInfo",
    "TemperingState",
    "equal_acceptance",
    "expectation",
    "parallel_tempering",
    "tempered_smc",
    "tempering_ladder",
]
