"""The Bayesian case model against its own definition, integrated by hand, and against all states of a small one."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import chi2

from jaxrg import samplers
from jaxrg.explain.transparent import CaseModel, CaseState, case_sampler

OBSERVATIONS = np.array([[0, 1], [0, 0]])
SETTINGS = {"mixing": 0.6, "smoothing": 0.8, "emphasis": 4.0, "relevance": 0.35}
NUM_CHAINS, NUM_STEPS = 1_000, 40


def small() -> CaseModel:
    return CaseModel(OBSERVATIONS, num_values=2, num_clusters=2, **SETTINGS)


def all_states() -> CaseState:
    """The 16 x 16 x 4 states of two samples, two features and two clusters."""
    rows = np.array(list(itertools.product((0, 1), repeat=10)))
    return CaseState(
        jnp.asarray(rows[:, :4].reshape(-1, 2, 2)),
        jnp.asarray(rows[:, 4:8].reshape(-1, 2, 2) == 1),
        jnp.asarray(rows[:, 8:]),
        jnp.zeros(len(rows), jnp.uint32),
    )


def dirichlet_multinomial(counts, prior) -> float:
    """ln of the probability of a sequence with these counts."""
    counts, prior = np.asarray(counts, float), np.asarray(prior, float)
    return float(
        gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum()) + (gammaln(prior + counts) - gammaln(prior)).sum()
    )


def log_joint_by_definition(observations, num_values, num_clusters, state, *, mixing, smoothing, emphasis, relevance):
    """Term by term, as the model is written."""
    assignments, subspaces, prototypes = map(np.asarray, state[:3])
    num_samples, num_features = observations.shape
    total = -num_clusters * math.log(num_samples)
    for i in range(num_samples):
        total += dirichlet_multinomial(
            np.bincount(assignments[i], minlength=num_clusters), np.full(num_clusters, mixing)
        )
    for s, j in itertools.product(range(num_clusters), range(num_features)):
        total += math.log(relevance if subspaces[s, j] else 1 - relevance)
        prior = np.full(num_values, smoothing)
        if subspaces[s, j]:
            prior[observations[prototypes[s], j]] *= 1 + emphasis
        own = observations[assignments[:, j] == s, j]
        total += dirichlet_multinomial(np.bincount(own, minlength=num_values), prior)
    return total


def test_the_joint_probability_is_that_of_the_definition():
    random = np.random.default_rng(0)
    observations = random.integers(0, 3, (5, 4))
    model = CaseModel(observations, num_values=3, num_clusters=3, **SETTINGS)
    sampler = case_sampler(model)
    joint = jax.jit(lambda state: model.log_joint(state))
    for seed in range(5):
        state = sampler.init(jax.random.key(seed))
        exact = log_joint_by_definition(observations, 3, 3, state, **SETTINGS)
        assert float(joint(state)) == pytest.approx(exact, rel=1e-5)


def test_the_joint_is_normalised():
    """Where no feature matters the prior does not look at the data, and sums over states and data give one."""
    states, total = all_states(), 0.0
    plain = jax.tree.map(lambda leaf: leaf[~np.any(np.asarray(states.subspaces), axis=(1, 2))], states)
    joint = jax.jit(jax.vmap(lambda model, state: model.log_joint(state), in_axes=(None, 0)))
    for entries in itertools.product((0, 1), repeat=4):
        model = CaseModel(np.reshape(entries, (2, 2)), num_values=2, num_clusters=2, **SETTINGS)
        total += float(jnp.sum(jnp.exp(joint(model, plain))))
    assert total == pytest.approx((1 - SETTINGS["relevance"]) ** 4, rel=1e-5)


def test_long_runs_visit_every_state_as_often_as_the_posterior_says():
    model, states = small(), all_states()
    log_weights = np.asarray(jax.jit(jax.vmap(lambda state: model.log_joint(state)))(states), np.float64)
    exact = np.exp(log_weights - log_weights.max())
    exact /= exact.sum()
    sampler = case_sampler(model)
    places = 2 ** jnp.arange(9, -1, -1)

    def number(state):
        bits = [state.assignments.reshape(-1), state.subspaces.reshape(-1).astype(jnp.int32), state.prototypes]
        return jnp.sum(jnp.concatenate(bits) * places)

    def one_chain(key):
        start_key, run_key = jax.random.split(key)
        step = lambda _, state: sampler.step(run_key, state)[0]  # noqa: E731
        half = jax.lax.fori_loop(0, NUM_STEPS // 2, step, sampler.init(start_key))
        return number(half), number(jax.lax.fori_loop(0, NUM_STEPS // 2, step, half))

    visits = jax.jit(jax.vmap(one_chain))(jax.random.split(jax.random.key(0), NUM_CHAINS))
    counts = np.bincount(np.concatenate([np.asarray(part) for part in visits]), minlength=1024)
    expected = exact * 2 * NUM_CHAINS
    order = np.argsort(expected)
    groups = np.minimum(np.cumsum(expected[order]) // 10, 2 * NUM_CHAINS // 10 - 1).astype(int)  # of ten visits or more
    observed, wanted = (np.bincount(groups, values[order]) for values in (counts, expected))
    is_there = wanted > 0
    statistic = ((observed - wanted)[is_there] ** 2 / wanted[is_there]).sum()
    assert is_there.sum() > 100
    assert 1e-4 < chi2.sf(statistic, is_there.sum() - 1) < 1 - 1e-4


@pytest.mark.slow
def test_planted_clusters_are_found_with_their_subspaces():
    """Three clusters differ in two features each; the other features are noise."""
    random = np.random.default_rng(1)
    truth = np.repeat(np.arange(3), 20)
    observations = random.integers(0, 4, (60, 6))
    for cluster in range(3):
        own = truth == cluster
        observations[own, 2 * cluster] = cluster
        observations[own, 2 * cluster + 1] = 3 - cluster
    model = CaseModel(observations, num_values=4, num_clusters=3, mixing=0.05, emphasis=50.0, relevance=0.4)
    sampler = case_sampler(model)
    best = None
    for seed in range(3):
        run = samplers.run(
            jax.random.key(seed),
            sampler,
            sampler.init(jax.random.key(10 + seed)),
            150,
            observe=lambda state: (model.log_joint(state), model.membership(state), state),
        )
        joint, membership, states = jax.tree.map(lambda leaf: np.asarray(leaf)[0], run.trace)
        if best is None or joint.max() > best[0].max():
            best = joint, membership, states
    joint, membership, states = best
    peak = int(joint.argmax())
    assert joint[75:].mean() > joint[:3].mean() + 50
    found = membership[peak].argmax(1)
    purity = sum(np.bincount(truth[found == cluster]).max() for cluster in np.unique(found)) / 60
    assert purity > 0.85
    for cluster, prototype in enumerate(states.prototypes[peak]):
        owner = truth[prototype]
        members = truth[found == cluster]
        assert np.bincount(members).argmax() == owner  # a prototype is of the cluster that it stands for
        assert np.all(states.subspaces[peak, cluster, 2 * owner : 2 * owner + 2])


def test_refuses_bad_input():
    with pytest.raises(ValueError, match="observations: expected integers from 0 to 1, got 2"):
        CaseModel([[0, 2]], num_values=2, num_clusters=2)
    with pytest.raises(ValueError, match="observations: expected integers"):
        CaseModel([[0.5, 1.0]], num_values=2, num_clusters=2)
    with pytest.raises(ValueError, match=r"observations: expected \[samples, features\]"):
        CaseModel([0, 1], num_values=2, num_clusters=2)
    with pytest.raises(ValueError, match=r"relevance: expected a number between 0\.0 and 1\.0"):
        CaseModel(OBSERVATIONS, num_values=2, num_clusters=2, relevance=1.0)
    with pytest.raises(ValueError, match="num_clusters"):
        CaseModel(OBSERVATIONS, num_values=2, num_clusters=0)
    with pytest.raises(ValueError, match="mixing: expected one number"):
        CaseModel(OBSERVATIONS, num_values=2, num_clusters=2, mixing=jnp.array([0.1, 5.0]))
    with pytest.raises(ValueError, match="model: expected a CaseModel"):
        case_sampler(OBSERVATIONS)  # type: ignore[arg-type]
