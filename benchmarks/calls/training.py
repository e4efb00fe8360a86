"""Training of small linear models."""

import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.calls import Call, call
from jaxrg import training

OPTIMIZER = optax.adam(0.05)


def loss_fn(key, params, batch):
    return jnp.mean((batch.astype(params.dtype) - params) ** 2)


def stateful_loss_fn(key, params, aux, batch):
    return loss_fn(key, params, batch), aux + 1


def problem(seed: int) -> dict[str, Any]:
    numbers = np.random.default_rng(seed)
    data = jnp.asarray(numbers.integers(0, 5, 12).astype(np.float32))
    return {
        "key": jax.random.key(seed),
        "optimizer": OPTIMIZER,
        "params": jnp.float32(numbers.integers(1, 4)),
        "data": data,
        "batch_size": 4,
    }


def fit(seed: int) -> dict[str, Any]:
    gradient_fn = training.stateful_gradient_of(stateful_loss_fn)
    shift = jnp.float32(seed)
    return problem(seed) | {
        "gradient_fn": gradient_fn,
        "aux": jnp.zeros(()),
        "num_epochs": 2,
        "validation_fn": lambda params, aux: {"distance": jnp.abs(params - shift)},
    }


def train_checkpoints(seed: int) -> dict:
    shift = jnp.float32(seed)
    return problem(seed) | {
        "loss_fn": lambda key, params, batch: loss_fn(key, params + shift, batch),
        "epochs": np.array([0, 1 + seed, 3 + seed]),
    }


def folder(seed: int) -> dict:
    place = tempfile.mkdtemp()
    call(training.fit, fit(seed) | {"checkpoint_dir": place})
    return {"folder": place}


def averaged(seed: int) -> dict:
    return {"optimizer_state": training.moving_average(0.9).init(jnp.full(3, seed + 1.0))}


CALLS = [
    Call("training.averaged_params", averaged),
    Call("training.checkpoint_epochs", lambda seed: {"num_epochs": 100 + seed, "num_checkpoints": 6}),
    Call("training.early_stopping", lambda seed: {"values_fn": lambda run: run + seed, "patience": 2}),
    Call("training.fit", fit, sealed=("aux",)),  # keeps the type that the gradient function gives it
    Call("training.gradient_of", lambda seed: {"loss_fn": loss_fn}),
    Call("training.load", folder),
    Call("training.moving_average", lambda seed: {"decay": 0.9 + 0.01 * seed}),
    Call("training.stateful_gradient_of", lambda seed: {"loss_fn": stateful_loss_fn}),
    Call("training.train_checkpoints", train_checkpoints),
]
