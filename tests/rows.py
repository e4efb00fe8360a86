"""Rows of tables that statistical tests go through: a few by default, the others among the slow tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_now(rows: Iterable[Any], *now: Any) -> list[Any]:
    """Parameters of every row; those that are not named are slow."""
    rows = list(rows)
    assert set(now) <= set(rows)
    marked = []
    for row in rows:
        values = row if isinstance(row, tuple) else (row,)
        marked.append(pytest.param(*values, marks=() if row in now else pytest.mark.slow))
    return marked
