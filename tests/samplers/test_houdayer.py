"""Houdayer's moves: the joint chain of two replicas by whole matrices, energies kept, gain where clusters are small."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.samplers import ensembles
from jaxrg.samplers.ensembles.houdayer import candidates_of, houdayer_cluster
from tests.contracts.sampler_table import DENSE, MODELS
from tests.samplers import transition_matrices as matrices

KEY = jax.random.key(0)
CASES = {name: models.TwoReplicas(MODELS[name].model) for name in ("triangles", "antiferromagnetic_ring")}
CASES["without_field"] = models.TwoReplicas(models.dense_pairs(DENSE))
SQUARE = lattice.hypercubic((8, 8))


def flips(pair) -> np.ndarray:
    """Transition matrix of one flip: every candidate is chosen as often as the others."""
    table = matrices.configurations(pair)
    num_sites = int(np.prod(pair.model.shape))
    count, clusters = (np.asarray(part) for part in clusters_of(pair.model, table, jnp.arange(num_sites)))
    everyone = np.arange(len(table))
    matrix = np.zeros((len(table), len(table)))
    matrix[everyone[count == 0], everyone[count == 0]] = 1
    for number in range(num_sites):
        masks = np.broadcast_to(clusters[:, number][:, None], table.shape)
        after = matrices.index_of(pair, np.where(masks, -table, table))
        is_there = number < count
        np.add.at(matrix, (everyone[is_there], after[is_there]), 1 / count[is_there])
    return matrix


@jax.jit
def clusters_of(model, table, numbers):
    def of(pair):
        candidates = candidates_of(model, pair)
        return jnp.sum(candidates), jax.vmap(Partial(houdayer_cluster, model, candidates))(numbers)

    return jax.vmap(of)(table)


@functools.cache
def matrix_of(name):
    return flips(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_flips_leave_the_joint_distribution_invariant(name):
    """In the fields of two of the models too."""
    pair, matrix = CASES[name], matrix_of(name)
    single = matrices.boltzmann(pair.model)
    joint = np.kron(single, single)  # of the second replica first
    np.testing.assert_allclose(matrices.boltzmann(pair), joint, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    np.testing.assert_allclose(joint @ matrix, joint, atol=1e-6)
    energies = matrices.on_every_state(lambda model, spins: model.hamiltonian(spins), pair)[:, 0]
    before, after = np.nonzero(matrix)
    np.testing.assert_allclose(energies[before], energies[after], atol=1e-5)
    assert np.mean(matrix[np.diag_indices_from(matrix)]) < 0.2  # it moves


@pytest.mark.parametrize("name", CASES)
def test_a_step_has_the_probabilities_of_its_matrices(name):
    pair = CASES[name]
    sampler = ensembles.houdayer(pair)
    start = sampler.init(KEY)
    row = (matrices.heat_bath(pair)[matrices.index_of(pair, start.spins)] @ matrix_of(name))[0]
    keys = jax.random.split(jax.random.key(1), 40_000)
    numbers = matrices.index_of(pair, spins_after(sampler, start, keys))
    common = row * len(keys) >= 10
    observed = np.append(np.bincount(numbers, minlength=len(row))[common], 0)
    observed[-1] = len(keys) - observed.sum()
    expected = np.append(row[common], row[~common].sum())
    assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(expected / expected.sum())).p_value > 1e-5


@jax.jit
def spins_after(sampler, start, keys):
    return jax.vmap(lambda key: sampler.step(key, start)[0].spins)(keys)


def test_equal_replicas_stay_and_info_says_what_was_exchanged():
    pair = models.TwoReplicas(models.Ising(SQUARE, 20.0))  # so cold that up stays up
    up = jnp.ones((2, 8, 8), jnp.int8)
    sampler = ensembles.houdayer(pair)
    state, info = sampler.step(KEY, sampler.init(KEY, up))
    assert (int(info.cluster_size[0]), int(info.num_candidates[0])) == (0, 0)
    np.testing.assert_array_equal(state.spins, up)
    state, info = sampler.step(KEY, sampler.init(KEY, up.at[1].set(-1)))
    assert (int(info.cluster_size[0]), int(info.num_candidates[0])) == (0, 0)
    np.testing.assert_array_equal(state.spins, up.at[1].set(-1))
    state, info = sampler.step(KEY, sampler.init(KEY, up.at[1, :, 3:5].set(-1)))
    assert (int(info.cluster_size[0]), int(info.num_candidates[0])) == (16, 16)
    np.testing.assert_array_equal(state.spins, up.at[0, :, 3:5].set(-1))


def family(coupling):
    return models.TwoReplicas(models.Glass(SQUARE, BONDS, coupling))


def first_moment(pair):
    return jnp.mean(pair[0], dtype=jnp.float32)


BONDS = models.plus_minus_glass(jax.random.key(3), SQUARE).bonds


@pytest.mark.slow
def test_in_two_dimensions_clusters_are_small_and_a_replica_forgets_faster():
    """A flip keeps q, not what either replica is."""
    pair, times = family(1.2), {}
    for name, make in {"heat bath": samplers.heat_bath, "houdayer": ensembles.houdayer}.items():
        sampler = samplers.replicas(make(pair), 32)
        start = samplers.run(KEY, sampler, sampler.init(jax.random.key(4)), 1000).state
        run = samplers.run(KEY, sampler, start, 2000, observe=first_moment)
        times[name] = float(stats.summary(run.trace).tau_int)
    assert times["houdayer"] < 0.75 * times["heat bath"]
    assert float(jnp.mean(run.info.cluster_size < run.info.num_candidates)) > 0.3


@pytest.mark.slow
def test_pairs_are_tempered_and_have_the_overlaps_of_enumeration():
    open_square = lattice.hypercubic((3, 3), periodic=False)
    bonds = models.gaussian_glass(KEY, open_square).bonds
    ladder = jnp.array([0.3, 0.7, 1.2])
    sampler = ensembles.parallel_tempering(
        lambda k: models.TwoReplicas(models.Glass(open_square, bonds, k)), ladder, sampler=ensembles.houdayer
    )
    observe = models.TwoReplicas(models.Glass(open_square, bonds)).observables
    run = samplers.run(jax.random.key(1), sampler, sampler.init(KEY), 20_000, observe=observe)
    series = {"q2": run.trace.overlap**2, "link": run.trace.link_overlap}
    found = jax.vmap(lambda one: stats.summary(jax.tree.map(lambda x: x[None], one)))(series)
    for number, coupling in enumerate(ladder):
        weights = np.asarray(exact.distribution(models.Glass(open_square, bonds, coupling).hamiltonian, (3, 3)))
        spins = matrices.states(9)
        two_point = np.einsum("s,si,sj->ij", weights, spins, spins)
        edges = np.asarray(open_square.edges())
        wanted = {"q2": np.mean(two_point**2), "link": np.mean(two_point[edges[:, 0], edges[:, 1]] ** 2)}
        for name, one in found.items():
            assert abs(one.mean[number] - wanted[name]) < 5 * one.error[number], (name, number)


def test_what_is_no_pair_is_refused():
    with pytest.raises(ValueError, match=r"model: expected models\.TwoReplicas"):
        ensembles.houdayer(models.Ising(SQUARE, 0.4))
