"""Whole transition matrices of the samplers on small lattices, from the functions their kernels are made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxrg.samplers import clusters, single_spin
from jaxrg.tables import all_spins
from tests.samplers.plain_multispin import half_sweep_matrix


@functools.cache
def states(num_spins: int) -> np.ndarray:
    return np.asarray(all_spins(num_spins)).astype(int)


@jax.jit
def _map(fn, *arrays):
    """Jitted with the model as an argument: one compilation for all couplings."""
    return jax.vmap(fn)(*arrays)


def configurations(model) -> jax.Array:
    return jnp.asarray(states(int(np.prod(model.shape))), jnp.int8).reshape(-1, *model.shape)


def on_every_state(fn, model) -> np.ndarray:
    """``fn(model, spins)`` of all states, ``[num_states, ...]`` with one axis for the rest."""
    table = configurations(model)
    return np.asarray(_map(Partial(fn, model), table), float).reshape(len(table), -1)


def _energy(model, spins):
    return model.hamiltonian(spins)


def boltzmann(model) -> np.ndarray:
    energies = on_every_state(_energy, model)[:, 0]
    weights = np.exp(energies.min() - energies)
    return weights / weights.sum()


def _independent_sites(new_up_probability: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """P[s, s'] when the sites that move draw +1 with their probability and the others stay."""
    table = states(moves.size)
    matrix = np.ones((len(table), len(table)))
    for site in range(moves.size):
        if moves[site]:
            up = new_up_probability[:, site][:, None]
            matrix *= np.where(table[:, site][None, :] > 0, up, 1 - up)
        else:
            matrix *= table[:, site][:, None] == table[:, site][None, :]
    return matrix


def _sublattices(model):
    colours = np.asarray(model.colours).ravel()
    return [colours == colour for colour in range(model.num_colours)]


def _flips_to_up(model, flip_probability: np.ndarray) -> np.ndarray:
    return np.where(states(flip_probability.shape[1]) > 0, 1 - flip_probability, flip_probability)


def _heat_bath_logits(model, spins):
    return single_spin.heat_bath_logit(model.local_field(spins))


def heat_bath(model) -> np.ndarray:
    up = 1 / (1 + np.exp(-on_every_state(_heat_bath_logits, model)))
    return functools.reduce(np.matmul, [_independent_sites(up, moves) for moves in _sublattices(model)])


def _metropolis_flips(model, spins):
    return single_spin.metropolis_probability(spins, model.local_field(spins))


def metropolis(model) -> np.ndarray:
    up = _flips_to_up(model, on_every_state(_metropolis_flips, model))
    return functools.reduce(np.matmul, [_independent_sites(up, moves) for moves in _sublattices(model)])


def random_scan_metropolis(model) -> np.ndarray:
    up = _flips_to_up(model, 0.5 * on_every_state(_metropolis_flips, model))
    substep = np.mean([_independent_sites(up, moves) for moves in _sublattices(model)], axis=0)
    return np.linalg.matrix_power(substep, model.num_colours)


def multispin(rule: str, model) -> np.ndarray:
    table = np.asarray(configurations(model), int)
    return half_sweep_matrix(rule, model, 12, table, 0) @ half_sweep_matrix(rule, model, 12, table, 1)


def independence(model) -> np.ndarray:
    """Of the sampler in CONTRIBUTING: every state is proposed with one probability."""
    weight = boltzmann(model)
    matrix = np.minimum(1, weight[None, :] / weight[:, None]) / len(weight)
    return matrix + np.diag(1 - matrix.sum(axis=1))


def _labels(model, active):
    return model.cluster_labels(active)


def _partitions(model):
    """Distinct cluster labellings ``[num_partitions, num_sites]`` and their probability from every state."""
    couplings = np.asarray(model.bond_couplings())
    num_sites = int(np.prod(model.shape))
    numbers = jnp.arange(1, num_sites + 1, dtype=jnp.int32).reshape(model.shape)
    first, second = (np.ravel(ends) for ends in model.bond_ends(numbers))
    kept = second > 0  # a bond that would leave the lattice ends in nothing
    edges = np.stack([first[kept], second[kept]], axis=1) - 1
    table = states(num_sites)
    first, second = table[:, edges[:, 0]], table[:, edges[:, 1]]
    couplings = couplings.ravel()[kept]
    is_satisfied = couplings * first * second > 0
    joins = is_satisfied * np.asarray(clusters.bond_probability(jnp.asarray(couplings)), float)

    active = np.asarray(all_spins(len(edges))) > 0
    placed = np.zeros((len(active), kept.size), bool)
    placed[:, kept] = active
    labels = _map(Partial(_labels, model), jnp.asarray(placed.reshape(-1, *model.bond_couplings().shape)))
    partitions, member = np.unique(np.asarray(labels).reshape(len(active), -1), axis=0, return_inverse=True)

    probability = np.zeros((len(partitions), len(table)))
    weights = np.ones((len(active), len(table)))
    for bond in range(len(edges)):
        weights *= np.where(active[:, bond][:, None], joins[:, bond], 1 - joins[:, bond])
    np.add.at(probability, member.ravel(), weights)
    return partitions, probability.T


def _for_every_partition(fn, model, partitions: np.ndarray) -> np.ndarray:
    """``fn(model, partition, spins)`` for all partitions and states, ``[num_partitions, num_states, ...]``."""
    shaped, table = jnp.asarray(partitions.reshape(-1, *model.shape)), configurations(model)
    values = np.asarray(_map_pairs(Partial(fn, model), shaped, table), float)
    return values if values.ndim == 2 else values.reshape(len(partitions), len(table), -1)


@jax.jit
def _map_pairs(fn, first, second):
    return jax.vmap(jax.vmap(fn, (None, 0)), (0, None))(first, second)


def _flipped(mask: np.ndarray) -> np.ndarray:
    """Index of every state after the sites of the mask are flipped."""
    return np.arange(2**mask.size) ^ int((mask * 2 ** np.arange(mask.size)).sum())


def swendsen_wang(model) -> np.ndarray:
    partitions, probability = _partitions(model)
    table = states(partitions.shape[1])
    everyone = np.arange(len(table))
    matrix = np.zeros((len(table), len(table)))
    flips_of = _for_every_partition(clusters.cluster_flip_probability, model, partitions)
    for labels, weight, flip in zip(partitions, probability.T, flips_of, strict=True):
        roots = np.unique(labels)
        outcomes = [(np.zeros(labels.size, bool), weight)]
        for root in roots:
            outcomes = [
                (mask | (labels == root) if flips else mask, w * (flip[:, root] if flips else 1 - flip[:, root]))
                for mask, w in outcomes
                for flips in (False, True)
            ]
        for mask, w in outcomes:
            matrix[everyone, _flipped(mask)] += w
    return matrix


def wolff(model) -> np.ndarray:
    partitions, probability = _partitions(model)
    table = states(partitions.shape[1])
    everyone = np.arange(len(table))
    matrix = np.zeros((len(table), len(table)))
    masks = np.stack([labels == site for labels in partitions for site in range(labels.size)])
    accepts = _for_every_partition(clusters.wolff_acceptance, model, masks)
    accepts = accepts.reshape(*partitions.shape, len(table))
    for labels, weight, accept_of in zip(partitions, probability.T, accepts, strict=True):
        for root in np.unique(labels):
            mask, accept = labels == root, accept_of[root]
            chosen = weight * mask.mean()
            matrix[everyone, _flipped(mask)] += chosen * accept
            matrix[everyone, everyone] += chosen * (1 - accept)
    return matrix
