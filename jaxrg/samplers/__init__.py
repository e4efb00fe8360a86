"""Markov chains: single-spin and cluster dynamics, what makes samplers of samplers, and the driver that runs them."""

from jaxrg.samplers.clusters import SwendsenWangInfo, WolffInfo, swendsen_wang, wolff
from jaxrg.samplers.combinators import AccumulatorState, MixtureInfo, accumulate, mixture, thin
from jaxrg.samplers.driver import Run, run
from jaxrg.samplers.kernels import from_kernel
from jaxrg.samplers.multispin import PackedState, multispin_heat_bath, multispin_metropolis
from jaxrg.samplers.replicas import replicas
from jaxrg.samplers.single_spin import heat_bath, metropolis, random_scan_metropolis
from jaxrg.samplers.spins import SpinInfo, SpinState

__all__ = [
    "AccumulatorState",
    "MixtureInfo",
    "PackedState",
    "Run",
    "SpinInfo",
    "SpinState",
    "SwendsenWangInfo",
    "WolffInfo",
    "accumulate",
    "from_kernel",
    "heat_bath",
    "metropolis",
    "mixture",
    "multispin_heat_bath",
    "multispin_metropolis",
    "random_scan_metropolis",
    "replicas",
    "run",
    "swendsen_wang",
    "thin",
    "wolff",
]
