"""Parallel tempering: the whole joint chain in balance, laws at every coupling, walkers counted, ladders evened out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.samplers import ensembles
from jaxrg.samplers.ensembles import ladders
from jaxrg.samplers.walkers import Walkers, at_home, swap_places, walk
from tests.samplers import transition_matrices as matrices

RING = lattice.hypercubic((3,), periodic=False)
COUPLINGS = np.array([0.1, 0.6, 1.2], np.float32)
SQUARE = lattice.hypercubic((4, 4))


def chain(coupling):
    return models.Ising(RING, coupling, 0.3)


def square(coupling):
    return models.Ising(SQUARE, coupling)


def swap_matrix(parity, probability_of=ladders.swap_probability):
    """``[8^3, 8^3]`` the swaps of one step among the configurations of three couplings, from their probabilities."""
    table = matrices.states(3)
    energies = np.array([-(s[0] * s[1] + s[1] * s[2]) for s in table], np.float32)
    joint = np.array(list(np.ndindex(8, 8, 8)))
    chance = np.asarray(jax.vmap(lambda e: probability_of(jnp.asarray(COUPLINGS), e))(jnp.asarray(energies[joint])))
    matrix, pair = np.zeros((512, 512)), parity
    after = joint.copy()
    after[:, [pair, pair + 1]] = joint[:, [pair + 1, pair]]
    numbers = np.arange(512)
    np.add.at(matrix, (numbers, after @ [64, 8, 1]), chance[:, pair])
    np.add.at(matrix, (numbers, numbers), 1 - chance[:, pair])
    return matrix


@functools.cache
def sweep_matrix():
    return functools.reduce(np.kron, [matrices.heat_bath(chain(k)) for k in COUPLINGS])


@functools.cache
def product():
    return functools.reduce(np.kron, [matrices.boltzmann(chain(k)) for k in COUPLINGS])


@pytest.mark.parametrize("parity", [0, 1])
def test_swaps_and_steps_leave_the_product_invariant(parity):
    swaps, wanted = swap_matrix(parity), product()
    flow = wanted[:, None] * swaps
    np.testing.assert_allclose(flow, flow.T, atol=1e-7)
    np.testing.assert_allclose(wanted @ sweep_matrix() @ swaps, wanted, atol=1e-6)
    wrong = swap_matrix(parity, lambda k, e: ladders.swap_probability(k, -e))  # the other sign
    assert np.abs(wanted @ wrong - wanted).max() > 1e-3


@jax.jit
def spins_after(sampler, start, keys):
    return jax.vmap(lambda key: sampler.step(key, start)[0].chains.spins)(keys)


@pytest.mark.parametrize("parity", [0, 1])
def test_a_step_has_the_probabilities_of_its_matrices(parity):
    sampler = ensembles.parallel_tempering(chain, COUPLINGS)
    start = sampler.init(jax.random.key(0), jnp.array([1, -1, 1], jnp.int8))
    start = start._replace(step=jnp.uint32(parity))
    after = spins_after(sampler, start, jax.random.split(jax.random.key(1), 40_000))
    numbers = ((np.asarray(after) > 0) * [1, 2, 4]).sum(axis=2) @ [64, 8, 1]
    row = (sweep_matrix() @ swap_matrix(parity))[0b101 * 73]
    common = row * len(after) >= 10
    observed = np.append(np.bincount(numbers, minlength=512)[common], 0)
    observed[-1] = len(after) - observed.sum()
    expected = np.append(row[common], row[~common].sum())
    assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(expected / expected.sum())).p_value > 1e-5


def test_a_run_goes_on_bit_for_bit_and_ladders_run_side_by_side():
    sampler = ensembles.parallel_tempering(square, [0.3, 0.4, 0.5])
    start = sampler.init(jax.random.key(0))
    key = jax.random.key(1)
    whole = samplers.run(key, sampler, start, 6, observe=jnp.mean)
    half = samplers.run(key, sampler, start, 3, observe=jnp.mean)
    again = samplers.run(key, sampler, half.state, 3, observe=jnp.mean)
    jax.tree.map(np.testing.assert_array_equal, whole.state, again.state)
    np.testing.assert_array_equal(whole.trace, np.concatenate([half.trace, again.trace], axis=1))
    assert whole.trace.shape == (3, 6)
    many = samplers.replicas(sampler, 2)
    together = samplers.run(key, many, many.init(jax.random.key(0)), 6, observe=jnp.mean).trace
    alone = samplers.run(jax.random.fold_in(key, 1), sampler, sampler.init(jax.random.fold_in(jax.random.key(0), 1)), 6)
    np.testing.assert_array_equal(
        jnp.mean(alone.state.chains.spins.astype(float), axis=(1, 2)), np.asarray(together)[3:, -1]
    )


def test_energies_are_totals_without_rounding():
    side = 1024
    large = lattice.hypercubic((side, side))
    up = jnp.ones((side, side), jnp.int8)
    energy = functools.partial(ladders.energy_of, lambda k: models.Ising(large, k), jnp.float32(0.44))
    assert float(energy(up)) == -2 * side**2
    assert float(energy(up.at[3, 5].set(-1))) == -2 * side**2 + 8


@pytest.mark.parametrize(
    ("family", "sampler"),
    [
        (lambda k: models.XY(SQUARE, k), lambda model: samplers.hmc(model, 0.2, 3)),
        pytest.param(square, samplers.wolff, marks=pytest.mark.slow),
        pytest.param(lambda h: models.Ising(SQUARE, 0.4, h), samplers.heat_bath, marks=pytest.mark.slow),
        pytest.param(
            lambda k: models.gaussian_glass(jax.random.key(3), SQUARE, k), samplers.metropolis, marks=pytest.mark.slow
        ),
    ],
)
def test_any_linear_coupling_and_any_sampler(family, sampler):
    tempered = ensembles.parallel_tempering(family, [0.5, 0.3, 0.2], sampler=sampler)
    found = samplers.run(jax.random.key(1), tempered, tempered.init(jax.random.key(0)), 20, observe=jnp.mean)
    assert found.trace.shape == (3, 20)
    acceptance = np.asarray(found.info.swap_acceptance)
    assert 0 < acceptance.min() < acceptance.max() <= 1
    assert bool(np.any(found.info.is_swapped))


def test_walkers_are_counted_as_a_plain_loop_counts_them():
    generator = np.random.default_rng(0)
    walkers, total = at_home(4), 0
    where, seen, wanted = list(range(4)), [1, 0, 0, 0], 0
    for step in range(300):
        swaps = generator.random(3) < 0.7
        swaps &= (np.arange(3) + step) % 2 == 0
        walkers, ended = jax.jit(walk)(Walkers(*walkers), swap_places(jnp.asarray(swaps)))
        total += int(ended)
        for pair in np.flatnonzero(swaps):
            where[pair], where[pair + 1] = where[pair + 1], where[pair]
        seen[where[3]] = 2 if seen[where[3]] == 1 else seen[where[3]]
        wanted += seen[where[0]] == 2
        seen[where[0]] = 1
        assert walkers.walker.tolist() == where
    assert total == wanted > 5


def test_equal_acceptance_shares_the_barrier():
    couplings = jnp.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(ensembles.equal_acceptance(couplings, jnp.array([0.5, 0.5])), couplings)
    np.testing.assert_allclose(ensembles.equal_acceptance(couplings, jnp.array([[1.0, 0.4]])), [1, 3, 4], atol=0.01)
    np.testing.assert_allclose(ensembles.equal_acceptance(couplings[::-1], jnp.array([0.4, 1.0])), [4, 3, 1], atol=0.01)


@pytest.mark.slow
def test_every_coupling_has_its_own_law_and_the_ladder_is_even():
    shape = (8, 8)
    family = functools.partial(models.Ising, lattice.hypercubic(shape))
    ladder = ensembles.tempering_ladder(jax.random.key(0), family, jnp.linspace(0.2, 0.7, 6))
    sampler = ensembles.parallel_tempering(family, ladder)
    run = samplers.run(
        jax.random.key(1), sampler, sampler.init(jax.random.key(2)), 20_000, observe=family(0.4).observables
    )
    acceptance = np.asarray(run.info.swap_acceptance).mean(axis=(0, 1))
    assert np.ptp(acceptance) < 0.08
    assert int(run.state.round_trips) > 200
    found = jax.vmap(lambda energy: stats.summary(energy[None]))(run.trace.energy[:, 500:])
    wanted = [float(exact.torus_energy(k, shape)) for k in ladder]
    scores = (np.asarray(found.mean) - wanted) / np.asarray(found.error)
    assert np.abs(scores).max() < 4
    assert np.mean(scores**2) < 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.parallel_tempering(3, [0.1, 0.2]), "family: expected a function of a coupling"),
        (
            lambda: ensembles.parallel_tempering(square, [0.1, 0.2], sampler=1),
            "sampler: expected a function of a model",
        ),
        (lambda: ensembles.parallel_tempering(square, [0.1, 0.2], sampler=lambda m: m), "sampler: expected a Sampler"),
        (lambda: ensembles.parallel_tempering(square, [0.1]), "couplings: expected a list of at least two numbers"),
        (lambda: ensembles.parallel_tempering(square, [0.1, 0.1]), "couplings: expected numbers that rise or fall"),
        (
            lambda: ensembles.parallel_tempering(lambda k: models.Ising(SQUARE, k**2), [0.1, 0.4]),
            "family: expected a Hamiltonian linear in the coupling",
        ),
        (
            lambda: ensembles.parallel_tempering(
                square, [0.1, 0.4], sampler=lambda model: samplers.replicas(samplers.heat_bath(model), 2)
            ),
            "sampler: expected samplers of one chain, got 2 chains",
        ),
        (lambda: ensembles.equal_acceptance([0.1, 0.2], [0.5, 0.5]), r"swap_acceptance: expected \[..., 1\]"),
        (lambda: ensembles.tempering_ladder(0, square, [0.1, 0.2]), "key: expected"),
        (lambda: ensembles.tempering_ladder(jax.random.key(0), square, [0.1, 0.2], num_steps=0), "num_steps: expected"),
    ],
)
def test_what_is_no_ladder_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
