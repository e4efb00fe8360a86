"""Hidden layers of any function: values inside, read and set; derivatives by other rules; pictures and their checks.

A picture of what a network sees is not evidence of what it does: `deconvnet` and `guided_backpropagation` are known to
survive the randomisation of most of a network's weights. `weight_randomization` and `cosine_convergence` show it.
"""

from jaxrg.explain.hidden.derivatives import Rule
from jaxrg.explain.hidden.pictures import Strongest, deconvnet, grad_cam, guided_backpropagation, strongest, unit
from jaxrg.explain.hidden.taps import Reading, Site, run, split, taps, with_rules

__all__ = [
    "Reading",
    "Rule",
    "Site",
    "Strongest",
    "deconvnet",
    "grad_cam",
    "guided_backpropagation",
    "run",
    "split",
    "strongest",
    "taps",
    "unit",
    "with_rules",
]
