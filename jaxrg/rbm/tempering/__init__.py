"""Tempering of machines: ladders in temperature or along a training, their chains, and gradients from them.

A ladder is an `jaxrg.rbm.RBM` whose leaves have a leading axis: machines of one shape, from one that mixes fast to the
one that is wanted. Every replica moves by block Gibbs and swaps visible layers with its neighbours.
"""

from jaxrg.rbm.tempering.chains import (
    TemperedInfo,
    TemperedState,
    tempered_chains,
    tempered_gibbs_sampler,
    tunnelling_rate,
)
from jaxrg.rbm.tempering.gradients import tempered_gradient
from jaxrg.rbm.tempering.ladders import Ladder, choose_machines, independent_units, tempered

__all__ = [
    "Ladder",
    "TemperedInfo",
    "TemperedState",
    "choose_machines",
    "independent_units",
    "tempered",
    "tempered_chains",
    "tempered_gibbs_sampler",
    "tempered_gradient",
    "tunnelling_rate",
]
