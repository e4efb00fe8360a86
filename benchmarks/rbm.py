"""Boltzmann machines: speed beside matrix products and other packages, exact fits, samples, likelihoods, filters."""

import importlib
from typing import Any

from benchmarks import rg_information

PARTS = ("speed", "machines", "likelihood")

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of the area."""
    parts = [importlib.import_module(f"benchmarks.rbm_{part}") for part in PARTS]
    records = [record for part in parts for record in part.run(quick=quick)]
    return [*records, *rg_information.strip_percent(quick=quick)]
