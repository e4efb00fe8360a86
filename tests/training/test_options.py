"""Validation, early stopping, optimisers that ask for the loss, weights, state, and arguments in other forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, tables, training

INPUTS = jax.random.normal(jax.random.key(0), (24, 3))
TARGETS = INPUTS @ jnp.array([1.0, -2.0, 0.5])


def loss_fn(key, params, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ params - targets) ** 2)


GRADIENT_FN = training.gradient_of(loss_fn)
SGD = optax.sgd(0.1)


def train(optimizer=SGD, *, gradient_fn=GRADIENT_FN, params=None, data=(INPUTS, TARGETS), **options):
    params = jnp.zeros(3) if params is None else params
    options = {"num_epochs": 5, "batch_size": 8} | options
    return training.fit(jax.random.key(1), gradient_fn, optimizer, params, data, **options)


def distance(params, aux):
    return {"distance": jnp.max(jnp.abs(params - 1.0))}


def test_validation_is_computed_after_every_epoch_and_callbacks_see_it():
    seen = []
    run = train(validation_fn=distance, on_epoch=lambda run: seen.append(run))
    assert [run.epoch for run in seen] == [1, 2, 3, 4, 5]
    expected = [np.max(np.abs(np.asarray(run.params) - 1)) for run in seen]
    np.testing.assert_allclose(run.validation["distance"], expected, rtol=1e-6)
    np.testing.assert_array_equal(seen[2].metrics["loss"], run.metrics["loss"][:3])
    assert train().validation is None


def test_a_run_stops_early_and_stays_stopped(tmp_path):
    """The distance to a point on the way falls, then grows."""
    halfway = train(num_epochs=3).params
    validation_fn = lambda params, aux: jnp.sum((params - halfway) ** 2)  # noqa: E731
    arguments = {"num_epochs": 50, "checkpoint_dir": tmp_path, "checkpoint_every": 100, "validation_fn": validation_fn}
    stop = training.early_stopping(lambda run: run.validation, patience=2)
    run = train(on_epoch=stop, **arguments)
    assert run.epoch == 5
    again = train(on_epoch=stop, progress=lambda *_: pytest.fail("it was trained on"), **arguments)
    assert again.epoch == 5
    np.testing.assert_array_equal(again.validation, run.validation)
    with pytest.raises(ValueError, match="on_epoch: expected True to stop, False or None, got 3"):
        train(on_epoch=lambda run: 3)


def test_early_stopping_waits_for_a_smaller_value():
    stop = training.early_stopping(lambda values: values, patience=2)
    histories = [[1.0], [1, 2], [1, 2, 3], [3, 2, 1], [1, np.nan, np.nan], [np.nan, np.nan], [1, 1, 1], [2, np.nan, 1]]
    assert [stop(history) for history in histories] == [False, False, True, False, True, False, True, False]
    with pytest.raises(ValueError, match="patience: expected an integer >= 1, got 0"):
        training.early_stopping(lambda values: values, patience=0)


SOLUTION = [1.0, -2.0, 0.5]
WHOLE = {"batch_size": 24, "num_epochs": 8}


def test_optimisers_may_ask_for_value_gradient_and_function():
    np.testing.assert_allclose(train(optax.lbfgs(), **WHOLE).params, SOLUTION, atol=1e-4)
    # A loss that does not fall: the plateau halves the steps after every second of its 15.
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2, cooldown=0)
    flat = training.gradient_of(lambda key, params, batch: 0 * jnp.sum(params))
    run = train(optax.chain(optax.sgd(0.1), plateau), gradient_fn=flat)
    assert float(run.optimizer_state[1].scale) == 0.5**7


@pytest.mark.slow
def test_the_loss_is_found_among_the_metrics_and_in_small_runs_too():
    gradient_fn = lambda key, params, aux, batch: GRADIENT_FN(key, params, aux, batch)  # noqa: E731
    np.testing.assert_allclose(train(optax.lbfgs(), gradient_fn=gradient_fn, **WHOLE).params, SOLUTION, atol=1e-4)
    checkpoints = training.train_checkpoints(
        jax.random.key(0), loss_fn, optax.lbfgs(), jnp.zeros(3), (INPUTS, TARGETS), epochs=(0, 8), batch_size=24
    )
    np.testing.assert_allclose(checkpoints[1], SOLUTION, atol=1e-4)


def test_an_optimiser_that_asks_for_a_loss_is_told_where_there_is_none(tmp_path):
    gradient_fn = lambda key, params, aux, batch: (params, aux, {})  # noqa: E731
    with pytest.raises(ValueError, match="gradient_fn: expected metrics with a 'loss' for an optimizer that asks"):
        train(optax.lbfgs(), gradient_fn=gradient_fn)
    run = train(optax.polyak_sgd(), checkpoint_dir=tmp_path, num_epochs=1)
    np.testing.assert_array_equal(training.load(tmp_path).params, run.params)


def weighted_loss_fn(key, log_odds, batch):
    """Minus the weighted log likelihood of a distribution over four states."""
    states, weights = batch
    return -jnp.mean(weights * jax.nn.log_softmax(log_odds)[states])


def test_weights_stay_right_in_minibatches():
    target = np.array([0.64, 0.3, 0.05, 0.01], np.float32)
    optimizer = optax.sgd(optax.exponential_decay(0.5, 1, 0.996))
    run = train(
        optimizer,
        gradient_fn=training.gradient_of(weighted_loss_fn),
        params=jnp.zeros(4),
        data=jnp.arange(4),
        weights=100 * target,  # of any scale
        num_epochs=1000,
        batch_size=1,
    )
    learned = np.asarray(jax.nn.softmax(run.params))
    assert np.sum(target * np.log(target / learned)) < 1e-3
    for weights in (jnp.ones(3), -jnp.ones(4), jnp.zeros(4), jnp.array([1, jnp.nan, 1, 1])):
        with pytest.raises(ValueError, match="weights: expected"):
            train(data=jnp.arange(4), weights=weights, batch_size=1)


@pytest.mark.slow
def test_a_machine_learns_a_weighted_distribution_in_minibatches():
    states = tables.all_spins(4, jnp.float32)
    energies = 0.5 * np.asarray(jnp.sum(states * jnp.roll(states, 1, axis=1), axis=1))
    target = np.exp(energies) / np.exp(energies).sum()
    run = train(
        optax.adam(optax.exponential_decay(0.03, 100, 0.97)),
        gradient_fn=rbm.likelihood_gradient,
        params=rbm.init(jax.random.key(0), 4, 4, scale=0.3, dtype=jnp.float32),
        data=states,
        weights=target,
        num_epochs=4000,
        batch_size=4,
    )
    learned = np.asarray(rbm.visible_distribution(run.params))
    assert np.sum(target * np.log(target / learned)) < 1e-3


def test_lists_numbers_and_half_precision_are_arrays():
    expected = train(params=np.zeros(3)).params
    lists = (np.asarray(INPUTS).tolist(), np.asarray(TARGETS).tolist())
    np.testing.assert_array_equal(train(params=[0.0, 0.0, 0.0], data=lists).params, expected)
    np.testing.assert_array_equal(
        train(params=[0, 0, 0], data=jax.tree.map(np.asarray, (INPUTS, TARGETS))).params, expected
    )
    half = train(
        params=jnp.zeros(3, jnp.float16), data=jax.tree.map(lambda x: x.astype(jnp.bfloat16), (INPUTS, TARGETS))
    )
    assert half.params.dtype == jnp.float32
    single = train(data=[1.0, 2, 3, 4], gradient_fn=lambda key, params, aux, batch: (params, aux, batch), batch_size=2)
    assert single.metrics.shape == (5, 2)


def test_metrics_may_be_plain_numbers():
    run = train(gradient_fn=lambda key, params, aux, batch: (params, aux, {"rate": 0.5, "on": True, "count": 3}))
    assert {name: values.tolist() for name, values in run.metrics.items()} == {
        "rate": [0.5] * 5,
        "on": [1] * 5,
        "count": [3] * 5,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient_fn": 3}, r"gradient_fn: expected a function of \(key, params, aux, batch\), got 3"),
        ({"gradient_fn": lambda *_: 3}, r"gradient_fn: expected \(gradients, aux, metrics\), got 3"),
        ({"gradient_fn": lambda k, p, a, b: (p[0], a, {})}, r"gradients to stay float32\[3\], got float32\[\]"),
        ({"gradient_fn": lambda k, p, a, b: ({"p": p}, a, {})}, "expected gradients of one structure"),
        ({"gradient_fn": lambda k, p, a, b: (p, b, {})}, "gradient_fn: expected aux of one structure"),
        ({"gradient_fn": lambda k, p, a, b: (p, a, {"x": "good"})}, r"metrics\['x'\]: expected real numbers"),
        ({"gradient_fn": training.gradient_of(lambda k, p, b: p)}, "loss_fn: expected one number, got an array of"),
        ({"optimizer": 0.1}, "optimizer: expected a gradient transformation of optax, got 0.1"),
        ({"params": {}}, "params: expected a pytree of arrays, got a dict without any"),
        ({"params": jnp.ones(3, jnp.complex64)}, "params: expected real numbers, got dtype complex64"),
        ({"data": [[1.0], [1.0, 2.0]]}, "data: expected numbers of one shape, got a ragged list"),
        ({"data": "abc"}, "data: expected real numbers, got 'abc'"),
        ({"validation_fn": 3}, r"validation_fn: expected a function of \(params, aux\), got 3"),
        ({"on_epoch": 3}, "on_epoch: expected a function of a Fit, got 3"),
        ({"run_id": 3}, "run_id: expected a string, got 3"),
        ({"progress": 3}, "progress: expected True, False, None or a function"),
        ({"batch_size": 2.0}, "batch_size: expected an integer >= 1, got 2.0"),
    ],
)
def test_what_is_no_run_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        train(**change)


def test_keys_and_tracers_are_refused():
    with pytest.raises(ValueError, match="key: expected a typed key"):
        training.fit(0, GRADIENT_FN, SGD, jnp.zeros(3), (INPUTS, TARGETS), num_epochs=1, batch_size=8)
    with pytest.raises(ValueError, match="fit: expected arrays with values, got tracers"):
        jax.jit(lambda params: train(params=params))(jnp.zeros(3))


def test_a_loss_in_place_of_its_gradient_is_refused_in_words():
    with pytest.raises(ValueError, match=r"gradient_fn: expected a function of .* such as training\.gradient_of"):
        training.fit(
            jax.random.key(0),
            lambda key, params, batch: jnp.sum(params),
            optax.sgd(0.1),
            jnp.ones(2),
            jnp.ones((4, 2)),
            num_epochs=1,
            batch_size=2,
        )
