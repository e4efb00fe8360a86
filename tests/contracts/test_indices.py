"""Every index through the same contract: its formula by enumeration, the peer, transformations, refusals."""

import functools
import math
import pathlib
import warnings
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapiq import ExactComputer
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier

from jaxrg import interactions, transforms
from jaxrg.interactions import indices
from tests.contracts.skeleton_index import weighted_banzhaf_interactions

ROOT = pathlib.Path(__file__).parents[2]
N, ORDER = 4, 2  # of every row, so that each index is compiled once


class Row(NamedTuple):
    """An index with what is known of it."""

    index: Any
    shares: tuple[float, ...] = ()  # of one player and of a pair in the unanimity game of three players
    is_efficient: bool = False  # the entries sum to v(N)
    is_generalized: bool = False
    has_peer: bool = True
    has_peer_empty_set: bool = True  # shapiq overwrites that of some by v(∅)


# Adding an index is adding a row, under its name in the literature.
INDICES = {
    "SII": Row(indices.shapley_interactions, (1 / 3, 1 / 2), has_peer_empty_set=False),
    "BII": Row(indices.banzhaf_interactions, (1 / 4, 1 / 2), has_peer_empty_set=False),
    "CHII": Row(indices.chaining_interactions, (1 / 3, 2 / 3)),
    "k-SII": Row(indices.k_shapley_interactions, (-1 / 6, 1 / 2), is_efficient=True),
    "STII": Row(indices.shapley_taylor_interactions, (0, 1 / 3), is_efficient=True),
    "FSII": Row(indices.faithful_shapley_interactions, is_efficient=True),
    "FBII": Row(indices.faithful_banzhaf_interactions),
    "kADD-SHAP": Row(indices.k_additive_shapley),
    "Fourier": Row(indices.fourier_coefficients, (1 / 8, 1 / 8), has_peer=False),
    "weighted Banzhaf": Row(weighted_banzhaf_interactions, (1 / 9, 1 / 3), has_peer=False),
    "SGV": Row(indices.shapley_generalized_values, is_generalized=True),
    "BGV": Row(indices.banzhaf_generalized_values, is_generalized=True, has_peer_empty_set=False),
    "CHGV": Row(indices.chaining_generalized_values, is_generalized=True),
    "IGV": Row(indices.internal_generalized_values, is_generalized=True),
    "EGV": Row(indices.external_generalized_values, is_generalized=True),
    "JointSV": Row(indices.joint_shapley_values, is_efficient=True, is_generalized=True),
}
WITHOUT_ROW = {"SV", "BV", "Moebius", "Co-Moebius"}
SKELETONS = {"weighted Banzhaf"}


def random_table(num_players: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2**num_players)


def subsets(num_players: int, order: int) -> list[int]:
    """Subsets of at most ``order`` players as bits, in the order of `subsets_up_to`."""
    rows = [players for size in range(order + 1) for players in combinations(range(num_players), size)]
    return [sum(1 << player for player in players) for players in rows]


def players_of(subset: int) -> tuple[int, ...]:
    return tuple(player for player in range(subset.bit_length()) if subset >> player & 1)


def dividends(table: np.ndarray) -> list[float]:
    size = len(table)
    return [sum((-1) ** (s ^ t).bit_count() * table[t] for t in range(size) if t & s == t) for s in range(size)]


def by_enumeration(row: Row, table: np.ndarray, order: int) -> list[float]:
    """The definition, subset by subset: shares of all dividends above, or what joining adds to every coalition."""
    n, formula, found = len(table).bit_length() - 1, row.index.formula, []
    above = dividends(table)
    for subset in subsets(n, order):
        s = subset.bit_count()
        if row.is_generalized and s == 0:
            found.append(table[0])
        elif row.is_generalized:
            outside = [t for t in range(2**n) if t & subset == 0]
            terms = (float(formula(t.bit_count(), s, n, order)) * (table[t | subset] - table[t]) for t in outside)
            found.append(sum(terms))
        else:
            supersets = [t for t in range(2**n) if t & subset == subset]
            found.append(sum(float(formula(t.bit_count(), s, order)) * above[t] for t in supersets))
    return found


@functools.cache
def exact_computer(num_players: int) -> ExactComputer:
    table, places = random_table(num_players), 1 << np.arange(num_players)
    return ExactComputer(lambda masks: table[masks.astype(np.int64) @ places], num_players)


