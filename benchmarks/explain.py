"""Hidden layers: taps and pictures, dissection, probes, information, phases and prototypes, each beside a peer."""

import importlib
from typing import Any

PARTS = ("hidden", "dissection", "probes", "information", "phases", "prototypes")

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of the area."""
    parts = [importlib.import_module(f"benchmarks.explain_{part}") for part in PARTS]
    return [record for part in parts for record in part.run(quick=quick)]
