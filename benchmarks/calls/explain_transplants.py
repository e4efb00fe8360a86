"""Transfer of layers between networks: transplanted, frozen or trained on."""

from benchmarks.calls import Call

CALLS: list[Call] = []
