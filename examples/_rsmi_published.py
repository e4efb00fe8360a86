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
NUM_LOOKS = 200  # batches of new samples, at most
HOT, COLD, COOLING = 0.75, 0.1, 1e-4  # temperature of the relaxed units and how fast it falls
OPTIMIZER = optax.adam(RATE)


class Critic(NamedTuple):
    """Networks of the units and of the ring, whose outputs are multiplied."""

    units: nets.Net
    rings: nets.Net


SMALL = Critic(nets.mlp((32, 32, 32, 8)), nets.mlp((32, 32, 32, 8)))  # as published
LARGE = Critic(nets.mlp((64, 64, 16)), nets.mlp((128, 128, 16)))


class Published(NamedTuple):
    """Nats of one training."""

    trained: float  # on batches it learned from, averaged over the last epochs as published
    held_out: float  # the same network on new coverings
    error: float


def _bound(critic: Critic, key: Array, params: dict, number: Array, batch: tuple[Array, Array]) -> Array:
    """InfoNCE of units 1 / (1 + exp(-(Λ v + noise) / T)), with noise of the logistic distribution."""
    blocks, rings = (part.astype(jnp.float32) for part in batch)
    fields = blocks @ params["filter"]
    temperature = jnp.maximum(COLD, HOT * jnp.exp(-COOLING * number))
    units = jax.nn.sigmoid((fields + jax.random.logistic(key, fields.shape)) / temperature)
    scores = critic.units.apply(params["units"], units) @ critic.rings.apply(params["rings"], rings).T
    return information.info_nce(scores, jnp.eye(len(units)) / len(units))


def published_training(
    key: Array,
    learned: tuple[np.ndarray, np.ndarray],
    new: tuple[np.ndarray, np.ndarray],
    num_epochs: int,
    *,
    start: np.ndarray | None = None,
    critic: Critic = SMALL,
    optimizer: optax.GradientTransformation = OPTIMIZER,
) -> Published:
    """Train on blocks and rings, and look at new ones; by default as published, which has zeros and ones."""
    filter_key, units_key, rings_key, fit_key, look_key = jax.random.split(key, 5)
    random = 0.05 * jax.random.normal(filter_key, (learned[0].shape[1], NUM_HIDDEN))
    params = {
        "filter": random if start is None else jnp.asarray(start),
        "units": critic.units.init(units_key, jnp.ones((2, NUM_HIDDEN))),
        "rings": critic.rings.init(rings_key, jnp.ones((2, learned[1].shape[1]))),
    }
    bound = functools.partial(_bound, critic)
    run = training.fit(
        fit_key,
        training.stateful_gradient_of(
            lambda key, params, number, batch: (-bound(key, params, number, batch), number + 1)
        ),
        optimizer,
        params,
        learned,
        aux=jnp.float32(0),
        num_epochs=num_epochs,
        batch_size=BATCH,
    )
    decay = 1 - 2 / (SPAN + 1)
    weights = decay ** np.arange(num_epochs)[::-1]
    trained = -np.average(np.asarray(run.metrics["loss"]), weights=weights)
    count = min(len(new[0]) // BATCH, NUM_LOOKS)
    parts = tuple(part[: count * BATCH].reshape(-1, BATCH, part.shape[1]) for part in new)
    keys = jax.random.split(look_key, count)
    look = jax.jit(
        lambda params, *given: jax.lax.map(lambda one: bound(one[0], params, run.aux, one[1:]), (keys, *given))
    )
    values = np.asarray(look(run.params, *parts))
    return Published(float(trained), float(values.mean()), float(values.std() / np.sqrt(max(len(values) - 1, 1))))


def gaussian_limit(fields: np.ndarray, rings: np.ndarray) -> float:
    """Information of fields ``[samples, fields]`` by least squares from the ring, half of the samples to test."""
    half = len(fields) // 2
    rings = np.concatenate([rings.astype(np.float32), np.ones((len(rings), 1), np.float32)], axis=1)
    weights = np.linalg.lstsq(rings[:half], fields[:half].astype(np.float32), rcond=None)[0]
    rest = fields[half:] - rings[half:] @ weights
    determinant = functools.partial(lambda values: np.linalg.slogdet(np.atleast_2d(np.cov(values.T)))[1])
    return float(0.5 * (determinant(fields[half:]) - determinant(rest)))
