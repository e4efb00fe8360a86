"""Fortuin-Kasteleyn clusters of Potts models: Swendsen-Wang and Wolff, in a field of the states too."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.base import Model, Sampler, Status
from jaxrg.checks import is_traced
from jaxrg.models.sites import States
from jaxrg.samplers.spins import SpinState, SwendsenWangInfo, WolffInfo, init_ordered, spin_sampler, status_of_leaves


class PottsModel(Model, Protocol):
    """A model H(s) = -sum_e J_e delta(s_i, s_j) - sum_i h_i(s_i) of q states: what its cluster samplers ask for."""

    @property
    def sites(self) -> States:
        """The states, static."""
        ...

    def bond_couplings(self) -> Array:
        """``[*bonds]`` J of every bond, zero where there is none."""
        ...

    def bonds_equal(self, spins: Array) -> Array:
        """``[*bonds]`` bool: whether the states at both ends of a bond are equal."""
        ...

    def cluster_labels(self, active: Array) -> Array:
        """``[*shape]`` int32: the smallest site of each cluster that the active bonds ``[*bonds]``, bool, join."""
        ...

    def state_fields(self) -> Array | None:
        """``[q, *shape]`` h of every state at every site, or None."""
        ...


def bond_probability(coupling: Array, is_equal: Array) -> Array:
    r"""Probability :math:`1 - e^{-J}` that a bond joins equal states; NaN for J < 0, which has no such clusters."""
    probability = jnp.where(is_equal, -jnp.expm1(-coupling), 0)
    return jnp.where(coupling < 0, jnp.nan, probability)


def _draw_labels(model: PottsModel, key: Array, spins: Array) -> tuple[Array, Array]:
    """``[*shape]`` cluster labels, and a status word."""
    couplings = model.bond_couplings()
    counters = jnp.arange(couplings.size, dtype=jnp.uint32).reshape(couplings.shape)
    probability = bond_probability(couplings, model.bonds_equal(spins))
    active = random.bernoulli(key, counters, probability)
    return model.cluster_labels(active), status_of_leaves(model) | Status.NOT_FINITE.when(jnp.any(couplings < 0))


def cluster_fields(model: PottsModel, labels: Array) -> Array:
    """``[q, *shape]`` log-weight of every state of the cluster of a site: the sum of the fields of its sites."""
    fields = model.state_fields()
    if fields is None:
        return jnp.zeros((model.sites.num_states, *labels.shape), model.bond_couplings().dtype)
    return jax.vmap(lambda field: _sum_by_cluster(labels, field)[labels])(fields)


def _sum_by_cluster(labels: Array, values: Array) -> Array:
    """``[num_sites]`` sum of the values in the cluster each index labels; zero where the index labels none."""
    return jnp.zeros((labels.size,), values.dtype).at[labels.reshape(-1)].add(values.reshape(-1))


def swendsen_wang_step(model: PottsModel, key: Array, state: SpinState):
    bond_key, state_key = jax.random.split(key)
    labels, status = _draw_labels(model, bond_key, state.spins)
    # The counter of a cluster is its label, so that all its sites draw one state.
    spins, _ = model.sites.draw(state_key, labels.astype(jnp.uint32), cluster_fields(model, labels))
    sizes = _sum_by_cluster(labels, jnp.ones(labels.shape, jnp.int32))
    fractions = sizes.astype(jnp.float32) / np.float32(labels.size)
    square, fourth = jnp.sum(fractions**2), jnp.sum(fractions**4)
    # Clusters are vectors to random corners of a simplex: the mean square of the product of two is 1/(q - 1).
    pairs = 1 + 2 / (model.sites.num_states - 1)
    info = SwendsenWangInfo(
        jnp.sum(sizes > 0, dtype=jnp.int32),
        jnp.max(sizes),
        square,
        fourth + pairs * (square**2 - fourth),
        status,
    )
    return state._replace(spins=spins), info


def wolff_acceptance(model: PottsModel, in_cluster: Array, spins: Array, proposed: Array) -> Array:
    r"""Probability :math:`\min(1, e^{\sum_{x \in c} h_x(s') - h_x(s_x)})` of changing a cluster; 1 without field."""
    fields = model.state_fields()
    if fields is None:
        return jnp.ones((), jnp.float32)
    gain = model.sites.log_ratio(spins, jnp.broadcast_to(proposed, spins.shape), fields)
    return jnp.exp(jnp.minimum(jnp.sum(jnp.where(in_cluster, gain, 0)), 0))


def wolff_step(model: PottsModel, key: Array, state: SpinState):
    bond_key, seed_key, state_key = jax.random.split(key, 3)
    labels, status = _draw_labels(model, bond_key, state.spins)
    seed = jax.random.randint(seed_key, (), 0, labels.size, dtype=jnp.int32)
    in_cluster = labels == labels.reshape(-1)[seed]
    counter = jnp.uint32(0)
    proposed = model.sites.propose(state_key, counter, state.spins.reshape(-1)[seed])
    probability = wolff_acceptance(model, in_cluster, state.spins, proposed)
    accepted = random.bernoulli(state_key, counter, probability)
    info = WolffInfo(jnp.sum(in_cluster, dtype=jnp.int32), accepted.astype(jnp.float32), status)
    return state._replace(spins=jnp.where(in_cluster & accepted, proposed, state.spins)), info


def potts_sampler(kernel: Callable, model: Any) -> Sampler:
    """A cluster sampler of a Potts model that is no antiferromagnet.

    Raises:
        ValueError: other models of q states, or a negative coupling where it can be seen.
    """
    sampler = spin_sampler(kernel, model, init=init_ordered, protocol=PottsModel)
    if not is_traced(model):
        with jax.ensure_compile_time_eval():
            lowest = np.min(np.asarray(_couplings(model)), initial=0)
        if lowest < 0:
            raise ValueError(
                f"model: expected couplings >= 0, got {lowest}; where equal states repel each other take heat_bath or "
                "wolff_embedding"
            )
    return sampler


@jax.jit
def _couplings(model: PottsModel) -> Array:
    return model.bond_couplings()
