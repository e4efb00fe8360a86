"""Folders of runs: what differs is said, what was learned is opened alone, changes have a word, damage loses little."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, store, training

DATA = jnp.arange(12.0)
START = {"mean": jnp.zeros(2), "empty": jnp.zeros((0, 3))}


def loss_fn(key, params, batch):
    return jnp.mean((batch[:, None] - params["mean"][None]) ** 2)


GRADIENT_FN = training.gradient_of(loss_fn)
WEIGHTED = training.gradient_of(lambda key, params, batch: loss_fn(key, params, batch[0] * batch[1]))


def rate(value: float):
    return optax.inject_hyperparams(optax.sgd)(value, momentum=0.9)


def train(folder=None, *, gradient_fn=GRADIENT_FN, optimizer=None, params=START, data=DATA, num_epochs=3, **options):
    optimizer = rate(0.1) if optimizer is None else optimizer
    options = {"batch_size": 4, "checkpoint_dir": folder, "num_epochs": num_epochs} | options
    return training.fit(jax.random.key(0), gradient_fn, optimizer, params, data, **options)


def mean_of(run) -> list[float]:
    return np.asarray(run.params["mean"]).tolist()


def to_target(value: float):
    """A gradient whose only trace of the target is an array in a function compiled inside it."""
    target = jnp.full(2, value)
    inner = jax.jit(lambda mean: mean - target)
    return jax.jit(lambda key, params, aux, batch: (params | {"mean": inner(params["mean"])}, aux, {}))


def jitted_stage(scale: float):
    table = jnp.full(2, scale)
    update = jax.jit(lambda updates, state, params=None: (updates | {"mean": table * updates["mean"]}, state))
    return optax.chain(optax.GradientTransformation(lambda params: optax.EmptyState(), update), optax.sgd(0.1))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"gradient_fn": to_target(1.0)}, {"gradient_fn": to_target(9.0)}, "program of gradient_fn"),
        ({"optimizer": jitted_stage(1.0)}, {"optimizer": jitted_stage(2.0)}, "program of optimizer"),
        (
            {"optimizer": rate(0.1)},
            {"optimizer": rate(0.5)},
            r"optimizer.*learning_rate.* 'float32 0.1', .* got 'float32 0.5",
        ),
        ({}, {"data": DATA + 1}, "data 'float32"),
        (
            {"gradient_fn": WEIGHTED, "weights": jnp.arange(12.0)},
            {"weights": jnp.arange(1.0, 13.0)},
            "weights 'float32",
        ),
        ({}, {"validation_fn": lambda params, aux: {"v": params["mean"]}}, "program of validation_fn None"),
    ],
    ids=["array of an inner jit", "jitted stage", "hyperparameter", "data", "weights", "validation"],
)
def test_another_run_is_told_apart_in_words_and_nothing_is_touched(first, second, words, tmp_path):
    train(tmp_path, num_epochs=1, **first)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(store.FolderError, match=rf"expected a run with {words}.*nothing was written"):
        train(tmp_path, **(first | second))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert train(tmp_path, num_epochs=2, **first).epoch == 2


def test_a_place_that_cannot_be_a_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(store.FolderError, match="checkpoint_dir: expected a folder, got the file"):
            train(place, progress=lambda *_: pytest.fail("an epoch was trained"))


def test_home_is_expanded_and_a_folder_is_opened_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = train("~/run", validation_fn=lambda params, aux: {"size": jnp.max(params["mean"])}, aux=jax.random.key(5))
    opened = training.load("~/run")
    assert (tmp_path / "run" / "run.json").exists()
    assert jax.tree.structure(opened) == jax.tree.structure(run)
    for one, other in zip(jax.tree.leaves(opened), jax.tree.leaves(run), strict=True):
        assert store.fingerprint(one) == store.fingerprint(other)
    assert opened.params["empty"].shape == (0, 3)
    assert (opened.epoch, opened.metrics["loss"].shape, opened.validation["size"].shape) == (3, (3,), (3,))


def test_a_machine_is_opened_as_a_machine(tmp_path):
    machine = rbm.init(jax.random.key(0), 3, 2)
    data = jnp.ones((4, 3), jnp.int8)
    train(tmp_path, gradient_fn=rbm.contrastive_divergence_gradient(), params=machine, data=data, num_epochs=1)
    assert isinstance(training.load(tmp_path).params, rbm.RBM)
    assert isinstance(training.load(tmp_path), training.Fit)


def test_what_is_no_folder_of_a_run_is_not_opened(tmp_path):
    with pytest.raises(store.FolderError, match=r"folder: expected the folder of a run, got .*nowhere, which is none"):
        training.load(tmp_path / "nowhere")
    with pytest.raises(store.FolderError, match="folder: expected the folder of a run with checkpoints, got"):
        training.load(tmp_path)
    store.Checkpoints(store.RunFolder(tmp_path / "other", {})).save(1, np.ones(3))
    with pytest.raises(store.FolderError, match="folder: expected checkpoints of a training, got others"):
        training.load(tmp_path / "other")


def test_another_learning_rate_goes_on_by_a_word(tmp_path):
    """Momentum is kept, the rate is the new one: three steps an epoch of v <- 0.9 v + g, x <- x - rate v by hand."""
    data = jnp.full(12, 3.0)
    train(tmp_path, data=data, num_epochs=1)
    with pytest.raises(store.FolderError, match="learning_rate"):
        train(tmp_path, data=data, optimizer=rate(0.02))
    run = train(tmp_path, data=data, optimizer=rate(0.02), num_epochs=2, changed="optimizer")
    position, velocity = 0.0, 0.0
    for value in (0.1, 0.1, 0.1, 0.02, 0.02, 0.02):
        velocity = 0.9 * velocity + (position - 3.0)  # of the mean over two parameters
        position -= value * velocity
    np.testing.assert_allclose(mean_of(run), position, rtol=1e-5)
    # From then on the folder is that of the new run, which needs no word.
    assert mean_of(train(tmp_path, data=data, optimizer=rate(0.02), num_epochs=2)) == mean_of(run)
    with pytest.raises(store.FolderError, match="learning_rate"):
        train(tmp_path, data=data, num_epochs=4)


def test_a_change_holds_even_where_its_first_checkpoint_was_never_written(tmp_path):
    train(tmp_path, num_epochs=1)
    arguments = {"optimizer": rate(0.02), "num_epochs": 3}
    expected_folder = tmp_path.with_name("expected")
    train(expected_folder, num_epochs=1)
    expected = train(expected_folder, changed=("optimizer",), **arguments)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, changed=("optimizer",), **arguments, progress=interrupt)
    for path in (tmp_path / "checkpoints" / "2").rglob("*.json"):
        path.write_text("")  # as if the process had been killed before it was whole
    with pytest.warns(UserWarning, match="going on from step 1"):
        assert mean_of(train(tmp_path, **arguments)) == mean_of(expected)


def interrupt(*_):
    raise KeyboardInterrupt


def test_another_kind_of_optimiser_begins_anew_and_other_data_are_gone_on_with(tmp_path):
    first = train(tmp_path, num_epochs=1)
    run = train(tmp_path, optimizer=optax.sgd(0.0), data=jnp.ones(20), num_epochs=2, changed=("optimizer", "data"))
    assert mean_of(run) == mean_of(first)
    assert run.metrics["loss"].shape == (2,)
    run = train(tmp_path, optimizer=optax.sgd(0.0), num_epochs=3, batch_size=3, changed=("batch_size", "data"))
    assert (mean_of(run), run.epoch) == (mean_of(first), 3)
    with pytest.raises(ValueError, match=r"changed: expected some of batch_size, .*, got 'params'"):
        train(tmp_path, changed="params")


def test_a_damaged_newest_checkpoint_costs_an_epoch(tmp_path):
    uninterrupted = train(num_epochs=3)
    train(tmp_path, num_epochs=3)
    newest = tmp_path / "checkpoints" / "3" / "check.json"
    newest.write_text(newest.read_text()[:50])
    with pytest.warns(UserWarning, match=r"got a JSONDecodeError from .*/3; going on from step 2"):
        assert training.load(tmp_path).epoch == 2
    seen = []
    with pytest.warns(UserWarning, match="going on from step 2"):
        resumed = train(tmp_path, num_epochs=4, progress=lambda done, *_: seen.append(done))
    assert seen == [3, 4]
    assert mean_of(training.load(tmp_path)) == mean_of(resumed) == mean_of(train(num_epochs=4))
    assert np.array_equal(resumed.metrics["loss"][:3], uninterrupted.metrics["loss"])


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_folders import train
import jax.numpy as jnp
import jax
resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if sys.argv[3] == "small" else 2**30, -1))
try:
    train(sys.argv[2], params={"mean": jax.random.normal(jax.random.key(0), (5000,))}, num_epochs=int(sys.argv[4]))
except OSError as error:
    print(error.errno, error)
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_in_words_and_the_run_goes_on_later(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path / "run"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    assert run("large", "1").stdout == ""
    full = run("small", "3")
    assert full.stdout.startswith(f"{errno.EFBIG} [Errno {errno.EFBIG}] checkpoint: expected to write that of step 2")
    assert "jaxrg" not in full.stderr  # a thread of the store's library may complain of the end of the process
    assert training.load(tmp_path / "run").epoch == 1
    assert run("large", "3").stdout == ""
    assert training.load(tmp_path / "run").epoch == 3


def test_the_run_file_tells_the_run(tmp_path):
    train(tmp_path, num_epochs=1, run_id="first")
    told = json.loads((tmp_path / "run.json").read_text())["run"]
    assert (told["run_id"], told["batch_size"]) == ("first", 4)
    assert told["optimizer"][".hyperparams['learning_rate']"] == "float32 0.1"
