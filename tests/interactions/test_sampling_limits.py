"""Sampling at its limits: all coalitions, the smallest budgets, smooth games in both precisions."""

import math
from itertools import combinations, permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.interactions import sampling

SAMPLERS = {
    (1, "stratified"): lambda n, b: sampling.stratified(n, b, sampling.shapley_sizes(n, 1)),
    (2, "stratified"): lambda n, b: sampling.stratified(n, b, sampling.shapley_sizes(n, 2)),
    (1, "regression"): lambda n, b: sampling.kernel_regression(n, b, 1),
    (2, "regression"): lambda n, b: sampling.kernel_regression(n, b, 2),
    (1, "proxy"): lambda n, b: sampling.proxy_corrected(n, b, 1),
    (2, "proxy"): lambda n, b: sampling.proxy_corrected(n, b, 2),
    (1, "permutation"): sampling.permutation_shapley,
    (2, "permutation"): sampling.permutation_pairs,
    (2, "Taylor"): sampling.permutation_shapley_taylor,
}


def by_definition(table: np.ndarray, order: int, name: str) -> np.ndarray:
    """Mean derivatives over contexts, with the share of each size written out."""
    n = len(table).bit_length() - 1
    found = np.zeros((n,) * order)
    for players in combinations(range(n), order):
        subset = sum(1 << player for player in players)
        total = 0.0
        for context in (c for c in range(2**n) if c & subset == 0):
            t = context.bit_count()
            weight = 1 / ((n - order + 1) * math.comb(n - order, t))
            if name == "Taylor":
                weight = order / (n * math.comb(n - 1, t))
            parts = (part for part in range(subset + 1) if part & subset == part)
            total += weight * sum((-1) ** (subset ^ part).bit_count() * table[context | part] for part in parts)
        for place in permutations(players):
            found[place] = total
    return found


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_budget_for_all_coalitions_buys_exact_values_and_no_more(n, kind):
    order, name = kind
    table = np.random.default_rng(n).normal(size=2**n)
    estimator = SAMPLERS[kind](n, 2**n + 48)
    assert estimator.num_masks == 2**n
    masks = np.asarray(estimator.design(jax.random.key(0)))
    assert len(np.unique(masks, axis=0)) == 2**n
    assert not masks[0].any()
    assert masks[1].all()
    found = estimator.estimate(masks, table[masks @ 2 ** np.arange(n)])
    found = found.corrected if name == "proxy" else found
    np.testing.assert_allclose(found.values, by_definition(table, order, name), atol=3e-6)
    np.testing.assert_array_equal(found.standard_error, 0.0)


def test_one_player_has_what_it_brings():
    estimator = sampling.permutation_shapley(1, 2)
    masks = estimator.design(jax.random.key(0))
    assert estimator.estimate(masks, jnp.array([1.0, 4.0])).values.tolist() == [3.0]


@pytest.mark.parametrize(("n", "budget", "order"), [(7, 32, 1), pytest.param(7, 86, 2, marks=pytest.mark.slow)])
def test_a_regression_at_its_smallest_budget_leaves_no_unknown_open(n, budget, order):
    with pytest.raises(ValueError, match=f"budget: expected at least {budget} evaluations"):
        sampling.kernel_regression(n, budget - 1, order)
    estimator = sampling.kernel_regression(n, budget, order)

    def estimate(key: jax.Array) -> sampling.Estimate:
        masks = estimator.design(key)
        return estimator.estimate(masks, jnp.sin(masks.astype(jnp.float32) @ jnp.arange(1.0, n + 1)))

    for part in jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), 1000)):
        assert np.isfinite(part).all()


def test_a_regression_of_a_sum_is_exact_to_rounding():
    weights = np.arange(1.0, 13) / 12
    estimator = sampling.kernel_regression(12, 120, 1)
    masks = np.asarray(estimator.design(jax.random.key(0)))
    found = estimator.estimate(masks, (masks @ weights).astype(np.float32))
    np.testing.assert_allclose(found.values, weights, atol=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(("order", "budget", "largest"), [(1, 60, 0.2), (2, 120, 0.2)])
def test_the_error_of_a_smooth_game_is_what_it_is_said_to_be(order, budget, largest, precision):
    n, num_keys = 12, 60
    weights = np.arange(1.0, n + 1) / n
    with jax.enable_x64(precision is np.float64):
        estimator = sampling.proxy_corrected(n, budget, order)

        def estimate(key: jax.Array) -> sampling.Estimate:
            masks = estimator.design(key)
            return estimator.estimate(masks, (masks.astype(precision) @ jnp.asarray(weights, precision)) ** 2).corrected

        runs = jax.jit(lambda keys: jax.lax.map(estimate, keys))(jax.random.split(jax.random.key(7), num_keys))
        values, errors = (np.asarray(part, float) for part in runs)
    # Of the square of a sum, pairs are twice the products, and players share them with their own squares.
    exact = weights * weights.sum() if order == 1 else 2 * np.outer(weights, weights)
    deviations = values - exact
    if order == 2:
        deviations, errors = (part[:, *np.triu_indices(n, 1)] for part in (deviations, errors))
    assert np.sqrt(np.mean(deviations**2)) < largest
    assert 0.6 < np.mean(np.abs(deviations) < errors) < 0.9
    assert np.mean(np.abs(deviations) < 2 * errors) > 0.88
    assert np.mean((deviations / errors) ** 2) < 1.6


@pytest.mark.slow
def test_in_float32_a_smooth_game_gains_by_its_budget():
    # 20 players: the errors that a fit below its own rounding would make grow with the budget.
    n, weights = 20, np.arange(1.0, 21) / 20
    found = {}
    for budget in (100, 300):
        estimator = sampling.proxy_corrected(n, budget, 1)
        deviations, errors = [], []
        for seed in range(4):
            masks = np.asarray(estimator.design(jax.random.key(seed)))
            estimate = estimator.estimate(masks, ((masks @ weights) ** 2).astype(np.float32)).corrected
            deviations.append(np.asarray(estimate.values) - weights * weights.sum())
            errors.append(np.asarray(estimate.standard_error))
        found[budget] = [np.sqrt(np.mean(np.square(part))) for part in (deviations, errors)]
    assert found[300][0] < 0.1 * found[100][0]
    for true, stated in found.values():
        assert 0.6 < true / stated < 1.4
