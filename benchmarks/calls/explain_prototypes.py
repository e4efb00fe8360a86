"""Prototypes and criticisms: examples that stand for a data set, and those that these miss."""

from benchmarks.calls import Call

CALLS: list[Call] = []
