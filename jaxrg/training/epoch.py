"""One epoch of stochastic gradients as a pure function: what every kind of training is made of."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import optax
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import check_count
from jaxrg.closures import as_partial

LossFn: TypeAlias = Callable[[Array, PyTree, PyTree], Array]
"""``loss = loss_fn(key, params, batch)``: a differentiable scalar."""

GradientFn: TypeAlias = Callable[[Array, PyTree, PyTree, PyTree], tuple[PyTree, PyTree, PyTree]]
"""``gradients, aux, metrics = gradient_fn(key, params, aux, batch)``: what a step descends along.

``aux`` is carried from step to step, such as persistent chains or the statistics of a normalisation; ``metrics`` is a
pytree of floating arrays, and a loss belongs there. See `gradient_of` for a differentiable loss.
"""

State: TypeAlias = tuple[PyTree, PyTree, PyTree]
"""``params, optimizer_state, aux`` between two steps."""


def _loss_gradient(loss_fn: LossFn, key: Array, params: PyTree, aux: PyTree, batch: PyTree):
    loss, gradients = jax.value_and_grad(loss_fn, argnums=1)(key, params, batch)
    return gradients, aux, {"loss": loss}


def gradient_of(loss_fn: LossFn) -> Partial:
    """The `GradientFn` of a loss ``loss = loss_fn(key, params, batch)``; its metric is the loss, ``aux`` stays."""
    return Partial(_loss_gradient, as_partial(loss_fn))


def check_batches(data: PyTree, batch_size: int) -> int:
    """The number of samples of the data.

    Raises:
        ValueError: no common leading axis, or one shorter than a batch.
    """
    check_count("batch_size", batch_size)
    shapes = [leaf.shape for leaf in jax.tree.leaves(data)]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"data: expected arrays with one common leading axis, got shapes {shapes}")
    num_samples = shapes[0][0]
    if batch_size > num_samples:
        raise ValueError(f"batch_size: expected at most the {num_samples} samples of data, got {batch_size}")
    return num_samples


def update(optimizer: optax.GradientTransformation, gradients: PyTree, optimizer_state: PyTree, params: PyTree):
    """New parameters and state of the optimiser."""
    # optax relies on promotion of dtypes, adam for one; users who forbid it in their own code can still use it.
    with jax.numpy_dtype_promotion("standard"):
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
        return optax.apply_updates(params, updates), optimizer_state


def run_epoch(
    key: Array,
    index: Array,
    gradient_fn: GradientFn,
    optimizer: optax.GradientTransformation,
    state: State,
    data: PyTree,
    *,
    batch_size: int,
    step_keys: Callable[[Array, int], Array],
) -> tuple[State, PyTree]:
    """One pass over the shuffled data in whole batches; the samples left over sit out.

    Args:
        key: typed key of the run; all randomness of this epoch comes from ``fold_in(key, index)``.
        index: of the epoch, from 0.
        gradient_fn: see `GradientFn`.
        optimizer: of optax.
        state: before the epoch.
        data: arrays ``[num_samples, ...]``.
        batch_size: samples of a step, at most ``num_samples``.
        step_keys: ``keys = step_keys(key, num_steps)``, one for each step.

    Returns:
        The state after the epoch, and the metrics with a leading axis of steps.
    """
    num_samples = jax.tree.leaves(data)[0].shape[0]
    num_steps = num_samples // batch_size
    order_key, noise_key = jax.random.split(jax.random.fold_in(key, index))
    order = jax.random.permutation(order_key, num_samples)[: num_steps * batch_size]

    def step(state: State, step_input: tuple[Array, Array]) -> tuple[State, PyTree]:
        params, optimizer_state, aux = state
        step_key, rows = step_input
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        gradients, aux, metrics = gradient_fn(step_key, params, aux, batch)
        params, optimizer_state = update(optimizer, gradients, optimizer_state, params)
        return (params, optimizer_state, aux), metrics

    return jax.lax.scan(step, state, (step_keys(noise_key, num_steps), order.reshape(num_steps, batch_size)))
