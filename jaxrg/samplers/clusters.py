"""Cluster dynamics: Fortuin-Kasteleyn bonds, Swendsen-Wang and Wolff, in a field too."""

import warnings
from collections.abc import Callable
from typing import Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

from jaxrg import random
from jaxrg.base import PairModel, PyTree, Sampler
from jaxrg.checks import is_traced
from jaxrg.samplers import frustration, potts
from jaxrg.samplers.growth import (
    BOUND,
    MAX_SITES,
    SPINS,
    STATES,
    Cluster,
    Flip,
    GrowingModel,
    bond_probability,
    bond_sign,
    can_grow,
    drawn_bonds,
    first_site,
    grow,
    is_accepted,
    settle,
    sum_over,
)
from jaxrg.samplers.spins import (
    SpinState,
    SwendsenWangInfo,
    WolffInfo,
    init_ordered,
    spin_sampler,
    status_of_leaves,
)


class GrowingPairs(GrowingModel, PairModel, Protocol):
    """Spins whose clusters can be grown."""


def _draw_labels(model: PairModel, key: Array, spins: Array) -> Array:
    """``[*shape]`` cluster labels."""
    if can_grow(model):
        return model.cluster_labels(_lattice_bonds(cast(GrowingPairs, model), key, spins))
    return model.cluster_labels(_bonds(model, key, spins))


def _lattice_bonds(model: GrowingPairs, key: Array, spins: Array) -> Array:
    """``[num_directions, *shape]`` bool: the bonds that join their sites."""
    couplings = model.distinct_couplings()
    signs, drawn = bond_sign(couplings), drawn_bonds(couplings, key, spins.shape)
    active = []
    for direction, (here, there) in enumerate(zip(*model.bond_ends(spins), strict=True)):
        sign = jnp.broadcast_to(signs[direction], spins.shape)
        active.append((here * there == sign) & (sign != 0) & drawn[direction])
    return jnp.stack(active)


def _bonds(model: PairModel, key: Array, spins: Array) -> Array:
    """``[*bonds]`` bool: the bonds that join their sites."""
    couplings = model.bond_couplings()
    here, there = model.bond_ends(spins)
    counters = jnp.arange(couplings.size, dtype=jnp.uint32).reshape(couplings.shape)
    sign = bond_sign(couplings)
    return (here * there == sign) & (sign != 0) & random.bernoulli(key, counters, bond_probability(couplings))


def cluster_flip_probability(model: PairModel, labels: Array, spins: Array) -> Array:
    r"""``[*shape]`` probability :math:`1/(1+e^{2\sum_{x \in c} h_x s_x})` that the cluster of a site flips."""
    field = model.field_array()

    def in_field(_):
        aligned = potts.sum_by_cluster(labels, field * spins.astype(field.dtype))
        return jax.nn.sigmoid(-2 * aligned)[labels]

    def without_field(_):
        return jnp.full(labels.shape, 0.5, field.dtype)

    return lax.cond(jnp.any(field != 0), in_field, without_field, None)


def swendsen_wang_step(model: PairModel, key: Array, state: SpinState):
    bond_key, flip_key = jax.random.split(key)
    labels = _draw_labels(model, bond_key, state.spins)
    probability = cluster_flip_probability(model, labels, state.spins)
    flips = random.bernoulli(flip_key, labels.astype(jnp.uint32), probability)
    sizes = potts.sum_by_cluster(labels, jnp.ones(labels.shape, jnp.int32))
    fractions = sizes.astype(jnp.float32) / np.float32(labels.size)
    square, fourth = jnp.sum(fractions**2), jnp.sum(fractions**4)
    info = SwendsenWangInfo(
        jnp.sum(sizes > 0, dtype=jnp.int32), jnp.max(sizes), square, 3 * square**2 - 2 * fourth, status_of_leaves(model)
    )
    return state._replace(spins=jnp.where(flips, -state.spins, state.spins)), info


