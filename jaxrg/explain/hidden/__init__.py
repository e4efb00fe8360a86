"""Hidden layers of any function: values inside, read and set; derivatives by other rules; pictures and their checks.

A picture of what a network sees is not evidence of what it does: `deconvnet` and `guided_backpropagation` are known to
survive the randomisation of most of a network's weights. `weight_randomization` and `cosine_convergence` show it.
"""

from jaxrg.explain.hidden.derivatives import Rule
from jaxrg.explain.hidden.layers import InteractionChanges, interaction_changes
from jaxrg.explain.hidden.pictures import (
    Strongest,
    deconvnet,
    deconvnet_rule,
    grad_cam,
    gradient_rule,
    guided_backpropagation,
    guided_rule,
    strongest,
    unit,
)
from jaxrg.explain.hidden.sanity import (
    WeightRandomization,
    complexity,
    cosine_convergence,
    rank_correlation,
    smooth,
    weight_randomization,
)
from jaxrg.explain.hidden.taps import Reading, Site, run, split, taps, with_rules

__all__ = [
    "InteractionChanges",
    "Reading",
    "Rule",
    "Site",
    "Strongest",
    "WeightRandomization",
    "complexity",
    "cosine_convergence",
    "deconvnet",
    "deconvnet_rule",
    "grad_cam",
    "gradient_rule",
    "guided_backpropagation",
    "guided_rule",
    "interaction_changes",
    "rank_correlation",
    "run",
    "smooth",
    "split",
    "strongest",
    "taps",
    "unit",
    "weight_randomization",
    "with_rules",
]
