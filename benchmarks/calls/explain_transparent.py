"""Models that explain themselves: monotone, additive and case-based ones."""

import jax
import numpy as np

from benchmarks.calls import Call
from jaxrg.explain import transparent


def model(seed: int) -> dict:
    observations = np.array([[0, 1, 1], [1, 0, seed]])
    return {"model": transparent.CaseModel(observations, num_values=2, num_clusters=2, mixing=0.5 + seed)}


def shapes(seed: int) -> dict:
    inputs, background = jax.random.normal(jax.random.key(seed), (2, 4, 3))
    net = transparent.additive_network(3, (4, 2))
    return {"params": net.init(jax.random.key(seed), inputs), "inputs": inputs, "background": background}


CALLS = [
    Call("explain.transparent.additive_network", lambda seed: {"num_features": 3, "widths": (4 + seed, 1)}),
    Call("explain.transparent.case_sampler", model),
    Call("explain.transparent.monotone_network", lambda seed: {"signs": (1, -1, 0), "widths": (4 + seed, 1)}),
    Call("explain.transparent.shape_functions", shapes),
]
