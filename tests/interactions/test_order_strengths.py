"""Sums and strengths by order against sums written out."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import interactions

strengths_of = jax.jit(interactions.order_strengths)


def sizes(num_players: int) -> np.ndarray:
    return np.bitwise_count(np.arange(2**num_players))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_sums_by_order_are_sums_over_combinations(n):
    values = np.random.default_rng(n).normal(size=(3, 2**n)).astype(np.float32)
    expected = np.zeros((3, n + 1))
    for order in range(n + 1):
        for players in combinations(range(n), order):
            expected[:, order] += values[:, sum(1 << player for player in players)]
    np.testing.assert_allclose(jax.jit(interactions.sum_by_order)(jnp.asarray(values)), expected, atol=1e-5)


def test_strengths_split_by_sign_and_are_differentiable(x64):
    table = jnp.asarray(np.random.default_rng(0).normal(size=(4, 64)))
    strengths = strengths_of(table)
    for order in range(7):
        chosen = np.asarray(table)[:, sizes(6) == order]
        np.testing.assert_allclose(strengths.total[:, order], np.abs(chosen).sum(1), rtol=1e-13)
        np.testing.assert_allclose(strengths.positive[:, order], chosen.clip(0).sum(1), rtol=1e-13)
    np.testing.assert_allclose(strengths.total, strengths.positive + strengths.negative, rtol=1e-15)
    gradient = jax.jit(jax.grad(lambda table: interactions.order_strengths(table).total[..., 3].sum()))(table)
    np.testing.assert_array_equal(gradient, np.sign(table) * (sizes(6) == 3))


def test_what_is_not_a_number_stays_so():
    # I(1) and I(01) hold the missing value, I(0) does not.
    strengths = interactions.order_strengths(interactions.harsanyi(jnp.array([0.0, 1.0, jnp.nan, 3.0])))
    for part in strengths:
        np.testing.assert_array_equal(np.isnan(part), [False, True, True])
    infinite = interactions.order_strengths(jnp.array([0.0, jnp.inf, -1.0, 2.0]))
    np.testing.assert_array_equal(infinite.total, [0.0, np.inf, 2.0])
    np.testing.assert_array_equal(infinite.negative, [0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="interactions: expected numbers, got NaN"):
        interactions.is_salient(jnp.array([0.0, 1.0, jnp.nan, 3.0]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, list])
def test_tables_of_any_kind_are_transformed(dtype):
    table = np.array([1, 2, 3, 8])
    given = table.tolist() if dtype is list else table.astype(dtype)
    assert interactions.harsanyi(given).tolist() == [1, 1, 2, 4]
    assert interactions.harsanyi_or(given).tolist() == [1, 5, 6, -4]
    assert interactions.co_moebius(given).tolist() == [8, 5, 6, 4]
    assert interactions.from_harsanyi(given).tolist() == [1, 3, 4, 14]
    assert interactions.from_harsanyi_or(given).tolist() == [1, 11, 12, 14]
    assert interactions.order_strengths(given).total.tolist() == [1, 5, 8]
    assert interactions.is_salient(given, 0.5).tolist() == [False, False, False, True]


def test_a_game_of_nobody_is_its_constant():
    nobody = interactions.evaluate(interactions.game(lambda masks: jnp.ones(len(masks)), 0))
    assert nobody.tolist() == interactions.harsanyi(nobody).tolist() == interactions.harsanyi_or(nobody).tolist() == [1]
    assert interactions.order_strengths(nobody).total.tolist() == [1]
    assert interactions.and_or.solve(nobody).objective == 1
    assert interactions.label_table(nobody).salient().values.tolist() == []


def test_a_power_of_two_is_asked_for():
    with pytest.raises(ValueError, match=r"length 2\*\*n, got 6"):
        interactions.order_strengths(jnp.zeros(6))
