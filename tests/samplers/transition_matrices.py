"""Whole transition matrices of the samplers on small lattices, from the functions their kernels are made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxrg.models.sites import States
from jaxrg.samplers import clusters, potts, single_spin
from jaxrg.samplers.spins import sites_of
from jaxrg.tables import all_spins
from tests.samplers.plain_multispin import half_sweep_matrix


@functools.cache
def states(num_spins: int) -> np.ndarray:
    return np.asarray(all_spins(num_spins)).astype(int)


def values_at(model) -> np.ndarray:
    """The values that a site can have, in the order of the digits of a state's index."""
    sites = sites_of(model)
    return np.arange(sites.num_states) if isinstance(sites, States) else np.array([-1, 1])


@functools.cache
def _digits(base: int, num_sites: int) -> np.ndarray:
    return np.arange(base**num_sites)[:, None] // base ** np.arange(num_sites) % base


def digits(model) -> np.ndarray:
    """``[num_states, num_sites]`` which of its values each site has; that of site 0 changes first."""
    return _digits(len(values_at(model)), int(np.prod(model.shape)))


def index_of(model, spins: np.ndarray) -> np.ndarray:
    """``[...]`` indices of configurations ``[..., *shape]``."""
    flat = np.asarray(spins, int).reshape(-1, int(np.prod(model.shape)))
    values = values_at(model)
    return np.searchsorted(values, flat) @ len(values) ** np.arange(flat.shape[1])


@jax.jit
def _map(fn, *arrays):
    """Jitted with the model as an argument: one compilation for all couplings."""
    return jax.vmap(fn)(*arrays)


def configurations(model) -> jax.Array:
    return jnp.asarray(values_at(model)[digits(model)], jnp.int8).reshape(-1, *model.shape)


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


