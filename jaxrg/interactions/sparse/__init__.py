"""Functions of up to a thousand players with few Fourier or Möbius coefficients, recovered from few values."""

from jaxrg.interactions.sparse.lasso import recover_low_degree
from jaxrg.interactions.sparse.moebius import recover_moebius
from jaxrg.interactions.sparse.terms import (
    SparseFit,
    Terms,
    conjunction_interactions,
    conjunction_values,
    fourier_from_moebius,
    fourier_interactions,
    fourier_values,
    moebius_from_fourier,
)
from jaxrg.interactions.sparse.walsh import WalshDesign, recover_walsh, walsh_design

__all__ = [
    "SparseFit",
    "Terms",
    "WalshDesign",
    "conjunction_interactions",
    "conjunction_values",
    "fourier_from_moebius",
    "fourier_interactions",
    "fourier_values",
    "moebius_from_fourier",
    "recover_low_degree",
    "recover_moebius",
    "recover_walsh",
    "walsh_design",
]
