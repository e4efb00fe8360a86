"""Restricted Boltzmann machines: energies, Gibbs sampling, exact answers, training, stacks.

Common arguments: the parameters of a ``machine``, an `RBM`; layers ``visible[num_visible]`` and ``hidden[num_hidden]``
and samples ``data[num_samples, num_visible]`` of its units, spins ±1 unless it says others; a typed PRNG ``key``.
Arrays that do not fit together, units that are none and sizes out of their range are refused by a ValueError.
"""

from jaxrg.rbm import couplings, likelihood, tempering, units
from jaxrg.rbm.belief import belief_sampler
from jaxrg.rbm.convolution import Filters, convolutional, through
from jaxrg.rbm.energy import (
    RBM,
    energy,
    hidden_hamiltonian,
    init,
    transpose,
    visible_hamiltonian,
)
from jaxrg.rbm.exact import (
    hidden_distribution,
    log_likelihood,
    log_partition,
    log_probability,
    negative_log_likelihood,
    visible_distribution,
)
from jaxrg.rbm.gauges import align, fix_gauge, from_binary, to_binary
from jaxrg.rbm.gibbs import (
    gibbs_sampler,
    gibbs_step,
    hidden_mean,
    sample_hidden,
    sample_visible,
    visible_mean,
)
from jaxrg.rbm.gradients import (
    contrastive_divergence_gradient,
    likelihood_gradient,
    persistent_chains,
    persistent_contrastive_divergence_gradient,
)
from jaxrg.rbm.penalties import l1_penalty, soft_threshold
from jaxrg.rbm.preconditioning import centred, standardized
from jaxrg.rbm.receptive_fields import Locality, locality, receptive_fields
from jaxrg.rbm.stack import lift, reconstruct, train_stack

__all__ = [
    "RBM",
    "Filters",
    "Locality",
    "align",
    "belief_sampler",
    "centred",
    "contrastive_divergence_gradient",
    "convolutional",
    "couplings",
    "energy",
    "fix_gauge",
    "from_binary",
    "gibbs_sampler",
    "gibbs_step",
    "hidden_distribution",
    "hidden_hamiltonian",
    "hidden_mean",
    "init",
    "l1_penalty",
    "lift",
    "likelihood",
    "likelihood_gradient",
    "locality",
    "log_likelihood",
    "log_partition",
    "log_probability",
    "negative_log_likelihood",
    "persistent_chains",
    "persistent_contrastive_divergence_gradient",
    "receptive_fields",
    "reconstruct",
    "sample_hidden",
    "sample_visible",
    "soft_threshold",
    "standardized",
    "tempering",
    "through",
    "to_binary",
    "train_stack",
    "transpose",
    "units",
    "visible_distribution",
    "visible_hamiltonian",
    "visible_mean",
]
