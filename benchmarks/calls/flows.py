"""A small hierarchical flow and what one asks of it."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import flows
from jaxrg.flows import bijectors

MASK = np.array([[True, False], [False, True]])
LAYER = bijectors.affine_coupling((2, 2), MASK, bijectors.perceptron((4,)))
FLOW = flows.rg_flow((4, 4), disentangler=LAYER, decimator=LAYER)
PRIOR = flows.gaussian({0: (3, 2, 2), 1: (2, 2)})
IS_MISSING = np.arange(16).reshape(4, 4) == 5


def params(seed: int) -> dict:
    """Parameters of the flow, as no host array is."""
    start = FLOW.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + jnp.float32(0.01 * (seed + 1)), start)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def latents(seed: int, *batch: int) -> dict:
    return {0: normal(seed, *batch, 3, 2, 2), 1: normal(seed + 1, *batch, 2, 2)}


def flow(seed: int) -> dict:
    return {"flow": FLOW, "params": params(seed)}


def missing(seed: int) -> dict:
    found = {"flow": FLOW, "prior": PRIOR, "params": flows.FlowParams(params(seed), ())}
    return found | {"field": normal(seed, 4, 4), "is_missing": IS_MISSING}


def layers(seed: int) -> dict:
    return {"shape": (4, 4), "block": 2, "num_levels": 2, "disentangler": LAYER, "decimator": LAYER}


CALLS = [
    Call("flows.causal_cone", lambda seed: {"flow": FLOW, "sites": IS_MISSING}),
    Call("flows.decode", lambda seed: flow(seed) | {"latents": latents(seed, 3)}),
    Call("flows.encode", lambda seed: flow(seed) | {"fields": normal(seed, 3, 4, 4)}),
    Call("flows.geometry", lambda seed: {"flow": FLOW}),
    Call("flows.inpaint", lambda seed: missing(seed) | {"num_steps": 3 + seed, "learning_rate": 0.1 + 0.1 * seed}),
    Call("flows.latent_shapes", lambda seed: {"flow": FLOW, "shape": (4, 4)}),
    Call("flows.latent_sites", lambda seed: {"sides": (4, 4), "num_levels": 2}),
    Call("flows.level_statistics", lambda seed: {"latents": latents(seed, 5)}),
    Call("flows.missing_sites", missing),
    Call("flows.mix", lambda seed: {"fine": latents(seed), "coarse": latents(seed + 5), "level": 1}),
    Call("flows.receptive_field", lambda seed: {"flow": FLOW, "level": 0}),
    Call("flows.rg_flow", layers),
    Call(
        "flows.sensitivity", lambda seed: flow(seed) | {"latents": latents(seed, 3), "level": 0, "index": (0, 0, seed)}
    ),
    Call(
        "flows.traverse",
        lambda seed: (
            flow(seed) | {"latents": latents(seed), "level": 0, "index": (0, 1, seed), "values": normal(seed, 5)}
        ),
    ),
]
