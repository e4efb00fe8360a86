"""Boltzmann machines: speed beside their matrix products and other packages, exact fits, samples, likelihoods."""

import importlib
from typing import Any

PARTS = ("speed", "machines", "likelihood")

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of the area."""
    parts = [importlib.import_module(f"benchmarks.rbm_{part}") for part in PARTS]
    return [record for part in parts for record in part.run(quick=quick)]
