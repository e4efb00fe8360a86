"""Checkpoints against a plain loop, one run against many at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg.training import checkpoints

DATA = (jnp.arange(6.0).reshape(6, 1), 3 * jnp.arange(6.0))


def loss_fn(key, params, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ params - targets) ** 2)


def train(key, params, epochs, batch_size=6):
    return checkpoints.train_checkpoints(
        key, loss_fn, optax.sgd(0.02), params, DATA, epochs=epochs, batch_size=batch_size
    )


def test_whole_batches_follow_gradient_descent():
    runs = jax.jit(lambda key: train(key, jnp.zeros(1), (0, 1, 4)))(jax.random.key(0))
    weight, expected = 0.0, []
    for _ in range(5):
        expected.append(weight)
        weight -= 0.02 * float(np.mean(2 * np.arange(6) ** 2 * (weight - 3)))
    np.testing.assert_allclose(runs[:, 0], [expected[0], expected[1], expected[4]], rtol=1e-5)


def test_what_lies_between_checkpoints_does_not_matter_and_seeds_are_mapped():
    keys = jax.random.split(jax.random.key(1), 2)
    start = jnp.ones(1)
    many = jax.jit(jax.vmap(lambda key: train(key, start, (0, 2, 3, 5), batch_size=2)))(keys)
    few = jax.jit(lambda key: train(key, start, (3, 5), batch_size=2))(keys[1])
    np.testing.assert_allclose(few, many[1, 2:], rtol=1e-6)
    assert float(jnp.max(jnp.abs(many[0, 1:] - many[1, 1:]))) > 0  # batches in another order


def test_epochs_are_spaced_logarithmically():
    epochs = checkpoints.checkpoint_epochs(300, 36)
    assert epochs[:4].tolist() == [0, 1, 2, 3]
    assert epochs[-1] == 300
    assert 28 <= len(epochs) <= 36
    assert np.all(np.diff(epochs) > 0)


def test_bad_input_is_refused():
    for epochs in ((), (1, 1), (-1, 2)):
        with pytest.raises(ValueError, match="epochs: expected increasing numbers"):
            train(jax.random.key(0), jnp.zeros(1), epochs)
    with pytest.raises(ValueError, match="batch_size: expected at most the 6 samples"):
        train(jax.random.key(0), jnp.zeros(1), (1,), batch_size=7)
