"""Markov chains of spins and of fields, what makes samplers of samplers, and the driver that runs them."""

from jaxrg.samplers.clusters import swendsen_wang, wolff
from jaxrg.samplers.combinators import AccumulatorState, MixtureInfo, accumulate, mixture, thin
from jaxrg.samplers.driver import Run, run
from jaxrg.samplers.embedding import ReflectionModel, swendsen_wang_embedding, wolff_embedding
from jaxrg.samplers.fields import FieldState
from jaxrg.samplers.hamiltonian import HMCInfo, TunedStepSize, hmc, tune_step_size
from jaxrg.samplers.independence import (
    IndependenceChain,
    IndependenceInfo,
    IndependenceState,
    WeightedDraws,
    independence_chain,
    independence_metropolis,
    weighted_draws,
)
from jaxrg.samplers.kernels import from_kernel
from jaxrg.samplers.multispin import PackedState, multispin_heat_bath, multispin_metropolis
from jaxrg.samplers.replicas import replicas
from jaxrg.samplers.single_spin import heat_bath, metropolis, over_relaxation, random_scan_metropolis
from jaxrg.samplers.spins import SpinInfo, SpinState, SwendsenWangInfo, WolffInfo
from jaxrg.samplers.tempering import TemperedSMC, tempered_smc

__all__ = [
    "AccumulatorState",
    "FieldState",
    "HMCInfo",
    "IndependenceChain",
    "IndependenceInfo",
    "IndependenceState",
    "MixtureInfo",
    "PackedState",
    "ReflectionModel",
    "Run",
    "SpinInfo",
    "SpinState",
    "SwendsenWangInfo",
    "TemperedSMC",
    "TunedStepSize",
    "WeightedDraws",
    "WolffInfo",
    "accumulate",
    "from_kernel",
    "heat_bath",
    "hmc",
    "independence_chain",
    "independence_metropolis",
    "metropolis",
    "mixture",
    "multispin_heat_bath",
    "multispin_metropolis",
    "over_relaxation",
    "random_scan_metropolis",
    "replicas",
    "run",
    "swendsen_wang",
    "swendsen_wang_embedding",
    "tempered_smc",
    "thin",
    "tune_step_size",
    "weighted_draws",
    "wolff",
    "wolff_embedding",
]
