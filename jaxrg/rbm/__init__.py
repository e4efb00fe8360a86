"""Restricted Boltzmann machines of ±1 units: energies, Gibbs sampling, exact answers, training, stacks.

Common arguments: the parameters of a ``machine``, an `RBM`; layers ``visible[num_visible]`` and ``hidden[num_hidden]``
and samples ``data[num_samples, num_visible]`` of spins ±1; a typed PRNG ``key``. Arrays that do not fit together, units
that are not ±1 and sizes out of their range are refused by a ValueError.
"""

from jaxrg.rbm import likelihood, tempering
from jaxrg.rbm.energy import (
    RBM,
    energy,
    from_binary,
    hidden_hamiltonian,
    init,
    to_binary,
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
from jaxrg.rbm.pseudolikelihood import pseudo_log_likelihood
from jaxrg.rbm.receptive_fields import Locality, locality, receptive_fields
from jaxrg.rbm.stack import lift, reconstruct, train_stack

__all__ = [
    "RBM",
    "Locality",
    "contrastive_divergence_gradient",
    "energy",
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
    "pseudo_log_likelihood",
    "receptive_fields",
    "reconstruct",
    "sample_hidden",
    "sample_visible",
    "soft_threshold",
    "tempering",
    "to_binary",
    "train_stack",
    "transpose",
    "visible_distribution",
    "visible_hamiltonian",
    "visible_mean",
]
