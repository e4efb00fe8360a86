"""Finite-size scaling: fits by least squares, power laws, crossings of curves and data collapse, with errors."""

from jaxrg.stats.scaling.forms import Crossing, collapse, crossing, power_law
from jaxrg.stats.scaling.least_squares import Fit, least_squares

__all__ = ["Crossing", "Fit", "collapse", "crossing", "least_squares", "power_law"]
