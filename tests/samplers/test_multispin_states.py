"""Packed Potts states: the law of a step, strips, observables of bits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Status
from jaxrg.closures import as_partial
from jaxrg.samplers import packed, packed_measures
from jaxrg.samplers.multispin import multispin_metropolis
from tests.samplers import transition_matrices as matrices

RING, OPEN = lattice.hypercubic((4,)), lattice.hypercubic((2, 2), periodic=(True, False))
MODELS = {
    "two": models.Potts(RING, 2, 0.7),
    "three": models.Potts(RING, 3, 0.8),
    "three_open": models.Potts(OPEN, 3, -0.6),
    "four": models.Potts(RING, 4, 0.9),
}
identity = jax.tree_util.Partial(lambda spins: spins)


@jax.jit
def advance(sampler, key, state, num_steps):
    return jax.lax.fori_loop(0, num_steps, lambda _, state: sampler.step(key, state)[0], state)


@functools.cache
def matrix_of(name):
    """Of samplers.metropolis, which never proposes the state that is there; of four states, a quarter of these are."""
    model = MODELS[name]
    probability = matrices._metropolis_probability(model)
    if model.num_states == 4:
        stays = matrices.digits(model)[:, :, None] == np.arange(4)
        probability = 0.75 * probability + 0.25 * stays
    return matrices._ordered(model, probability)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_has_the_probabilities_of_its_matrix_which_leaves_the_distribution_invariant(name):
    model, matrix = MODELS[name], matrix_of(name)
    distribution = matrices.boltzmann(model)
    np.testing.assert_allclose(distribution @ matrix, distribution, atol=1e-6)
    sampler = multispin_metropolis(model, num_chains=64)
    every = matrices.configurations(model)

    @jax.jit
    def after(keys, spins):
        state = sampler.init(keys[0], spins)
        return jax.vmap(lambda key: sampler.measure(identity, sampler.step(key, state)[0]))(keys)

    for start in (0, len(every) // 2 - 1, len(every) - 2):
        found = after(jax.random.split(jax.random.key(start), 1000), every[start])
        index = matrices.index_of(model, found.reshape(-1, *model.shape))
        expected = matrix[start] * len(index)
        counts = np.bincount(index, minlength=len(matrix))
        assert counts[expected < 1e-9].sum() == 0
        some = expected > 10
        if some.sum() == 1:  # as where nothing but one move is possible
            assert counts[some] == len(index)
            continue
        observed, wanted = counts[some], expected[some] / expected[some].sum()
        assert stats.chi_squared(jnp.asarray(observed), jnp.asarray(wanted)).p_value > 1e-6


def plain_greedy_sweep(model, spins):
    """What two states become where no energy may be gained."""
    shape, periodic = model.lattice.shape, model.lattice.periodic
    colours = np.indices(shape).sum(0) % 2
    for colour in range(2):
        agree = np.zeros(shape, int)
        for axis in range(len(shape)):
            for step in (-1, 1):
                agrees = np.where(np.roll(spins, step, axis) == spins, 1, -1)
                if not periodic[axis]:
                    edge = [slice(None)] * len(shape)
                    edge[axis] = 0 if step > 0 else -1
                    agrees[tuple(edge)] = 0
                agree += agrees
        spins = np.where((colours == colour) & (agree * np.sign(float(model.coupling)) <= 0), 1 - spins, spins)
    return spins


@pytest.mark.parametrize("coupling", [60.0, -60.0])
@pytest.mark.parametrize(("shape", "periodic"), [((64, 6), True), ((64, 4), False), ((64, 2, 2), True)])
def test_strips_and_chains_find_their_neighbours(shape, periodic, coupling):
    model = models.Potts(lattice.hypercubic(shape, periodic=periodic), 2, coupling)
    spins = np.random.default_rng(0).integers(0, 2, (32, *shape)).astype(np.int8)
    chains, strips = (multispin_metropolis(model, num_chains=number) for number in (32, 1))
    found = chains.measure(identity, advance(chains, jax.random.key(1), chains.init(jax.random.key(0), spins), 1))
    assert np.array_equal(found, [plain_greedy_sweep(model, one) for one in spins])
    of_one = strips.measure(identity, advance(strips, jax.random.key(1), strips.init(jax.random.key(0), spins[5]), 1))
    assert np.array_equal(of_one, found[5:6])


def exact_energy(length, width, num_states, coupling):
    """Mean energy per site of a torus by its transfer matrix: derivatives of ln tr T^length."""
    rows = np.array(np.meshgrid(*[range(num_states)] * width, indexing="ij")).reshape(width, -1).T
    within = (rows == np.roll(rows, 1, axis=1)).sum(1)
    between = (rows[:, None] == rows[None]).sum(2)

    def log_partition(coupling):
        weights = np.exp(coupling * (between + (within[:, None] + within[None]) / 2))
        eigenvalues = np.linalg.eigvalsh(weights)
        top = eigenvalues.max()
        return length * np.log(top) + np.log(np.sum((eigenvalues / top) ** length))

    step = 1e-5
    slope = (log_partition(coupling + step) - log_partition(coupling - step)) / (2 * step)
    return -slope / (length * width)


@pytest.mark.slow
@pytest.mark.parametrize("num_chains", [64, 65])
@pytest.mark.parametrize(("num_states", "coupling"), [(2, 0.8), (3, 0.9), (3, -0.7), (4, 0.8)])
def test_energies_are_those_of_the_transfer_matrix(num_states, coupling, num_chains):
    model = models.Potts(lattice.hypercubic((64, 4)), num_states, coupling)
    sampler = multispin_metropolis(model, num_chains=num_chains, num_draws=4)
    state = samplers.warm_up(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 300)
    thinned = samplers.thin(sampler, 4)
    run = samplers.run(jax.random.key(2), thinned, state, 500, observe=model.observables)
    summary = stats.summary(run.trace.energy)
    expected = exact_energy(64, 4, num_states, coupling)
    assert abs(summary.mean - expected) < 4 * summary.error
    assert summary.error < 2e-3


@pytest.mark.parametrize(
    ("shape", "periodic", "num_chains", "num_states"),
    [((4, 6), False, 64, 3), ((64, 4), True, 3, 3), ((4, 4), True, 32, 2), ((64, 2), True, 1, 4)],
)
def test_observables_of_bits_are_those_of_states(shape, periodic, num_chains, num_states):
    grid = lattice.hypercubic(shape, periodic=periodic)
    model = models.Potts(grid, num_states, 0.5)
    sampler = multispin_metropolis(model, num_chains=num_chains)
    states = np.random.default_rng(1).integers(0, num_states, (num_chains, *shape)).astype(np.int8)
    state = sampler.init(jax.random.key(0), states)
    assert np.array_equal(sampler.measure(identity, state), states)
    found = jax.jit(sampler.measure)(as_partial(model.observables), state)
    expected = packed_measures.unpacked(packed.Layout(grid, num_chains), as_partial(model.observables), state)
    for other in (expected, jax.vmap(model.observables)(states)):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), found, other)
    seven = models.Potts(grid, 7, 0.5)
    assert sampler.measure(seven.observables, state).fractions.shape == (num_chains, 7)


@pytest.mark.parametrize("num_states", [2, 3, 4])
def test_a_random_start_has_all_states_as_often(num_states):
    sampler = multispin_metropolis(models.Potts(lattice.hypercubic((8, 8)), num_states, 0.5), num_chains=1024)
    states = np.asarray(sampler.measure(identity, sampler.init(jax.random.key(3)))).reshape(1024, 64)
    counts = np.bincount(states.ravel(), minlength=4)
    assert counts[num_states:].sum() == 0
    assert np.abs(counts[:num_states] - states.size / num_states).max() < 5 * np.sqrt(states.size / num_states)
    centred = states - (num_states - 1) / 2
    correlations = centred.T @ centred / 1024 / np.var(np.arange(num_states)) - np.eye(64)
    assert np.abs(correlations).max() < 6 / np.sqrt(1024)


@models.pytree(data_fields=("coupling", "field"), meta_fields=("lattice", "num_states"))
@dataclasses.dataclass(frozen=True)
class DoublePotts(models.Potts):
    """With a Hamiltonian of its own."""

    def hamiltonian(self, spins):
        return 2 * super().hamiltonian(spins)


def test_a_run_goes_on_bit_for_bit_and_another_coupling_does_not_compile(tmp_path):
    model = MODELS["three"]
    sampler = multispin_metropolis(model, num_chains=32)
    start = sampler.init(jax.random.key(0))
    whole = advance(sampler, jax.random.key(1), start, 6)
    np.savez(tmp_path / "state.npz", **advance(sampler, jax.random.key(1), start, 3)._asdict())
    again = advance(sampler, jax.random.key(1), samplers.PackedState(**np.load(tmp_path / "state.npz")), 3)
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    programs = advance._cache_size()
    other = multispin_metropolis(models.Potts(RING, 3, -0.2), num_chains=32)
    assert not np.array_equal(advance(other, jax.random.key(1), start, 6).even, whole.even)
    assert advance._cache_size() == programs


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match=r"num_states: expected 2, 3 or 4, got 5; use samplers.metropolis"):
        multispin_metropolis(models.Potts(RING, 5, 0.5), num_chains=32)
    stack = jax.vmap(lambda coupling: models.Potts(RING, 3, coupling))(jnp.array([0.1, 0.5]))
    with pytest.raises(ValueError, match=r"coupling: expected a scalar, got shape \(2,\); use samplers.metropolis"):
        multispin_metropolis(stack, num_chains=32)
    with pytest.raises(ValueError, match=r"the Hamiltonian of models.Potts, got a DoublePotts with its own"):
        multispin_metropolis(DoublePotts(RING, 3, 0.5), num_chains=32)
    twice = lattice.Lattice((4, 4), (True, True), ((1, 0), (1, 0), (0, 1)))
    with pytest.raises(ValueError, match=r"lattice: expected a hypercubic lattice"):
        multispin_metropolis(models.Potts(twice, 3, 0.5), num_chains=32)
    with pytest.raises(ValueError, match=r"field: expected none, got one of shape \(3,\); use samplers.metropolis"):
        multispin_metropolis(models.Potts(RING, 3, 0.5, [0.1, 0.0, 0.0]), num_chains=32)
    with pytest.raises(ValueError, match=r"lattice: expected even periodic sides"):
        multispin_metropolis(models.Potts(lattice.hypercubic((3, 4)), 3, 0.5), num_chains=32)
    with pytest.raises(
        ValueError, match=r"model: expected one of models.Ising, models.Glass, got a Potts; use samplers.heat"
    ):
        samplers.multispin_heat_bath(MODELS["three"], num_chains=32)
    with pytest.raises(ValueError, match=r"spins: expected states from 0 to 2, got 3"):
        multispin_metropolis(MODELS["three"], num_chains=32).init(jax.random.key(0), np.full(4, 3, np.int8))


def test_a_coupling_that_is_not_finite_is_reported():
    model = models.Potts(RING, 3, 0.5)
    object.__setattr__(model, "coupling", jnp.float32(jnp.nan))
    sampler = multispin_metropolis(model, num_chains=32)
    _, info = sampler.step(jax.random.key(1), sampler.init(jax.random.key(0)))
    assert info.status.tolist() == [Status.NOT_FINITE]
