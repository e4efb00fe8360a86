"""Interactions between layers, beside plain sums over sets."""

import numpy as np
import pytest

from jaxrg.explain import hidden


def test_changes_add_up_and_are_those_of_each_set():
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, 3, 16)).astype(np.float32)
    found = hidden.interaction_changes(before, after)
    sizes = np.array([state.bit_count() for state in range(16)])
    for order in range(5):
        for table in range(3):
            pairs = [(before[table, s], after[table, s]) for s in np.flatnonzero(sizes == order)]
            kept = sum(min(abs(i), abs(j)) for i, j in pairs if i * j > 0)
            assert found.kept[table, order] == pytest.approx(kept, abs=1e-5)
            assert found.new[table, order] + kept == pytest.approx(sum(abs(j) for _, j in pairs), rel=1e-5)
            assert found.forgotten[table, order] + kept == pytest.approx(sum(abs(i) for i, _ in pairs), rel=1e-5)
    same = hidden.interaction_changes(before, before)
    assert float(abs(same.new).max()) == float(abs(same.forgotten).max()) == 0
    assert float(hidden.interaction_changes(before, -before).kept.max()) == 0


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"after: expected shape \(2, 4\), as of before, got \(4,\)"):
        hidden.interaction_changes(np.ones((2, 4)), np.ones(4))
