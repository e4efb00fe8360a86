"""One epoch of stochastic gradients as a pure function: what every kind of training is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_array, as_floating, check_count, check_function, kind_of
from jaxrg.closures import as_partial

LossFn: TypeAlias = Callable[[Array, PyTree, PyTree], Array]
"""``loss = loss_fn(key, params, batch)``: a differentiable scalar."""

StatefulLossFn: TypeAlias = Callable[[Array, PyTree, PyTree, PyTree], tuple[Array, PyTree]]
"""``loss, aux = loss_fn(key, params, aux, batch)``: a differentiable scalar, and what the next step gets as ``aux``."""

GradientFn: TypeAlias = Callable[[Array, PyTree, PyTree, PyTree], tuple[PyTree, PyTree, PyTree]]
"""``gradients, aux, metrics = gradient_fn(key, params, aux, batch)``: what a step descends along.

``batch`` is None where a run has no data, as that of a gradient which draws its samples itself.
``aux`` is carried from step to step, such as persistent chains or the statistics of a normalisation; ``metrics`` is a
pytree of numbers, and a loss belongs there, as ``"loss"`` for optimisers that ask for its value. See `gradient_of` for
a differentiable loss.
"""

State: TypeAlias = tuple[PyTree, PyTree, PyTree]
"""``params, optimizer_state, aux`` between two steps."""


class Optimizer(NamedTuple):
    """An optimiser of optax as a pytree: ``state = init(params)``; see `update`."""

    init: Partial
    update: Partial


def _scalar(loss: Any) -> Array:
    loss = as_floating("loss_fn", loss)
    if loss.ndim:
        raise ValueError(f"loss_fn: expected one number, got {kind_of(loss)}")
    return loss


def _loss_gradient(loss_fn: LossFn, key: Array, params: PyTree, aux: PyTree, batch: PyTree):
    loss, gradients = jax.value_and_grad(lambda params: _scalar(loss_fn(key, params, batch)))(params)
    return gradients, aux, {"loss": loss}


def _stateful_loss_gradient(loss_fn: StatefulLossFn, key: Array, params: PyTree, aux: PyTree, batch: PyTree):
    def scalar(params: PyTree) -> tuple[Array, PyTree]:
        loss, new_aux = loss_fn(key, params, aux, batch)
        return _scalar(loss), new_aux

    (loss, aux), gradients = jax.value_and_grad(scalar, has_aux=True)(params)
    return gradients, aux, {"loss": loss}


def gradient_of(loss_fn: LossFn) -> Partial:
    """The `GradientFn` of a loss ``loss = loss_fn(key, params, batch)``; its metric is the loss, ``aux`` stays."""
    check_function("loss_fn", loss_fn, of="(key, params, batch)")
    return Partial(_loss_gradient, as_partial(loss_fn))


def stateful_gradient_of(loss_fn: StatefulLossFn) -> Partial:
    """The `GradientFn` of a loss with state, ``loss, aux = loss_fn(key, params, aux, batch)``; its metric is the loss.

    So a network with running averages is trained: they are the ``aux``, which no gradient moves. See
    `jaxrg.nets.StatefulNet`.
    """
    check_function("loss_fn", loss_fn, of="(key, params, aux, batch)")
    return Partial(_stateful_loss_gradient, as_partial(loss_fn))


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


def _without_extra(update: Callable, gradients: PyTree, state: PyTree, params: PyTree, **extra: Any):
    return update(gradients, state, params)


def as_optimizer(optimizer: optax.GradientTransformation) -> Optimizer:
    """An optimiser as a pytree; equal ones made anew are one to a compiled epoch where their parts can be compared."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(f"optimizer: expected a gradient transformation of optax, got {kind_of(optimizer)}")

    def opened(fn: Callable) -> Partial:
        # Optimisers are pure: one whose parts cannot be compared is known by itself, not made anew at every call.
        partial = as_partial(fn)
        return partial if partial.func == as_partial(fn).func else Partial(fn)

    takes_extra = isinstance(optimizer, optax.GradientTransformationExtraArgs)
    update = opened(optimizer.update)
    return Optimizer(opened(optimizer.init), update if takes_extra else Partial(_without_extra, update))


def initial_state(optimizer: Optimizer, params: PyTree) -> PyTree:
    """The optimiser's state at the start, of strongly typed arrays."""
    # optax relies on promotion of dtypes, adam for one; users who forbid it in their own code can still use it.
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), optimizer.init(params))


def update(optimizer: Optimizer, gradients: PyTree, optimizer_state: PyTree, params: PyTree, **extra: Any):
    """New parameters and state of the optimiser; ``extra`` is what it may ask for besides, such as the ``value``."""
    with jax.numpy_dtype_promotion("standard"):
        try:
            updates, state = optimizer.update(gradients, optimizer_state, params, grad=gradients, **extra)
        except TypeError as error:
            if "value" in extra or "'value" not in str(error):
                raise
            raise ValueError(
                "gradient_fn: expected metrics with a 'loss' for an optimizer that asks for its value, got none"
            ) from error
        state = as_before("optimizer", "state", state, optimizer_state)
        return optax.apply_updates(params, updates), state


