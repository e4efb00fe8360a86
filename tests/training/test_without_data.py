"""Runs without data: resumed bit for bit, known to their folder, and averages of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import training
from jaxrg.store import FolderError

OPTIMIZER = optax.chain(optax.adam(0.1), training.moving_average(0.8))


def gradient_fn(key, params, aux, batch):
    noise = jax.random.normal(key, params.shape)
    return params - 1 + noise, aux + 1, {"loss": jnp.sum(params**2), "noise": noise[0], "has_batch": batch is not None}


def train(folder=None, **changes) -> training.Fit:
    arguments = {"aux": jnp.int32(0), "num_epochs": 4, "steps_per_epoch": 5, "checkpoint_dir": folder} | changes
    return training.fit(jax.random.key(0), gradient_fn, OPTIMIZER, jnp.zeros(2), **arguments)


def test_a_run_without_data_resumes_with_the_same_bits(tmp_path):
    whole = train()
    train(tmp_path, num_epochs=1)
    resumed = train(tmp_path)
    assert int(whole.aux) == 20
    assert not np.any(whole.metrics["has_batch"])
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(whole.metrics["noise"])) == 4  # every epoch draws anew


def test_the_folder_knows_the_steps_of_an_epoch(tmp_path):
    train(tmp_path, num_epochs=1)
    with pytest.raises(FolderError, match="steps_per_epoch"):
        train(tmp_path, steps_per_epoch=6)
    assert int(train(tmp_path, steps_per_epoch=6, num_epochs=2, changed="steps_per_epoch").aux) == 11
    with pytest.raises(ValueError, match="checkpoint_dir"):
        training.fit(
            jax.random.key(0),
            gradient_fn,
            OPTIMIZER,
            jnp.zeros(2),
            jnp.ones(5),
            aux=jnp.int32(0),
            num_epochs=2,
            batch_size=1,
            checkpoint_dir=tmp_path,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps_per_epoch": None}, r"data: expected arrays, or steps_per_epoch for a run without data, got None"),
        ({"steps_per_epoch": 0}, r"steps_per_epoch: expected an integer >= 1, got 0"),
        ({"batch_size": 3}, r"batch_size: expected None without data, got 3"),
        ({"weights": jnp.ones(3)}, r"weights: expected None without data"),
        ({"data": jnp.ones(3)}, r"steps_per_epoch: expected None with data, got 5"),
        ({"data": jnp.ones(3), "steps_per_epoch": None}, r"batch_size: expected an integer >= 1, got None"),
    ],
)
def test_data_and_steps_exclude_each_other(changes, message):
    with pytest.raises(ValueError, match=message):
        train(**changes)


def test_the_moving_average_is_the_exponential_one_without_its_start():
    values = [jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5]), jnp.array([-1.0, 4.0])]
    optimizer = optax.chain(optax.identity(), training.moving_average(0.7))
    state = optimizer.init(jnp.zeros(2))
    for number, (before, after) in enumerate(zip([jnp.zeros(2), *values], values, strict=False), 1):
        _, state = optimizer.update(after - before, state, before)
        weights = 0.7 ** np.arange(number)[::-1]
        exact = weights @ np.stack(values[:number]) / weights.sum()
        np.testing.assert_allclose(training.averaged_params(state), exact, rtol=1e-6)


def test_an_average_is_found_or_missed_in_words():
    with pytest.raises(ValueError, match=r"optimizer_state: expected the state of one moving_average, got 0"):
        training.averaged_params(optax.adam(0.1).init(jnp.zeros(2)))
    with pytest.raises(ValueError, match="decay: expected a number between 0 and 1"):
        training.moving_average(1.0)
    with pytest.raises(ValueError, match="params: expected the parameters"):
        training.moving_average(0.5).update(jnp.zeros(2), training.moving_average(0.5).init(jnp.zeros(2)))