def assert_equals_peer(found: np.ndarray, name: str, computer: ExactComputer, num_players: int, order: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shapiq warns that CHII(∅) is undefined
        expected = computer(name, order=order)  # type: ignore[arg-type]
    first = 0 if (name in INDICES and INDICES[name].has_peer_empty_set) or name == "Moebius" else 1
    peer = [expected[players_of(subset)] for subset in subsets(num_players, order)[first:]]
    np.testing.assert_allclose(found[-len(peer) :], peer, rtol=0, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("name", INDICES)
def test_an_index_is_its_formula_and_its_peer(x64, name):
    row, table = INDICES[name], random_table(N)
    found = np.asarray(row.index(table, ORDER))  # of NumPy and of JAX alike
    np.testing.assert_allclose(found, by_enumeration(row, table, ORDER), rtol=0, atol=1e-12)
    if row.has_peer:
        assert_equals_peer(found, name, exact_computer(N), N, ORDER)
    if row.is_efficient:
        np.testing.assert_allclose(found.sum(), table[-1], atol=1e-12)
    if row.shares:
        unanimity = np.asarray(row.index(np.array([float(mask & 7 == 7) for mask in range(2**N)]), ORDER))
        for entry, subset in zip(unanimity[1:], subsets(N, ORDER)[1:], strict=True):
            share = 0.0 if subset & 8 else row.shares[subset.bit_count() - 1]
            np.testing.assert_allclose(entry, share, atol=1e-14, err_msg=f"{name} {subset}")


@pytest.mark.parametrize("name", INDICES)
def test_an_index_maps_over_batches_and_is_differentiable(x64, name):
    index, tables = INDICES[name].index, jnp.asarray(np.stack([random_table(N), random_table(N, 1)]))
    matrix = index(jnp.eye(2**N), ORDER)  # linear: a row for every coalition
    weights = jnp.arange(1.0, matrix.shape[1] + 1)
    np.testing.assert_allclose(index(tables[0], ORDER), tables[0] @ matrix, atol=1e-12)
    gradient = jax.jit(jax.vmap(jax.grad(lambda values: index(values, ORDER) @ weights)))(tables)
    np.testing.assert_allclose(gradient, np.broadcast_to(matrix @ weights, gradient.shape), atol=1e-12)


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_, np.float16, list])
def test_an_index_of_other_numbers_is_that_of_their_floats(name, dtype):
    table = random_table(N) > 0 if dtype is np.bool_ else (4 * np.abs(random_table(N))).astype(int)
    given = table.tolist() if dtype is list else table.astype(dtype)
    expected = by_enumeration(INDICES[name], table.astype(float), ORDER)
    np.testing.assert_allclose(INDICES[name].index(given, ORDER), expected, atol=2e-5)


REFUSED = [
    ((jnp.zeros(8), 4), {}, "order: expected at most 3, got 4"),
    ((jnp.zeros(8), 0), {}, "order: expected an integer >= 1, got 0"),
    ((jnp.zeros(7), 1), {}, r"2\*\*n, got 7"),
    ((jnp.zeros(8, jnp.complex64), 1), {}, "values: expected real numbers, got dtype complex64"),
    ((jnp.zeros(()), 1), {}, r"2\*\*n, got one number"),
    ((jnp.zeros(8), 2), {"max_bytes": 100}, r"(100|50) bytes.*needs [\d,]+ bytes"),
]


@pytest.mark.parametrize("function", [*(row.index for row in INDICES.values()), indices.derivative_sums])
def test_bad_input_is_refused_with_figures(function):
    for arguments, options, message in REFUSED:
        with pytest.raises(ValueError, match=message):
            function(*arguments, **options)


@functools.partial(jax.jit, static_argnames="order")
def every_index(values: jax.Array, order: int) -> dict[str, jax.Array]:
    return indices.interaction_indices(values, order) | indices.generalized_values(values, order)


def classifier_table(num_players: int) -> np.ndarray:
    """Log odds of a network on one patient, absent features at their mean."""
    raw, labels = (np.asarray(part) for part in load_breast_cancer(return_X_y=True))
    inputs = ((raw - raw.mean(0)) / raw.std(0))[:, :num_players]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs are enough for a game
        model = MLPClassifier((16,), max_iter=20, random_state=0).fit(inputs, labels)

    def log_odds(masks: np.ndarray) -> np.ndarray:
        log_probabilities = model.predict_log_proba(np.where(masks, inputs[17], 0.0))
        return log_probabilities[:, 1] - log_probabilities[:, 0]

    return interactions.evaluate_on_host(interactions.game(log_odds, num_players))


@pytest.mark.parametrize(("kind", "num_players", "order"), [("random", 5, 3), ("real", 8, 2)])
def test_the_fused_passes_are_the_peers(x64, kind, num_players, order):
    table = random_table(num_players) if kind == "random" else classifier_table(num_players)
    places = 1 << np.arange(num_players)
    computer = ExactComputer(lambda masks: table[masks.astype(np.int64) @ places], num_players)
    found = {name: np.asarray(value) for name, value in every_index(jnp.asarray(table), order).items()}
    assert set(found) == set(INDICES) - SKELETONS | WITHOUT_ROW
    for name in sorted(set(found) - {"Fourier"}):
        assert_equals_peer(found[name], name, computer, num_players, 1 if name in ("SV", "BV") else order)
    for name in set(INDICES) - SKELETONS if kind == "random" else ():
        np.testing.assert_allclose(found[name], by_enumeration(INDICES[name], table, order), atol=1e-12, err_msg=name)
    for name, function in {"SV": interactions.shapley_values, "BV": interactions.banzhaf_values}.items():
        np.testing.assert_allclose(function(table), found[name], atol=1e-12)


