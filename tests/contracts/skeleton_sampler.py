"""Whole-lattice proposals: all spins are redrawn at once, accepted with the Metropolis rule."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Model, Sampler, Status
from jaxrg.samplers.spins import SpinInfo, SpinState, spin_sampler


def _independence(model: Model, key: Array, state: SpinState) -> tuple[SpinState, SpinInfo]:
    """One step with a key of its own; `spin_sampler` makes the key and counts the steps."""
    propose_key, accept_key = jax.random.split(key)
    proposal = jax.random.rademacher(propose_key, model.shape, jnp.int8)
    change = model.hamiltonian(proposal) - model.hamiltonian(state.spins)
    accepted = random.bernoulli(accept_key, jnp.uint32(0), jnp.exp(-jnp.maximum(change, 0)))
    info = SpinInfo(accepted.astype(jnp.float32), Status.NOT_FINITE.when(~jnp.isfinite(change)))
    return state._replace(spins=jnp.where(accepted, proposal, state.spins)), info


def independence(model: Model) -> Sampler:
    r"""One line; the equation; Args; Returns; Raises; Reference."""
    return spin_sampler(_independence, model)
