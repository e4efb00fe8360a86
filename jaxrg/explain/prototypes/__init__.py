"""Prototypes and criticisms: examples that stand for a data set, and those that these miss.

`mean_embedding` streams once over all pairs of points; what chooses and judges examples takes its result.
"""

from jaxrg.explain.prototypes.criticism import Criticisms, criticisms
from jaxrg.explain.prototypes.embedding import MeanEmbedding, mean_embedding, mmd_squared, nearest_prototype, witness
from jaxrg.explain.prototypes.kernels import median_gamma, rbf
from jaxrg.explain.prototypes.selection import Prototypes, Swapped, mmd_critic, swap
from jaxrg.explain.prototypes.weighted import protodash, protogreedy, swap_weighted

__all__ = [
    "Criticisms",
    "MeanEmbedding",
    "Prototypes",
    "Swapped",
    "criticisms",
    "mean_embedding",
    "median_gamma",
    "mmd_critic",
    "mmd_squared",
    "nearest_prototype",
    "protodash",
    "protogreedy",
    "rbf",
    "swap",
    "swap_weighted",
    "witness",
]
