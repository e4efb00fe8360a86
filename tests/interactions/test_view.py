"""The labelled view: what it shows, what it merges, and that nothing is lost on the way out and back."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from shapiq import InteractionValues

from jaxrg import interactions
from jaxrg.interactions import and_or, indices, view

NAMES = ("age", "sex", "dose")


def random_values(seed: int = 0, num_players: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2**num_players)


def split(and_, or_) -> and_or.AndOr:
    return and_or.AndOr(and_, or_, *[jnp.zeros(())] * 7)


@pytest.fixture
def labelled(x64) -> view.InteractionView:
    return view.label_table(jnp.asarray(random_values()), names=NAMES)


def test_top_interactions_are_the_strongest_in_order(labelled):
    top = labelled.top(4)
    table = random_values()
    expected = sorted(range(1, 8), key=lambda index: -abs(table[index]))[:4]
    assert indices.subset_indices(top.subsets).tolist() == expected
    np.testing.assert_array_equal(top.values, table[expected])
    assert len(labelled.top(100).values) == 7
    assert labelled.empty_value == table[0]


def test_the_table_names_players_and_shares():
    table = view.label_table(jnp.array([0.5, 1.0, -2.0, 0.0, 0.0, 0.0, 5.0, 0.0]), names=NAMES).table(2)
    head, _, first, second = table.splitlines()
    assert "2 of 7 interactions, total strength 8, empty set 0.5" in head
    assert first.split() == ["2", "5", "62.5%", "{sex,", "dose}"]
    assert second.split() == ["1", "-2", "25.0%", "{sex}"]


def test_and_or_interactions_are_merged_where_they_cannot_be_told_apart(x64):
    game = jnp.asarray(random_values(1))
    part = 0.5 * game + jnp.asarray(random_values(2))
    merged = view.merge_and_or(split(interactions.harsanyi(part), interactions.harsanyi_or(game - part)), names=NAMES)
    assert len(merged.values) == 8 + 4
    assert sorted(set(merged.kinds)) == ["", "AND", "OR"]
    assert [merged.label_of(row) for row in (1, 3, 8)] == ["{age}", "AND(age, sex)", "OR(age, sex)"]
    # The merged interactions still explain every coalition: matching.
    for coalition in range(8):
        players = (coalition >> np.arange(3)) & 1 == 1
        has_all = ~(merged.subsets & ~players).any(-1)
        has_any = (merged.subsets & players).any(-1)
        is_there = np.where(merged.kinds == "OR", has_any, has_all)
        np.testing.assert_allclose(merged.values[is_there].sum(), game[coalition], atol=1e-13)
    # ... and its equal shares are the Shapley values.
    np.testing.assert_allclose(merged.attributions(), interactions.shapley_values(game), atol=1e-13)


def test_order_strengths_are_those_of_the_table(labelled):
    expected = interactions.order_strengths(random_values())
    for found, exact in zip(labelled.order_strengths(), expected, strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-14)


def test_salient_interactions_by_definition(labelled):
    values = random_values()
    table = np.abs(values)
    for fraction in (0.05, 0.5, 1.0):
        expected = np.flatnonzero(table[1:] >= fraction * table[1:].max()) + 1
        assert sorted(indices.subset_indices(labelled.salient(fraction).subsets)) == expected.tolist()
        np.testing.assert_array_equal(np.flatnonzero(view.is_salient(values, fraction)), expected)
    assert len(view.label_table(np.zeros(4)).salient().values) == 0
    assert not view.is_salient(np.zeros(4)).any()


def test_the_salience_threshold_is_traced_batched_and_one_for_a_pair_of_tables():
    first, second = (jnp.asarray([random_values(seed + 2 * row) for row in range(3)], jnp.float32) for seed in (0, 1))
    before = view._is_salient._cache_size()
    low, high = view.is_salient((first, second), 0.05), view.is_salient((first, second), 0.9)
    assert view._is_salient._cache_size() == before + 1
    assert all(jnp.all(some >= few) for some, few in zip(low, high, strict=True))
    together = jnp.concatenate([first, second.at[:, 0].set(0)], axis=-1)
    np.testing.assert_array_equal(jnp.concatenate(high, -1), view.is_salient(together, 0.9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_json_loses_nothing(dtype):
    values = np.array([0.1, -1e-310, 1 / 3, -0.0, np.pi * 1e200, 5e-324, 1.0, 2.0**-149]).clip(-3e38, 3e38)
    original = view.label(values.astype(dtype), indices.subsets_up_to(3, 3), index="SII", names=NAMES)
    original = original._replace(kinds=np.array(["", "AND", "OR", "", "", "", "", ""]))
    back = view.InteractionView.from_json(original.to_json())
    assert back.values.dtype == dtype
    assert back.values.tobytes() == original.values.tobytes()
    np.testing.assert_array_equal(back.subsets, original.subsets)
    np.testing.assert_array_equal(back.kinds, original.kinds)
    assert (back.names, back.index) == (NAMES, "SII")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "3"])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="text: expected what to_json wrote"):
        view.InteractionView.from_json(text)


def test_a_truncated_view_is_refused(labelled):
    with pytest.raises(ValueError, match="text: expected what to_json wrote"):
        view.InteractionView.from_json(labelled.to_json().replace("[0, 1]", "[0, 7]"))


def test_export_to_shapiq(x64, labelled):
    exported = labelled.to_shapiq()
    assert isinstance(exported, InteractionValues)
    assert (exported.index, exported.n_players, exported.max_order) == ("Moebius", 3, 3)
    assert exported.baseline_value == labelled.empty_value
    for row, subset in enumerate(labelled.subsets):
        assert exported[tuple(np.flatnonzero(subset).tolist())] == labelled.values[row]
    values = random_values()[:7]  # as many as there are subsets of at most two
    exported = view.label(values, indices.subsets_up_to(3, 2), index="k-SII", names=NAMES).to_shapiq()
    assert (exported.index, exported.max_order) == ("k-SII", 2)
    assert exported[(0, 2)] == values[5]


def test_export_without_shapiq_says_so(labelled, monkeypatch):
    monkeypatch.setitem(sys.modules, "shapiq", None)
    with pytest.raises(ImportError, match="to_shapiq: expected the package shapiq"):
        labelled.to_shapiq()


def test_or_interactions_have_no_place_in_shapiq():
    table = jnp.ones(8)
    with pytest.raises(ValueError, match="expected no OR interactions, which shapiq cannot express, got 4"):
        view.merge_and_or(split(table, table)).to_shapiq()
    with pytest.raises(ValueError, match=r"expected an index that shapiq knows .* got 'Harsanyi OR'"):
        view.label_table(table, index="Harsanyi OR").to_shapiq()


def test_pairs_are_rows_matrices_tables_and_views_alike():
    n, rows = 5, np.arange(1.0, 11.0, dtype=np.float32)
    matrix = np.zeros((n, n), np.float32)
    table = np.zeros(2**n, np.float32)
    for value, (i, j) in zip(rows, interactions.pairs(n), strict=True):
        matrix[i, j] = matrix[j, i] = table[(1 << int(i)) + (1 << int(j))] = value
    np.testing.assert_array_equal(indices.matrix_of_pairs(rows), matrix)
    np.testing.assert_array_equal(indices.pairs_of_matrix(matrix + np.eye(n, dtype=np.float32)), rows)
    np.testing.assert_array_equal(indices.table_of_pairs(rows), table)
    np.testing.assert_array_equal(indices.pairs_of_table(np.stack([table, -table])), np.stack([rows, -rows]))
    labelled = interactions.label_matrix(matrix, index="SII", names=("a", "$b$", "c", "d", "e"))
    assert labelled.label_of(0) == "{a, $b$}"
    assert labelled.top(1).label_of(0) == "{d, e}"
    np.testing.assert_array_equal(table[indices.subset_indices(labelled.subsets)], labelled.values)
    assert interactions.label_matrix([3.0, 4.0], index="SV").label_of(1) == "{1}"
    with pytest.raises(ValueError, match="matrix: expected a symmetric one"):
        indices.pairs_of_matrix(np.triu(matrix))
    with pytest.raises(ValueError, match=r"values: expected \[..., n \(n - 1\) / 2\].* got shape \(4,\)"):
        indices.matrix_of_pairs(rows[:4])
    with pytest.raises(ValueError, match="finite numbers"):
        interactions.label_matrix([[0.0, np.nan], [np.nan, 0.0]], index="SII")


def test_bad_input_is_refused():
    table, subsets = jnp.ones(8), indices.subsets_up_to(3, 3)
    with pytest.raises(ValueError, match="names: expected 3, one for each player, got 2"):
        view.label_table(table, names=("a", "b"))
    with pytest.raises(ValueError, match=r"values: expected shape \(8,\), one for each subset, got \(4,\)"):
        view.label(table[:4], subsets, index="SII")
    with pytest.raises(ValueError, match="finite numbers, got 1 that are not"):
        view.label_table(table.at[2].set(jnp.nan))
    with pytest.raises(ValueError, match=r"subsets: expected bool\[num, n\], got int"):
        view.label(table, subsets.astype(int), index="SII")
    with pytest.raises(ValueError, match=r"one table \[2\*\*n\], got shape \(1, 8\)"):
        view.label_table(table.reshape(1, 8))
    with pytest.raises(ValueError, match="count: expected an integer >= 1, got 0"):
        view.label_table(table).top(0)
    with pytest.raises(
        ValueError, match=r"interactions: expected at most 2 for tables of .* in 50 bytes, got 3, which needs 56 bytes"
    ):
        view.label_table(table, max_bytes=50)
