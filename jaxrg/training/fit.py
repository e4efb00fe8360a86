"""The host loop: epochs of jitted steps, with progress, crash-safe checkpoints and failures turned into errors.

The host comes in between epochs only. All randomness of epoch ``e`` comes from ``fold_in(key, e)``, so a run resumed
from a checkpoint ends with the same bits as one that was never stopped.
"""

import functools
import os
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Progress, PyTree
from jaxrg.checks import as_array, as_count, check_function, check_key, is_traced, kind_of, takes
from jaxrg.closures import as_partial
from jaxrg.progress import reporting
from jaxrg.store import Checkpoints, describe
from jaxrg.training.arguments import as_arrays, as_data, as_params, as_weights
from jaxrg.training.epoch import (
    GradientFn,
    Optimizer,
    State,
    are_finite,
    as_optimizer,
    check_batches,
    initial_state,
    run_epoch,
)
from jaxrg.training.identity import as_changed, run_folder
from jaxrg.training.result import Fit, NonFiniteError, restored, save


def _step_keys(key: Array, num_steps: int) -> Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_steps, dtype=jnp.uint32))


_initial_state = jax.jit(initial_state)


@functools.partial(jax.jit, static_argnames=("batch_size", "num_steps"))
def _one_epoch(
    key: Array,
    index: Array,
    gradient_fn: GradientFn,
    validation_fn: Partial | None,
    optimizer: Optimizer,
    state: State,
    data: PyTree,
    *,
    batch_size: int | None,
    num_steps: int,
) -> tuple[State, PyTree, PyTree, Array]:
    """An epoch: new state, mean metrics, those of the validation, and the first step that was not finite, or -1."""
    sizes = {"batch_size": batch_size, "num_steps": num_steps}
    state, (metrics, is_finite) = run_epoch(
        key, index, gradient_fn, optimizer, state, data, **sizes, step_keys=_step_keys
    )
    # A gradient that is finite can still be too large for a step; such parameters show at the end of the epoch.
    is_bad = ~is_finite.at[-1].min(are_finite(state[0]))
    bad_step = jnp.where(jnp.any(is_bad), jnp.argmax(is_bad), -1)
    validation = None if validation_fn is None else validation_fn(state[0], state[2])
    validation = jax.tree.map_with_path(
        lambda path, leaf: as_array(f"validation_fn: metrics{jax.tree_util.keystr(path)}", leaf), validation
    )
    return state, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics), validation, bad_step


def _append(history: PyTree, metrics: PyTree) -> PyTree:
    metrics = jax.tree.map(lambda value: np.asarray(value)[None], metrics)
    if history is None:
        return metrics
    return jax.tree.map(lambda past, value: np.concatenate([past, value]), history, metrics)


def _in_words(metrics: PyTree, validation: PyTree) -> str:
    named = [("", *item) for item in jax.tree.leaves_with_path(metrics)]
    named += [("validation ", *item) for item in jax.tree.leaves_with_path(validation)]
    return " ".join(
        f"{kind}{jax.tree_util.keystr(path, simple=True)} {float(value):.4g}"
        for kind, path, value in named
        if value.ndim == 0
    )


def _asks_to_stop(on_epoch: Callable[[Fit], bool | None] | None, run: Fit) -> bool:
    answer = None if on_epoch is None or run.epoch == 0 else on_epoch(run)
    if answer is not None and not isinstance(answer, bool | np.bool_):
        raise ValueError(f"on_epoch: expected True to stop, False or None, got {kind_of(answer)}")
    return bool(answer)


def _sizes(data: PyTree, weights: PyTree, batch_size: int | None, steps_per_epoch: int | None) -> dict:
    """Samples of a step of a run with data, steps of an epoch of one without."""
    if data is not None:
        if steps_per_epoch is not None:
            raise ValueError(f"steps_per_epoch: expected None with data, got {kind_of(steps_per_epoch)}")
        return {"batch_size": as_count("batch_size", batch_size), "num_steps": 0}
    if steps_per_epoch is None:
        raise ValueError("data: expected arrays, or steps_per_epoch for a run without data, got None")
    for name, value in (("batch_size", batch_size), ("weights", weights)):
        if value is not None:
            raise ValueError(f"{name}: expected None without data, got {kind_of(value)}")
    return {"batch_size": None, "num_steps": as_count("steps_per_epoch", steps_per_epoch)}


