"""NaN is not "no interaction", and tables from the host, lists and whole numbers are tables."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import explain, interactions
from jaxrg.explain import perturbations, two_phase

N = 3
TABLE = np.array([0.5, 1.0, -2.0, 0.25, 3.0, 0.0, -0.5, 0.125])
HOLED = np.where(np.arange(8) == 3, np.nan, TABLE)
ZEROS = np.zeros(8)


def decomposition(table):
    return explain.Decomposition(table, ZEROS)


CURVES = {
    "sorted_strengths": lambda table: explain.sorted_strengths(decomposition(table)),
    "sparsity_curve": lambda table: (
        explain.sparsity_curve(TABLE, decomposition(table), np.arange(1, 4)).root_mean_square
    ),
    "matching_error": lambda table: explain.matching_error(TABLE, decomposition(table)).largest,
    "reconstruction": lambda table: explain.reconstruction(decomposition(table))[jnp.array([3, 7])],
    "mean_order": lambda table: explain.mean_order(np.array([0.0, 1.0, table[3], 2.0])),
    "mean_normalized": lambda table: (
        explain.mean_normalized(interactions.OrderStrengths(*np.abs(np.array([table[:4], table[:4], table[:4]])))).total
    ),
    "high_order_share": lambda table: explain.high_order_share(table, 1),
    "bottleneck_curve": lambda table: explain.bottleneck.bottleneck_curve(table.reshape(4, 2)),
    "noise_floor threshold": lambda table: explain.noise_floor(table, 1e-4).threshold,
    "noise_floor median": lambda table: explain.noise_floor(table, 1e-4).median_strength[2],
    "measured_noise": lambda table: explain.measured_noise(table, TABLE).variance,
    "jaccard": lambda table: explain.jaccard_by_order(table, TABLE)[2],
    "sparsity": lambda table: explain.sparsity_conditions(table).num_salient,
    "noisy": lambda table: two_phase.noisy_interactions(table, 0.1),
    "fit": lambda table: two_phase.fit_noise(TABLE, np.array([0, 1, 1, table[3]]), np.full(4, 0.1)).noise_variance,
}


@pytest.mark.parametrize("name", CURVES)
def test_nan_stays_nan(name):
    assert np.isfinite(CURVES[name](TABLE)).all()
    assert np.isnan(CURVES[name](HOLED)).all()


def test_noise_that_is_not_known_may_be_anything():
    floor = explain.noise_floor(HOLED, 1e-12)
    assert np.asarray(floor.is_below).all()
    assert not np.asarray(explain.noise_floor(TABLE, 1e-12).is_below).any()


def test_salient_sets_of_nan_are_refused():
    with pytest.raises(ValueError, match=r"result.and_: expected interactions, got 1 NaN"):
        explain.salient_sets(decomposition(HOLED))


FORMS = {
    "numpy": np.asarray,
    "list": lambda table: np.asarray(table).tolist(),
    "float32": lambda table: jnp.asarray(table, jnp.float32),
    "bfloat16": lambda table: jnp.asarray(table, jnp.bfloat16),
    "int64": lambda table: np.asarray(table).astype(np.int64),
    "int8": lambda table: np.asarray(table).astype(np.int8),
}
WHOLE = np.array([0, 3, -2, 1, 5, 0, -4, 2])  # exact in every form


@pytest.mark.parametrize("form", FORMS)
def test_tables_of_any_kind_are_tables(form):
    """Matching by hand: without its pair {0, 1} and {1, 2}, the game misses what they add to the sets above them."""
    of = FORMS[form]
    values = np.array([sum(int(WHOLE[s]) for s in range(8) if s & t == s) for t in range(8)])
    result = explain.Decomposition(of(WHOLE), of(np.zeros(8)))
    exact = explain.matching_error(of(values), result)
    assert exact.largest.dtype == jnp.float32
    assert float(exact.largest) == 0
    # The strongest three are 5, -4 and 3; -2, 2 and 1 are left out: of {1}, of all, of {0, 1}.
    kept = np.where(np.abs(WHOLE) >= 3, WHOLE, 0)
    missed = np.array([sum(int((WHOLE - kept)[s]) for s in range(8) if s & t == s) for t in range(8)])
    curve = explain.sparsity_curve(of(values), result, [3, 8])
    np.testing.assert_allclose(curve.largest, [np.abs(missed).max(), 0])
    np.testing.assert_allclose(curve.root_mean_square, [np.sqrt(np.mean(missed**2.0)), 0], rtol=1e-6)
    np.testing.assert_array_equal(
        explain.salient_sets(result), np.concatenate([np.abs(WHOLE) > 0, np.zeros(8)]).astype(bool)
    )
    np.testing.assert_array_equal(explain.sorted_strengths(result)[:4], [5, 4, 3, 2])
    np.testing.assert_array_equal(explain.reconstruction(result), values)
    share = (4 + 2 + 1) / (3 + 2 + 5 + 1 + 4 + 2)
    assert float(explain.high_order_share(of(WHOLE), 1)) == pytest.approx(share, rel=1e-6)
    order = ((3 + 2 + 5) + 2 * (1 + 4) + 3 * 2) / 17
    strengths = [0, 10, 5, 2]
    assert float(explain.mean_order(of(strengths))) == pytest.approx(order, rel=1e-6)
    np.testing.assert_allclose(explain.bottleneck.bottleneck_curve(of([[1, -3], [-1, 3]])), [0.5, 1.5])
    # ([[2, 1], [1, 1]] + [[2, 0], [0, 4]]) w = (3, 2)
    np.testing.assert_allclose(two_phase.noisy_interactions(of([1, 1]), 1), [13 / 19, 5 / 19], rtol=1e-5)
    np.testing.assert_allclose(perturbations.adversarial_margin(of([[3, 1, 2], [0, 4, 1]]), [0, 2]), [2 - 3, 4 - 1])


def test_games_of_whole_numbers_and_of_yes_or_no():
    """The pair interactions of "all are there" among three players: 1/2 for each, whatever the answer's type."""
    for kind in (jnp.bool_, jnp.uint8):
        both = interactions.game(lambda masks, kind=kind: masks.all(-1).astype(kind), 3)
        np.testing.assert_allclose(perturbations.player_pair_interactions(both), [0.5, 0.5, 0.5])
        drawn = explain.bottleneck.sample_orders(jax.random.key(0), both, orders=[0, 1], num_pairs=2, num_contexts=4)
        np.testing.assert_array_equal(drawn.interactions, [[0, 1], [0, 1]])
        # The third difference of an AND of three is 1 in any company.
        penalty = explain.mixed_difference_penalty(jax.random.key(0), both, 3, num_draws=2)
        assert float(penalty) == 1


