"""Sampling estimators: exact where they must be, unbiased, and with errors as large as they say."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.interactions import Game, harsanyi, sampling
from jaxrg.interactions.sampling import designs, permutations, proxy
from jaxrg.tables import all_bits
from tests.rows import some_now

NUM_PLAYERS = 8
NUM_RUNS = 200


def _table() -> np.ndarray:
    """A smooth part that grows with size, and a rough one of all orders."""
    sizes = np.array([bin(index).count("1") for index in range(2**NUM_PLAYERS)])
    return 0.3 * sizes**1.5 + np.random.default_rng(0).normal(size=2**NUM_PLAYERS)


def _game(table: np.ndarray):
    places = jnp.asarray(2 ** np.arange(NUM_PLAYERS), jnp.int32)
    return Game(lambda masks: jnp.asarray(table)[masks.astype(jnp.int32) @ places], NUM_PLAYERS)


def _exact(table: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The definition: derivatives of every group in every context, weighted by the size of the context."""
    n, order = NUM_PLAYERS, NUM_PLAYERS - len(sizes) + 1
    indices = np.arange(2**n)
    found = np.zeros((n,) * order)
    for players in itertools.permutations(range(n), order):
        bits = [1 << player for player in players]
        contexts = indices[(indices & sum(bits)) == 0]
        counts = np.array([bin(context).count("1") for context in contexts])
        weights = sizes[counts] / np.array([math.comb(n - order, count) for count in counts])
        for part in range(order + 1):
            for chosen in itertools.combinations(bits, part):
                found[players] += (-1) ** (order - part) * weights @ table[contexts | sum(chosen)]
    return found


SHAPLEY = {order: sampling.shapley_sizes(NUM_PLAYERS, order) for order in (1, 2)}
BANZHAF = sampling.banzhaf_sizes(NUM_PLAYERS, 2)
TAYLOR = sampling.shapley_taylor_sizes(NUM_PLAYERS, 2)
# name: (constructor of a budget, size probabilities of its target, budget)
ESTIMATORS = {
    "permutation_shapley": (lambda b: sampling.permutation_shapley(NUM_PLAYERS, b), SHAPLEY[1], 150),
    "permutation_pairs": (lambda b: sampling.permutation_pairs(NUM_PLAYERS, b), SHAPLEY[2], 250),
    "permutation_shapley_taylor": (lambda b: sampling.permutation_shapley_taylor(NUM_PLAYERS, b), TAYLOR, 250),
    "stratified_shapley": (lambda b: sampling.stratified(NUM_PLAYERS, b, SHAPLEY[1]), SHAPLEY[1], 120),
    "stratified_pairs": (lambda b: sampling.stratified(NUM_PLAYERS, b, SHAPLEY[2]), SHAPLEY[2], 150),
    "stratified_banzhaf": (lambda b: sampling.stratified(NUM_PLAYERS, b, BANZHAF), BANZHAF, 150),
    "stratified_shapley_taylor": (lambda b: sampling.stratified(NUM_PLAYERS, b, TAYLOR), TAYLOR, 150),
    "regression_shapley": (lambda b: sampling.kernel_regression(NUM_PLAYERS, b, 1), SHAPLEY[1], 120),
    "regression_pairs": (lambda b: sampling.kernel_regression(NUM_PLAYERS, b, 2), SHAPLEY[2], 180),
}


