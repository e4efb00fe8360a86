"""Fourteen attributions, each by its authors' own definition; `explain.reallocations` has them as sums of interactions.

Common arguments: a scalar ``function`` of one input ``[n]``, or the `Layer` list of a network and the index of the
``output`` that is explained; the ``sample`` x ``[n]``; a ``baseline`` b ``[n]``, what an absent input shows, or several
``backgrounds`` ``[num_backgrounds, n]``. All return ``[n]`` and raise ValueError for shapes that do not fit.
"""

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