def test_float32_keeps_its_dtype_and_its_digits():
    table = random_table(8)  # the shape of the real game
    found = every_index(jnp.asarray(table, jnp.float32), 2)
    with jax.enable_x64(True):
        exact = every_index(jnp.asarray(table), 2)
    for name, value in found.items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, exact[name], atol=1e-5, err_msg=name)


def derivative(table: np.ndarray, subset: int, context: int) -> float:
    parts = [part for part in range(subset + 1) if part & subset == part]
    return sum((-1) ** (subset ^ part).bit_count() * table[context | part] for part in parts)


def test_derivative_sums_by_enumeration(x64):
    table = random_table(5)
    found = np.asarray(indices.derivative_sums(table, 3))
    expected = np.zeros_like(found)
    for row, subset in enumerate(subsets(5, 3)):
        for context in range(32):
            if context & subset == 0:
                expected[row, context.bit_count()] += derivative(table, subset, context)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["FSII", "FBII", "kADD-SHAP"])
def test_indices_of_a_game_of_low_order_are_its_own(x64, name):
    dividend = np.where([subset.bit_count() <= ORDER for subset in range(2**N)], random_table(N), 0.0)
    table = jax.jit(transforms.zeta)(jnp.asarray(dividend))
    rows = subsets(N, ORDER)
    expected = indices.shapley_interactions(table, ORDER) if name == "kADD-SHAP" else dividend[rows]
    np.testing.assert_allclose(INDICES[name].index(table, ORDER)[1:], expected[1:], atol=1e-12)


def test_all_orders_at_once_are_the_full_transforms(x64):
    values = jnp.asarray(random_table(5))
    found = every_index(values, 5)
    order = indices.subset_indices(indices.subsets_up_to(5, 5))
    assert order.tolist() == subsets(5, 5)
    transform = {"Moebius": interactions.harsanyi, "Co-Moebius": interactions.co_moebius, "Fourier": transforms.walsh}
    for name, function in transform.items():
        np.testing.assert_allclose(found[name], np.asarray(function(values))[order], atol=1e-13, err_msg=name)


def test_or_indices_are_those_of_the_absences(x64):
    values, rows = jnp.asarray(random_table(5)), subsets(5, 3)
    found, mirrored = every_index(values, 3), every_index(-jnp.flip(values, -1), 3)
    ors = np.asarray(interactions.harsanyi_or(values))
    sign = (-1.0) ** (indices.subsets_up_to(5, 3).sum(-1) + 1)
    np.testing.assert_allclose(mirrored["Moebius"][1:], ors[rows][1:], atol=1e-13)
    np.testing.assert_allclose(mirrored["SV"], found["SV"], atol=1e-13)
    for name in ("SII", "BII"):
        np.testing.assert_allclose(mirrored[name], sign * found[name], atol=1e-13)
    np.testing.assert_allclose(ors[rows][1:], (sign * found["Co-Moebius"])[1:], atol=1e-13)


def test_multi_order_interactions_by_definition(x64):
    n, table = 5, random_table(5)
    found = np.asarray(interactions.multi_order_interactions(table))
    assert found.shape == (10, 4)
    above = dividends(table)
    for row, (i, j) in enumerate(interactions.pairs(n)):
        pair = 1 << int(i) | 1 << int(j)
        for m in range(n - 1):
            terms = [derivative(table, pair, T) for T in range(32) if T & pair == 0 and T.bit_count() == m]
            np.testing.assert_allclose(found[row, m], np.mean(terms), atol=1e-13)
            # The other published form: dividends of supersets with hypergeometric weights.
            extras = [(S, S.bit_count() - 2) for S in range(32) if S & pair == pair and S.bit_count() - 2 <= m]
            shares = [above[S] * math.comb(3 - k, m - k) / math.comb(3, m) for S, k in extras]
            np.testing.assert_allclose(found[row, m], sum(shares), atol=1e-13)
    np.testing.assert_allclose(found.mean(-1), every_index(jnp.asarray(table), 3)["SII"][6:16], atol=1e-13)


def test_other_bad_input():
    with pytest.raises(ValueError, match="values: expected a game of at least 2 players, got 0"):
        interactions.multi_order_interactions(jnp.zeros(1))
    with pytest.raises(ValueError, match="order: expected at most 0, got 1"):
        indices.shapley_interactions(jnp.zeros(1), 1)
    with pytest.raises(ValueError, match="num_players: expected an integer >= 2, got 1"):
        interactions.pairs(1)
    for call in (interactions.shapley_values, interactions.banzhaf_values):
        assert call(jnp.zeros((3, 1))).shape == (3, 0)  # nobody plays
    with pytest.raises(ValueError, match=r"order 3|at most 3 of 9 players within 100 bytes .* got 1,170 bytes"):
        indices.subsets_up_to(9, 3, max_bytes=100)
