"""Relevant information: what a coarse variable of a block keeps of its environment, exactly and from samples."""

from jaxrg.rg.information.bounds import conditional_bound, info_nce, smile_bound
from jaxrg.rg.information.learned import LearnedFilter, learn_filter
from jaxrg.rg.information.optimal import OptimalFilter, optimal_filter
from jaxrg.rg.information.strips import column_joint, strip_joint
from jaxrg.rg.information.tables import RelevantFunctions, filter_information, relevant_functions, spin_filter

__all__ = [
    "LearnedFilter",
    "OptimalFilter",
    "RelevantFunctions",
    "column_joint",
    "conditional_bound",
    "filter_information",
    "info_nce",
    "learn_filter",
    "optimal_filter",
    "relevant_functions",
    "smile_bound",
    "spin_filter",
    "strip_joint",
]
