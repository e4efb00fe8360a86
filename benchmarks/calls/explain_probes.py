"""Linear probes to a certified optimum, with the controls that say what they prove."""

from benchmarks.calls import Call

CALLS: list[Call] = []
