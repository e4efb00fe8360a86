"""Reweighting: exact states give exact derivatives, chains agree with Kaufman's torus, and errors hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from jaxrg import exact, lattice, models, samplers, stats, tables
from jaxrg.stats.reweighting import estimate, multiple_histograms, single_histogram
from tests.rows import some_now

SQUARE = lattice.hypercubic((3, 3))
OPEN = lattice.hypercubic((3, 3), periodic=False)
TORUS = (8, 8)
TORUS_MODEL = lattice.hypercubic(TORUS), 0.42
# All states, once each, are samples at infinite temperature, from which every other one is reached exactly.
STATES = tables.spins_of(jnp.arange(512), 9).reshape(1, 512, 3, 3)


def energy_of(spins):
    return models.Ising(SQUARE, 1.0).hamiltonian(spins)


def pair_of(spins):
    return spins[0, 0] * spins[1, 1]


def ising(coupling, spins):
    return models.Ising(SQUARE, coupling).hamiltonian(spins)


def glass(couplings):
    return models.Glass(OPEN, couplings["J"], field=couplings["h"])


def test_all_states_give_exact_derivatives_by_the_coupling():
    found = single_histogram(ising, STATES, 0.0).expectation(energy_of)

    def expected(coupling):
        return exact.expectation(models.Ising(SQUARE, coupling).hamiltonian, energy_of, (3, 3))

    for order in (lambda fn: fn, jax.grad, jax.hessian):
        np.testing.assert_allclose(order(found)(0.3), order(expected)(0.3), rtol=2e-5)
    np.testing.assert_allclose(jax.jvp(found, (0.3,), (2.0,))[1], 2 * jax.grad(expected)(0.3), rtol=2e-5)


def test_all_states_give_exact_derivatives_by_bonds_and_fields():
    noise = np.random.default_rng(0)
    couplings = {"J": 0.3 * noise.normal(size=(2, 3, 3)), "h": 0.2 * noise.normal(size=(3, 3))}
    couplings = jax.tree.map(jnp.float32, couplings)
    nothing = jax.tree.map(jnp.zeros_like, couplings)
    ensemble = single_histogram(lambda x, spins: glass(x).hamiltonian(spins), STATES, nothing)

    def expected(couplings):
        return exact.expectation(glass(couplings).hamiltonian, pair_of, (3, 3))

    def exact_log_partition(couplings):
        return exact.log_partition(glass(couplings).hamiltonian, (3, 3))

    mean = ensemble.expectation(pair_of)
    for found, right in (
        (mean(couplings), expected(couplings)),
        (jax.grad(mean)(couplings), jax.grad(expected)(couplings)),
        (ensemble.log_partition(couplings) + 9 * np.log(2), exact_log_partition(couplings)),
        (jax.grad(ensemble.log_partition)(couplings), jax.grad(exact_log_partition)(couplings)),
        (jax.hessian(ensemble.log_partition)(couplings), jax.hessian(exact_log_partition)(couplings)),
    ):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6), found, right)


def test_an_observable_that_depends_on_the_coupling_has_both_parts_of_its_derivative():
    ensemble = single_histogram(ising, STATES, 0.0)

    def reduced(coupling):
        return ensemble.expectation(lambda spins: coupling * energy_of(spins))(coupling)

    mean = ensemble.expectation(energy_of)
    np.testing.assert_allclose(jax.grad(reduced)(0.3), mean(0.3) + 0.3 * jax.grad(mean)(0.3), rtol=1e-5)


def test_large_energies_cost_no_digits():
    """Energies around -1.4e6, as of 10^6 sites, that differ by some hundred."""
    energies = np.random.default_rng(1).integers(-900, 900, (4, 500)) - 1_400_000
    ensemble = single_histogram(lambda K, x: K * x, np.float32(energies), 0.44)
    found = jax.grad(ensemble.expectation(lambda x: x))(0.44)
    np.testing.assert_allclose(found, -energies.var(), rtol=2e-4)  # H is rounded by 0.03
    centred = single_histogram(lambda K, x: K * (x + 1_400_000), np.float32(energies), 0.44)
    found = jax.grad(centred.expectation(lambda x: x))(0.44)
    np.testing.assert_allclose(found, -energies.var(), rtol=1e-5)
    weights = np.exp(-0.002 * (energies - energies.mean()))
    expected = np.sum(weights * energies) / np.sum(weights)
    moved = centred.expectation(lambda x: x + 1_400_000)(0.442)
    np.testing.assert_allclose(moved, expected + 1_400_000, atol=0.05)


@functools.cache
def chain():
    """Energies a site and magnetisations, four chains."""
    model = samplers.replicas(samplers.wolff(models.Ising(*TORUS_MODEL)), 4)
    start = samplers.run(jax.random.key(0), model, model.init(jax.random.key(1)), 200).state
    return samplers.run(jax.random.key(2), model, start, 4000, observe=models.Ising(*TORUS_MODEL).observables).trace


def torus_energy(x):
    return 64 * x.energy


def torus_hamiltonian(coupling, x):
    return coupling * torus_energy(x)


def quantities(ensemble, coupling):
    mean = ensemble.expectation(torus_energy)
    return {"u": mean(coupling), "du": jax.grad(mean)(coupling), "ln Z": ensemble.log_partition(coupling)}


def exact_quantities(coupling, origin):
    log_partition = functools.partial(exact.torus_log_partition, shape=TORUS)
    with jax.enable_x64(True):
        u, du = (-float(fn(coupling)) for fn in (jax.grad(log_partition), jax.hessian(log_partition)))
        return {"u": u, "du": du, "ln Z": float(log_partition(coupling) - log_partition(origin))}


def z_scores(found, coupling, origin):
    right = exact_quantities(float(coupling), float(origin))
    return {name: (float(one.value) - right[name]) / float(one.error) for name, one in found.items()}


def test_a_single_histogram_follows_kaufmans_torus():
    ensemble = single_histogram(torus_hamiltonian, chain(), 0.42)
    for coupling in (0.40, 0.421, 0.45):
        found = estimate(quantities, ensemble, coupling)
        assert all(one.is_converged for one in found.values())
        assert max(map(abs, z_scores(found, coupling, 0.42).values())) < 5
        assert float(found["u"].error) < 0.02 * 64  # an error that says something
    far = estimate(quantities, ensemble, 0.10)
    assert not any(one.is_converged for one in far.values())


@pytest.mark.slow
def test_several_histograms_follow_kaufmans_torus():
    couplings = np.float32([0.36, 0.40, 0.44])
    model = samplers.ensembles.parallel_tempering(
        lambda K: models.Ising(lattice.hypercubic(TORUS), K), couplings, sampler=samplers.wolff
    )
    run = samplers.run(
        jax.random.key(3), model, model.init(jax.random.key(4)), 4000, observe=models.Ising(*TORUS_MODEL).observables
    )
    samples = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1)[None, 200:], run.trace)
    ensemble = multiple_histograms(torus_hamiltonian, samples, couplings)
    one = single_histogram(torus_hamiltonian, jax.tree.map(lambda leaf: leaf[:, :, 1], samples), couplings[1])
    for coupling in (0.38, 0.42):
        found = estimate(quantities, ensemble, coupling)
        assert max(map(abs, z_scores(found, coupling, couplings[0]).values())) < 5
        assert float(found["u"].error) < float(estimate(quantities, one, coupling)["u"].error)


def solved(energies, counts):
    """Free energies of states by plain iteration, samples of every time counting so often."""
    free = np.zeros(energies.shape[-1])
    for _ in range(2000):
        log_mixture = logsumexp(free - energies, axis=-1)
        free = -logsumexp(np.log(counts)[..., None, None] - energies - log_mixture[..., None], axis=(0, 1, 2))
        free -= free[0]
    return free, logsumexp(free - energies, axis=-1)


@pytest.mark.parametrize("num_states", some_now([1, 3], 3))
def test_errors_are_those_of_the_influence_of_every_sample(num_states, x64):
    """By solving everything again with a sample that counts a little more often."""
    fields = np.array([0.0, 0.8, 1.5])[:num_states]
    x = np.random.default_rng(5).normal(size=(2, 12, num_states)) + fields
    hamiltonian = lambda h, x: x**2 / 2 - h * x  # noqa: E731
    if num_states == 1:
        ensemble = single_histogram(hamiltonian, x[..., 0], fields[0])
    else:
        ensemble = multiple_histograms(hamiltonian, x, fields)

    def found(log_counts):
        counted = ensemble._replace(log_counts=log_counts)
        mean = counted.expectation(lambda x: x)
        return jnp.stack([mean(0.5), jax.grad(mean)(0.5), counted.log_partition(0.5)])

    def expected(counts):
        energies = hamiltonian(fields, x[..., None])
        _, log_mixture = solved(energies, counts)
        log_weights = -hamiltonian(0.5, x) - log_mixture + np.log(counts)[..., None]
        weights = np.exp(log_weights - logsumexp(log_weights))
        mean = np.sum(weights * x)
        return np.array([mean, np.sum(weights * (x - mean) ** 2), logsumexp(log_weights) - np.log(counts.sum())])

    np.testing.assert_allclose(found(jnp.zeros((2, 12))), expected(np.ones((2, 12))), rtol=1e-8)
    influence = jax.jacrev(found)(jnp.zeros((2, 12)))
    for place in ((0, 3), (1, 11)):
        step = 1e-5 * (np.arange(24).reshape(2, 12) == np.ravel_multi_index(place, (2, 12)))
        difference = (expected(np.exp(step)) - expected(np.exp(-step))) / 2e-5
        np.testing.assert_allclose(influence[:, *place], difference, rtol=1e-6, atol=1e-9)


def correlated(seed, shape, memory):
    """Standard normal numbers ``[*, samples]`` with this memory."""
    noise = np.random.default_rng(seed).normal(size=shape)
    for step in range(1, shape[-1]):
        noise[..., step] = memory * noise[..., step - 1] + np.sqrt(1 - memory**2) * noise[..., step]
    return np.float32(noise)


def gaussian(h, x):
    return x**2 / 2 - h * x


def moments(ensemble, h):
    """Of a Gaussian with the mean h and the variance 1: its third cumulant is zero."""
    mean = ensemble.expectation(lambda x: x)
    return jnp.stack(
        [mean(h) - h, jax.grad(mean)(h) - 1, jax.grad(jax.grad(mean))(h), ensemble.log_partition(h) - h**2 / 2]
    )


@pytest.mark.parametrize(
    "num_states", [pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.exhaustive)]
)
def test_errors_of_means_and_of_two_derivatives_hold_for_correlated_chains(num_states):
    """Intervals of one and two errors over many short chains, memory 0.8 (tau_int 4.5)."""
    repeats, fields = 300, jnp.array([0.0, 1.0, 2.0])[:num_states]
    x = np.moveaxis(correlated(6, (repeats, 4, num_states, 2000), 0.8), 2, 3) + np.asarray(fields)

    def one(x):
        if num_states == 1:
            return estimate(moments, single_histogram(gaussian, x[..., 0], fields[0]), jnp.float32(0.3))
        return estimate(moments, multiple_histograms(gaussian, x, fields), jnp.float32(1.3))

    found = jax.jit(lambda x: jax.lax.map(one, x, batch_size=20))(jnp.asarray(x))
    z = np.asarray(found.value / found.error)
    assert np.mean(found.is_converged) > 0.5
    assert np.all(np.abs(z.mean(axis=0)) < 0.35)  # a covariance is low by a share of 1/N
    for bound, share, slack in ((1, 0.6827, 0.03), (2, 0.9545, 0.02)):
        chance = 4 * np.sqrt(share * (1 - share) / repeats)
        assert np.all(np.abs(np.mean(np.abs(z) < bound, axis=0) - share) < slack + chance)


def test_bad_input_is_refused_in_words():
    x = jnp.zeros((2, 10))
    for call, message in (
        (lambda: single_histogram(3, x, 0.0), "hamiltonian: expected a function"),
        (lambda: single_histogram(lambda h, x: x[None], x, 0.0), "hamiltonian: expected one floating number"),
        (lambda: single_histogram(gaussian, jnp.zeros(10), 0.0), r"samples: expected \[chains, samples"),
        (lambda: multiple_histograms(gaussian, x, 0.0), r"couplings: expected \[K, ...\] of at least 2"),
        (lambda: multiple_histograms(gaussian, x[..., None], [0.0, 1.0]), r"samples: expected \[chains, samples, 2"),
        (lambda: estimate(moments, x, 0.0), "ensemble: expected one of single_histogram"),
        (lambda: estimate(gaussian(1, 2), single_histogram(gaussian, x, 0.0), 0.0), "quantity: expected a function"),
        (lambda: estimate(lambda a: a, single_histogram(gaussian, x, 0.0), 0.0), "quantity: expected a function of an"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_weights_are_those_of_importance():
    x = jax.random.normal(jax.random.key(0), (4, 2_000))
    ensemble = single_histogram(gaussian, x, 0.0)
    found = stats.importance(ensemble.log_weights(0.5).ravel())
    np.testing.assert_allclose(found.log_partition, ensemble.log_partition(0.5), atol=1e-5)
    np.testing.assert_allclose(found.ess, np.exp(-0.25), rtol=0.1)
