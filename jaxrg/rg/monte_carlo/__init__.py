"""Monte Carlo renormalisation: flows of couplings, exponents and critical points from samples, with their errors."""

from jaxrg.rg.monte_carlo.biased import BiasedState, biased_heat_bath
from jaxrg.rg.monte_carlo.covariance import (
    Covariances,
    ScalingDimensions,
    local_operators,
    operator_covariances,
    scaling_dimensions,
)
from jaxrg.rg.monte_carlo.critical import CriticalManifold, MatchedLattices, critical_manifold, match_lattices
from jaxrg.rg.monte_carlo.ladders import Blocking, Ladder, ladder
from jaxrg.rg.monte_carlo.linearised import Jacobian, Linearised, jacobian, linearise
from jaxrg.rg.monte_carlo.moments import Measured, Moments, measure, moments
from jaxrg.rg.monte_carlo.variational import Renormalised, renormalise

__all__ = [
    "BiasedState",
    "Blocking",
    "Covariances",
    "CriticalManifold",
    "Jacobian",
    "Ladder",
    "Linearised",
    "MatchedLattices",
    "Measured",
    "Moments",
    "Renormalised",
    "ScalingDimensions",
    "biased_heat_bath",
    "critical_manifold",
    "jacobian",
    "ladder",
    "linearise",
    "local_operators",
    "match_lattices",
    "measure",
    "moments",
    "operator_covariances",
    "renormalise",
    "scaling_dimensions",
]