def test_labels_that_are_none_are_refused_or_nan():
    margins = jax.jit(perturbations.adversarial_margin)
    outputs = jnp.array([3.0, 1.0, 2.0])
    for label in (-1, 3):
        with pytest.raises(ValueError, match=f"label: expected integers from 0 to 2, got {label}"):
            perturbations.adversarial_margin(outputs, label)
        assert np.isnan(margins(outputs, label))
    assert float(margins(outputs, 1)) == 2
    model = lambda x: x @ jnp.arange(6.0).reshape(2, 3)  # noqa: E731
    given = {"baseline": np.zeros(2), "assignment": [0, 1]}
    with pytest.raises(ValueError, match="labels: expected integers from 0 to 2, got 3"):
        explain.interactions_of_samples(model, np.ones((2, 2)), [0, 3], **given)
    tables = jax.jit(functools.partial(explain.interactions_of_samples, model, **given))(
        np.ones((2, 2)), jnp.array([0, 3])
    )
    assert np.isfinite(tables[0]).all()
    assert np.isnan(tables[1]).all()
    both = interactions.game(lambda masks: masks.all(-1), 2)
    pairs = jax.jit(lambda players: perturbations.player_pair_interactions(both, players=players))
    np.testing.assert_array_equal(np.isnan(pairs(jnp.array([0, 2, -1]))), [False, True, True])


def test_the_derivative_of_an_exact_match_is_zero():
    """The root of a mean square has none at 0; the smallest is taken."""
    values = np.array([0.0, 1.0, 2.0, 3.0])
    exact = jnp.array([0.0, 1.0, 2.0, 0.0])
    slope = jax.grad(lambda table: explain.matching_error(values, explain.Decomposition(table, jnp.zeros(4))).relative)
    np.testing.assert_array_equal(slope(exact), np.zeros(4))
