"""Monte Carlo renormalisation: flows of couplings, exponents and critical points from samples, with their errors."""

from jaxrg.rg.monte_carlo.ladders import Blocking, Ladder, ladder
from jaxrg.rg.monte_carlo.linearised import Jacobian, Linearised, jacobian, linearise
from jaxrg.rg.monte_carlo.moments import Measured, Moments, measure, moments

__all__ = [
    "Blocking",
    "Jacobian",
    "Ladder",
    "Linearised",
    "Measured",
    "Moments",
    "jacobian",
    "ladder",
    "linearise",
    "measure",
    "moments",
]
