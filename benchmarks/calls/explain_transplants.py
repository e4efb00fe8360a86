"""Transfer of layers between networks: transplanted, frozen or trained on."""

import jax
import numpy as np
import optax

from benchmarks.calls import Call

OPTIMIZER = optax.adam(0.1)
LAYERS = {"first": {"bias": 0, "weight": 0}, "last": 1}


def params(seed: int, of: int = 0) -> dict:
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), of), 3)
    weights = [jax.random.normal(key, shape) for key, shape in zip(keys, ((2,), (3, 2), (2,)), strict=True)]
    return {"first": {"bias": weights[0], "weight": weights[1]}, "last": weights[2]}


def layers_of(tree: dict) -> list:
    return [tree["first"], tree["last"]]


def moved(seed: int) -> dict:
    return {"source": params(seed), "target": params(seed, of=1), "layers": LAYERS, "num_layers": seed % 3}


def total(tree: dict, num_frozen: int) -> float:
    return float(np.asarray(tree["last"]).sum()) + num_frozen  # on the host, where it compiles nothing of its own


def studied(seed: int) -> dict:
    sources = {"A": params(seed, of=1), "B": params(seed, of=2), "random": params(seed, of=3)}
    return {"train_fn": total, "start": params(seed), "sources": sources, "layers": LAYERS}


def scores(seed: int) -> dict:
    values = jax.random.normal(jax.random.key(seed), (4, 3))
    return {"values": values, "base": values[:, 0] + 1, "confidence": 0.9 + 0.01 * seed, "num_comparisons": 1 + seed}


CALLS = [
    Call(
        "explain.transplants.freeze_first",
        lambda seed: {"optimizer": OPTIMIZER, "layers": LAYERS, "num_frozen": seed % 3},
    ),
    Call("explain.transplants.layer_numbers", lambda seed: {"params": params(seed), "layers_of": layers_of}),
    Call("explain.transplants.paired_difference", scores),
    Call("explain.transplants.transfer_scores", studied),
    Call("explain.transplants.transplant", moved),
]
