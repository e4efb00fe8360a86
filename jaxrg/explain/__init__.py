"""What one asks of networks: attributions, evidence, orders, training dynamics and losses, all from interactions.

Rooms of their own: `attributions` and their `reallocations`, adversarial `perturbations`, the `two_phase` theory, the
representation `bottleneck`; and of hidden layers: taps and pictures (`hidden`), network `dissection`, `transplants` of
layers, linear `probes`, `information`, `prototypes`, and models that are `transparent` by construction.
Arguments of another shape, or outside the range that is given for them, are refused by a ValueError.
"""

from jaxrg.explain import (
    attributions,
    bottleneck,
    dissection,
    hidden,
    information,
    perturbations,
    probes,
    prototypes,
    reallocations,
    transparent,
    transplants,
    two_phase,
)
from jaxrg.explain.ambiguity import Ambiguity, extraction_ambiguity
from jaxrg.explain.evidence import (
    Decomposition,
    MatchingError,
    NullComparison,
    Transfer,
    compare_to_null,
    matching_error,
    random_game,
    reconstruction,
    salient_sets,
    sample_transfer,
    shuffled_within_sizes,
    sorted_strengths,
    sparsity_curve,
)
from jaxrg.explain.noise import (
    MeasuredNoise,
    NoiseFloor,
    measured_noise,
    noise_by_order,
    noise_floor,
    rounding_by_order,
)
from jaxrg.explain.orders import (
    independent_interactions_spectrum,
    independent_outputs_spectrum,
    interactions_of_samples,
    jaccard_by_order,
    mean_normalized,
    mean_order,
)
from jaxrg.explain.penalties import high_order_share, mixed_difference_penalty
from jaxrg.explain.sparsity import SparsityConditions, sparsity_conditions

__all__ = [
    "Ambiguity",
    "Decomposition",
    "MatchingError",
    "MeasuredNoise",
    "NoiseFloor",
    "NullComparison",
    "SparsityConditions",
    "Transfer",
    "attributions",
    "bottleneck",
    "compare_to_null",
    "dissection",
    "extraction_ambiguity",
    "hidden",
    "high_order_share",
    "independent_interactions_spectrum",
    "independent_outputs_spectrum",
    "information",
    "interactions_of_samples",
    "jaccard_by_order",
    "matching_error",
    "mean_normalized",
    "mean_order",
    "measured_noise",
    "mixed_difference_penalty",
    "noise_by_order",
    "noise_floor",
    "perturbations",
    "probes",
    "prototypes",
    "random_game",
    "reallocations",
    "reconstruction",
    "rounding_by_order",
    "salient_sets",
    "sample_transfer",
    "shuffled_within_sizes",
    "sorted_strengths",
    "sparsity_conditions",
    "sparsity_curve",
    "transparent",
    "transplants",
    "two_phase",
]
