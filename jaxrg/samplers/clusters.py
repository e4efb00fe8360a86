"""Cluster dynamics: Fortuin-Kasteleyn bonds, Swendsen-Wang and Wolff, in a field too."""

import warnings
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
from jax import Array

from jaxrg import random
from jaxrg.base import PairModel, Sampler, Status
from jaxrg.checks import is_traced
from jaxrg.models.sites import States
from jaxrg.samplers import potts
from jaxrg.samplers.spins import SpinState, SwendsenWangInfo, WolffInfo, init_ordered, sites_of, spin_sampler


def bond_probability(coupling: Array, first: Array, second: Array) -> Array:
    r"""Probability :math:`1 - e^{-2 \max(0, J s s')}` that a bond joins its spins: only satisfied bonds can."""
    return -jnp.expm1(-2 * jnp.maximum(coupling * (first * second).astype(coupling.dtype), 0))


def _draw_labels(model: PairModel, key: Array, spins: Array) -> tuple[Array, Array]:
    """``[*shape]`` cluster labels, and a status word."""
    couplings = model.bond_couplings()
    counters = jnp.arange(couplings.size, dtype=jnp.uint32).reshape(couplings.shape)
    active = random.bernoulli(key, counters, bond_probability(couplings, *model.bond_ends(spins)))
    is_finite = jnp.all(jnp.isfinite(couplings)) & jnp.all(jnp.isfinite(model.field_array()))
    return model.cluster_labels(active), Status.NOT_FINITE.when(~is_finite)


def _sum_by_cluster(labels: Array, values: Array) -> Array:
    """``[num_sites]`` sum of the values in the cluster each index labels; zero where the index labels none."""
    totals = jnp.zeros((labels.size,), values.dtype).at[labels.reshape(-1)]
    return totals.add(values.reshape(-1), mode="promise_in_bounds")  # of labels, which are sites


def cluster_flip_probability(model: PairModel, labels: Array, spins: Array) -> Array:
    r"""``[*shape]`` probability :math:`1/(1+e^{2\sum_{x \in c} h_x s_x})` that the cluster of a site flips."""
    field = model.field_array()

    def in_field(_):
        aligned = _sum_by_cluster(labels, field * spins.astype(field.dtype))
        return jax.nn.sigmoid(-2 * aligned)[labels]

    def without_field(_):
        return jnp.full(labels.shape, 0.5, field.dtype)

    return jax.lax.cond(jnp.any(field != 0), in_field, without_field, None)


def swendsen_wang_step(model: PairModel, key: Array, state: SpinState):
    bond_key, flip_key = jax.random.split(key)
    labels, status = _draw_labels(model, bond_key, state.spins)
    probability = cluster_flip_probability(model, labels, state.spins)
    flips = random.bernoulli(flip_key, labels.astype(jnp.uint32), probability)
    sizes = _sum_by_cluster(labels, jnp.ones(labels.shape, jnp.int32))
    fractions = sizes.astype(jnp.float32) / np.float32(labels.size)
    square, fourth = jnp.sum(fractions**2), jnp.sum(fractions**4)
    info = SwendsenWangInfo(
        jnp.sum(sizes > 0, dtype=jnp.int32), jnp.max(sizes), square, 3 * square**2 - 2 * fourth, status
    )
    return state._replace(spins=jnp.where(flips, -state.spins, state.spins)), info


def wolff_acceptance(model: PairModel, in_cluster: Array, spins: Array) -> Array:
    r"""Probability :math:`\min(1, e^{-2\sum_{x \in c} h_x s_x})` of flipping a cluster; 1 without field."""
    field = model.field_array()
    aligned = jnp.sum(jnp.where(in_cluster, field * spins.astype(field.dtype), 0))
    return jnp.exp(-jnp.maximum(2 * aligned, 0))


def wolff_step(model: PairModel, key: Array, state: SpinState):
    bond_key, seed_key, flip_key = jax.random.split(key, 3)
    labels, status = _draw_labels(model, bond_key, state.spins)
    seed = jax.random.randint(seed_key, (), 0, labels.size, dtype=jnp.int32)
    in_cluster = labels == labels.reshape(-1)[seed]
    probability = wolff_acceptance(model, in_cluster, state.spins)
    accepted = random.bernoulli(flip_key, jnp.uint32(0), probability)
    info = WolffInfo(jnp.sum(in_cluster, dtype=jnp.int32), accepted.astype(jnp.float32), status)
    return state._replace(spins=jnp.where(in_cluster & accepted, -state.spins, state.spins)), info


def _cluster_sampler(kernel: Callable, model: PairModel) -> Sampler:
    sampler = spin_sampler(kernel, model, init=init_ordered, protocol=PairModel)
    if not is_traced(model) and _is_frustrated_antiferromagnet(model):
        warnings.warn(
            "model: expected bonds that one configuration satisfies, got a frustrated antiferromagnet: its clusters "
            "come to span the lattice, where a sweep of heat_bath decorrelates faster; the distribution is right",
            stacklevel=3,
        )
    return sampler


@jax.jit
def _bonds(model: PairModel) -> tuple[Array, Array, Array]:
    """Couplings of all bonds, and the sites at their ends."""
    sites = jnp.arange(int(np.prod(model.shape)), dtype=jnp.int32).reshape(model.shape)
    return model.bond_couplings(), *model.bond_ends(sites)


def _is_frustrated_antiferromagnet(model: PairModel) -> bool:
    """Whether no bond favours equal spins, and not all can have unequal ones: a graph with an odd cycle."""
    numbers = [np.asarray(leaf) for leaf in jax.tree.leaves(model)]
    if not any(np.any(leaf < 0) for leaf in numbers):
        return False
    with jax.ensure_compile_time_eval():
        couplings, first, second = (np.ravel(part) for part in _bonds(model))
    if np.any(couplings > 0):
        return False
    first, second = first[couplings != 0], second[couplings != 0]
    # Two copies of the graph, joined crosswise: an odd cycle leads from a site to its own copy.
    size = int(np.prod(model.shape))
    ends = np.concatenate([first, second]), np.concatenate([second, first]) + size
    cover = scipy.sparse.coo_array((np.ones(len(ends[0]), bool), ends), (2 * size, 2 * size))
    _, component = scipy.sparse.csgraph.connected_components(cover, directed=False)
    return bool(np.any(component[:size] == component[size:]))


def swendsen_wang(model: PairModel | potts.PottsModel) -> Sampler:
    r"""Swendsen-Wang: join satisfied bonds with probability :math:`1-e^{-2|J|}`, then draw a sign for every cluster.

    In a field a cluster points along it with its Boltzmann weight, :math:`1/(1+e^{-2\sum_{x \in c} h_x})` of +1 for a
    cluster of up spins, which keeps the chain exact. Couplings may have either sign, but the clusters are those of the
    physics only where one configuration satisfies all bonds. Where bonds are frustrated, in a glass or a triangular
    antiferromagnet, bonds percolate before spins order: ``largest_cluster`` and ``cluster_size`` come close to the
    number of sites, and a sweep of `heat_bath` decorrelates faster. An antiferromagnet that is frustrated is warned of.

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
        UserWarning: a frustrated antiferromagnet, where its couplings can be seen.

    Reference:
        Swendsen & Wang, Phys. Rev. Lett. 58, 86 (1987).
    """
    if isinstance(sites_of(model), States):
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
    if isinstance(sites_of(model), States):
        return potts.potts_sampler(potts.wolff_step, model)
    return _cluster_sampler(wolff_step, cast(PairModel, model))
