"""The host loop: epochs of jitted steps, with progress, crash-safe checkpoints and failures turned into errors.

The host comes in between epochs only. All randomness of epoch ``e`` comes from ``fold_in(key, e)``, so a run resumed
from a checkpoint ends with the same bits as one that was never stopped.
"""

import functools
import os
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg.base import Progress, PyTree
from jaxrg.checks import check_count
from jaxrg.closures import as_partial
from jaxrg.progress import reporting
from jaxrg.store import Checkpoints, RunFolder, fingerprint, program_fingerprint
from jaxrg.training.epoch import GradientFn, State, check_batches, run_epoch, update


class Fit(NamedTuple):
    """Where a training run stands after a number of whole epochs."""

    params: PyTree
    optimizer_state: PyTree
    aux: PyTree  # what the gradient carries from step to step, such as persistent chains
    epoch: int  # epochs done
    metrics: PyTree  # mean over the steps of each epoch, leading axis [epoch]; None before the first


class NonFiniteError(FloatingPointError):
    """A loss, a gradient or a parameter became NaN or infinite; ``fit`` holds the state before that epoch."""

    def __init__(self, message: str, fit: Fit):
        super().__init__(message)
        self.fit = fit


def _are_finite(tree: PyTree) -> Array:
    is_finite = jnp.bool_(True)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            # 0 x is NaN for NaN and infinity; summing it is five times as fast on a CPU as reducing isfinite(x).
            is_finite = is_finite & jnp.isfinite(jnp.sum(0 * leaf))
    return is_finite


def _step_keys(key: Array, num_steps: int) -> Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_steps, dtype=jnp.uint32))


@functools.partial(jax.jit, static_argnames=("optimizer", "batch_size"))
def _checked_epoch(key: Array, index, gradient_fn: GradientFn, state: State, data: PyTree, *, optimizer, batch_size):
    """An epoch: new state, mean metrics and the first step that was not finite, or -1."""

    def checked(*arguments: PyTree):
        gradients, aux, metrics = gradient_fn(*arguments)
        return gradients, aux, (metrics, _are_finite((gradients, metrics)))

    state, (metrics, is_finite) = run_epoch(
        key, index, checked, optimizer, state, data, batch_size=batch_size, step_keys=_step_keys
    )
    # A gradient that is finite can still be too large for a step; such parameters show at the end of the epoch.
    is_bad = ~is_finite.at[-1].min(_are_finite(state[0]))
    bad_step = jnp.where(jnp.any(is_bad), jnp.argmax(is_bad), -1)
    return state, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics), bad_step


def _as_array(leaf: Any) -> Array:
    # A dtype of its own: a weakly typed parameter would compile the epoch anew when its first update gives it one.
    is_strong = isinstance(leaf, Array) and not getattr(leaf, "weak_type", False)
    return leaf if is_strong else jnp.asarray(leaf, jnp.result_type(leaf))


def _run_folder(folder, key, gradient_fn, optimizer, state: State, data, batch_size: int, run_id) -> RunFolder:
    """The folder of this run; two runs with the same description have the same bits."""
    params, optimizer_state, aux = state
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data)
    description = {
        "run_id": run_id,
        "batch_size": batch_size,
        "key": jax.random.key_data(key),
        "params": ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(params)),
        "initial_params": fingerprint(params),
        "initial_aux": fingerprint(aux),
        "data": fingerprint(data),
        "gradient_fn_arrays": fingerprint(jax.tree.leaves(gradient_fn)),
    }
    programs = {
        "optimizer": program_fingerprint(functools.partial(update, optimizer), params, optimizer_state, params),
        "gradient_fn": program_fingerprint(gradient_fn, key, params, aux, batch),
    }
    return RunFolder(folder, description, programs=programs, name="checkpoint_dir")


def _save(checkpoints: Checkpoints, run: Fit) -> None:
    checkpoints.save(run.epoch, (run[:3], run.metrics))


def _restore(checkpoints: Checkpoints, state: State, metrics: PyTree, num_epochs: int) -> Fit | None:
    """The last epoch saved, if any; ``state`` and the ``metrics`` of one epoch tell the shapes."""
    epoch = checkpoints.latest()
    if epoch is None:
        return None
    if epoch > num_epochs:
        raise ValueError(f"num_epochs: expected at least {epoch}, the epochs already in the folder, got {num_epochs}")
    history = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((epoch, *leaf.shape), leaf.dtype), metrics)
    state, history = checkpoints.restore(epoch, (state, history))
    return Fit(*state, epoch, history)


def _append(history: PyTree, metrics: PyTree) -> PyTree:
    metrics = jax.tree.map(lambda value: np.asarray(value)[None], metrics)
    if history is None:
        return metrics
    return jax.tree.map(lambda past, value: np.concatenate([past, value]), history, metrics)


def _in_words(metrics: PyTree) -> str:
    named = jax.tree.leaves_with_path(metrics)
    return " ".join(
        f"{jax.tree_util.keystr(path, simple=True)} {float(value):.4g}" for path, value in named if value.ndim == 0
    )


