"""Fortuin-Kasteleyn clusters of Potts models: Swendsen-Wang and Wolff, in a field of the states too."""

from collections.abc import Callable
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg import random
from jaxrg.base import Model, Sampler, Status
from jaxrg.checks import is_traced
from jaxrg.models.sites import States
from jaxrg.samplers.growth import (
    Cluster,
    Flip,
    GrowingModel,
    bond_probability,
    can_grow,
    drawn_bonds,
    first_site,
    is_accepted,
    sum_over,
)
from jaxrg.samplers.spins import SpinState, SwendsenWangInfo, init_ordered, sites_of, spin_sampler, status_of_leaves


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


def is_potts(model: Any) -> bool:
    """Whether a model has q states."""
    return isinstance(sites_of(model), States)


def status_of(model: PottsModel) -> Array:
    """A status word: of what is not finite, and of couplings below zero, which have no such clusters."""
    couplings = cast(GrowingModel, model).distinct_couplings() if can_grow(model) else model.bond_couplings()
    return status_of_leaves(model) | Status.NOT_FINITE.when(jnp.any(couplings < 0))


def _draw_labels(model: PottsModel, key: Array, spins: Array) -> Array:
    r"""``[*shape]`` cluster labels: bonds join equal states with probability :math:`1 - e^{-J}`."""
    couplings = model.bond_couplings()
    if can_grow(model):
        drawn = jnp.stack(drawn_bonds(cast(GrowingModel, model).distinct_couplings() / 2, key, spins.shape))
    else:
        counters = jnp.arange(couplings.size, dtype=jnp.uint32).reshape(couplings.shape)
        drawn = random.bernoulli(key, counters, bond_probability(couplings / 2))
    return model.cluster_labels(model.bonds_equal(spins) & (couplings > 0) & drawn)


def cluster_fields(model: PottsModel, labels: Array) -> Array:
    """``[q, *shape]`` log-weight of every state of the cluster of a site: the sum of the fields of its sites."""
    fields = model.state_fields()
    if fields is None:
        return jnp.zeros((model.sites.num_states, *labels.shape), model.bond_couplings().dtype)
    return jax.vmap(lambda field: sum_by_cluster(labels, field)[labels])(fields)


def sum_by_cluster(labels: Array, values: Array) -> Array:
    """``[num_sites]`` sum of the values in the cluster each index labels; zero where the index labels none."""
    totals = jnp.zeros((labels.size,), values.dtype).at[labels.reshape(-1)]
    return totals.add(values.reshape(-1), mode="promise_in_bounds")  # of labels, which are sites


def swendsen_wang_step(model: PottsModel, key: Array, state: SpinState):
    bond_key, state_key = jax.random.split(key)
    labels = _draw_labels(model, bond_key, state.spins)
    # The counter of a cluster is its label, so that all its sites draw one state.
    spins, _ = model.sites.draw(state_key, labels.astype(jnp.uint32), cluster_fields(model, labels))
    sizes = sum_by_cluster(labels, jnp.ones(labels.shape, jnp.int32))
    fractions = sizes.astype(jnp.float32) / np.float32(labels.size)
    square, fourth = jnp.sum(fractions**2), jnp.sum(fractions**4)
    # Clusters are vectors to random corners of a simplex: the mean square of the product of two is 1/(q - 1).
    pairs = 1 + 2 / (model.sites.num_states - 1)
    info = SwendsenWangInfo(
        jnp.sum(sizes > 0, dtype=jnp.int32),
        jnp.max(sizes),
        square,
        fourth + pairs * (square**2 - fourth),
        status_of(model),
    )
    return state._replace(spins=spins), info


def wolff_acceptance(model: PottsModel, in_cluster: Array, spins: Array, proposed: Array) -> Array:
    r"""Probability :math:`\min(1, e^{\sum_{x \in c} h_x(s') - h_x(s_x)})` of changing a cluster; 1 without field."""
    fields = model.state_fields()
    if fields is None:
        return jnp.ones((), jnp.float32)
    gain = model.sites.log_ratio(spins, jnp.broadcast_to(proposed, spins.shape), fields)
    return jnp.exp(jnp.minimum(jnp.sum(jnp.where(in_cluster, gain, 0)), 0))


def _proposal(model: PottsModel, key: Array, state: Array) -> Array:
    """[] int8 any other state for a cluster."""
    return model.sites.propose(jax.random.fold_in(key, 1), jnp.uint32(0), state)


def by_labels(model: PottsModel, key: Array, spins: Array) -> Flip:
    """The cluster of a random site among all clusters of the lattice, and what becomes of it."""
    labels, first = _draw_labels(model, key, spins), first_site(key, spins.size)
    in_cluster = labels == labels.reshape(-1)[first]
    proposed = _proposal(model, key, spins.reshape(-1)[first])
    accepted = is_accepted(key, wolff_acceptance(model, in_cluster, spins, proposed))
    changed = jnp.where(in_cluster & accepted, proposed, spins)
    return Flip(changed, jnp.sum(in_cluster, dtype=jnp.int32), accepted)


def change_of(model: PottsModel, key: Array, cluster: Cluster) -> tuple[Callable[[Array], Array], Array]:
    """What a cluster that has been found becomes, and the probability of it."""
    proposed, given = _proposal(model, key, cluster.first), model.state_fields()
    if given is None:
        return lambda state: proposed, jnp.ones((), jnp.float32)

    def gain(entry: Array) -> Array:
        fields = cast(Array, model.state_fields())  # here, so that what is the same at all sites is never written out
        here = lax.dynamic_index_in_dim(fields.reshape(len(fields), -1), entry >> 1, axis=1, keepdims=False)
        return here[proposed] - here[cluster.first]

    return lambda state: proposed, jnp.exp(jnp.minimum(sum_over(cluster, gain, given.dtype), 0))


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
