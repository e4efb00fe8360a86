"""Multi-order interactions sampled against their definition, and what the contrast of two contexts measures."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import bottleneck as bn
from jaxrg.interactions import game, multi_order_interactions

NUM_PLAYERS = 6
PLACES = 2 ** np.arange(NUM_PLAYERS)


def table_game(values):
    """The game of a table, looked up by mask."""
    table, places = jnp.asarray(values), jnp.asarray(PLACES, jnp.int32)
    return game(lambda masks: table[jnp.sum(masks.astype(jnp.int32) * places.reshape(1, -1), axis=-1)], NUM_PLAYERS)


def exact_orders(values: np.ndarray) -> np.ndarray:
    """I_ij of every order and pair, ``[n-1, n, n]``, as the definition sums it."""
    n = NUM_PLAYERS
    found = np.zeros((n - 1, n, n))
    for i, j in itertools.permutations(range(n), 2):
        others = [c for c in range(n) if c not in (i, j)]
        for size in range(n - 1):
            contexts = [sum(2**c for c in chosen) for chosen in itertools.combinations(others, size)]
            found[size, i, j] = np.mean(
                [values[s + 2**i + 2**j] - values[s + 2**i] - values[s + 2**j] + values[s] for s in contexts]
            )
    return found


def random_table(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2**NUM_PLAYERS)


@pytest.fixture(scope="module")
def sampled():
    with jax.enable_x64(True):
        values = random_table(0)
        draw = jax.jit(
            lambda key: bn.sample_orders(
                key,
                table_game(values),
                orders=tuple(range(NUM_PLAYERS - 1)),
                num_pairs=40,
                num_contexts=400,
            )
        )
        return jax.device_get(draw(jax.random.key(0))), exact_orders(values)


def test_sampled_orders_agree_within_their_errors(sampled):
    found, exact = sampled
    truth = exact[:, found.pairs[:, 0], found.pairs[:, 1]].T
    inner = slice(1, -1)  # the first and the last order have one context only
    z = ((found.interactions - truth) / np.maximum(found.errors, 1e-300))[:, inner]
    assert np.max(np.abs(z)) < 5
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.2
    for edge in (0, -1):
        np.testing.assert_allclose(found.interactions[:, edge], truth[:, edge], atol=1e-12)
        np.testing.assert_allclose(found.errors[:, edge], 0.0, atol=1e-12)


def test_pairs_are_distinct_and_cover_all_players(sampled):
    found, _ = sampled
    assert np.all(found.pairs[:, 0] != found.pairs[:, 1])
    assert set(np.unique(found.pairs)) == set(range(NUM_PLAYERS))


def test_a_pure_interaction_shows_in_the_orders_that_hold_it():
    """An AND of three players: the pair within it needs the third, a fraction m/(n-2) of the contexts of order m."""
    three = game(lambda masks: masks[:, :3].all(-1).astype(jnp.float32), 6)
    found = jax.jit(lambda key: bn.sample_orders(key, three, orders=(0, 1, 2, 3, 4), num_pairs=30, num_contexts=300))(
        jax.random.key(1)
    )
    inside = np.all(np.asarray(found.pairs) < 3, axis=1)
    assert inside.any()
    assert (~inside).any()
    mean = np.asarray(found.interactions)[inside].mean(0)
    error = np.sqrt(np.mean(np.asarray(found.errors)[inside] ** 2, axis=0) / inside.sum())
    np.testing.assert_allclose(mean, np.arange(5) / 4, atol=float(5 * error.max()))
    assert np.all(np.asarray(found.interactions)[~inside] == 0.0)


def test_curve_is_relative_to_its_mean_over_orders(x64):
    exact = np.stack([exact_orders(random_table(seed)) for seed in range(3)])
    rows, columns = np.nonzero(~np.eye(NUM_PLAYERS, dtype=bool))
    curve = bn.bottleneck_curve(jnp.asarray(np.moveaxis(exact[:, :, rows, columns], 1, 2)))
    strengths = np.abs(exact[:, :, rows, columns]).mean((0, 2))
    np.testing.assert_allclose(curve, strengths / strengths.mean(), rtol=1e-14)
    # The exact index comes in the same layout, with any number of leading axes.
    tables = jnp.stack([jnp.asarray(random_table(seed)) for seed in range(3)])
    for values in (tables, tables[None]):
        indexed = bn.bottleneck_curve(jax.jit(multi_order_interactions)(values))
        np.testing.assert_allclose(indexed, curve, rtol=1e-12)


@pytest.mark.parametrize(("lower", "upper"), [(1, 2), (2, 4), (3, 6), (1, 6), (4, 5)])
def test_contrast_weighs_orders_by_a_tent(lower, upper, x64):
    """The published theorem, over all nested contexts of a random game."""
    values = random_table(2)
    sizes = np.array([index.bit_count() for index in range(2**NUM_PLAYERS)])
    mean_by_size = [values[sizes == size].mean() for size in range(NUM_PLAYERS + 1)]
    expected = bn.order_contrast(
        jnp.asarray(mean_by_size[lower]), jnp.asarray(mean_by_size[upper]), lower=lower, upper=upper
    )
    rows, columns = np.nonzero(~np.eye(NUM_PLAYERS, dtype=bool))
    by_order = exact_orders(values)[:, rows, columns].mean(1)
    orders = np.arange(NUM_PLAYERS - 1)
    weights = np.where(orders <= lower - 2, (orders + 1) * (upper / lower - 1), np.clip(upper - 1 - orders, 0, None))
    total = (1 - upper / lower) * values[0] + weights @ by_order
    assert float(expected) == pytest.approx(total, abs=1e-13)


def test_contexts_are_nested_and_uniform():
    draw = jax.vmap(lambda key: bn.nested_masks(key, 5, lower=2, upper=4))
    smaller, larger = map(np.asarray, jax.jit(lambda key: draw(jax.random.split(key, 3000)))(jax.random.key(0)))
    assert np.all(smaller.sum(-1) == 2)
    assert np.all(larger.sum(-1) == 4)
    assert not np.any(smaller & ~larger)
    np.testing.assert_allclose(smaller.mean(0), 0.4, atol=5 * np.sqrt(0.24 / 3000))


def test_the_loss_and_its_gradient():
    contrast = jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    penalty = jax.jit(bn.penalize_orders)(contrast)
    np.testing.assert_allclose(penalty[1], -np.log(3), rtol=1e-6)  # the least there is
    assert float(penalty[0]) > float(penalty[1])
    gradient = np.asarray(jax.jit(jax.grad(lambda c: jnp.sum(bn.penalize_orders(c))))(contrast))
    assert np.abs(gradient[0]).max() > 0.01
    np.testing.assert_allclose(gradient[1], 0.0, atol=1e-7)


def test_refuses_bad_input():
    key, four = jax.random.key(0), game(lambda masks: jnp.zeros(masks.shape[0]), 4)
    with pytest.raises(ValueError, match=r"orders: expected integers from 0 to 2, got 3"):
        bn.sample_orders(key, four, orders=(3,), num_pairs=1, num_contexts=2)
    with pytest.raises(ValueError, match="num_contexts"):
        bn.sample_orders(key, four, orders=(1,), num_pairs=1, num_contexts=1)
    with pytest.raises(ValueError, match="lower: expected an integer >= 1, got 0"):
        bn.order_contrast(jnp.zeros(3), jnp.zeros(3), lower=0, upper=2)
    with pytest.raises(ValueError, match="got 2 and 5"):
        bn.nested_masks(key, 4, lower=2, upper=5)
    with pytest.raises(ValueError, match="interactions"):
        bn.bottleneck_curve(jnp.zeros(3))
