"""Conditionals against the joint distribution, block Gibbs as a transition matrix, and as a sampled chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import random, rbm
from jaxrg.base import Status
from jaxrg.checks import check_spins
from jaxrg.rbm.units.spins import sample_spins
from jaxrg.tables import all_spins


def conditionals(machine: rbm.RBM) -> tuple[np.ndarray, np.ndarray]:
    """p(h | v) ``[visible states, hidden states]`` and p(v | h) transposed, from the library's means."""

    def products(means: np.ndarray, states: np.ndarray) -> np.ndarray:
        return np.prod((1 + means[:, None] * states[None]) / 2, axis=-1)

    visible, hidden = (all_spins(bias.shape[0]) for bias in (machine.visible_bias, machine.hidden_bias))
    to_hidden = jax.jit(jax.vmap(rbm.hidden_mean, (None, 0)))(machine, visible)
    to_visible = jax.jit(jax.vmap(rbm.visible_mean, (None, 0)))(machine, hidden)
    return products(np.asarray(to_hidden), np.asarray(hidden)), products(np.asarray(to_visible), np.asarray(visible))


@pytest.mark.usefixtures("x64")
def test_conditionals_are_exact(random_machine, reference_energies):
    machine = random_machine(0)
    joint = np.exp(-reference_energies(machine))
    to_hidden, to_visible = conditionals(machine)
    np.testing.assert_allclose(to_hidden, joint / joint.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(to_visible, (joint / joint.sum(0)).T, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_block_gibbs_leaves_both_marginals_invariant(random_machine):
    machine = random_machine(1)
    to_hidden, to_visible = conditionals(machine)
    visible, hidden = rbm.visible_distribution(machine), rbm.hidden_distribution(machine)
    np.testing.assert_allclose(visible @ (to_hidden @ to_visible), visible, rtol=0, atol=1e-12)
    # The persistent chains are hidden layers: v from p(v | h), then h from p(h | v).
    np.testing.assert_allclose(hidden @ (to_visible @ to_hidden), hidden, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_drawn_steps_follow_the_transition_matrix(random_machine, excess_chi_squared):
    machine = random_machine(2, 3, 2)
    to_hidden, to_visible = conditionals(machine)
    num_draws = 4000
    keys = jax.random.split(jax.random.key(0), 8 * num_draws).reshape(8, num_draws)
    step = jax.vmap(jax.vmap(rbm.gibbs_step, (0, None, None)), (0, None, 0))
    visible, hidden = jax.jit(step)(keys, machine, all_spins(3))
    joint = np.asarray(to_hidden)[:, :, None] * np.asarray(to_visible)[None]  # [start, hidden, visible]
    weights = np.asarray([1, 2, 4])
    cells = (np.asarray(hidden > 0) @ weights[:2]) * 8 + np.asarray(visible > 0) @ weights
    for start in range(8):
        counts = np.bincount(cells[start], minlength=32)
        expected = num_draws * joint[start].ravel()
        assert excess_chi_squared(counts, expected) < 5


def test_sampled_spins_have_their_means_and_do_not_repeat():
    means = jnp.linspace(-1.0, 1.0, 9)[None, :] * jnp.ones((40_000, 1))
    sample = jax.jit(sample_spins)
    spins = sample(jax.random.key(3), means)
    assert spins.dtype == jnp.int8
    check_spins("spins", spins)
    error = np.sqrt((1 - np.asarray(means[0]) ** 2) / 40_000)
    difference = np.abs(np.asarray(spins, float).mean(0) - np.asarray(means[0]))
    assert np.all(difference <= 5 * error)  # the ends exactly
    fair = np.asarray(sample(jax.random.key(4), jnp.zeros((40_000, 9))), float)[:, 0]
    assert abs(np.mean(fair[1:] * fair[:-1])) < 5 / np.sqrt(40_000)


@pytest.mark.parametrize("shape", [(), (3,), (9,), (8, 3), (6, 5), (3, 0)])
def test_a_spin_compares_its_own_word(shape):
    num_rows = shape[0] if shape else 1
    means = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    sites = jnp.arange(-(-num_rows // 4) * means.size // num_rows, dtype=jnp.uint32)
    words = random.bits(jax.random.key(1), sites, 4, replicas=jnp.full_like(sites, 7))
    own = np.stack([np.asarray(word, float) for word in words]).ravel()[: means.size].reshape(shape)
    expected = np.where(own / 2**32 < (1 + means.astype(float)) / 2, 1, -1)
    assert sample_spins(jax.random.key(1), jnp.asarray(means), 7).tolist() == expected.tolist()


@pytest.mark.parametrize("is_wide", [False, True])
def test_spins_of_one_block_are_independent(is_wide):
    with jax.enable_x64(is_wide):
        means = jnp.full((4, 50_000), 0.5, jnp.float64 if is_wide else jnp.float32)
        spins = np.asarray(sample_spins(jax.random.key(2), means.at[:, 0].set(jnp.nan)), float)
    assert not spins[:, 0].any()
    deviations = spins[:, 1:] - 0.5
    covariance = deviations @ deviations.T / deviations.shape[1]
    np.testing.assert_allclose(covariance, 0.75 * np.eye(4), atol=5 / np.sqrt(50_000))


@pytest.mark.slow
def test_sampler_draws_the_machine(random_machine, excess_chi_squared):
    machine = random_machine(5, 3, 2, scale=0.5)
    sampler = rbm.gibbs_sampler(machine)
    num_chains, num_steps = 4000, 30

    @jax.jit
    def sample(sampler, keys):
        def chain(key):
            return jax.lax.scan(lambda state, _: sampler.step(key, state), sampler.init(key), length=num_steps)

        return jax.vmap(chain)(keys)

    state, info = sample(sampler, jax.random.split(jax.random.key(6), num_chains))
    assert state.visible.dtype == jnp.int8
    assert state.step.tolist() == [num_steps] * num_chains
    assert not info.status.any()
    assert 0 < float(info.acceptance.mean()) < 1
    measured = jax.vmap(lambda state: sampler.measure(lambda visible: visible > 0, state))(state)
    assert measured.shape == (num_chains, 1, 3)
    expected = num_chains * np.asarray(rbm.visible_distribution(machine))
    counts = np.bincount(np.asarray(measured)[:, 0] @ np.array([1, 2, 4]), minlength=8)
    assert excess_chi_squared(counts, expected) < 5
    # Another machine is another set of leaves, not another program.
    sample(rbm.gibbs_sampler(random_machine(7, 3, 2)), jax.random.split(jax.random.key(8), num_chains))
    assert sample._cache_size() == 1


def test_sampler_reports_nan_and_starts_where_told(random_machine):
    machine = random_machine(9)
    start = jnp.array([1, -1, 1, 1, -1], jnp.int8)
    sampler = rbm.gibbs_sampler(machine)
    assert jax.jit(sampler.init)(jax.random.key(0), start).visible.tolist() == start.tolist()
    with pytest.raises(ValueError, match=r"spins: expected spins \+1 or -1, got 0"):
        sampler.init(jax.random.key(0), 0 * start)
    with pytest.raises(ValueError, match="hidden_bias: expected finite values"):
        rbm.gibbs_sampler(machine._replace(hidden_bias=jnp.array([0.0, jnp.nan, 0.0])))
    step = jax.jit(lambda sampler: sampler.step(jax.random.key(1), sampler.init(jax.random.key(0))))
    for value, status in ((0.0, Status.OK), (jnp.nan, Status.NOT_FINITE), (jnp.inf, Status.NOT_FINITE)):
        _, info = step(jax.tree.map(lambda leaf, value=value: leaf + value, sampler))
        assert info.status.tolist() == [status]


def test_bad_shapes_are_refused(random_machine):
    machine = random_machine(0)
    with pytest.raises(ValueError, match=r"visible: expected shape \(5,\), got \(3,\)"):
        rbm.sample_hidden(jax.random.key(0), machine, jnp.ones(3, jnp.int8))
    with pytest.raises(ValueError, match=r"hidden: expected shape \(3,\), got \(5,\)"):
        rbm.sample_visible(jax.random.key(0), machine, jnp.ones(5, jnp.int8))
