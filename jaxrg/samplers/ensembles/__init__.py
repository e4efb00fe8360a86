"""Ensembles: many configurations that help each other, at the couplings of a ladder or as a population that anneals.

A ladder is sampled by `parallel_tempering`, whose couplings `tempering_ladder` chooses. `population_annealing` gives
ln Z of spins along one, `tempered_smc` that of a field, and `simulated_annealing` ground states. `houdayer` moves pairs
of replicas of a glass, `multicanonical` walks through all energies in the weights that `wang_landau` finds.
`expectation` is the mean over a chain as a function to differentiate.
"""

from jaxrg.samplers.ensembles.annealing import PopulationAnnealing, population_annealing
from jaxrg.samplers.ensembles.expectations import expectation
from jaxrg.samplers.ensembles.ground_states import SimulatedAnnealing, simulated_annealing
from jaxrg.samplers.ensembles.houdayer import HoudayerInfo, houdayer
from jaxrg.samplers.ensembles.ladders import (
    TemperingInfo,
    TemperingState,
    equal_acceptance,
    parallel_tempering,
    tempering_ladder,
)
from jaxrg.samplers.ensembles.multicanonical import MulticanonicalInfo, MulticanonicalState, multicanonical
from jaxrg.samplers.ensembles.populations import TemperedSMC, tempered_smc
from jaxrg.samplers.ensembles.wang_landau import WangLandau, wang_landau

__all__ = [
    "HoudayerInfo",
    "MulticanonicalInfo",
    "MulticanonicalState",
    "PopulationAnnealing",
    "SimulatedAnnealing",
    "TemperedSMC",
    "TemperingInfo",
    "TemperingState",
    "WangLandau",
    "equal_acceptance",
    "expectation",
    "houdayer",
    "multicanonical",
    "parallel_tempering",
    "population_annealing",
    "simulated_annealing",
    "tempered_smc",
    "tempering_ladder",
    "wang_landau",
]
