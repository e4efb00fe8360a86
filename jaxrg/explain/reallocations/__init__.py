r"""The attributions again, as re-allocations of Taylor or Harsanyi interactions: :math:`a_i = \sum_\kappa w_{i\kappa}
I(\kappa)`.

A method of `explain.attributions` is its table of shares w, which `measured_shares` reads off a method that is known by
its definition only.

Reference:
    Deng et al., IEEE TPAMI 46, 4625 (2024), arXiv:2303.01506.
"""

from jaxrg.explain.reallocations.propagation import reallocate_differences, reallocate_grad_cam, reallocate_relevance
from jaxrg.explain.reallocations.shares import (
    MeasuredShares,
    alpha_beta_shares,
    deep_taylor_shares,
    epsilon_shares,
    first_order_shares,
    fixed_shares,
    gradient_shares,
    integrated_shares,
    measured_shares,
    occlusion_shares,
    patch_shares,
    reallocate,
    reveal_cancel_shares,
    shapley_shares,
)
from jaxrg.explain.reallocations.taylor import TaylorTerms, multi_indices, taylor_terms

__all__ = [
    "MeasuredShares",
    "TaylorTerms",
    "alpha_beta_shares",
    "deep_taylor_shares",
    "epsilon_shares",
    "first_order_shares",
    "fixed_shares",
    "gradient_shares",
    "integrated_shares",
    "measured_shares",
    "multi_indices",
    "occlusion_shares",
    "patch_shares",
    "reallocate",
    "reallocate_differences",
    "reallocate_grad_cam",
    "reallocate_relevance",
    "reveal_cancel_shares",
    "shapley_shares",
    "taylor_terms",
]
