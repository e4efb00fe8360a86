"""Ensembles: many configurations that help each other, of couplings along a ladder.

A ladder is sampled by `parallel_tempering`, whose couplings `tempering_ladder` chooses.
"""

from jaxrg.samplers.ensembles.ladders import (
    TemperingInfo,
    TemperingState,
    equal_acceptance,
    parallel_tempering,
    tempering_ladder,
)

__all__ = ["TemperingInfo", "TemperingState", "equal_acceptance", "parallel_tempering", "tempering_ladder"]
