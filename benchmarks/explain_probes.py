"""Linear probes to a certified optimum, with the controls that say what they prove."""

from typing import Any

Record = dict[str, Any]


def run(*, quick: bool) -> list[Record]:
    """All records of this part."""
    return []
