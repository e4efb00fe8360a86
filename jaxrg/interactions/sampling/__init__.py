"""Sampling estimates of interactions beyond exact n, each with a standard error and a budget that is never exceeded."""

from jaxrg.interactions.sampling.estimators import (
    Estimate,
    Estimator,
    banzhaf_sizes,
    estimate,
    shapley_sizes,
    shapley_taylor_sizes,
)
from jaxrg.interactions.sampling.permutations import permutation_pairs, permutation_shapley, permutation_shapley_taylor
from jaxrg.interactions.sampling.proxy import ProxyEstimate, proxy_corrected
from jaxrg.interactions.sampling.regression import kernel_regression
from jaxrg.interactions.sampling.stratified import stratified

__all__ = [
    "Estimate",
    "Estimator",
    "ProxyEstimate",
    "banzhaf_sizes",
    "estimate",
    "kernel_regression",
    "permutation_pairs",
    "permutation_shapley",
    "permutation_shapley_taylor",
    "proxy_corrected",
    "shapley_sizes",
    "shapley_taylor_sizes",
    "stratified",
]
