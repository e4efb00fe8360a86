"""Fourteen attributions, each by its authors' own definition; `explain.reallocations` has them as sums of interactions.

Common arguments: a scalar ``function`` of one input ``[n]``, or the `Layer` list of a network and the index of the
``output`` that is explained; the ``sample`` x ``[n]``; a ``baseline`` b ``[n]``, what an absent input shows, or several
``backgrounds`` ``[num_backgrounds, n]``. All return an `Attribution`: ``values`` ``[n]``, and the ``completeness_gap``
between their sum and the f(x) - f(b) there is to give, f(x) where there is no baseline. Only where a method promises
completeness is the gap an error, of rounding or of quadrature; else it says what the method keeps or gives twice.
ValueError is raised for shapes that do not fit, an ``output`` that is none, and a function of more than one number; a
traced output that is none gives NaN.
"""

from jaxrg.explain.attributions.attribution import Attribution
from jaxrg.explain.attributions.functions import (
    GradCam,
    expected_gradients,
    grad_cam,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    occlusion_patch,
    prediction_difference,
    shapley,
)
from jaxrg.explain.attributions.layers import Layer, forward, identity, linear_layer
from jaxrg.explain.attributions.layerwise import (
    deep_shap,
    deep_taylor,
    deeplift_rescale,
    deeplift_reveal_cancel,
    lrp_alpha_beta,
    lrp_epsilon,
)

__all__ = [
    "Attribution",
    "GradCam",
    "Layer",
    "deep_shap",
    "deep_taylor",
    "deeplift_rescale",
    "deeplift_reveal_cancel",
    "expected_gradients",
    "forward",
    "grad_cam",
    "gradient_times_input",
    "identity",
    "integrated_gradients",
    "linear_layer",
    "lrp_alpha_beta",
    "lrp_epsilon",
    "occlusion",
    "occlusion_patch",
    "prediction_difference",
    "shapley",
]
