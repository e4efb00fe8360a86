"""What the samplers of fields share: state, start, measurement, and actions as functions, of models or bare ones."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import FieldModel, PyTree, Sampler
from jaxrg.checks import as_floating, check_function, check_key, check_shape, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.models.sites import Sphere
from jaxrg.samplers.kernels import check_members, from_kernel


class FieldState(NamedTuple):
    """One configuration."""

    field: PyTree  # [*shape] floats, or a tree of such arrays
    step: Array  # [] uint32, steps taken


class Target(NamedTuple):
    """A distribution exp(-S) as functions, each a `Partial`: a pytree whose leaves are the couplings."""

    action: Callable  # S = action(field), scalar
    wrap: Callable  # field = wrap(field): the same configuration, as it is kept
    start: Callable  # field = start(key)
    check: Callable  # field = check(field): a configuration that a user gave, or ValueError


def as_target(model: Any, start: PyTree | None = None) -> Target:
    """A `FieldModel` whose components are free, or a bare action with a configuration to start from.

    Raises:
        ValueError: neither of both, unit vectors, a start that is no tree of finite numbers, or an action that is no
            scalar of it.
    """
    if hasattr(model, "action") and hasattr(model, "shape"):
        if isinstance(getattr(model, "sites", None), Sphere):
            raise ValueError(
                f"model: expected a field whose components are free, got {type(model).__name__}, unit vectors, "
                "which move by heat_bath, over_relaxation or wolff_embedding"
            )
        return model_target(model, start)
    check_function("model", model, of="one configuration, or a FieldModel")
    if isinstance(model, type):
        raise ValueError(f"model: expected a FieldModel or an action, got {model.__name__}, a class and no instance")
    if start is None:
        raise ValueError("start: expected a configuration from which a bare action starts, got None")
    action, start = as_partial(model), as_field("start", start)
    _check_action("model", action, start)
    return Target(action, Partial(_same), Partial(_given, start), Partial(_same))


def model_target(model: FieldModel, start: PyTree | None = None) -> Target:
    """The functions of a `FieldModel` with any sites."""
    check_field_model(model)
    begin = Partial(_random, model) if start is None else Partial(_given, as_field("start", start, model))
    return Target(Partial(_action, model), Partial(_wrap, model), begin, Partial(_checked, model))


def check_field_model(model: FieldModel, protocol: type = FieldModel) -> None:
    """Raise ValueError unless this is a `FieldModel`, or of another protocol, whose action fits its shape."""
    check_members(model, protocol)
    _check_action("model.action", model.action, jax.ShapeDtypeStruct(model.shape, jnp.float32))


def _check_action(name: str, action: Callable, field: PyTree) -> None:
    result = jax.eval_shape(action, field)
    if not (hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating) and result.shape == ()):
        found = f"{result.dtype} of shape {result.shape}" if hasattr(result, "dtype") else kind_of(result)
        raise ValueError(f"{name}: expected a floating scalar of one configuration, got {found}")


def dtype_of(model: FieldModel) -> Any:
    """Of configurations: that of the couplings, at least single precision."""
    return jax.eval_shape(model.action, jax.ShapeDtypeStruct(model.shape, jnp.float32)).dtype


def as_field(name: str, field: PyTree, model: FieldModel | None = None) -> PyTree:
    """A configuration of a model, or any tree of floats; finite where it can be seen.

    Raises:
        ValueError: no real numbers, NaN or infinite ones, another shape than the model's, or a tree without arrays.
    """
    if model is not None:
        array = as_floating(name, field)
        check_shape(name, array, tuple(model.shape))
        field = array.astype(dtype_of(model))
    else:
        field = jax.tree.map(lambda leaf: as_floating(name, leaf), field)
        if not jax.tree.leaves(field):
            raise ValueError(f"{name}: expected a tree of arrays, got {kind_of(field)} without any")
    for leaf in jax.tree.leaves(field):
        if not is_traced(leaf) and not np.all(np.isfinite(np.asarray(leaf))):
            raise ValueError(f"{name}: expected finite values, got NaN or infinite entries")
    return field


def _action(model: FieldModel, field: Array) -> Array:
    return model.action(field)


def _checked(model: Any, field: Array) -> Array:
    return model.sites.checked("field", field, tuple(model.shape)) if hasattr(model, "sites") else field


def _wrap(model: Any, field: Array) -> Array:
    return model.wrap(field) if hasattr(model, "wrap") else field


def _same(field: PyTree) -> PyTree:
    return field


def _given(field: PyTree, key: Array) -> PyTree:
    return field


@jax.jit
def _random(model: FieldModel, key: Array) -> Array:
    """Angles and unit vectors from anywhere; other fields small: far out a quartic potential throws a leapfrog off."""
    scale = 2 * math.pi if hasattr(model, "wrap") else 0.1
    return _wrap(model, scale * jax.random.normal(key, tuple(model.shape), dtype_of(model)))


def normal_like(key: Array, tree: PyTree) -> PyTree:
    """Independent standard normal numbers in the shapes of a tree."""
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


def _init(target: Target, key: Array, field: PyTree | None = None) -> FieldState:
    check_key("key", key)
    start = target.start(key)
    if field is not None:
        field = as_field("field", field)
        expected, found = jax.tree.structure(start), jax.tree.structure(field)
        if expected != found:
            raise ValueError(f"field: expected a tree {expected}, got {found}")
        jax.tree.map(lambda want, got: check_shape("field", got, want.shape), start, field)
        start = jax.tree.map(lambda want, got: got.astype(want.dtype), start, target.check(field))
    return FieldState(start, jnp.zeros((), jnp.uint32))


def measure_field(fn: Callable, state: FieldState) -> PyTree:
    """``fn`` of the configuration."""
    return fn(state.field)


def field_sampler(target: Target, kernel: Callable) -> Sampler:
    """A sampler of ``state, info = kernel(key, state)`` with a `FieldState`."""
    return from_kernel(Partial(_init, target), kernel, measure_field)
