"""Models that explain themselves: monotone, additive and case-based ones."""

from jaxrg.explain.transparent.additive import ShapeFunctions, additive_network, shape_functions
from jaxrg.explain.transparent.cases import CaseInfo, CaseModel, CaseState, case_sampler
from jaxrg.explain.transparent.monotone import monotone_network

__all__ = [
    "CaseInfo",
    "CaseModel",
    "CaseState",
    "ShapeFunctions",
    "additive_network",
    "case_sampler",
    "monotone_network",
    "shape_functions",
]
