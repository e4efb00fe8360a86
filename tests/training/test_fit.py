"""The training loop: exact resumption, refusals, failures, no recompilation, and a machine trained to its optimum."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, training
from jaxrg.store import FolderError
from jaxrg.tables import all_spins

OPTIMIZER = optax.sgd(0.05, momentum=0.9)
NUM_EPOCHS, BATCH_SIZE = 6, 8


def problem():
    """A machine with persistent chains, so that parameters, optimiser and aux all have to come back."""
    data = jnp.where(jax.random.bernoulli(jax.random.key(0), 0.7, (45, 6)), 1, -1).astype(jnp.int8)
    machine = rbm.init(jax.random.key(1), 6, 4, scale=0.3, dtype=jnp.float32)
    return machine, data, rbm.persistent_chains(jax.random.key(2), machine, 5)


def train(checkpoint_dir=None, *, num_epochs: int = NUM_EPOCHS, key: int = 3, **changes) -> training.Fit:
    machine, data, chains = problem()
    gradient_fn = rbm.persistent_contrastive_divergence_gradient(num_steps=2)
    arguments = {"params": machine, "data": data, "aux": chains, "batch_size": BATCH_SIZE, "optimizer": OPTIMIZER}
    arguments |= {"gradient_fn": gradient_fn, "num_epochs": num_epochs, "checkpoint_dir": checkpoint_dir}
    return training.fit(jax.random.key(key), **(arguments | changes))


def assert_same_bits(one: training.Fit, other: training.Fit) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        first, second = np.asarray(first), np.asarray(second)
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes()


@pytest.fixture(scope="module")
def uninterrupted() -> training.Fit:
    return train()


def test_a_resumed_run_ends_with_the_same_bits(tmp_path, uninterrupted):
    train(tmp_path, num_epochs=2)
    seen = []
    resumed = train(tmp_path, progress=lambda done, total, _: seen.append((done, total)), checkpoint_every=3)
    assert seen == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert_same_bits(resumed, uninterrupted)
    finished = train(tmp_path, progress=lambda *_: pytest.fail("nothing was left to do"))
    assert_same_bits(finished, uninterrupted)
    with pytest.raises(ValueError, match=r"num_epochs: expected at least 6, the epochs already in the folder, got 4"):
        train(tmp_path, num_epochs=4)


def test_an_interruption_from_outside_loses_at_most_the_epochs_since_the_checkpoint(tmp_path, uninterrupted):
    def stop(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, checkpoint_every=2, progress=stop)
    seen = []
    resumed = train(tmp_path, checkpoint_every=2, progress=lambda done, *_: seen.append(done))
    assert seen == [5, 6]
    assert_same_bits(resumed, uninterrupted)


KILLED = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from test_fit import train
train(sys.argv[2], num_epochs=100_000, progress=lambda done, *_: print(done, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [1, 7])
def test_a_process_killed_at_any_moment_resumes_bit_for_bit(tmp_path, kill_at):
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == kill_at:
                os.kill(process.pid, signal.SIGKILL)  # somewhere in the next epoch, or in its checkpoint
                break
    assert process.returncode == -signal.SIGKILL
    seen = []
    resumed = train(tmp_path / "run", num_epochs=kill_at + 4, progress=lambda done, *_: seen.append(done))
    assert seen[0] > kill_at  # nothing that was reported is lost
    assert_same_bits(resumed, train(num_epochs=kill_at + 4))


def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path):
    machine, data, chains = problem()
    train(tmp_path, num_epochs=1, run_id="first")
    contents = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    others = {
        "batch_size": {"batch_size": 9},
        "run_id": {"run_id": "second"},
        "key": {"key": 4},
        "params.weights": {"params": rbm.init(jax.random.key(1), 6, 5, dtype=jnp.float32)},
        "params.hidden_bias": {"params": machine._replace(hidden_bias=machine.hidden_bias + 1)},
        "aux": {"aux": chains[::-1]},
        "data": {"data": data[::-1]},
        "program of optimizer": {"optimizer": optax.sgd(0.06, momentum=0.9)},
        "program of gradient_fn": {"gradient_fn": rbm.persistent_contrastive_divergence_gradient(num_steps=3)},
    }
    others["params.weights"]["aux"] = jnp.ones((5, 5), jnp.int8)
    for name, change in others.items():
        with pytest.raises(FolderError, match=f"checkpoint_dir: expected a run with {name} .*nothing was written"):
            train(tmp_path, num_epochs=2, **({"run_id": "first"} | change))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == contents
    assert train(tmp_path, num_epochs=2, run_id="first").epoch == 2


def drifting_gradient(key, params, aux, batch):
    """Infinite once the third epoch of five steps begins."""
    value = jnp.where(aux >= 10, jnp.inf, 1.0)
    return value * jnp.ones_like(params), aux + 1, {"loss": jnp.float32(0)}


def test_a_gradient_that_is_not_finite_is_an_error_that_loses_nothing(tmp_path):
    arguments = {"aux": jnp.int32(0), "num_epochs": 5, "batch_size": 4}
    start, data = jnp.zeros(3), jnp.zeros((20, 2))
    with pytest.raises(FloatingPointError, match="at step 0 of epoch 3; there is no checkpoint folder") as caught:
        # Signs of gradients are finite: the parameters never tell.
        training.fit(jax.random.key(0), drifting_gradient, optax.sign_sgd(0.1), start, data, **arguments)
    assert isinstance(caught.value, training.NonFiniteError)
    assert caught.value.fit.epoch == 2
    np.testing.assert_allclose(caught.value.fit.params, -1.0, rtol=1e-6)
    with pytest.raises(FloatingPointError, match="the last good checkpoint is epoch 2 in "):
        training.fit(
            jax.random.key(0), drifting_gradient, OPTIMIZER, start, data,
            checkpoint_dir=tmp_path, checkpoint_every=100, **arguments,
        )  # fmt: skip
    good = training.fit(
        jax.random.key(0), drifting_gradient, OPTIMIZER, start, data,
        checkpoint_dir=tmp_path, **(arguments | {"num_epochs": 2}),
    )  # fmt: skip
    assert int(good.aux) == 10


def test_nan_in_a_loss_or_in_the_parameters_is_an_error_too(tmp_path):
    def nan_loss(key, params, batch):
        return jnp.sum(params**2) + jax.lax.stop_gradient(jnp.log(-jnp.ones(())))

    start, data = jnp.ones(2), jnp.zeros((4, 1))
    arguments = {"num_epochs": 1, "batch_size": 2}
    with pytest.raises(FloatingPointError, match="step 0 of epoch 1; there is no good checkpoint yet in"):
        training.fit(
            jax.random.key(0),
            training.gradient_of(nan_loss),
            OPTIMIZER,
            start,
            data,
            checkpoint_dir=tmp_path,
            **arguments,
        )

    def loss(key, params, batch):
        return jnp.sum(params)

    huge_steps = optax.sgd(3e38)
    with pytest.raises(FloatingPointError, match="of epoch 1"):
        training.fit(jax.random.key(0), training.gradient_of(loss), huge_steps, start, data, **arguments)


def test_new_values_do_not_compile_anew():
    compiled = []

    def listen(event, *_, **__):
        compiled.append(event == "/jax/core/compile/jaxpr_to_mlir_module_duration")

    def train_on(seed):
        data = jax.random.normal(jax.random.key(seed), (10,))
        shift = data[1]
        gradient_fn = lambda key, params, aux, batch: (params - jnp.mean(batch) + shift, aux, {})  # noqa: E731
        before = sum(compiled)
        training.fit(jax.random.key(seed), gradient_fn, OPTIMIZER, data[0], data, num_epochs=2, batch_size=5)
        return sum(compiled) - before

    jax.monitoring.register_event_duration_secs_listener(listen)
    assert [train_on(seed) for seed in range(3)] == [2, 0, 0]


def test_an_epoch_visits_the_data_once_in_an_order_of_its_own():
    def visit(key, params, seen, batch):
        return (
            jnp.zeros_like(params),
            seen.at[seen[-1]].set(batch[0]).at[-1].add(1),
            {"first": batch[0].astype(jnp.float32)},
        )

    data, seen = jnp.arange(11, dtype=jnp.int32), jnp.zeros(23, jnp.int32)
    run = training.fit(jax.random.key(0), visit, OPTIMIZER, jnp.zeros(1), data, aux=seen, num_epochs=2, batch_size=1)
    first, second = np.asarray(run.aux[:11]), np.asarray(run.aux[11:22])
    assert sorted(first) == sorted(second) == list(range(11))
    assert first.tolist() != second.tolist()
    np.testing.assert_allclose(run.metrics["first"], [5.0, 5.0], rtol=1e-6)

    # Batches of four leave three samples out.
    def add(key, params, aux, batch):
        return jnp.zeros_like(params), aux + batch.size, {}

    run = training.fit(jax.random.key(0), add, OPTIMIZER, jnp.zeros(1), data, aux=0, num_epochs=3, batch_size=4)
    assert int(run.aux) == 3 * 8


def test_progress_bar_and_inputs_left_alone(capsys):
    machine, data, _ = problem()
    arguments = {"gradient_fn": rbm.contrastive_divergence_gradient(), "aux": None, "params": machine, "data": data}
    train(num_epochs=1, progress=True, **arguments)
    printed = capsys.readouterr().out
    assert "1/1" in printed
    assert "reconstruction_error" in printed
    assert np.isfinite(machine.weights).all()  # not donated
    nothing = train(num_epochs=0, **arguments)
    assert nothing.epoch == 0
    assert nothing.metrics is None


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="batch_size: expected at most the 45 samples of data, got 46"):
        train(batch_size=46)
    with pytest.raises(ValueError, match="batch_size: expected an integer >= 1, got 0"):
        train(batch_size=0)
    with pytest.raises(ValueError, match="num_epochs: expected an integer >= 0, got -1"):
        train(num_epochs=-1)
    with pytest.raises(ValueError, match="checkpoint_every"):
        train(checkpoint_every=0)
    with pytest.raises(ValueError, match="data: expected arrays with one common leading axis"):
        train(data=(jnp.ones((4, 6)), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"batch: expected shape \(8, 6\), got \(8, 5\)"):
        train(data=jnp.ones((45, 5)))


@pytest.mark.slow
def test_exact_training_reproduces_a_small_ising_chain():
    states = all_spins(6, jnp.float32)
    chain = 0.5 * jnp.sum(states * jnp.roll(states, 1, axis=1), axis=1)
    target = jax.nn.softmax(chain)
    entropy = -float(jnp.sum(target * jnp.log(target)))
    machine = rbm.init(jax.random.key(0), 6, 6, scale=0.3, dtype=jnp.float32)
    run = training.fit(
        jax.random.key(1),
        rbm.likelihood_gradient,
        optax.adam(0.05),
        machine,
        (states, target),
        num_epochs=400,
        batch_size=64,
    )
    divergence = np.asarray(run.metrics["negative_log_likelihood"]) - entropy
    assert divergence[0] > 0.3
    assert divergence[-1] < 1e-4
    learned = rbm.visible_distribution(run.params)
    assert abs(float(jnp.sum(target * jnp.log(target / learned)))) < 1e-4
