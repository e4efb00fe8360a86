"""Independence Metropolis: the whole transition matrix of a density of eight states, chains of draws, latent HMC."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows, samplers, stats
from jaxrg.base import Density
from tests.flows.test_densities import affine_flow

STATES = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=3)))
LOGITS = jnp.asarray([0.3, -1.0, 0.5, 0.0, 1.2, -0.4, 0.1, 0.7])


def hamiltonian(spins):
    return -0.7 * (spins[0] * spins[1] + spins[1] * spins[2]) - 0.2 * spins[0]


def number_of(spins):
    return jnp.sum((spins > 0).astype(jnp.int32) * jnp.array([[4, 2, 1]]), axis=1)


def log_prob(params, spins):
    return jax.nn.log_softmax(params)[number_of(spins)]


def sample(key, params, num_samples):
    draws = STATES[jax.random.categorical(key, params, shape=(num_samples,))]
    return draws, log_prob(params, draws)


SPINS = Density(lambda key: LOGITS, sample, log_prob)
TARGET = np.asarray(jax.nn.softmax(-jax.vmap(hamiltonian)(STATES)))


def test_the_target_is_left_invariant_by_the_whole_matrix():
    @jax.jit
    @jax.vmap
    def acceptances(start):
        def of(proposal):
            told = SPINS._replace(sample=lambda key, params, n: (proposal[None], log_prob(params, proposal[None])))
            sampler = samplers.independence_metropolis(told, LOGITS, hamiltonian)
            return sampler.step(jax.random.key(1), sampler.init(jax.random.key(0), start))[1].acceptance[0]

        return jax.vmap(of)(STATES)

    proposed = np.asarray(jax.nn.softmax(LOGITS), np.float64)[None] * np.asarray(acceptances(STATES), np.float64)
    matrix = proposed + np.diag(1 - proposed.sum(1))
    np.testing.assert_allclose(TARGET @ matrix, TARGET, atol=1e-6)
    assert np.all(matrix > 0)
    flow = TARGET[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-6)  # reversible
    assert np.any(np.diag(matrix) - np.diag(proposed) > 0.05)  # something is rejected


@pytest.mark.slow
def test_a_step_is_accepted_with_its_probability_and_carries_its_weight():
    sampler = samplers.independence_metropolis(SPINS, LOGITS, hamiltonian)
    state = sampler.init(jax.random.key(0), STATES[3])
    np.testing.assert_allclose(state.log_weight, -hamiltonian(STATES[3]) - log_prob(LOGITS, STATES[3:4])[0], rtol=1e-6)
    run = samplers.run(jax.random.key(1), sampler, state, 4000, observe=lambda x: number_of(x[None])[0])
    acceptance = np.asarray(run.info.acceptance[0], np.float64)
    is_accepted = np.asarray(run.info.is_accepted[0])
    error = np.sqrt(np.mean(acceptance * (1 - acceptance)) / 4000)
    assert abs(is_accepted.mean() - acceptance.mean()) < 5 * error
    thinned = np.asarray(run.trace[0, ::10])
    assert float(stats.chi_squared(np.bincount(thinned, minlength=8), TARGET).p_value) > 1e-4
    more = samplers.replicas(sampler, 3)
    assert samplers.run(jax.random.key(2), more, more.init(jax.random.key(3)), 5).info.acceptance.shape == (3, 5)


def test_a_chain_of_draws_is_the_same_chain():
    found = samplers.weighted_draws(
        jax.random.key(0), SPINS, LOGITS, hamiltonian, 20_000, batch_size=4096, observe=lambda x: number_of(x[None])[0]
    )
    chain = samplers.independence_chain(jax.random.key(1), found.log_weights)
    visited = np.asarray(found.values)[np.asarray(chain.indices)]
    assert float(stats.chi_squared(np.bincount(visited[::10], minlength=8), TARGET).p_value) > 1e-4
    q = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    ratios = np.minimum(1, np.outer(q / TARGET, TARGET / q))
    assert abs(float(chain.acceptance) - TARGET @ ratios @ q) < 5 * 0.5 / np.sqrt(20_000) * 2
    estimate = stats.importance(found.log_weights)
    exact = float(jax.nn.logsumexp(-jax.vmap(hamiltonian)(STATES)))
    assert abs(float(estimate.log_partition) - exact) < 5 * float(estimate.error)


def test_more_draws_begin_with_the_same_and_batches_are_cut():
    arguments = (SPINS, LOGITS, hamiltonian)
    few = samplers.weighted_draws(jax.random.key(0), *arguments, 5, batch_size=4)
    many = samplers.weighted_draws(jax.random.key(0), *arguments, 11, batch_size=4)
    assert few.values is None
    assert few.log_weights.shape == (5,)
    np.testing.assert_array_equal(few.log_weights, many.log_weights[:5])


def test_weights_that_are_no_numbers_are_failures():
    sampler = samplers.independence_metropolis(SPINS, LOGITS, lambda spins: jnp.nan * spins[0])
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        samplers.run(jax.random.key(0), sampler, sampler.init(jax.random.key(1)), 3)
    assert np.isnan(samplers.independence_chain(jax.random.key(0), [0.0, np.nan, 1.0]).acceptance)
    wall = samplers.independence_metropolis(SPINS, LOGITS, lambda spins: jnp.where(spins[0] > 0, 0.0, jnp.inf))
    run = samplers.run(jax.random.key(0), wall, wall.init(jax.random.key(1)), 60, observe=lambda spins: spins[0])
    assert np.all(np.asarray(run.trace[0, 20:]) > 0)


@pytest.mark.slow
def test_latent_hmc_draws_from_the_target_whatever_the_flow():
    flow, params = affine_flow(2), (jnp.array([0.5, -0.5]), jnp.array([0.3, -0.2]))

    def action(x):
        return jnp.sum(x**4) / 4 + 0.5 * x[0] * x[1]

    sampler = samplers.hmc(flows.latent_action(flow, params, action), 0.3, 6, start=jnp.zeros(2))
    chains = samplers.replicas(sampler, 8)
    state = samplers.run(jax.random.key(0), chains, chains.init(jax.random.key(1)), 100).state

    def observe(latents):
        field, _ = flow.forward(params, latents)
        return field[0] ** 2, field[0] * field[1]

    trace = samplers.run(jax.random.key(2), chains, state, 2000, observe=observe).trace
    grid = np.linspace(-4, 4, 801)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    weights = np.exp(-(x**4 + y**4) / 4 - 0.5 * x * y)
    for series, exact in zip(trace, ((x**2 * weights).sum(), (x * y * weights).sum()), strict=True):
        found = stats.summary(series)
        assert abs(float(found.mean) - exact / weights.sum()) < 5 * float(found.error)
        assert float(found.error) < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: samplers.independence_metropolis(3, (), jnp.sum), r"density: expected a Density"),
        (lambda: samplers.independence_metropolis(SPINS, LOGITS, 3), r"action: expected a function"),
        (
            lambda: samplers.independence_metropolis(SPINS, LOGITS, hamiltonian).init(jax.random.key(0), jnp.ones(4)),
            r"field: expected the shape of a draw",
        ),
        (
            lambda: samplers.weighted_draws(jax.random.key(0), SPINS, LOGITS, lambda x: x, 5),
            r"action: expected one number of one configuration",
        ),
        (lambda: samplers.independence_chain(jax.random.key(0), [1.0]), r"log_weights: expected \[num_samples\]"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
