"""Two-point functions, structure factors and correlation lengths of configurations; improved estimators of clusters."""

from jaxrg.stats.correlations.fourier import second_moment_correlation_length, structure_factor, two_point_function
from jaxrg.stats.correlations.improved import ImprovedEstimators, improved_estimators, improved_two_point_function

__all__ = [
    "ImprovedEstimators",
    "improved_estimators",
    "improved_two_point_function",
    "second_moment_correlation_length",
    "structure_factor",
    "two_point_function",
]
