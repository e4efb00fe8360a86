"""Linear probes to a certified optimum, with the controls that say what they prove."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg.explain import probes

SIZE, WIDTH, NUM_CLASSES = 12, 3, 2


def normal(seed: int, *shape: int, of: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), of), shape)


def labelled(seed: int) -> dict:
    return {"features": normal(seed, SIZE, WIDTH), "labels": np.arange(SIZE) % NUM_CLASSES}


def fitted(seed: int) -> dict:
    return labelled(seed) | {"penalties": np.array([0.5, 0.1 * (seed + 1)], np.float32)}


def with_targets(seed: int) -> dict:
    return {"features": normal(seed, SIZE, WIDTH), "targets": normal(seed, SIZE, 2, of=1)}


def classifiers(seed: int) -> probes.LogisticProbes:
    weights = np.asarray(normal(seed, 1, WIDTH, NUM_CLASSES, of=2), np.float64)
    one = np.ones(1)
    return probes.LogisticProbes(weights, np.zeros((1, NUM_CLASSES)), 0.1 * one, one, 0 * one, np.ones(1, np.int64))


def readers(seed: int) -> probes.RidgeProbes:
    weights, bias = normal(seed, 1, WIDTH, 2, of=2), normal(seed, 1, 2, of=3)
    return probes.RidgeProbes(weights, bias, jnp.ones(1), jnp.zeros(2), jnp.ones((1, 2)))


def moved(seed: int) -> dict:
    weight = normal(seed, WIDTH, 2, of=2)
    return {
        "tail": lambda hidden: jnp.tanh(hidden @ weight),
        "hidden": normal(seed, 4, WIDTH),
        "directions": normal(seed, 2, WIDTH, of=1),
        "amounts": jnp.array([0.5, 1.0 + seed]),
    }


def erased(seed: int) -> dict:
    eraser = probes.Eraser(normal(seed, WIDTH), normal(seed, WIDTH, 1, of=1), normal(seed, WIDTH, 1, of=2))
    return {"eraser": eraser, "hidden": normal(seed, 4, WIDTH, of=3)}


def sent(seed: int) -> dict:
    return {"key": jax.random.key(0)} | fitted(seed)


CALLS = [
    Call("explain.probes.classification_scores", lambda s: {"probes": classifiers(s)} | labelled(s)),
    Call("explain.probes.code_length", sent),
    Call("explain.probes.concept_eraser", with_targets),
    Call(
        "explain.probes.control_labels",
        lambda s: {"key": jax.random.key(s), "labels": np.arange(6) % 3, "types": np.arange(6) // 2 + s},
    ),
    Call("explain.probes.erase", erased),
    Call("explain.probes.intervene", moved),
    Call("explain.probes.logistic_probes", fitted),
    Call(
        "explain.probes.rank_limited_probes",
        lambda s: {"probes": classifiers(s)} | labelled(s) | {"rank": 1},
    ),
    Call("explain.probes.regression_scores", lambda s: {"probes": readers(s)} | with_targets(s)),
    Call(
        "explain.probes.ridge_probes",
        lambda s: with_targets(s) | {"penalties": np.array([0.5, 0.1 * (s + 1)], np.float32)},
    ),
]
