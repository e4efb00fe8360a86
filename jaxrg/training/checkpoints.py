"""Training that keeps its parameters at chosen epochs, as one function to jit and to map over seeds.

`training.fit` is the loop for a single long run, with a host that looks in between epochs; studies of many small runs
need the opposite.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_count, check_key, kind_of
from jaxrg.training.arguments import as_data, as_params
from jaxrg.training.epoch import (
    GradientFn,
    LossFn,
    Optimizer,
    as_optimizer,
    check_batches,
    gradient_of,
    initial_state,
    run_epoch,
)


def checkpoint_epochs(num_epochs: int, num_checkpoints: int) -> np.ndarray:
    """Epochs 0, 1, ... ``num_epochs``, about evenly spaced on a logarithmic axis, without repetition.

    Fewer than ``num_checkpoints`` where epochs are whole numbers too close together for that many.

    Example:
        >>> checkpoint_epochs(100, 6).tolist()
        [0, 1, 3, 10, 32, 100]
    """
    check_count("num_epochs", num_epochs)
    check_count("num_checkpoints", num_checkpoints, minimum=2)
    return np.unique(np.concatenate([[0], np.geomspace(1, num_epochs, num_checkpoints - 1).round().astype(int)]))


def train_checkpoints(
    key: Array,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    data: PyTree,
    *,
    epochs: Sequence[int] | np.ndarray,
    batch_size: int,
) -> PyTree:
    """Minimise by stochastic gradients and keep the parameters after chosen numbers of epochs.

    Pure: ``jax.jit(jax.vmap(...))`` it over keys, parameters or labels for as many runs at once.

    Args:
        key: typed key of the run.
        loss_fn: ``loss = loss_fn(key, params, batch)``.
        optimizer: of optax.
        params: floating arrays to start from.
        data: arrays ``[num_samples, ...]``; each epoch visits them in a new order, and what the batch size leaves over
            sits out that epoch.
        epochs: increasing; 0 is the initial state.
        batch_size: samples of a step.

    Returns:
        Parameters with a leading axis, one for each of ``epochs``.

    Raises:
        ValueError: epochs that are negative or do not increase, a batch larger than the data, or a loss that is no
            number.

    Example:
        >>> def loss_fn(key, params, batch):
        ...     return jnp.mean((batch - params) ** 2)
        >>> arguments = {"epochs": (0, 1, 2), "batch_size": 8}
        >>> train_checkpoints(jax.random.key(0), loss_fn, optax.sgd(0.25), 0.0, jnp.ones(8), **arguments).tolist()
        [0.0, 0.5, 0.75]
    """
    check_key("key", key)
    host = _as_epochs(epochs)
    data, params = as_data("data", data), as_params("params", params)
    batch_size = as_count("batch_size", batch_size)
    check_batches(data, batch_size)
    gradient_fn = gradient_of(loss_fn)
    return _train_checkpoints(key, host, gradient_fn, as_optimizer(optimizer), params, data, batch_size=batch_size)


def _as_epochs(epochs: Sequence[int] | np.ndarray) -> np.ndarray:
    try:
        host = np.asarray(epochs)
    except (TypeError, ValueError):
        host = np.asarray(None)
    if host.ndim != 1 or host.dtype.kind not in "iu" or host[0] < 0 or np.any(np.diff(host) <= 0):
        got = host.tolist() if host.dtype.kind in "iuf" else kind_of(epochs)
        raise ValueError(f"epochs: expected increasing numbers >= 0, got {got}")
    if host[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"epochs: expected at most {np.iinfo(np.int32).max}, got {host[-1]}")
    return host.astype(np.int32)


@functools.partial(jax.jit, static_argnames="batch_size")
def _train_checkpoints(
    key: Array, stops: Array, gradient_fn: GradientFn, optimizer: Optimizer, params: PyTree, data: PyTree, *, batch_size
) -> PyTree:
    def epoch(index: Array, state: PyTree) -> PyTree:
        return run_epoch(
            key, index, gradient_fn, optimizer, state, data, batch_size=batch_size, step_keys=jax.random.split
        )[0]

    def until(state: PyTree, span: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        state = jax.lax.fori_loop(*span, epoch, state)
        return state, state[0]

    starts = jnp.pad(stops[:-1], (1, 0))
    return jax.lax.scan(until, (params, initial_state(optimizer, params), None), (starts, stops))[1]
