"""Images as samples of a density: dequantisation, likelihood, bits per dimension."""

from jaxrg.flows.images.completion import Completions, complete
from jaxrg.flows.images.decimation import image_decimation
from jaxrg.flows.images.dequantisation import (
    Dequantisation,
    nearest_levels,
    quantised,
    uniform_dequantisation,
    variational_dequantisation,
)
from jaxrg.flows.images.likelihood import (
    BitsPerDimension,
    ImageParams,
    bits_per_dimension,
    image_likelihood,
    peak_signal_to_noise,
)

__all__ = [
    "BitsPerDimension",
    "Completions",
    "Dequantisation",
    "ImageParams",
    "bits_per_dimension",
    "complete",
    "image_decimation",
    "image_likelihood",
    "nearest_levels",
    "peak_signal_to_noise",
    "quantised",
    "uniform_dequantisation",
    "variational_dequantisation",
]
