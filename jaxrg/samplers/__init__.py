"""Markov chains of spins and of fields, samplers made of samplers, the driver that runs them, and samples on disk."""

from jaxrg.samplers import ensembles
from jaxrg.samplers.clusters import swendsen_wang, wolff
from jaxrg.samplers.combinators import AccumulatorState, MixtureInfo, accumulate, mixture, thin
from jaxrg.samplers.driver import Run, run, warm_up
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
from jaxrg.samplers.multispin import multispin_heat_bath, multispin_metropolis
from jaxrg.samplers.packed_measures import PackedState
from jaxrg.samplers.recording import load, sample, save
from jaxrg.samplers.replaying import repair, verify
from jaxrg.samplers.replicas import replicas
from jaxrg.samplers.single_spin import heat_bath, metropolis, over_relaxation, random_scan_metropolis
from jaxrg.samplers.spins import SpinInfo, SpinState, SwendsenWangInfo, WolffInfo

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
    "TunedStepSize",
    "WeightedDraws",
    "WolffInfo",
    "accumulate",
    "ensembles",
    "from_kernel",
    "heat_bath",
    "hmc",
    "independence_chain",
    "independence_metropolis",
    "load",
    "metropolis",
    "mixture",
    "multispin_heat_bath",
    "multispin_metropolis",
    "over_relaxation",
    "random_scan_metropolis",
    "repair",
    "replicas",
    "run",
    "sample",
    "save",
    "swendsen_wang",
    "swendsen_wang_embedding",
    "thin",
    "tune_step_size",
    "verify",
    "warm_up",
    "weighted_draws",
    "wolff",
    "wolff_embedding",
]
