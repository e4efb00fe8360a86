"""The published training on dimers, and what its figure is: InfoNCE of relaxed units on the samples it learns from."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import nets, training
from jaxrg.rg import information

NUM_HIDDEN, BATCH, RATE, SPAN = 2, 500, 9e-3, 20
HOT, COLD, COOLING = 0.75, 0.1, 1e-4  # temperature of the relaxed units and how fast it falls
BLOCKS, RINGS = nets.mlp((32, 32, 32, 8)), nets.mlp((32, 32, 32, 8))
OPTIMIZER = optax.adam(RATE)


class Published(NamedTuple):
    """Nats of one training."""

    trained: float  # on batches it learned from, averaged over the last epochs as published
    held_out: float  # the same network on new coverings
    error: float


def _bound(key: Array, params: dict, number: Array, batch: tuple[Array, Array]) -> Array:
    """InfoNCE of units 1 / (1 + exp(-(Λ v + noise) / T)), with noise of the logistic distribution."""
    blocks, rings = (part.astype(jnp.float32) for part in batch)
    fields = blocks @ params["filter"]
    temperature = jnp.maximum(COLD, HOT * jnp.exp(-COOLING * number))
    units = jax.nn.sigmoid((fields + jax.random.logistic(key, fields.shape)) / temperature)
    scores = BLOCKS.apply(params["blocks"], units) @ RINGS.apply(params["rings"], rings).T
    return information.info_nce(scores, jnp.eye(len(units)) / len(units))


def _loss(key: Array, params: dict, number: Array, batch: tuple[Array, Array]) -> tuple[Array, Array]:
    return -_bound(key, params, number, batch), number + 1


@jax.jit
def _held_out(key: Array, params: dict, number: Array, parts: tuple[Array, Array]) -> Array:
    keys = jax.random.split(key, len(parts[0]))
    return jax.lax.map(lambda given: _bound(given[0], params, number, given[1:]), (keys, *parts))


def published_training(
    key: Array, learned: tuple[np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray], num_epochs: int
) -> Published:
    """Train on blocks and rings of zeros and ones, and look at those held out."""
    filter_key, blocks_key, rings_key, fit_key, look_key = jax.random.split(key, 5)
    params = {
        "filter": 0.05 * jax.random.normal(filter_key, (learned[0].shape[1], NUM_HIDDEN)),
        "blocks": BLOCKS.init(blocks_key, jnp.ones((2, NUM_HIDDEN))),
        "rings": RINGS.init(rings_key, jnp.ones((2, learned[1].shape[1]))),
    }
    run = training.fit(
        fit_key,
        training.stateful_gradient_of(_loss),
        OPTIMIZER,
        params,
        learned,
        aux=jnp.float32(0),
        num_epochs=num_epochs,
        batch_size=BATCH,
    )
    decay = 1 - 2 / (SPAN + 1)
    weights = decay ** np.arange(num_epochs)[::-1]
    trained = -np.average(np.asarray(run.metrics["loss"]), weights=weights)
    parts = tuple(part[: len(part) // BATCH * BATCH].reshape(-1, BATCH, part.shape[1]) for part in new)
    values = np.asarray(_held_out(look_key, run.params, run.aux, parts))
    return Published(float(trained), float(values.mean()), float(values.std() / np.sqrt(len(values) - 1)))


def gaussian_limit(fields: np.ndarray, rings: np.ndarray) -> float:
    """Information of fields ``[samples, fields]`` by least squares from the ring, half of the samples to test."""
    half = len(fields) // 2
    rings = np.concatenate([rings.astype(np.float32), np.ones((len(rings), 1), np.float32)], axis=1)
    weights = np.linalg.lstsq(rings[:half], fields[:half].astype(np.float32), rcond=None)[0]
    rest = fields[half:] - rings[half:] @ weights
    determinant = functools.partial(lambda values: np.linalg.slogdet(np.atleast_2d(np.cov(values.T)))[1])
    return float(0.5 * (determinant(fields[half:]) - determinant(rest)))