def _independent_sites(probability: np.ndarray, numbers: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """P[s, s'] when the sites that move draw each of their values with its probability and the others stay.

    Args:
        probability: ``[num_states, num_sites, num_values]`` of what a site becomes, from every state.
        numbers: ``[num_states, num_sites]`` digits of all states.
        moves: ``[num_sites]`` bool.
    """
    matrix = np.ones((len(numbers), len(numbers)))
    for site, moving in enumerate(moves):
        if moving:
            matrix *= probability[:, site][:, numbers[:, site]]
        else:
            matrix *= numbers[:, site][:, None] == numbers[:, site][None, :]
    return matrix


def _sublattices(model):
    colours = np.asarray(model.colours).ravel()
    return [colours == colour for colour in range(model.num_colours)]


def _local_fields(model, spins):
    return model.local_field(spins)


def _ordered(model, probability: np.ndarray) -> np.ndarray:
    numbers = digits(model)
    return functools.reduce(
        np.matmul, [_independent_sites(probability, numbers, moves) for moves in _sublattices(model)]
    )


def heat_bath(model) -> np.ndarray:
    fields = on_every_state(_local_fields, model)
    if isinstance(sites_of(model), States):
        fields = fields.reshape(len(fields), len(values_at(model)), -1).swapaxes(1, 2)
    else:
        fields = fields[..., None] * values_at(model)
    weights = np.exp(fields - fields.max(axis=2, keepdims=True))
    return _ordered(model, weights / weights.sum(axis=2, keepdims=True))


def _accepted(value, model, spins):
    proposed = jnp.full(model.shape, value, jnp.int8)
    return single_spin.metropolis_probability(sites_of(model), spins, proposed, model.local_field(spins))


def _metropolis_probability(model) -> np.ndarray:
    """``[num_states, num_sites, num_values]``, each other value proposed as often as the others."""
    values, numbers = values_at(model), digits(model)
    accepts = [on_every_state(Partial(_accepted, jnp.int8(value)), model) for value in values]
    probability = np.stack(accepts, axis=2) / (len(values) - 1)
    is_same = numbers[:, :, None] == np.arange(len(values))
    probability[is_same] = 0
    probability[is_same] = 1 - probability.sum(axis=2).ravel()
    return probability


def metropolis(model) -> np.ndarray:
    return _ordered(model, _metropolis_probability(model))


def random_scan_metropolis(model) -> np.ndarray:
    numbers = digits(model)
    stays = numbers[:, :, None] == np.arange(len(values_at(model)))
    probability = 0.5 * _metropolis_probability(model) + 0.5 * stays
    substep = np.mean([_independent_sites(probability, numbers, moves) for moves in _sublattices(model)], axis=0)
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
    joins, kept = (_joins_of_states if isinstance(sites_of(model), States) else _joins_of_signs)(model, couplings)
    active = np.asarray(all_spins(joins.shape[1])) > 0
    placed = np.zeros((len(active), couplings.size), bool)
    placed[:, kept] = active
    labels = _map(Partial(_labels, model), jnp.asarray(placed.reshape(-1, *couplings.shape)))
    partitions, member = np.unique(np.asarray(labels).reshape(len(active), -1), axis=0, return_inverse=True)

    probability = np.zeros((len(partitions), len(joins)))
    weights = np.ones((len(active), len(joins)))
    for bond in range(joins.shape[1]):
        weights *= np.where(active[:, bond][:, None], joins[:, bond], 1 - joins[:, bond])
    np.add.at(probability, member.ravel(), weights)
    return partitions, probability.T


def _joins_of_signs(model, couplings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[num_states, num_bonds]`` probability that each bond joins, and which bonds of the arrays those are."""
    num_sites = int(np.prod(model.shape))
    numbers = jnp.arange(1, num_sites + 1, dtype=jnp.int32).reshape(model.shape)
    first, second = (np.ravel(ends) for ends in model.bond_ends(numbers))
    kept = second > 0  # a bond that would leave the lattice ends in nothing
    edges = np.stack([first[kept], second[kept]], axis=1) - 1
    table = states(num_sites)
    first, second = table[:, edges[:, 0]], table[:, edges[:, 1]]
    strengths = couplings.ravel()[kept]
    is_satisfied = strengths * first * second > 0
    return is_satisfied * np.asarray(clusters.bond_probability(jnp.asarray(strengths)), float), kept


def _joins_of_states(model, couplings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = couplings.ravel() != 0
    return on_every_state(_bond_probabilities, model)[:, kept], kept


def _bond_probabilities(model, spins):
    return jnp.where(model.bonds_equal(spins), potts.bond_probability(model.bond_couplings() / 2), 0)


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
    if isinstance(sites_of(model), States):
        return _potts_swendsen_wang(model)
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
    if isinstance(sites_of(model), States):
        return _potts_wolff(model)
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


def _recoloured(model, mask: np.ndarray, value: int) -> np.ndarray:
    """Index of every state after the sites of the mask are given a value."""
    table = digits(model)
    return np.where(mask, value, table) @ len(values_at(model)) ** np.arange(mask.size)


def _cluster_fields(model, labels):
    return potts.cluster_fields(model, labels)


def _potts_swendsen_wang(model) -> np.ndarray:
    partitions, probability = _partitions(model)
    size, num_values = len(digits(model)), len(values_at(model))
    matrix = np.zeros((size, size))
    shaped = jnp.asarray(partitions.reshape(-1, *model.shape))
    fields = np.asarray(_map(Partial(_cluster_fields, model), shaped), float).reshape(len(partitions), num_values, -1)
    weights = np.exp(fields) / np.exp(fields).sum(axis=1, keepdims=True)
    powers = num_values ** np.arange(partitions.shape[1])
    for labels, weight, choice in zip(partitions, probability.T, weights, strict=True):
        after = np.zeros(1, int)
        outcome = np.ones(1)
        for root in np.unique(labels):
            steps = ((labels == root) * powers).sum() * np.arange(num_values)
            after = (after[:, None] + steps).ravel()
            outcome = (outcome[:, None] * choice[:, root]).ravel()
        matrix[:, after] += weight[:, None] * outcome
    return matrix


def _potts_acceptance(model, value, mask, spins):
    return potts.wolff_acceptance(model, mask, spins, value)


def _potts_wolff(model) -> np.ndarray:
    partitions, probability = _partitions(model)
    table, values = digits(model), values_at(model)
    everyone = np.arange(len(table))
    matrix = np.zeros((len(table), len(table)))
    masks = np.stack([labels == site for labels in partitions for site in range(labels.size)])
    for value in values:
        shaped, spins = jnp.asarray(masks.reshape(-1, *model.shape)), configurations(model)
        accepts = np.asarray(_map_pairs(Partial(_potts_acceptance, model, jnp.int8(value)), shaped, spins), float)
        accepts = accepts.reshape(*partitions.shape, len(table))
        for labels, weight, accept_of in zip(partitions, probability.T, accepts, strict=True):
            for root in np.unique(labels):
                mask = labels == root
                proposed = np.where(table[:, root] == value, 0, 1 / (len(values) - 1))
                chosen = weight * mask.mean() * proposed
                matrix[everyone, _recoloured(model, mask, value)] += chosen * accept_of[root]
                matrix[everyone, everyone] += chosen * (1 - accept_of[root])
    return matrix