def _entries(array: np.ndarray, order: int) -> np.ndarray:
    if order == 1:
        return array
    return array[..., *np.triu_indices(NUM_PLAYERS, 1)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", some_now(ESTIMATORS, "permutation_shapley", "stratified_pairs", "regression_shapley"))
def test_estimates_scatter_around_exact_values_as_far_as_their_errors_say(name):
    make, sizes, budget = ESTIMATORS[name]
    estimator = make(budget)
    order = NUM_PLAYERS - len(sizes) + 1
    table = _table()
    keys = jax.random.split(jax.random.key(3), NUM_RUNS)
    runs = jax.jit(jax.vmap(lambda key: sampling.estimate(key, estimator, _game(table))))(keys)
    deviations = _entries(np.asarray(runs.values) - _exact(table, sizes), order)
    errors = _entries(np.asarray(runs.standard_error), order)
    assert np.mean(errors > 0) > 0.99  # four blocks may agree
    # Regression is consistent, not unbiased: its bias is a small part of its error.
    bias = deviations.mean(0) / (deviations.std(0) / NUM_RUNS**0.5)
    assert np.abs(bias).max() < (8.0 if name.startswith("regression") else 5.0)
    assert 0.85 < np.sqrt(np.mean(deviations**2) / np.mean(errors**2)) < 1.15
    # Few samples a stratum give z-scores heavier tails than normal; the middle two thirds are within one error.
    # Of the four blocks of permutations that a budget below all coalitions pays for it is the share of Student's t.
    assert (0.57 if name == "permutation_pairs" else 0.60) < np.mean(np.abs(deviations) < errors) < 0.74


@pytest.mark.parametrize("name", ESTIMATORS)
def test_design_keeps_the_budget_and_holds_both_ends(name):
    make, _, budget = ESTIMATORS[name]
    estimator = make(budget)
    masks = np.asarray(jax.jit(estimator.design)(jax.random.key(1)))
    assert masks.shape == (estimator.num_masks, NUM_PLAYERS)
    assert masks.dtype == bool
    assert len(masks) <= budget
    assert not masks[0].any()
    assert masks[1].all()
    with pytest.raises(ValueError, match=r"budget: expected at least .* got 7"):
        make(7)
    with pytest.raises(ValueError, match="game: expected values of shape"):
        estimator.estimate(jnp.asarray(masks), jnp.zeros(3))


@pytest.mark.parametrize("num_players", [9, 30, 301])
@pytest.mark.parametrize("order", [1, 2])
def test_allocation_spends_what_it_is_given(num_players, order):
    budget = 5 * num_players + 100
    allocation = designs.allocate(num_players, budget, order=order)
    distinct_pairs = (2**num_players - 2) // 2
    assert budget - 1 <= allocation.num_masks <= budget or allocation.num_pairs >= distinct_pairs
    assert min(allocation.counts) >= 4
    design = designs.paired_estimator(allocation, lambda pairs: pairs).design
    masks = np.asarray(design(jax.random.key(0)))
    np.testing.assert_array_equal(masks[2 : 2 + allocation.num_pairs].sum(-1), allocation.sizes)
    np.testing.assert_array_equal(~masks[2 : 2 + allocation.num_pairs], masks[2 + allocation.num_pairs :])


@pytest.mark.parametrize("num_players", [3, 4, 7, 10])
def test_zigzag_orders_make_all_pairs_neighbours_equally_often(num_players):
    orders = permutations.zigzag_orders(num_players)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(num_players), orders.shape))
    meetings = np.zeros((num_players, num_players), int)
    np.add.at(meetings, (orders[:, 1:], orders[:, :-1]), 1)
    meetings = meetings + meetings.T
    expected = 1 if num_players % 2 == 0 else 2
    np.testing.assert_array_equal(meetings, expected * (1 - np.eye(num_players, dtype=int)))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [1, 2])
