"""Renormalisation in real space, by Monte Carlo, by tensor networks and by information, beside figures and peers."""

import importlib
from typing import Any

PARTS = ("real_space", "monte_carlo", "tensor", "information")

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of the area."""
    parts = [importlib.import_module(f"benchmarks.rg_{part}") for part in PARTS]
    return [record for part in parts for record in part.run(quick=quick)]