def fit(
    key: Array,
    gradient_fn: GradientFn,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    data: PyTree = None,
    *,
    weights: Array | None = None,
    aux: PyTree = None,
    num_epochs: int,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    validation_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    on_epoch: Callable[[Fit], bool | None] | None = None,
    checkpoint_dir: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    changed: str | Collection[str] = (),
    run_id: str | None = None,
    progress: Progress | bool | None = None,
) -> Fit:
    """Minimise by stochastic gradients for a number of epochs, or go on with a run that was interrupted.

    An epoch visits the data in an order of its own, in batches; what is left over when the batch size does not divide
    the number of samples sits out that epoch. Without data, as for a gradient that draws its own samples with its key,
    an epoch is ``steps_per_epoch`` steps whose batch is None. Arrays are arguments of the compiled epoch: other
    parameters or data of the same shapes do not recompile, nor does a second call with the same functions.

    With a checkpoint folder, the run starts from the last checkpoint there, if any, and ends with the same bits as if
    it had never stopped; a larger ``num_epochs`` prolongs it. The folder remembers its run: other parameters, data,
    key, batch size, optimiser, gradient or ``run_id`` are refused in words before anything is written, unless
    ``changed`` names them. A damaged checkpoint is passed over for the one before, with a warning. See `load` for a
    folder alone.

    Args:
        key: typed key of the whole run.
        gradient_fn: ``gradients, aux, metrics = gradient_fn(key, params, aux, batch)``, see `GradientFn`; or
            `gradient_of` a loss.
        optimizer: of optax; keep the object, since a new one may compile again. It is given the gradient and, where the
            metrics hold a ``"loss"``, its ``value`` and ``value_fn``, for those that ask for them.
        params: pytree of numbers to start from, as floats of at least single precision.
        data: arrays ``[num_samples, ...]``, or a pytree of them; a list of numbers is an array. Small integers are
            fine: batches reach ``gradient_fn`` as they are, but for half precision, which becomes single. None for
            a run without data.
        weights: ``[num_samples]`` of the samples; batches are then ``(batch, weights)``, with weights of mean one over
            all of the data. A loss that multiplies by them, and does not divide by those of its batch, has gradients
            without bias.
        aux: pytree of arrays that ``gradient_fn`` carries from step to step.
        num_epochs: epochs in all, those before an interruption included.
        batch_size: samples of a step; only with data.
        steps_per_epoch: steps of an epoch; only without data.
        validation_fn: ``metrics = validation_fn(params, aux)``, a pytree of numbers after each epoch, such as the loss
            on data it is closed over; compiled with the epoch.
        on_epoch: called on the host with the `Fit` after each epoch and its checkpoint, and once with the one a run
            goes on from; True stops the run. See `early_stopping`.
        checkpoint_dir: folder for the checkpoints of this run, created if missing; None keeps none.
        checkpoint_every: epochs between checkpoints; the last epoch always has one.
        changed: names of arguments that differ on purpose from those the folder remembers, such as ``"optimizer"`` for
            another learning rate; from then on the folder is that of the new run. The state of an optimiser of the
            same kind is kept, but for what it begins with another value of.
        run_id: any string that tells this run from others.
        progress: True for a bar with the time left, or a function ``progress(epochs done, num_epochs, metrics)``,
            called on the host after each epoch and its checkpoint.

    Returns:
        `Fit`, the last state and the history of the metrics.

    Raises:
        ValueError: wrong counts, shapes or functions, neither data nor ``steps_per_epoch`` or both, data smaller than a
            batch, or no checkpoint that is whole.
        FolderError: a ValueError for a checkpoint folder of another run, or a place where none can be.
        NonFiniteError: a FloatingPointError for a NaN or infinite gradient, metric or parameter. The state before the
            bad epoch is its ``fit``, and the last checkpoint if there is a folder.
        OSError: the disk is full.

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
    check_key("key", key)
    check_function("gradient_fn", gradient_fn, of="(key, params, aux, batch)")
    if not takes(gradient_fn, 4):
        raise ValueError(
            "gradient_fn: expected a function of (key, params, aux, batch), such as training.gradient_of(loss_fn), "
            "got one of other parameters"
        )
    num_epochs = as_count("num_epochs", num_epochs, minimum=0)
    checkpoint_every = as_count("checkpoint_every", checkpoint_every)
    sizes = _sizes(data, weights, batch_size, steps_per_epoch)
    changed = as_changed(changed)
    for name, fn, of in (("validation_fn", validation_fn, "(params, aux)"), ("on_epoch", on_epoch, "a Fit")):
        if fn is not None:
            check_function(name, fn, of=of)
    if run_id is not None and not isinstance(run_id, str):
        raise ValueError(f"run_id: expected a string, got {kind_of(run_id)}")
    gradient_fn, opened = as_partial(gradient_fn), as_optimizer(optimizer)
    validation_fn = None if validation_fn is None else as_partial(validation_fn)
    data, params, aux = as_data("data", data), as_params("params", params), as_arrays("aux", aux)
    if is_traced((key, params, data, aux)):
        raise ValueError("fit: expected arrays with values, got tracers; inside a jit, use train_checkpoints")
    if data is not None:
        num_samples = check_batches(data, sizes["batch_size"])
        data = data if weights is None else (data, as_weights(weights, num_samples))
    one_epoch = functools.partial(_one_epoch, **sizes)
    run = Fit(params, _initial_state(opened, params), aux, 0, None)

    checkpoints, begun = None, {}
    if checkpoint_dir is not None:
        _, metrics, validation, _ = jax.eval_shape(
            one_epoch, key, np.uint32(0), gradient_fn, validation_fn, opened, run[:3], data
        )
        start = run._replace(metrics=metrics, validation=validation)
        folder = run_folder(
            checkpoint_dir,
            key,
            gradient_fn,
            validation_fn,
            opened,
            start,
            data,
            sizes=sizes,
            is_weighted=weights is not None,
            run_id=run_id,
            changed=changed,
        )
        checkpoints, begun = Checkpoints(folder), describe(run.optimizer_state)
        found = checkpoints.newest()
        if found is not None:
            run = restored(found, start, num_epochs, functools.partial(_initial_state, opened))
    saved_epoch = run.epoch

    with reporting(progress, "training") as report:
        is_stopped = _asks_to_stop(on_epoch, run)
        while run.epoch < num_epochs and not is_stopped:
            (params, optimizer_state, aux), metrics, validation, bad_step = one_epoch(
                key, np.uint32(run.epoch), gradient_fn, validation_fn, opened, run[:3], data
            )
            bad_step, metrics, validation = jax.device_get((bad_step, metrics, validation))
            if bad_step >= 0:
                raise _non_finite(run, int(bad_step), checkpoints, begun, saved_epoch)
            history = _append(run.metrics, metrics), _append(run.validation, validation)
            run = Fit(params, optimizer_state, aux, run.epoch + 1, *history)
            if checkpoints is not None and (run.epoch % checkpoint_every == 0 or run.epoch == num_epochs):
                save(checkpoints, run, begun)
                saved_epoch = run.epoch
            report(run.epoch, num_epochs, _in_words(metrics, validation))
            is_stopped = _asks_to_stop(on_epoch, run)
    if checkpoints is not None and saved_epoch != run.epoch:
        save(checkpoints, run, begun)
    metrics, validation = jax.device_put((run.metrics, run.validation))
    return run._replace(metrics=metrics, validation=validation)


def _non_finite(
    run: Fit, bad_step: int, checkpoints: Checkpoints | None, begun: dict[str, str], saved_epoch: int
) -> NonFiniteError:
    where = "there is no checkpoint folder"
    if checkpoints is not None and run.epoch > 0:
        if saved_epoch != run.epoch:
            save(checkpoints, run, begun)
        where = f"the last good checkpoint is epoch {run.epoch} in {checkpoints.folder.parent}"
    elif checkpoints is not None:
        where = f"there is no good checkpoint yet in {checkpoints.folder.parent}"
    message = (
        f"fit: expected finite gradients, metrics and parameters, got NaN or infinity at step {bad_step} of epoch "
        f"{run.epoch + 1}; {where}, and the state before that epoch is in this exception's `fit`"
    )
    return NonFiniteError(message, run)
