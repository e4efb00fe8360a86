"""Hidden layers of any function: its values inside, read and set, and its derivatives under other rules."""

from benchmarks.calls import Call

CALLS: list[Call] = []