def wolff_acceptance(model: PairModel, in_cluster: Array, spins: Array) -> Array:
    r"""Probability :math:`\min(1, e^{-2\sum_{x \in c} h_x s_x})` of flipping a cluster; 1 without field."""
    field = model.field_array()
    return _acceptance(jnp.sum(jnp.where(in_cluster, field * spins.astype(field.dtype), 0)))


def _acceptance(aligned: Array) -> Array:
    return jnp.exp(-jnp.maximum(2 * aligned, 0))


def _by_labels(model: PairModel | potts.PottsModel, key: Array, spins: Array) -> Flip:
    """The cluster among all clusters of the lattice."""
    if potts.is_potts(model):
        return potts.by_labels(cast(potts.PottsModel, model), key, spins)
    labels = _draw_labels(cast(PairModel, model), key, spins)
    in_cluster = labels == labels.reshape(-1)[first_site(key, spins.size)]
    accepted = is_accepted(key, wolff_acceptance(cast(PairModel, model), in_cluster, spins))
    flipped = jnp.where(in_cluster & accepted, -spins, spins)
    return Flip(flipped, jnp.sum(in_cluster, dtype=jnp.int32), accepted)


def _flip_of(model: PairModel, cluster: Cluster) -> tuple[Callable[[Array], Array], Array]:
    """What a cluster that has been found becomes, and the probability of it."""

    def aligned(entry: Array) -> Array:
        field = lax.dynamic_index_in_dim(model.field_array().reshape(-1), entry >> 1, keepdims=False)
        return jnp.where((entry & 1) == 1, -field, field)

    return jnp.negative, _acceptance(sum_over(cluster, aligned, model.field_array().dtype))


def _by_growth(model: GrowingModel, key: Array, spins: Array, *, bound: int = BOUND) -> Flip:
    """The cluster from its first site on, or by labels where it does not end before the bound."""
    couplings, kind = model.distinct_couplings(), SPINS
    if potts.is_potts(model):
        couplings, kind = couplings / 2, STATES
    seed, bound = first_site(key, spins.size), min(bound, spins.size + 1)
    cluster = grow(model, couplings, key, spins, seed, bound=bound, kind=kind)
    if potts.is_potts(model):
        changed, probability = potts.change_of(cast(potts.PottsModel, model), key, cluster)
    else:
        changed, probability = _flip_of(cast(PairModel, model), cluster)
    is_whole = cluster.size < cluster.queue.size
    accepted = is_accepted(key, probability)
    settled = settle(cluster, accepted & is_whole, kind, changed).reshape(spins.shape)

    def label(carry: tuple[Array, Flip]) -> tuple[Array, Flip]:
        return jnp.bool_(True), _by_labels(cast(PairModel, model), key, carry[1].spins)

    # A loop of one turn or none, which unlike a conditional leaves the spins where they are.
    start = is_whole, Flip(settled, cluster.size, accepted)
    return lax.while_loop(lambda carry: ~carry[0], label, start)[1]


@custom_vmap
def _one_cluster(model: PairModel, key: Array, spins: Array) -> Flip:
    return _cluster_alone(model, key, spins)


@jax.jit  # so that the arrays it is made of stay inside: custom_vmap refuses those that a branch of many chains maps
def _cluster_alone(model: PairModel, key: Array, spins: Array) -> Flip:
    if not can_grow(model) or spins.size > MAX_SITES:
        return _by_labels(model, key, spins)
    # Elsewhere than on a CPU a turn of a loop costs more than to label thousands of sites.
    return lax.platform_dependent(model, key, spins, cpu=_by_growth, default=_by_labels)


@_one_cluster.def_vmap
def _many_clusters(axis_size: int, in_batched: list, *args) -> tuple[Flip, PyTree]:
    axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, in_batched)
    flips = jax.vmap(_by_labels, axes, axis_size=axis_size)(*args)
    return flips, jax.tree.map(lambda _: True, flips)


