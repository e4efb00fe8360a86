"""Spectra by order against sums written out, closed forms against chance, and checkpoints against one at a time."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import interactions, nets, stats
from jaxrg.explain import orders
from jaxrg.tables import all_bits

jaccard = jax.jit(orders.jaccard_by_order)


def sizes(num_players: int) -> np.ndarray:
    return np.bitwise_count(np.arange(2**num_players))


def test_normalisation_leaves_the_empty_set_out():
    strengths = interactions.OrderStrengths(jnp.array([100.0, 1.0, 3.0]), jnp.array([100.0, 1.0, 0.0]), jnp.zeros(3))
    assert orders.mean_normalized(strengths).total.tolist() == [50.0, 0.5, 1.5]
    assert float(orders.mean_order(strengths.total)) == 1.75


@pytest.mark.parametrize(
    ("closed_form", "transform", "expected"),
    [
        (orders.independent_outputs_spectrum, interactions.harsanyi, [comb(8, k) * 2 ** (k / 2) for k in range(9)]),
        (orders.independent_interactions_spectrum, lambda table: table, [comb(8, k) for k in range(9)]),
    ],
)
def test_spindles_are_those_of_random_games(closed_form, transform, expected):
    spindle = np.asarray(closed_form(8))
    np.testing.assert_allclose(spindle, np.array(expected) / np.mean(expected[1:]), rtol=1e-6)
    # 4,000 Gaussian games: the mean strength of every order within five standard errors.
    draws = jax.random.normal(jax.random.key(0), (4000, 256))
    totals = jax.jit(lambda draws: interactions.order_strengths(transform(draws)).total)(draws)
    scaled = np.asarray(totals) * np.sqrt(np.pi / 2)
    errors = scaled.std(0, ddof=1) / np.sqrt(4000)
    assert np.all(np.abs(scaled.mean(0) - expected) < 5 * errors)
    assert np.all(errors < 0.02 * np.array(expected))


def test_spindles_peak_where_theory_says_and_do_not_overflow():
    n = 1500
    assert np.argmax(orders.independent_outputs_spectrum(n)) / n == pytest.approx(2**0.5 / (1 + 2**0.5), abs=1e-3)
    assert np.argmax(orders.independent_interactions_spectrum(n)) == n // 2
    assert np.all(np.isfinite(orders.independent_outputs_spectrum(n)))


def test_jaccard_by_hand_and_its_bounds(x64):
    first, second = (jnp.asarray(np.random.default_rng(seed).normal(size=32)) for seed in (0, 1))
    measured = jaccard(first, second)
    for order in range(6):
        shared = union = 0.0
        for index in np.flatnonzero(sizes(5) == order):
            a, b = float(first[index]), float(second[index])
            shared += min(abs(a), abs(b)) if a * b > 0 else 0
            union += max(abs(a), abs(b)) if a * b > 0 else abs(a) + abs(b)
        assert float(measured[order]) == pytest.approx(shared / union, abs=1e-14)
    np.testing.assert_allclose(jaccard(second, first), measured, rtol=1e-14)
    np.testing.assert_array_equal(jaccard(first, first), np.ones(6))
    np.testing.assert_array_equal(jaccard(first, -first), np.zeros(6))
    np.testing.assert_allclose(jaccard(first, 2 * first), np.full(6, 0.5), rtol=1e-14)
    with pytest.raises(ValueError, match=r"second: expected the shape \(32,\)"):
        orders.jaccard_by_order(first, second[:16])


@pytest.mark.slow
def test_only_what_random_splits_do_not_lack_transfers():
    """Averages over 60 samples: low orders are shared up to chance, high ones have the opposite sign in the others."""
    keys = jax.random.split(jax.random.key(0), 4)
    shared = jax.random.normal(keys[0], (1, 32))
    private = jnp.where(jnp.asarray(sizes(5)).reshape(1, -1) > 2, -1.0, 1.0) * shared
    first, second = (
        common + 0.3 * jax.random.normal(key, (60, 32))
        for key, common in zip(keys[1:3], (shared, private), strict=True)
    )

    def similarity(first, second):
        return orders.jaccard_by_order(jnp.mean(first, axis=0), jnp.mean(second, axis=0))

    @jax.jit
    def both(first, second):
        return similarity(first, second), stats.permutation_null(keys[3], similarity, first, second)

    value, splits = map(np.asarray, both(first, second))
    assert np.all(np.abs(value - splits.mean(0))[:3] < 5 * splits.std(0)[:3])
    assert np.all(value[3:] < 0.1)
    assert np.all(value[:3] > 0.8)


def test_interactions_of_samples_are_the_games_one_by_one():
    net, assignment = nets.mlp((6, 3)), interactions.features(5)
    inputs = jax.random.normal(jax.random.key(0), (4, 5))
    labels, baseline = jnp.array([0, 2, 1, 1], jnp.int32), jnp.full(5, 0.1)
    params = net.init(jax.random.key(1), inputs)
    options = {"baseline": baseline, "assignment": assignment}

    def tables(params, max_bytes):
        model = lambda batch: net.apply(params, batch)  # noqa: E731
        return orders.interactions_of_samples(model, inputs, labels, **options, max_bytes=max_bytes)

    @jax.jit
    def by_hand(params, sample, label):
        outputs = net.apply(params, jnp.where(all_bits(5), sample.reshape(1, 5), baseline.reshape(1, 5)))
        probability = jax.nn.softmax(outputs)[:, label]
        return interactions.harsanyi(jnp.log(probability) - jnp.log1p(-probability))

    at_once, one_by_one = (jax.jit(tables, static_argnums=1).lower(params, size) for size in (2**31, 12_000))
    assert "while" not in at_once.as_text()
    assert "while" in one_by_one.as_text()
    measured = at_once.compile()(params)
    for row in (1, 3):
        np.testing.assert_allclose(measured[row], by_hand(params, inputs[row], labels[row]), atol=1e-4)
    np.testing.assert_allclose(one_by_one.compile()(params), measured, atol=1e-5)
    with pytest.raises(ValueError, match=r"in 1,023 bytes, got 5, which needs 1,024 bytes"):
        tables(params, 1023)
    with pytest.raises(ValueError, match="labels: expected shape"):
        orders.interactions_of_samples(lambda batch: net.apply(params, batch), inputs, labels[:2], **options)
