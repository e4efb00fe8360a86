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


def test_a_power_of_two_is_asked_for():
    with pytest.raises(ValueError, match=r"length 2\*\*n, got 6"):
        interactions.order_strengths(jnp.zeros(6))