def wolff_step(model: PairModel | potts.PottsModel, key: Array, state: SpinState):
    flip = _one_cluster(model, key, state.spins)
    status = potts.status_of(cast(potts.PottsModel, model)) if potts.is_potts(model) else status_of_leaves(model)
    info = WolffInfo(flip.size, flip.is_accepted.astype(jnp.float32), status)
    return state._replace(spins=flip.spins), info


def _cluster_sampler(kernel: Callable, model: PairModel) -> Sampler:
    sampler = spin_sampler(kernel, model, init=init_ordered, protocol=PairModel)
    if not is_traced(model) and (found := frustration.of_clusters(model)):
        warnings.warn(
            f"model: expected bonds that one configuration satisfies, got {found}: its clusters come to span the "
            "lattice, where a sweep of heat_bath decorrelates faster; the distribution is right",
            stacklevel=3,
        )
    return sampler


def swendsen_wang(model: PairModel | potts.PottsModel) -> Sampler:
    r"""Swendsen-Wang: join satisfied bonds with probability :math:`1-e^{-2|J|}`, then draw a sign for every cluster.

    In a field a cluster points along it with its Boltzmann weight, :math:`1/(1+e^{-2\sum_{x \in c} h_x})` of +1 for a
    cluster of up spins, which keeps the chain exact. Couplings may have either sign, but the clusters are those of the
    physics only where one configuration satisfies all bonds. Where bonds are frustrated, in a glass or a triangular
    antiferromagnet, bonds percolate before spins order: ``largest_cluster`` and ``cluster_size`` come close to the
    number of sites, and a sweep of `heat_bath` decorrelates faster. An antiferromagnet that is frustrated is warned of,
    and another frustrated model of 64 sites or more whose bonds percolate: at high temperature the bonds of a glass are
    open with probability :math:`\tanh|J|`, and one draw of such bonds joins half of the sites.

    Of a Potts model bonds join equal states with probability :math:`1-e^{-J}`, and a cluster takes a state with weight
    :math:`e^{\sum_{x \in c} h_x(s)}`. Its couplings are not negative; a traced one that is sets the status.

    Args:
        model: Ising, Glass, SparsePairs, DensePairs, or another `jaxrg.base.PairModel`; or Potts.

    Returns:
        A sampler with `SpinState` and `SwendsenWangInfo`; starts ordered unless ``init`` is given spins.

    Raises:
        ValueError: a model without pair couplings, or couplings that do not fit it; a Potts antiferromagnet, for which
            there is `swendsen_wang_embedding`.

    Warns:
        UserWarning: frustration, where couplings can be seen.

    Reference:
        Swendsen & Wang, Phys. Rev. Lett. 58, 86 (1987).
    """
    if potts.is_potts(model):
        return potts.potts_sampler(potts.swendsen_wang_step, model)
    return _cluster_sampler(swendsen_wang_step, cast(PairModel, model))


def wolff(model: PairModel | potts.PottsModel) -> Sampler:
    r"""Wolff: grow the cluster of a random site by bonds of probability :math:`1-e^{-2|J|}` and flip it.

    In a field the flip is accepted with probability :math:`\min(1, e^{-2\sum_{x \in c} h_x s_x})`. A cluster of a Potts
    model takes any other state, in a field with probability :math:`\min(1, e^{-\Delta H})`. A step is one cluster.
    Arguments, errors and what frustration does are those of `swendsen_wang`.

    Returns:
        A sampler with `SpinState` and `WolffInfo`; starts ordered unless ``init`` is given spins.

    Reference:
        Wolff, Phys. Rev. Lett. 62, 361 (1989).
    """
    if potts.is_potts(model):
        return potts.potts_sampler(wolff_step, model)
    return _cluster_sampler(wolff_step, cast(PairModel, model))
