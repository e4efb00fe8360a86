"""Network dissection: which concepts single units of a layer detect."""

from jaxrg.explain.dissection.controls import null_p_values, rotation, shuffled_iou
from jaxrg.explain.dissection.overlaps import Dissection, dissect
from jaxrg.explain.dissection.placement import Anchor, receptive_field_anchor, upsample
from jaxrg.explain.dissection.precision import average_precision
from jaxrg.explain.dissection.quantiles import activation_quantiles
from jaxrg.explain.dissection.scores import Detectors, detectors, f1, iou, iou_all_images, iou_touched_images

__all__ = [
    "Anchor",
    "Detectors",
    "Dissection",
    "activation_quantiles",
    "average_precision",
    "detectors",
    "dissect",
    "f1",
    "iou",
    "iou_all_images",
    "iou_touched_images",
    "null_p_values",
    "receptive_field_anchor",
    "rotation",
    "shuffled_iou",
    "upsample",
]
