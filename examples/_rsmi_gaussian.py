"""What estimators make of Gaussian variables of known information: their caps and their bias."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import nets, training
from jaxrg.rg import information

NUM_DIMENSIONS, CORRELATION = 20, 0.5
EXACT = -0.5 * NUM_DIMENSIONS * float(np.log(1 - CORRELATION**2))
NET = nets.mlp((256, 256, 32))
NUM_NEW = 12_800  # pairs for an estimate
BOUNDS = {"InfoNCE": information.info_nce, "SMILE": information.smile_bound}


class Estimate(NamedTuple):
    """Nats on new pairs."""

    value: float
    error: float


def _pairs(key: Array, size: int) -> tuple[Array, Array]:
    x, noise = jax.random.normal(key, (2, size, NUM_DIMENSIONS))
    return x, CORRELATION * x + np.float32(np.sqrt(1 - CORRELATION**2)) * noise


def _value(bound: Any, size: int, key: Array, params: Any) -> Array:
    x, y = _pairs(key, size)
    return bound(NET.apply(params[0], x) @ NET.apply(params[1], y).T, jnp.eye(size) / size)


def estimate(bound: Any, size: int, num_steps: int) -> Estimate:
    """Of a separable network trained on pairs that are always new."""
    start = tuple(NET.init(key, jnp.ones((2, NUM_DIMENSIONS))) for key in jax.random.split(jax.random.key(0)))
    value = functools.partial(_value, bound, size)
    run = training.fit(
        jax.random.key(1),
        training.gradient_of(lambda key, params, batch: -value(key, params)),
        optax.adam(optax.cosine_decay_schedule(1e-3, num_steps)),
        start,
        num_epochs=1,
        steps_per_epoch=num_steps,
    )
    keys = jax.random.split(jax.random.key(2), NUM_NEW // size)
    values = np.asarray(jax.jit(lambda params: jax.lax.map(lambda key: value(key, params), keys))(run.params))
    return Estimate(float(values.mean()), float(values.std() / np.sqrt(len(values) - 1)))
