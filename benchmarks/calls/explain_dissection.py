"""Network dissection: which concepts single units of a layer detect."""

from benchmarks.calls import Call

CALLS: list[Call] = []
