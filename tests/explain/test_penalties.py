"""Penalties on high orders: zero where they should be, unbiased, and differentiable through the transform."""

import functools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import interactions
from jaxrg.explain import penalties
from jaxrg.transforms import walsh

N = 5


def game_of(table):
    """The game of a table; a gather by the index of the mask, so it is differentiable by the table."""
    places = 2 ** jnp.arange(N, dtype=jnp.int32).reshape(1, N)
    return interactions.game(lambda masks: table[jnp.sum(masks.astype(jnp.int32) * places, -1)], N)


@functools.partial(jax.jit, static_argnums=2)
def sampled(keys, table, order):
    return jax.vmap(lambda key: penalties.mixed_difference_penalty(key, game_of(table), order, num_draws=8))(keys)


share_above = jax.jit(penalties.high_order_share, static_argnums=1)


@pytest.mark.parametrize("order", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sampled_penalty_is_unbiased(order):
    table = np.random.default_rng(0).normal(size=2**N)
    draws = sampled(jax.random.split(jax.random.key(1), 3000), jnp.asarray(table, jnp.float32), order)
    coefficients = np.asarray(jax.jit(walsh)(jnp.asarray(table, jnp.float32)), np.float64)
    weights = np.array([comb(int(size), order) for size in np.bitwise_count(np.arange(2**N))]) / comb(N, order)
    exact = 4.0**order * np.sum(weights * coefficients**2)
    error = float(draws.std(ddof=1)) / np.sqrt(3000)
    assert error < 0.03 * exact
    assert abs(float(draws.mean()) - exact) < 5 * error


def test_penalties_vanish_for_low_orders_only():
    # Small integers: every sum is exact.
    dividends = np.random.default_rng(2).integers(-9, 10, 2**N)
    sizes, keys = np.bitwise_count(np.arange(2**N)), jax.random.split(jax.random.key(0), 3000)
    for highest, is_zero in ((1, True), (2, False)):
        low = jnp.asarray(np.where(sizes <= highest, dividends, 0), jnp.float32)
        draws = sampled(keys, jax.jit(interactions.from_harsanyi)(low), 2)
        assert bool((draws == 0).all()) == is_zero
        assert (float(share_above(low, 1)) == 0.0) == is_zero


def test_the_share_is_a_ratio_of_sums_and_ignores_the_scale(x64):
    tables = jax.random.normal(jax.random.key(3), (3, 2, 2**N), jnp.float64)
    strengths = np.abs(np.asarray(tables)).reshape(6, -1)
    sizes = np.bitwise_count(np.arange(2**N))
    expected = strengths[:, sizes > 3].sum() / strengths[:, sizes > 0].sum()
    assert float(share_above(tables, 3)) == pytest.approx(expected, abs=1e-14)
    assert float(share_above(7 * tables, 3)) == pytest.approx(expected, abs=1e-14)


def test_no_interactions_have_no_high_ones():
    value, slope = jax.jit(jax.value_and_grad(penalties.high_order_share), static_argnums=1)(jnp.zeros((2, 2**N)), 2)
    assert float(value) == 0.0
    assert bool(jnp.all(jnp.isfinite(slope)))


def test_descending_the_share_through_the_transform_lowers_it(x64):
    def share(weights):
        game = interactions.game(lambda masks: jnp.tanh(masks.astype(jnp.float64) @ weights).sum(-1), N)
        return penalties.high_order_share(interactions.harsanyi(interactions.evaluate(game)), 2)

    value_and_grad = jax.jit(jax.value_and_grad(share))
    weights = 2 * jax.random.normal(jax.random.key(4), (N, 3), jnp.float64)
    value, gradient = value_and_grad(weights)
    step = 1e-6 * gradient / jnp.linalg.norm(gradient)
    ahead, behind = value_and_grad(weights + step)[0], value_and_grad(weights - step)[0]
    assert float((ahead - behind) / 2e-6) == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-5)
    for _ in range(20):
        weights = weights - 0.5 * value_and_grad(weights)[1]
    assert float(value_and_grad(weights)[0]) < 0.8 * float(value)


def test_bad_input_is_refused():
    game = game_of(jnp.zeros(2**N))
    with pytest.raises(ValueError, match="max_order: expected an order below n = 5, got 5"):
        penalties.high_order_share(jnp.ones(2**N), 5)
    with pytest.raises(ValueError, match="order: expected at most 5, got 6"):
        penalties.mixed_difference_penalty(jax.random.key(0), game, 6)
    with pytest.raises(ValueError, match="num_draws"):
        penalties.mixed_difference_penalty(jax.random.key(0), game, 2, num_draws=0)
