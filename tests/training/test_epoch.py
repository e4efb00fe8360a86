"""Both kinds of training draw the batches and the keys they have always drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import training

DATA = jnp.arange(7, dtype=jnp.int32)

# Of three epochs of batches of two: the random bits of each step's key, and the rows of its batch.
STEPS_OF_FIT = [
    [198032309, 5, 6],
    [1521227106, 1, 3],
    [164043174, 2, 4],
    [3368940481, 6, 4],
    [3034380403, 2, 3],
    [1289399459, 0, 5],
    [4048822057, 3, 1],
    [1819328126, 4, 6],
    [3813006646, 2, 0],
]
SUMS_OF_CHECKPOINTS = [[0.0, 0.0], [-27941.0, -33035.0], [-73011.0, -71062.0]]


def test_the_stream_of_fit():
    def gradient_fn(key, params, aux, batch):
        seen = jnp.concatenate([jax.random.bits(key, (1,)), batch.astype(jnp.uint32)])
        return jnp.zeros_like(params), jnp.concatenate([aux[1:], seen[None]]), {}

    arguments = {"aux": jnp.zeros((9, 3), jnp.uint32), "num_epochs": 3, "batch_size": 2}
    run = training.fit(jax.random.key(3), gradient_fn, optax.sgd(1.0), jnp.zeros(2), DATA, **arguments)
    assert run.aux.tolist() == STEPS_OF_FIT


def test_the_stream_of_train_checkpoints():
    def loss_fn(key, params, batch):
        # Whole numbers below 2**24 add up without rounding.
        return params @ (jax.random.randint(key, (2,), 0, 2**12) * (batch + 1)).astype(jnp.float32)

    arguments = {"epochs": (0, 1, 3), "batch_size": 2}
    runs = training.train_checkpoints(jax.random.key(3), loss_fn, optax.sgd(1.0), jnp.zeros(2), DATA, **arguments)
    assert np.asarray(runs).tolist() == SUMS_OF_CHECKPOINTS