def fit(
    key: Array,
    gradient_fn: GradientFn,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    data: PyTree,
    *,
    aux: PyTree = None,
    num_epochs: int,
    batch_size: int,
    checkpoint_dir: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    run_id: str | None = None,
    progress: Progress | bool | None = None,
) -> Fit:
    """Minimise by stochastic gradients for a number of epochs, or go on with a run that was interrupted.

    An epoch visits the data in an order of its own, in batches; what is left over when the batch size does not divide
    the number of samples sits out that epoch. Arrays are arguments of the compiled epoch: other parameters or data of
    the same shapes do not recompile, nor does a second call with the same functions.

    With a checkpoint folder, the run starts from the last checkpoint there, if any, and ends with the same bits as if
    it had never stopped; a larger ``num_epochs`` prolongs it. The folder remembers its run: other parameters, data,
    key, batch size, optimiser, gradient or ``run_id`` are refused before anything is written.

    Args:
        key: typed key of the whole run.
        gradient_fn: ``gradients, aux, metrics = gradient_fn(key, params, aux, batch)``, see `GradientFn`; or
            `gradient_of` a loss.
        optimizer: of optax; keep the object, since a new one compiles again.
        params: floating arrays to start from.
        data: arrays ``[num_samples, ...]``, or a pytree of them; small integers are fine, batches reach
            ``gradient_fn`` as they are.
        aux: pytree of arrays that ``gradient_fn`` carries from step to step.
        num_epochs: epochs in all, those before an interruption included.
        batch_size: samples of a step.
        checkpoint_dir: folder for the checkpoints of this run, created if missing; None keeps none.
        checkpoint_every: epochs between checkpoints; the last epoch always has one.
        run_id: any string that tells this run from others.
        progress: True for a bar with the time left, or a function ``progress(epochs done, num_epochs, metrics)``,
            called on the host after each epoch and its checkpoint.

    Returns:
        `Fit`, the last state and the history of the metrics.

    Raises:
        ValueError: wrong counts or shapes, data smaller than a batch, or a damaged checkpoint.
        FolderError: a ValueError for a checkpoint folder of another run.
        NonFiniteError: a FloatingPointError for a NaN or infinite gradient, metric or parameter. The state before the
            bad epoch is its ``fit``, and the last checkpoint if there is a folder.

    Example:
        >>> from jaxrg import training
        >>> def loss_fn(key, params, batch):
        ...     return jnp.mean((batch - params) ** 2)
        >>> gradient_fn, optimizer = training.gradient_of(loss_fn), optax.sgd(0.5)
        >>> start, data = jnp.float32(0), jnp.ones(8)
        >>> run = fit(jax.random.key(0), gradient_fn, optimizer, start, data, num_epochs=3, batch_size=4)
        >>> float(run.params), run.metrics["loss"].tolist()
        (1.0, [0.5, 0.0, 0.0])
    """
    check_count("num_epochs", num_epochs, minimum=0)
    check_count("checkpoint_every", checkpoint_every)
    gradient_fn = as_partial(gradient_fn)
    data, params, aux = jax.tree.map(_as_array, (data, params, aux))
    check_batches(data, batch_size)
    one_epoch = functools.partial(_checked_epoch, optimizer=optimizer, batch_size=batch_size)
    run = Fit(params, optimizer.init(params), aux, 0, None)

    with ExitStack() as stack:
        checkpoints = None
        if checkpoint_dir is not None:
            folder = _run_folder(checkpoint_dir, key, gradient_fn, optimizer, run[:3], data, batch_size, run_id)
            checkpoints = stack.enter_context(Checkpoints(folder))
            _, metrics, _ = jax.eval_shape(one_epoch, key, jnp.uint32(0), gradient_fn, run[:3], data)
            run = _restore(checkpoints, run[:3], metrics, num_epochs) or run
        report = stack.enter_context(reporting(progress, "training"))

        for epoch in range(run.epoch, num_epochs):
            (params, optimizer_state, aux), metrics, bad_step = one_epoch(
                key, jnp.uint32(epoch), gradient_fn, run[:3], data
            )
            bad_step, metrics = jax.device_get((bad_step, metrics))
            if bad_step >= 0:
                raise _non_finite(run, int(bad_step), checkpoints, checkpoint_dir)
            run = Fit(params, optimizer_state, aux, epoch + 1, _append(run.metrics, metrics))
            if checkpoints is not None and (run.epoch % checkpoint_every == 0 or run.epoch == num_epochs):
                _save(checkpoints, run)
            report(run.epoch, num_epochs, _in_words(metrics))
    return run._replace(metrics=jax.tree.map(jnp.asarray, run.metrics))


def _non_finite(run: Fit, bad_step: int, checkpoints: Checkpoints | None, folder: Any) -> NonFiniteError:
    where = "there is no checkpoint folder"
    if checkpoints is not None and run.epoch > 0:
        _save(checkpoints, run)
        where = f"the last good checkpoint is epoch {run.epoch} in {folder}"
    elif checkpoints is not None:
        where = f"there is no good checkpoint yet in {folder}"
    message = (
        f"fit: a NaN or infinite gradient, metric or parameter at step {bad_step} of epoch {run.epoch + 1}; {where}, "
        "and the state before that epoch is in this exception's `fit`"
    )
    return NonFiniteError(message, run)
