"""Prototypes and criticisms: examples that stand for a data set, and those that these miss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg.explain import prototypes


def points(seed: int, number: int = 9) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (number, 2))


@functools.cache
def embedding(seed: int) -> prototypes.MeanEmbedding:
    return prototypes.mean_embedding(points(seed), prototypes.rbf(0.5 + seed))


def chosen(seed: int) -> dict:
    return {"embedding": embedding(seed), "indices": np.array([3, seed, 7])}


def weighted(seed: int) -> dict:
    return chosen(seed) | {"weights": jnp.array([0.2, 0.3, 0.4 + 0.1 * seed])}


def choice(seed: int) -> dict:
    return {"embedding": embedding(seed), "num_prototypes": 3}


def product(seed: int):
    scale = jnp.float32(1 + seed)
    return lambda x, y: scale * jnp.matmul(x, y.T)


CALLS = [
    Call("explain.prototypes.criticisms", lambda s: weighted(s) | {"num_criticisms": 2, "diversity": 0.5 + s}),
    Call("explain.prototypes.mean_embedding", lambda s: {"points": points(s), "kernel": product(s)}),
    Call("explain.prototypes.median_gamma", lambda s: {"key": jax.random.key(s), "points": points(s), "num_pairs": 64}),
    Call("explain.prototypes.mmd_critic", choice),
    Call("explain.prototypes.mmd_squared", weighted),
    Call("explain.prototypes.nearest_prototype", lambda s: chosen(s) | {"queries": points(s + 2, 5)}),
    Call("explain.prototypes.protodash", choice),
    Call("explain.prototypes.protogreedy", choice),
    Call("explain.prototypes.rbf", lambda s: {"gamma": 0.5 + s}),
    Call("explain.prototypes.swap", lambda s: chosen(s) | {"num_sweeps": 2 + s}),
    Call("explain.prototypes.swap_weighted", lambda s: chosen(s) | {"num_sweeps": 2 + s}),
    Call("explain.prototypes.witness", weighted),
]
