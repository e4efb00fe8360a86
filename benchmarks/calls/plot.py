"""Figures: drawn by matplotlib on the host; their own tests give them hostile input."""

from jaxrg import plot

CALLS = []
NOT_CALLED = {f"plot.{name}": "a figure, which compiles nothing" for name in plot.__all__}
