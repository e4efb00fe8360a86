"""What a training run is after a number of epochs: saved, restored and opened without the program that made it."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.store import Checkpoint, Checkpoints, FolderError, as_folder, describe, newest_checkpoint


class Fit(NamedTuple):
    """Where a training run stands after a number of whole epochs."""

    params: PyTree
    optimizer_state: PyTree
    aux: PyTree  # what the gradient carries from step to step, such as persistent chains
    epoch: int  # epochs done
    metrics: PyTree  # mean over the steps of each epoch, leading axis [epoch]; None before the first
    validation: PyTree = None  # of ``validation_fn`` after each epoch, leading axis [epoch]; None without one


class NonFiniteError(FloatingPointError):
    """A loss, a gradient or a parameter became NaN or infinite; ``fit`` holds the state before that epoch."""

    def __init__(self, message: str, fit: Fit):
        super().__init__(message)
        self.fit = fit


def save(checkpoints: Checkpoints, run: Fit, begun: dict[str, str]) -> None:
    """Keep a run; ``begun`` is the state its optimiser began with, in words."""
    checkpoints.save(run.epoch, run._replace(epoch=None), notes={"optimizer": begun})


def restored(found: Checkpoint, run: Fit, num_epochs: int, initial_state: Any) -> Fit:
    """The run that was saved.

    Args:
        found: the checkpoint.
        run: how it would begin now, with the metrics of one epoch.
        num_epochs: of the whole run.
        initial_state: ``optimizer_state = initial_state(params)``.

    Raises:
        ValueError: the checkpoint has more epochs, or other metrics.
    """
    if found.step > num_epochs:
        raise ValueError(
            f"num_epochs: expected at least {found.step}, the epochs already in the folder, got {num_epochs}"
        )
    metrics, validation = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((found.step, *leaf.shape), leaf.dtype), (run.metrics, run.validation)
    )
    params = _like("params", found.at(".params"), run.params)
    return Fit(
        params,
        _optimizer_state(found, run.optimizer_state, params, initial_state),
        _like("aux", found.at(".aux"), run.aux),
        found.step,
        _like("metrics", found.at(".metrics"), metrics),
        _like("validation", found.at(".validation"), validation),
    )


def _optimizer_state(found: Checkpoint, start: PyTree, params: PyTree, initial_state: Any) -> PyTree:
    before, now = found.notes["optimizer"], describe(start)
    if list(before) != list(now):
        return initial_state(params)  # an optimiser of another kind begins anew
    # Where another optimiser of the same kind begins with another value, such as a learning rate, it is meant.
    values = [
        new if before[path] != now[path] else old
        for path, new, old in zip(now, jax.tree.leaves(start), found.at(".optimizer_state"), strict=True)
    ]
    return _like("optimizer_state", values, start)


def _like(name: str, values: list[Any], like: PyTree) -> PyTree:
    """Saved leaves as the pytree they are to be, each where its counterpart is."""
    leaves, structure = jax.tree.flatten(like)
    expected, got = ([f"{leaf.dtype}{list(leaf.shape)}" for leaf in side] for side in (leaves, values))
    if expected != got:
        raise ValueError(f"{name}: expected {expected} in the checkpoint, got {got}")
    return structure.unflatten(map(_placed, values, leaves))


def _placed(value: Any, like: Any) -> Any:
    if not isinstance(like, Array):
        return value
    return jax.device_put(value, like.sharding if like.committed else None)


def load(folder: str | os.PathLike) -> Fit:
    """Open the folder of a run, for what it has learned: no data, key, gradient or optimiser is needed.

    Args:
        folder: ``checkpoint_dir`` of a `fit`; ``~`` is the home of the user.

    Returns:
        The newest checkpoint that is whole; damaged ones are warned of. Dictionaries, lists, tuples and NamedTuples are
        what they were, other containers are dictionaries. Arrays of 64 bits stay in NumPy where JAX holds 32.

    Raises:
        FolderError: a ValueError; no folder of a run, or one without a checkpoint.
        ValueError: all checkpoints are damaged.

    Example:
        >>> import tempfile
        >>> import optax
        >>> from jaxrg import training
        >>> gradient_fn = training.gradient_of(lambda key, params, batch: jnp.mean((params["mean"] - batch) ** 2))
        >>> start, folder = {"mean": jnp.float32(0)}, tempfile.mkdtemp()
        >>> arguments = {"num_epochs": 2, "batch_size": 4, "checkpoint_dir": folder}
        >>> run = training.fit(jax.random.key(0), gradient_fn, optax.sgd(0.5), start, jnp.ones(4), **arguments)
        >>> run = training.load(folder)
        >>> run.epoch, float(run.params["mean"]), run.metrics["loss"].tolist()
        (2, 1.0, [1.0, 0.0])
    """
    place = as_folder("folder", folder)
    if not place.is_dir():
        raise FolderError(f"folder: expected the folder of a run, got {place}, which is none")
    found = newest_checkpoint(place / "checkpoints")
    if found is None:
        raise FolderError(f"folder: expected the folder of a run with checkpoints, got {place} without any")
    if not isinstance(found.tree, Fit):
        raise FolderError(f"folder: expected checkpoints of a training, got others in {place}")
    return jax.tree.map(_as_jax, found.tree._replace(epoch=found.step))


def _as_jax(leaf: Any) -> Any:
    is_kept = isinstance(leaf, np.ndarray) and jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype
    return jax.device_put(leaf) if is_kept else leaf
