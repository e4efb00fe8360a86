"""Information inside networks: exact entropies by counting, bounds with noise, and what binning makes of them."""

from benchmarks.calls import Call

CALLS: list[Call] = []
