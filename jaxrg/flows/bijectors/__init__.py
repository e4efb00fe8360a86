"""Invertible maps as pure functions: couplings, splines, convolutions, residual and continuous flows.

Arrays are ``[*event, *lanes]``: what follows the axes of an event are lanes, worked on side by side, with a
log-determinant ``[*lanes]``. Arguments of another shape are refused by a ValueError.
"""

from jaxrg.flows.bijectors.activations import elu
from jaxrg.flows.bijectors.affine import affine_coupling
from jaxrg.flows.bijectors.combinators import chain, invert, joint, repeat
from jaxrg.flows.bijectors.conditioners import Conditioner, perceptron
from jaxrg.flows.bijectors.continuous import continuous
from jaxrg.flows.bijectors.contractions import lipschitz_perceptron, spectral_norm_bound
from jaxrg.flows.bijectors.fixed import fourier_scaling, free_field, haar, logit, squeeze
from jaxrg.flows.bijectors.jacobians import LogDetEstimate, log_det_estimate
from jaxrg.flows.bijectors.linear import ActNorm, Plu, actnorm, actnorm_params, invertible_convolution
from jaxrg.flows.bijectors.parallel import parallel_perceptrons
from jaxrg.flows.bijectors.rearrangements import permutation, split
from jaxrg.flows.bijectors.residual import residual, stochastic_residual
from jaxrg.flows.bijectors.splines import circular_spline_coupling, spline_coupling

__all__ = [
    "ActNorm",
    "Conditioner",
    "LogDetEstimate",
    "Plu",
    "actnorm",
    "actnorm_params",
    "affine_coupling",
    "chain",
    "circular_spline_coupling",
    "continuous",
    "elu",
    "fourier_scaling",
    "free_field",
    "haar",
    "invert",
    "invertible_convolution",
    "joint",
    "lipschitz_perceptron",
    "log_det_estimate",
    "logit",
    "parallel_perceptrons",
    "perceptron",
    "permutation",
    "repeat",
    "residual",
    "spectral_norm_bound",
    "spline_coupling",
    "split",
    "squeeze",
    "stochastic_residual",
]