def test_proxy_is_honest_and_better_than_what_it_corrects(order):
    n, budget = 12, 160
    generator = np.random.default_rng(0)
    weights = jnp.asarray(generator.normal(size=n)), jnp.asarray(generator.normal(size=n))

    def play(masks: jax.Array) -> jax.Array:
        held = masks.astype(jnp.float64)
        return 2 * jnp.tanh(held @ weights[0]) + 0.3 * jnp.sin(held @ weights[1])

    game = Game(play, n)
    dividends, masks = np.asarray(harsanyi(game(all_bits(n)))), np.asarray(all_bits(n))
    shares = dividends / np.maximum(masks.sum(1) - order + 1, 1) * (masks.sum(1) >= order)
    held = masks.astype(float)
    exact = shares @ held if order == 1 else (held.T @ (shares[:, None] * held))[np.triu_indices(n, 1)]

    def entries(array: jax.Array) -> np.ndarray:
        return np.asarray(array) if order == 1 else np.asarray(array)[:, *np.triu_indices(n, 1)]

    estimator = sampling.proxy_corrected(n, budget, order)
    plain = sampling.stratified(n, budget, sampling.shapley_sizes(n, order))
    keys = jax.random.split(jax.random.key(5), 20)
    runs = jax.jit(lambda keys: jax.lax.map(lambda key: sampling.estimate(key, estimator, game), keys))(keys)
    plain_runs = jax.jit(lambda keys: jax.lax.map(lambda key: sampling.estimate(key, plain, game), keys))(keys)
    deviations = entries(runs.corrected.values) - exact
    plain_error = np.mean((entries(plain_runs.values) - exact) ** 2)
    assert 0.75 < np.sqrt(np.mean(deviations**2) / np.mean(entries(runs.corrected.standard_error) ** 2)) < 1.35
    assert np.mean(deviations**2) < 0.5 * plain_error
    assert np.mean((entries(runs.shrunk) - exact) ** 2) < 0.5 * plain_error


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_proxy_index_is_that_of_the_proxy():
    # Of a game in the span of the prior the leave-one-out residuals vanish, and index, proxy and exact value agree.
    masks_of_pairs = np.array([[0, 1], [2, 3], [1, 4]])
    estimator = sampling.proxy_corrected(6, 60, 2)
    masks = estimator.design(jax.random.key(0))
    values = masks[:, masks_of_pairs].all(-1).astype(jnp.float64) @ jnp.array([1.0, -2.0, 3.0])
    estimate = jax.jit(estimator.estimate)(masks, values)
    expected = np.zeros((6, 6))
    for (i, j), coefficient in zip(masks_of_pairs, (1.0, -2.0, 3.0), strict=True):
        expected[i, j] = expected[j, i] = coefficient
    np.testing.assert_allclose(estimate.proxy, expected, atol=5e-3)
    np.testing.assert_allclose(estimate.corrected.values, expected, atol=5e-3)


def test_bad_input_is_refused_with_figures():
    with pytest.raises(ValueError, match=r"sizes: expected 8 probabilities .* or 7 .* got shape \(6,\)"):
        sampling.stratified(8, 500, np.full(6, 1 / 6))
    with pytest.raises(ValueError, match="sizes: expected probabilities that sum to one, got a sum of 2"):
        sampling.stratified(8, 500, np.full(8, 1 / 4))
    with pytest.raises(
        ValueError, match="budget: expected at least 4 evaluations for all coalitions of 2 players, got 3"
    ):
        sampling.permutation_shapley(2, 3)
    with pytest.raises(ValueError, match="order: expected at most 2, got 3"):
        sampling.kernel_regression(8, 500, 3)
    with pytest.raises(ValueError, match=r"budget: expected kernels of .* within 1,000 bytes .* got [\d,]+ bytes"):
        sampling.proxy_corrected(10, 500, 1, max_bytes=1000)
    with pytest.raises(ValueError, match="unknowns"):
        sampling.kernel_regression(30, 1000, 2)


@pytest.mark.parametrize(
    ("make", "arguments", "figures"),
    [
        (sampling.kernel_regression, (200, 90_000, 2), "19,900 unknowns"),
        (sampling.permutation_pairs, (1000, 2_100_000), "1,998,002 masks of 1000 players"),
        (sampling.permutation_shapley, (5000, 200_000), "199,962 masks of 5000 players"),
        (sampling.permutation_shapley_taylor, (1000, 1_100_000), "1,001,000 masks of 1000 players"),
    ],
)
def test_memory_is_refused_before_it_is_taken(make, arguments, figures):
    with pytest.raises(
        ValueError, match=rf"budget: .*{figures} within 2,147,483,648 bytes \(max_bytes\), got [\d,]+ b"
    ):
        make(*arguments)


