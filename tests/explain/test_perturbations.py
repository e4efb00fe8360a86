"""The pair interaction of a perturbation against the Shapley interaction index by its sum, and the attacks."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import perturbations as pt
from jaxrg.interactions import evaluate, game, masked_game, patches
from jaxrg.tables import all_bits

NUM_PLAYERS = 6
PLACES = 2 ** np.arange(NUM_PLAYERS)


def table_game(values):
    """The game of a table, looked up by mask."""
    table, places = jnp.asarray(values), jnp.asarray(PLACES, jnp.int32)
    return game(lambda masks: table[jnp.sum(masks.astype(jnp.int32) * places.reshape(1, -1), axis=-1)], NUM_PLAYERS)


pair_interactions = jax.jit(lambda values: pt.player_pair_interactions(table_game(values)))


def shapley_interactions(values: np.ndarray) -> np.ndarray:
    """The Shapley interaction index of every pair, as its definition sums it."""
    n = NUM_PLAYERS
    index = np.zeros((n, n))
    for a, b in itertools.permutations(range(n), 2):
        others = [c for c in range(n) if c not in (a, b)]
        for size in range(n - 1):
            weight = math.factorial(size) * math.factorial(n - size - 2) / math.factorial(n - 1)
            for context in itertools.combinations(others, size):
                s = sum(2**c for c in context)
                both = values[s + 2**a + 2**b]
                index[a, b] += weight * (both - values[s + 2**a] - values[s + 2**b] + values[s])
    return index


@pytest.mark.parametrize("seed", range(3))
def test_telescopes_to_the_mean_shapley_interaction_of_each_player(seed, x64):
    values = np.random.default_rng(seed).normal(size=2**NUM_PLAYERS)
    index = shapley_interactions(values)
    np.testing.assert_allclose(pair_interactions(values), index.sum(1) / (NUM_PLAYERS - 1), atol=1e-13)


def test_banzhaf_interactions_do_not_telescope(x64):
    """The identity is of the Shapley index alone: uniform weights over contexts give another mean."""
    values = np.random.default_rng(0).normal(size=2**NUM_PLAYERS)
    masks = np.asarray(all_bits(NUM_PLAYERS))
    banzhaf = [
        np.mean([(-1) ** (not masks[s, a]) * (-1) ** (not masks[s, b]) * values[s] * 4 for s in range(2**NUM_PLAYERS)])
        for a, b in itertools.permutations(range(NUM_PLAYERS), 2)
    ]
    assert abs(np.mean(banzhaf) - float(jnp.mean(pair_interactions(values)))) > 1e-3


def test_takes_two_passes_a_player_and_two_more():
    seen = []

    def count(masks):
        seen.append(masks.shape[0])
        return jnp.sum(masks.astype(jnp.float32), axis=-1)

    assert pt.player_pair_interactions(game(count, 5)).tolist() == [0.0] * 5
    assert pt.player_pair_interactions(game(count, 5), players=jnp.array([0, 3])).tolist() == [0.0] * 2
    assert seen == [12, 6]


def test_a_sample_of_players_is_unbiased(x64):
    values = np.random.default_rng(1).normal(size=2**NUM_PLAYERS)
    played = table_game(values)
    subsets = jnp.array(list(itertools.combinations(range(NUM_PLAYERS), 2)))
    estimate = jax.vmap(lambda players: jnp.mean(pt.player_pair_interactions(played, players=players)))
    estimates = np.asarray(jax.jit(estimate)(subsets))
    exact = jnp.mean(pair_interactions(values))
    assert estimates.mean() == pytest.approx(float(exact), abs=1e-13)
    assert estimates.std() > 0.01


def test_margin_is_positive_once_fooled():
    outputs = jnp.array([[2.0, 1.0, 0.0], [0.0, 5.0, 1.0]])
    np.testing.assert_array_equal(pt.adversarial_margin(outputs, 0), [-1.0, 5.0])
    np.testing.assert_array_equal(jax.jit(pt.adversarial_margin)(outputs, jnp.int32(1)), [1.0, -4.0])


def small_problem():
    random = np.random.default_rng(0)
    first, second = (jnp.asarray(random.normal(size=shape).astype(np.float32) / 2) for shape in ((16, 12), (12, 3)))
    sample = jnp.asarray(random.uniform(size=(4, 4)).astype(np.float32))
    return lambda inputs: jax.nn.relu(inputs.reshape(-1, 16) @ first) @ second, sample, patches((4, 4), (2, 2))


def cross_entropy(model, sample, label):
    """The loss of a plain attack."""

    def objective(key, delta):
        outputs = model((sample + delta)[None])[0]
        return jax.nn.logsumexp(outputs) - outputs[label]

    return objective


def test_interaction_of_a_perturbation_and_its_gradient(x64):
    model = lambda inputs: jnp.stack(  # noqa: E731
        [inputs.reshape(-1, 16).prod(-1), inputs.reshape(-1, 16).sum(-1) ** 2], axis=-1
    )
    sample = jnp.linspace(0.5, 1.5, 16).reshape(4, 4)
    delta = 0.1 * jnp.cos(jnp.arange(16.0)).reshape(4, 4)
    assignment = patches((4, 4), (2, 2))

    weights = np.zeros(16)  # of every coalition in the mean over pairs, from the definition
    for a, b in itertools.combinations(range(4), 2):
        for context in (s for s in range(16) if not s >> a & 1 and not s >> b & 1):
            size = context.bit_count()
            weight = math.factorial(size) * math.factorial(2 - size) / math.factorial(3) / 6
            for coalition, sign in ((2**a + 2**b, 1), (2**a, -1), (2**b, -1), (0, 1)):
                weights[context + coalition] += sign * weight

    def brute(delta):
        score = lambda outputs: pt.adversarial_margin(outputs, 0)  # noqa: E731
        masked = masked_game(model, sample + delta, baseline=sample, assignment=assignment, score=score)
        return jnp.sum(jnp.asarray(weights) * evaluate(masked))

    fast = lambda delta: pt.perturbation_interaction(model, sample, delta, 0, assignment)  # noqa: E731
    expected, expected_gradient = jax.jit(jax.value_and_grad(brute))(delta)
    value, gradient = jax.jit(jax.value_and_grad(fast))(delta)
    assert float(jnp.abs(expected)) > 0.001
    np.testing.assert_allclose(value, expected, atol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-11)


def test_attack_stays_in_the_box_and_raises_the_loss():
    model, sample, _ = small_problem()
    label = jnp.int32(np.argmax(jax.jit(model)(sample[None])[0]))
    plain = cross_entropy(model, sample, label)
    attack = jax.jit(lambda key: pt.momentum_attack(key, plain, sample, epsilon=0.1, num_steps=8))(jax.random.key(2))
    delta = np.asarray(attack.perturbation)
    assert delta.shape == sample.shape
    assert attack.objective.shape == (8,)
    assert np.abs(delta).max() <= 0.1 + 1e-7
    moved = np.asarray(sample) + delta
    assert moved.min() >= 0.0
    assert moved.max() <= 1.0
    loss = jax.jit(lambda delta: plain(jax.random.key(0), delta))
    assert float(loss(delta)) > float(attack.objective[0]) + 0.05
    noise = (0.1 * np.sign(np.random.default_rng(1).normal(size=sample.shape))).astype(np.float32)
    assert float(loss(delta)) > float(loss(noise)) + 0.05


def test_the_penalty_lowers_the_interaction():
    model, sample, assignment = small_problem()
    label = jnp.int32(np.argmax(jax.jit(model)(sample[None])[0]))

    @jax.jit
    def final_interaction(weight):
        objective = pt.interaction_reduced_objective(model, sample, label, assignment, weight=weight)
        attack = pt.momentum_attack(jax.random.key(0), objective, sample, epsilon=0.3, num_steps=10)
        return pt.perturbation_interaction(model, sample, attack.perturbation, label, assignment)

    with_penalty, without = final_interaction(jnp.float32(1000.0)), final_interaction(jnp.float32(0.0))
    assert float(with_penalty) < float(without) - 1e-4


def test_zero_weight_is_the_plain_attack():
    model, sample, assignment = small_problem()
    reduced = pt.interaction_reduced_objective(model, sample, 1, assignment, weight=0.0, num_sampled=2)
    plain = cross_entropy(model, sample, 1)
    both = jax.jit(lambda key, delta: (reduced(key, delta), plain(key, delta)))
    found, expected = both(jax.random.key(0), np.full((4, 4), 0.1, np.float32))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_refuses_bad_input():
    with pytest.raises(ValueError, match="num_players: expected an integer >= 2, got 1"):
        pt.player_pair_interactions(game(lambda masks: jnp.zeros(masks.shape[0]), 1))
    model, sample, assignment = small_problem()
    with pytest.raises(ValueError, match="num_sampled: expected 1 to the 4 players, got 5"):
        pt.interaction_reduced_objective(model, sample, 0, assignment, weight=1.0, num_sampled=5)
    objective = lambda key, delta: jnp.sum(delta)  # noqa: E731
    with pytest.raises(ValueError, match="num_steps"):
        pt.momentum_attack(jax.random.key(0), objective, jnp.zeros(3), epsilon=0.1, num_steps=0)
    with pytest.raises(ValueError, match=r"start: expected the sample's shape \(3,\), got \(2,\)"):
        pt.momentum_attack(jax.random.key(0), objective, jnp.zeros(3), epsilon=0.1, num_steps=1, start=jnp.zeros(2))
    with pytest.raises(ValueError, match=r"sample: expected entries within the bounds \(0.0, 1.0\), got 0.0 to 1.5"):
        pt.momentum_attack(jax.random.key(0), objective, jnp.array([0.0, 1.5]), epsilon=0.1, num_steps=1)
    with pytest.raises(ValueError, match=r"epsilon: expected a number of at least 0, got -0.1"):
        pt.momentum_attack(jax.random.key(0), objective, jnp.zeros(3), epsilon=-0.1, num_steps=1)
    for label in (-1, 3):
        with pytest.raises(ValueError, match=f"label: expected integers from 0 to 2, got {label}"):
            pt.adversarial_margin(jnp.zeros(3), label)


def test_a_traced_sample_outside_the_bounds_stays_within_epsilon():
    objective = lambda key, delta: jnp.sum(delta)  # noqa: E731
    attack = lambda sample: pt.momentum_attack(  # noqa: E731
        jax.random.key(0), objective, sample, epsilon=0.125, num_steps=2
    )
    delta = jax.jit(attack)(jnp.array([-0.5, 0.5, 0.9375, 1.5])).perturbation
    np.testing.assert_array_equal(delta, [0.125, 0.125, 0.0625, -0.125])
