"""Reweighting and differentiable expectations: means at other couplings than those sampled, and their derivatives.

One idea serves single histograms, many of them (MBAR) and derivatives by couplings. With samples drawn from a density
whose logarithm, up to a constant, is l, a mean at couplings :math:`\\theta` is

.. math:: \\langle f \\rangle_\\theta = \\frac{\\sum_i f(s_i)\\, w_i(\\theta)}{\\sum_i w_i(\\theta)}, \\qquad
    w_i(\\theta) = e^{-H(s_i; \\theta) - l(s_i)}

which is smooth in :math:`\\theta`. Where all weights are equal, at the couplings sampled, its derivatives are connected
correlations: :math:`\\partial \\langle f \\rangle = -\\langle f; \\partial H \\rangle`, and so on to every order.
"""

from jaxrg.stats.reweighting.ensembles import Ensemble, multiple_histograms, single_histogram
from jaxrg.stats.reweighting.estimates import estimate

__all__ = ["Ensemble", "estimate", "multiple_histograms", "single_histogram"]
