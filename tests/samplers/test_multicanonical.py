"""Multicanonical chains by whole matrices and against enumeration; Wang-Landau against exact numbers of states."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.samplers import ensembles
from jaxrg.samplers.ensembles.multicanonical import as_levels, as_rows, log_weight_of, site_energies
from jaxrg.samplers.spins import sites_of
from tests.contracts.sampler_table import MODELS
from tests.samplers import transition_matrices as matrices

KEY = jax.random.key(0)
SQUARE = lattice.hypercubic((4, 4))
GRID = np.arange(-3.0, 3.5, 0.5)
CASES = ["triangles", "double_bonds", "glass_3x2", "potts_ring", "potts_field"]


def random_weights(scale=1.0):
    return jnp.asarray(np.random.default_rng(1).normal(0, scale, GRID.size), jnp.float32)


@jax.jit
def candidate_log_weights(levels, weights, rows, energies):
    def of(site):
        return log_weight_of(levels, weights, site_energies(levels, rows, energies, site))

    return jax.vmap(of)(jnp.arange(len(rows), dtype=jnp.int32))  # [num_sites, num_values, num_states]


def matrix_of(model, weights) -> np.ndarray:
    """A sweep of heat baths in order, from the weights of the kernel for every value of every site."""
    numbers = matrices.digits(model)
    levels = as_levels(model, GRID, len(numbers))
    rows, energies = as_rows(levels, matrices.configurations(model))
    found = np.asarray(candidate_log_weights(levels, weights, rows, energies), float)
    chances = np.exp(found - found.max(axis=1, keepdims=True))
    chances = (chances / chances.sum(axis=1, keepdims=True)).transpose(2, 0, 1)
    matrix = np.eye(len(numbers))
    for site in range(numbers.shape[1]):
        after = np.repeat(numbers[:, None], chances.shape[2], axis=1)
        after[:, :, site] = np.arange(chances.shape[2])
        index = after @ chances.shape[2] ** np.arange(numbers.shape[1])
        step = np.zeros_like(matrix)
        np.put_along_axis(step, index, chances[:, site], axis=1)
        matrix = matrix @ step
    return matrix


def distribution_of(model, weights) -> np.ndarray:
    energies = matrices.on_every_state(lambda model, spins: model.hamiltonian(spins), model)[:, 0]
    place = np.round((energies - GRID[0]) / 0.5)
    inside = (place >= 0) & (place < GRID.size)
    found = np.where(inside, np.exp(np.asarray(weights, float))[np.clip(place, 0, GRID.size - 1).astype(int)], 0)
    return found / found.sum()


@pytest.mark.parametrize("name", CASES)
def test_a_sweep_leaves_its_weights_invariant(name):
    """Some of the states of the Potts models are outside of the levels."""
    model, weights = MODELS[name].model, random_weights()
    wanted, matrix = distribution_of(model, weights), matrix_of(model, weights)
    np.testing.assert_allclose(wanted @ matrix, wanted, atol=1e-6)
    inside = wanted > 0
    assert matrix[np.ix_(inside, ~inside)].sum() == 0
    wrong = distribution_of(model, -weights)
    assert np.abs(wrong @ matrix - wrong).max() > 1e-3


@pytest.mark.parametrize("name", ["triangles", "potts_field"])
def test_a_step_has_the_probabilities_of_its_matrix(name):
    model, weights, num_chains = MODELS[name].model, random_weights(), 40_000
    sampler = ensembles.multicanonical(model, GRID, weights, num_chains=num_chains)
    space = sites_of(model)
    state = sampler.init(KEY, jnp.full(model.shape, space.ordered, jnp.int8))
    row = matrix_of(model, weights)[matrices.index_of(model, np.asarray(state.spins[:1]))][0]
    after, info = jax.jit(lambda sampler, state: sampler.step(jax.random.key(1), state))(sampler, state)
    numbers = matrices.index_of(model, after.spins)
    common = row * num_chains >= 10
    observed = np.append(np.bincount(numbers, minlength=len(row))[common], 0)
    observed[-1] = num_chains - observed.sum()
    expected = np.append(row[common], max(row[~common].sum(), 1e-12))
    assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(expected / expected.sum())).p_value > 1e-5
    np.testing.assert_allclose(info.energy, jax.vmap(model.hamiltonian)(after.spins), atol=1e-5)


def test_a_chain_is_the_same_among_few_and_many_and_goes_on_bit_for_bit():
    model = models.Potts(SQUARE, 3, 1.0)
    levels, weights = jnp.arange(-32.0, 1.0), jnp.linspace(0.0, 5.0, 33)
    few, many = (ensembles.multicanonical(model, levels, weights, num_chains=count) for count in (2, 5))
    ends = {}
    for name, sampler in {"few": few, "many": many}.items():
        ends[name] = samplers.run(jax.random.key(1), sampler, sampler.init(KEY), 6).state
    np.testing.assert_array_equal(ends["few"].spins, ends["many"].spins[:2])
    half = samplers.run(jax.random.key(1), few, few.init(KEY), 3).state
    again = samplers.run(jax.random.key(1), few, half, 3, observe=model.observables)
    np.testing.assert_array_equal(again.state.spins, ends["few"].spins)
    assert again.trace.energy.shape == (2, 3)
    np.testing.assert_allclose(16 * again.trace.energy, again.info.energy, rtol=1e-6)
    assert not np.array_equal(ends["many"].spins[0], ends["many"].spins[1])


ISING = models.Ising(SQUARE, 1.0)
ENERGIES = jnp.arange(-32.0, 33.0, 4.0)


@functools.cache
def built():
    return ensembles.wang_landau(KEY, ISING, ENERGIES, 2000)


def test_wang_landau_counts_the_states_of_the_ising_torus():
    found = built()
    counts = np.array(exact.torus_state_counts((4, 4)), float)
    np.testing.assert_array_equal(np.isfinite(found.log_density), counts > 0)
    seen = counts > 0
    error = np.asarray(found.log_density)[seen] - np.log(counts[seen]) + 16 * math.log(2)
    assert np.abs(error).max() < 0.1
    assert 0 < float(found.refinement) == pytest.approx(15 / (2000 * 64 * 16), rel=1e-5)
    np.testing.assert_allclose(found.log_weights[seen], -found.log_density[seen], rtol=1e-5)
    assert np.all(np.isfinite(found.log_weights))


@pytest.mark.slow
def test_wang_landau_where_the_lowest_levels_are_rarely_found():
    """512 of 2^256 states at the two ends: every level converges all the same, within a thousand sweeps."""
    energies = jnp.arange(-512.0, 513.0, 4.0)
    found = ensembles.wang_landau(KEY, models.Ising(lattice.hypercubic((16, 16)), 1.0), energies, 1000)
    counts = exact.torus_state_counts((16, 16))
    seen = np.array([count > 0 for count in counts])
    np.testing.assert_array_equal(np.isfinite(found.log_density), seen)
    wanted = np.array([math.log(count) for count in counts if count > 0]) - 256 * math.log(2)
    error = np.asarray(found.log_density)[seen] - wanted
    assert np.std(error) < 0.4
    assert np.ptp(wanted) > 170


def test_canonical_means_from_one_run_at_every_temperature():
    sampler = ensembles.multicanonical(ISING, ENERGIES, built().log_weights)
    start = sampler.init(jax.random.key(2), built().configurations)
    run = samplers.run(jax.random.key(1), sampler, start, 2000, observe=ISING.observables)
    for coupling in (-0.3, 0.44, 0.8):
        log_weights = -coupling * run.info.energy - run.info.log_weight
        weights = jnp.exp(log_weights - jnp.max(log_weights))
        series = {"w": weights, "we": weights * run.info.energy, "wm": weights * run.trace.magnetization**2}
        ratios = stats.gamma_method(Partial(lambda m: (m["we"] / m["w"], m["wm"] / m["w"])), series)
        hot = models.Ising(SQUARE, coupling)
        energy = float(16 * exact.torus_energy(coupling, (4, 4)))
        assert abs(float(ratios[0].value) - energy) < 5 * float(ratios[0].error), coupling
        moment = exact.expectation(hot.hamiltonian, lambda s: jnp.mean(s, dtype=jnp.float32) ** 2, (4, 4))
        assert abs(float(ratios[1].value - moment)) < 5 * float(ratios[1].error), coupling
    levels = np.asarray(run.info.energy)[..., None] == np.asarray(ENERGIES)
    shares = levels.mean(axis=(0, 1))
    assert shares[[1, 15]].max() == 0
    assert shares[shares > 0].min() > 0.05  # one of fifteen, if flat


@pytest.mark.slow
def test_wang_landau_counts_the_states_of_a_potts_model():
    model = models.Potts(lattice.hypercubic((3, 3)), 3, 1.0)
    energies = np.round(matrices.on_every_state(lambda model, spins: model.hamiltonian(spins), model)[:, 0])
    counts = np.bincount((energies + 18).astype(int), minlength=19)
    found = ensembles.wang_landau(KEY, model, jnp.arange(-18.0, 1.0), 3000)
    seen = counts > 0
    np.testing.assert_array_equal(np.isfinite(found.log_density), seen)
    error = np.asarray(found.log_density)[seen] - np.log(counts[seen]) + 9 * math.log(3)
    assert np.abs(error).max() < 0.1


def test_a_start_outside_of_the_levels_is_drawn_in():
    low = jnp.arange(-32.0, -15.0, 4.0)
    sampler = ensembles.multicanonical(ISING, low, jnp.zeros(5), num_chains=64)
    run = samplers.run(KEY, sampler, sampler.init(KEY), 60)
    assert float(run.info.energy[:, 0].max()) > -16
    assert float(run.info.energy[:, 30:].max()) == -16
    assert np.mean(np.asarray(run.info.energy[:, -1]) < -16) > 0.1


def make(**options):
    given = {"model": ISING, "energies": ENERGIES, "log_weights": jnp.zeros(17)}
    return ensembles.multicanonical(**given | options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(model=3), "model: expected a Model"),
        (lambda: make(model=models.XY(SQUARE, 1.0)), "model: expected a model of pairs"),
        (lambda: make(model=models.Clock(SQUARE, 4, 1.0)), "model: expected a model of pairs"),
        (lambda: make(energies=[1.0]), "energies: expected a list of at least two"),
        (lambda: make(energies=[0.0, 1.0, 3.0]), "energies: expected numbers that rise in equal steps"),
        (lambda: make(log_weights=jnp.zeros(3)), "log_weights: expected shape"),
        (lambda: make(num_chains=0), "num_chains: expected"),
        (lambda: make().init(KEY, jnp.ones((3, 3))), "spins: expected"),
        (lambda: ensembles.wang_landau(0, ISING, ENERGIES, 3), "key: expected"),
        (lambda: ensembles.wang_landau(KEY, ISING, ENERGIES, 0), "num_steps: expected"),
    ],
)
def test_what_has_no_levels_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_step_alone_is_that_of_a_run():
    sampler = make(num_chains=2)
    start = sampler.init(KEY)
    state, info = sampler.step(KEY, start)
    run = samplers.run(KEY, sampler, start, 1)
    np.testing.assert_array_equal(state.spins, run.state.spins)
    np.testing.assert_array_equal(info.energy, run.info.energy[:, 0])


def test_too_few_steps_are_an_error():
    with pytest.raises(FloatingPointError, match="wang_landau: expected more steps"):
        ensembles.wang_landau(KEY, ISING, ENERGIES, 1)
