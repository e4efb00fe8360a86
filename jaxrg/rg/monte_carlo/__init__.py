"""Monte Carlo renormalisation: flows of couplings, exponents and critical points from samples, with their errors."""

from jaxrg.rg.monte_carlo.biased import BiasedState, biased_heat_bath
from jaxrg.rg.monte_carlo.critical import CriticalManifold, Matching, critical_manifold, match_lattices
from jaxrg.rg.monte_carlo.ladders import Blocking, Ladder, ladder
from jaxrg.rg.monte_carlo.linearised import Jacobian, Linearised, jacobian, linearise
from jaxrg.rg.monte_carlo.moments import Measured, Moments, measure, moments
from jaxrg.rg.monte_carlo.variational import Renormalised, renormalise

__all__ = [
    "BiasedState",
    "Blocking",
    "CriticalManifold",
    "Jacobian",
    "Ladder",
    "Linearised",
    "Matching",
    "Measured",
    "Moments",
    "Renormalised",
    "biased_heat_bath",
    "critical_manifold",
    "jacobian",
    "ladder",
    "linearise",
    "match_lattices",
    "measure",
    "moments",
    "renormalise",
]
