"""Transfer of layers between networks: transplanted, frozen or trained on."""

from jaxrg.explain.transplants.layers import freeze_first, layer_numbers, transplant
from jaxrg.explain.transplants.study import (
    TREATMENTS,
    PairedDifference,
    Treatment,
    paired_difference,
    transfer_scores,
)

__all__ = [
    "TREATMENTS",
    "PairedDifference",
    "Treatment",
    "freeze_first",
    "layer_numbers",
    "paired_difference",
    "transfer_scores",
    "transplant",
]