@pytest.mark.slow
def test_the_game_is_played_in_chunks_that_fit():
    estimator = sampling.stratified(8, 100, sampling.shapley_sizes(8, 1))
    estimator = estimator._replace(design=jax.jit(estimator.design), estimate=jax.jit(estimator.estimate))
    batches = []

    def play(masks: jax.Array) -> jax.Array:
        batches.append(len(masks))
        held = masks.astype(jnp.float32)
        return jnp.sum(held * jnp.arange(1, 9, dtype=jnp.float32).reshape(1, -1), axis=-1) + held[:, 0] * held[:, 1]

    key = jax.random.key(0)
    whole = sampling.estimate(key, estimator, Game(play, 8))
    for options, largest in (({"chunk_size": 7}, 7), ({"max_bytes": 2000}, 30), ({"chunk_size": 10**6}, 100)):
        batches.clear()
        # A new function every time, since traces of one that is known are kept.
        found = sampling.estimate(key, estimator, Game(lambda masks: play(masks), 8), **options)
        assert batches[0] == 100  # the first trace asks for the shape alone
        assert 3 < max(batches[1:]) <= largest
        np.testing.assert_allclose(found.values, whole.values, atol=1e-5)
    with pytest.raises(ValueError, match="chunk_size: expected an integer >= 1"):
        sampling.estimate(key, estimator, Game(play, 8), chunk_size=0)
    with pytest.raises(ValueError, match=r"game: expected values of shape \(100,\)"):
        sampling.estimate(key, estimator, Game(lambda masks: masks, 8))
    with pytest.raises(ValueError, match="game: expected the 8 players of the estimator, got 9"):
        sampling.estimate(key, estimator, Game(play, 9))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    estimator = sampling.stratified(8, 100, sampling.shapley_sizes(8, 1))

    def play(masks: jax.Array) -> jax.Array:
        sizes = jnp.sum(masks.astype(jnp.float32), axis=-1)
        return jnp.where(sizes == 8, jnp.asarray(bad, jnp.float32), sizes)

    with pytest.raises(ValueError, match=r"game: expected finite values, got 1 of 100 .* first at mask 1"):
        sampling.estimate(jax.random.key(0), estimator, Game(play, 8))


def test_sizes_are_probabilities_at_any_number_of_players():
    for num_players in (5, 1100):
        for order in (1, 2):
            for sizes_of in (sampling.shapley_sizes, sampling.banzhaf_sizes, sampling.shapley_taylor_sizes):
                sizes = sizes_of(num_players, order)
                assert sizes.shape == (num_players - order + 1,)
                assert sizes.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.usefixtures("x64")
def test_james_stein_lowers_the_mean_squared_error():
    shrink = jax.jit(proxy.james_stein)
    assert shrink(jnp.ones(3), sampling.Estimate(jnp.ones(3), jnp.ones(3))).tolist() == [1.0] * 3
    noise_free = sampling.Estimate(jnp.array([1.0, -2.0, 3.0]), jnp.zeros(3))
    np.testing.assert_array_equal(shrink(jnp.zeros(3), noise_free), noise_free.values)
    # All noise: more than the difference can explain leaves the guess.
    noisy = sampling.Estimate(jnp.array([0.5, 0.5, 0.5]), jnp.ones(3))
    np.testing.assert_array_equal(shrink(jnp.zeros(3), noisy), 0.0)
    # Of unit errors on ten entries with the guess off by one in all, the estimate alone has a risk of 10.
    draws = 1.0 + np.random.default_rng(0).normal(size=(4000, 10))
    shrunk = jax.jit(jax.vmap(lambda row: proxy.james_stein(jnp.zeros(10), sampling.Estimate(row, jnp.ones(10)))))(
        draws
    )
    risks = np.sum((np.asarray(shrunk) - 1) ** 2, axis=1)
    assert risks.mean() + 5 * risks.std() / 4000**0.5 < 8.0