def as_before(name: str, what: str, now: PyTree, before: PyTree) -> PyTree:
    """A pytree that is carried from step to step, in the dtypes it had before.

    Raises:
        ValueError: it has another structure, or arrays of other shapes or kinds.
    """

    def leaf_as_before(path: Any, new: Any, old: Array) -> Array:
        new = new if hasattr(new, "dtype") else jnp.asarray(new)
        is_float = jnp.issubdtype(new.dtype, jnp.floating) and jnp.issubdtype(old.dtype, jnp.floating)
        is_integer = jnp.issubdtype(new.dtype, jnp.integer) and jnp.issubdtype(old.dtype, jnp.integer)
        if new.shape != old.shape or not (new.dtype == old.dtype or is_float or is_integer):
            at = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}: expected {what}{at} to stay {old.dtype}{list(old.shape)}, got {new.dtype}{list(new.shape)}"
            )
        return new if new.dtype == old.dtype else new.astype(old.dtype)

    if jax.tree.structure(now) != jax.tree.structure(before):
        raise ValueError(
            f"{name}: expected {what} of one structure, {jax.tree.structure(before)}, got {jax.tree.structure(now)}"
        )
    return jax.tree.map_with_path(leaf_as_before, now, before)


def _checked(gradient_fn: GradientFn, key: Array, params: PyTree, aux: PyTree, batch: PyTree):
    """What a gradient function returns, refused in words where it is not what one returns."""
    returned = gradient_fn(key, params, aux, batch)
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise ValueError(f"gradient_fn: expected (gradients, aux, metrics), got {kind_of(returned)}")
    gradients, new_aux, metrics = returned
    gradients = as_before("gradient_fn", "gradients", gradients, params)
    metrics = jax.tree.map_with_path(
        lambda path, leaf: as_array(f"gradient_fn: metrics{jax.tree_util.keystr(path)}", leaf), metrics
    )
    return gradients, as_before("gradient_fn", "aux", new_aux, aux), metrics


def _loss_of(gradient_fn: GradientFn, key: Array, aux: PyTree, batch: PyTree, metrics: PyTree) -> dict[str, Any]:
    """The loss of a step and the loss as a function of the parameters, for optimisers that ask for them."""
    if not isinstance(metrics, dict) or "loss" not in metrics:
        return {}

    def value_fn(params: PyTree) -> Array:
        if isinstance(gradient_fn, Partial) and gradient_fn.func is _loss_gradient:
            return gradient_fn.args[0](key, params, batch)  # not the gradient, which would be differentiated again
        return gradient_fn(key, params, aux, batch)[2]["loss"]

    return {"value": metrics["loss"], "value_fn": value_fn}


def run_epoch(
    key: Array,
    index: Array,
    gradient_fn: GradientFn,
    optimizer: Optimizer,
    state: State,
    data: PyTree,
    *,
    batch_size: int | None,
    num_steps: int = 0,
    step_keys: Callable[[Array, int], Array],
) -> tuple[State, tuple[PyTree, PyTree]]:
    """One pass over the shuffled data in whole batches, those left over sit out; or steps without any data.

    Args:
        key: typed key of the run; all randomness of this epoch comes from ``fold_in(key, index)``.
        index: of the epoch, from 0.
        gradient_fn: see `GradientFn`.
        optimizer: see `as_optimizer`.
        state: before the epoch.
        data: arrays ``[num_samples, ...]``, or None.
        batch_size: samples of a step, at most ``num_samples``; None without data.
        num_steps: of an epoch without data, whose batches are None.
        step_keys: ``keys = step_keys(key, num_steps)``, one for each step.

    Returns:
        The state after the epoch; metrics, and whether they and the gradients are finite, with a leading axis of steps.
    """
    order_key, noise_key = jax.random.split(jax.random.fold_in(key, index))
    order = None
    if batch_size is not None:
        num_samples = jax.tree.leaves(data)[0].shape[0]
        num_steps = num_samples // batch_size
        order = jax.random.permutation(order_key, num_samples)[: num_steps * batch_size]
        order = order.reshape(num_steps, batch_size)

    def step(state: State, step_input: tuple[Array, Array | None]) -> tuple[State, tuple[PyTree, Array]]:
        params, optimizer_state, aux = state
        step_key, rows = step_input
        batch = jax.tree.map(lambda leaf: leaf[rows], data)
        gradients, new_aux, metrics = _checked(gradient_fn, step_key, params, aux, batch)
        extra = _loss_of(gradient_fn, step_key, aux, batch, metrics)
        is_finite = are_finite((gradients, metrics))
        params, optimizer_state = update(optimizer, gradients, optimizer_state, params, **extra)
        return (params, optimizer_state, new_aux), (metrics, is_finite)

    return jax.lax.scan(step, state, (step_keys(noise_key, num_steps), order))


def are_finite(tree: PyTree) -> Array:
    """Whether no floating leaf holds NaN or infinity."""
    is_finite = jnp.bool_(True)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            # 0 x is NaN for NaN and infinity; summing it is five times as fast on a CPU as reducing isfinite(x).
            is_finite = is_finite & jnp.isfinite(jnp.sum(0 * leaf))
    return is_finite
