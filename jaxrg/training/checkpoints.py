"""Training that keeps its parameters at chosen epochs, as one function to jit and to map over seeds.

`training.fit` is the loop for a single long run, with a host that looks in between epochs; studies of many small runs
need the opposite.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_count
from jaxrg.training.epoch import LossFn, check_batches, run_epoch


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

    Pure and not jitted: ``jax.jit(jax.vmap(...))`` it over keys, parameters or labels for as many runs at once.

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
        ValueError: epochs that are negative or do not increase, or a batch larger than the data.
    """
    host = np.asarray(epochs)
    if host.ndim != 1 or len(host) == 0 or host[0] < 0 or np.any(np.diff(host) <= 0):
        raise ValueError(f"epochs: expected increasing numbers >= 0, got {host.tolist()}")
    check_batches(data, batch_size)

    def gradient_fn(key: Array, params: PyTree, aux: None, batch: PyTree) -> tuple[PyTree, None, None]:
        return jax.grad(loss_fn, argnums=1)(key, params, batch), None, None

    def epoch(index: Array, state: PyTree) -> PyTree:
        return run_epoch(
            key, index, gradient_fn, optimizer, state, data, batch_size=batch_size, step_keys=jax.random.split
        )[0]

    def until(state: PyTree, span: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        state = jax.lax.fori_loop(*span, epoch, state)
        return state, state[0]

    stops = jnp.asarray(host, jnp.int32)
    starts = jnp.pad(stops[:-1], (1, 0))
    return jax.lax.scan(until, (params, optimizer.init(params), None), (starts, stops))[1]
