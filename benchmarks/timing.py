"""Wall times of competitors, interleaved so that a noisy machine treats them alike."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

# Threads of OpenMP, of numba and of C, would else spin on after a call and take a core from the next contestant.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def medians(contestants: Mapping[str, Callable[[], Any]], *, repeats: int) -> dict[str, float]:
    """Median seconds of each callable over interleaved repeats, after one call to warm up (and compile)."""
    for call in contestants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def record(
    name: str, value: float, unit: str, *, peer: str | None = None, peer_value: float | None = None, ratio=None
) -> dict[str, Any]:
    """One line of results; a ratio above one means that jaxrg is better."""
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}
