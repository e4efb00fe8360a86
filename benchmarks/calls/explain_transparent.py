"""Models that explain themselves: monotone, additive and case-based ones."""

from benchmarks.calls import Call

CALLS: list[Call] = []
