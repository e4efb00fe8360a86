"""Houdayer's cluster moves: two replicas of a glass exchange a cluster on which they differ."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg import random
from jaxrg.base import PairModel, Sampler
from jaxrg.checks import kind_of
from jaxrg.models import TwoReplicas
from jaxrg.samplers.single_spin import heat_bath_kernel
from jaxrg.samplers.spins import SpinState, spin_sampler


class HoudayerInfo(NamedTuple):
    """One sweep and one cluster."""

    cluster_size: (
        Array  # [] int32 sites flipped in both replicas; 0 where these were equal, without a field or opposite
    )
    num_candidates: Array  # [] int32 sites of the rarer sign of q: a cluster of all of them only renames the replicas
    status: Array  # [] uint32 `Status`


def candidates_of(model: PairModel, pair: Array) -> Array:
    """``[*shape]`` bool: the sites where q is -1, or without a field where it has the rarer sign."""
    unequal = pair[0] != pair[1]
    is_many = 2 * jnp.sum(unequal, dtype=jnp.int32) > unequal.size
    return unequal ^ (is_many & jnp.all(model.field_array() == 0))


def houdayer_cluster(model: PairModel, candidates: Array, number: Array) -> Array:
    """``[*shape]`` bool: the cluster of candidates around the one of this number, or none if none is."""
    here, there = model.bond_ends(candidates.astype(jnp.int8))
    labels = model.cluster_labels((here * there != 0) & (model.bond_couplings() != 0))
    first = jnp.argmax(jnp.cumsum(candidates.reshape(-1), dtype=jnp.int32) > number)
    return candidates & (labels == labels.reshape(-1)[first])


def _step(model: TwoReplicas, key: Array, state: SpinState) -> tuple[SpinState, HoudayerInfo]:
    sweep_key, choice_key = jax.random.split(key)
    state, swept = heat_bath_kernel(model, sweep_key, state)
    candidates = candidates_of(model.model, state.spins)
    count = jnp.sum(candidates, dtype=jnp.int32)
    # floor(count u / 2^32) of 32 random bits u: every site to within 2^-32.
    word = random.bits(choice_key, jnp.uint32(0), 1)[0]
    number = lax.mulhi(word, count.astype(jnp.uint32)).astype(jnp.int32)
    cluster = houdayer_cluster(model.model, candidates, number)
    info = HoudayerInfo(jnp.sum(cluster, dtype=jnp.int32), count, swept.status)
    return state._replace(spins=jnp.where(cluster[None], -state.spins, state.spins)), info


def houdayer(model: TwoReplicas) -> Sampler:
    r"""Heat bath of two replicas, and after every sweep the flip of a cluster of their overlap in both.

    .. math:: q_x = s_x t_x, \qquad (s_x, t_x) \to (-s_x, -t_x) \quad \text{on the cluster of a site with } q_x = -1

    The flip keeps q, so that the way back is as likely, and H(s) + H(t), in any field: it is never rejected. Without a
    field clusters of the rarer sign of q are taken, as either will do. It carries each replica over barriers that
    single spins do not cross, but not q, which the sweeps and the swaps of a ladder change. That helps where such
    clusters do not percolate, as in two dimensions and on sparse graphs. Where all candidates are one cluster, as in
    three dimensions at and above the transition, it only renames the replicas: compare ``cluster_size`` and
    ``num_candidates``.

    Args:
        model: `jaxrg.models.TwoReplicas` of a model of pairs.

    Returns:
        A sampler of pairs ``[2, *shape]`` with `SpinState` and `HoudayerInfo`, also one for `parallel_tempering`:
        ``parallel_tempering(lambda K: models.TwoReplicas(models.Glass(square, bonds, K)), couplings,
        sampler=houdayer)``. A random start unless ``init`` is given spins.

    Raises:
        ValueError: no `TwoReplicas`.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> pair = models.TwoReplicas(models.plus_minus_glass(jax.random.key(2), lattice.hypercubic((8, 8))))
        >>> sampler = houdayer(pair)
        >>> state = sampler.init(jax.random.key(0))
        >>> run = samplers.run(jax.random.key(1), sampler, state, 50, observe=pair.observables)
        >>> run.trace.overlap.shape, bool(jnp.any(run.info.cluster_size < run.info.num_candidates))
        ((1, 50), True)

    Reference:
        Houdayer, Eur. Phys. J. B 22, 479 (2001); Zhu, Ochoa & Katzgraber, Phys. Rev. Lett. 115, 077201 (2015).
    """
    if not isinstance(model, TwoReplicas):
        raise ValueError(f"model: expected models.TwoReplicas of a model of pairs, got {kind_of(model)}")
    return spin_sampler(_step, cast(TwoReplicas, model))
