"""What one asks of networks: attributions, evidence, orders, training dynamics and losses, all from interactions.

Rooms of their own: `attributions` and their `reallocations`, adversarial `perturbations`, the `two_phase` theory.
Arguments of another shape, or outside the range that is given for them, are refused by a ValueError.
"""

from jaxrg.explain import attributions, perturbations, reallocations, two_phase
from jaxrg.explain.ambiguity import Ambiguity, extraction_ambiguity
from jaxrg.explain.bottleneck import (
    SampledOrders,
    bottleneck_curve,
    nested_masks,
    order_contrast,
    penalize_orders,
    sample_orders,
)
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
    "SampledOrders",
    "SparsityConditions",
    "Transfer",
    "attributions",
    "bottleneck_curve",
    "compare_to_null",
    "extraction_ambiguity",
    "high_order_share",
    "independent_interactions_spectrum",
    "independent_outputs_spectrum",
    "interactions_of_samples",
    "jaccard_by_order",
    "matching_error",
    "mean_normalized",
    "mean_order",
    "measured_noise",
    "mixed_difference_penalty",
    "nested_masks",
    "noise_by_order",
    "noise_floor",
    "order_contrast",
    "penalize_orders",
    "perturbations",
    "random_game",
    "reallocations",
    "reconstruction",
    "rounding_by_order",
    "salient_sets",
    "sample_orders",
    "sample_transfer",
    "shuffled_within_sizes",
    "sorted_strengths",
    "sparsity_conditions",
    "sparsity_curve",
    "two_phase",
]
