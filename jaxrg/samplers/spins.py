"""What the samplers of one spin configuration share: state, start, measurement, site indices, check of a model."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Model, PyTree, Sampler
from jaxrg.checks import as_spins, check_key, check_shape, kind_of
from jaxrg.samplers.kernels import check_members, from_kernel


class SpinState(NamedTuple):
    """One configuration."""

    spins: Array  # [*shape] int8, +1 or -1
    step: Array  # [] uint32, steps taken


class SpinInfo(NamedTuple):
    """What one sweep did."""

    acceptance: Array  # [] float32, fraction of spins that changed
    status: Array  # [] uint32 `Status`


@functools.partial(jax.jit, static_argnames="shape")
def _random_spins(key: Array, *, shape: tuple[int, ...]) -> Array:
    return jax.random.rademacher(key, shape, jnp.int8)


def init_spins(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """A random configuration, or the given one.

    Raises:
        ValueError: no typed key, or ``spins`` of another shape than the model's, or not ±1.
    """
    check_key("key", key)
    if spins is None:
        spins = _random_spins(key, shape=tuple(model.shape))
    return SpinState(as_spins("spins", spins, model.shape).astype(jnp.int8), jnp.zeros((), jnp.uint32))


def init_ordered(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """All spins up, or the given configuration; cluster samplers relax fastest from order."""
    return init_spins(model, key, jnp.asarray(np.ones(model.shape, np.int8)) if spins is None else spins)


def measure_spins(fn: Callable, state: SpinState) -> PyTree:
    """``fn`` of the configuration."""
    return fn(state.spins)


def site_indices(model: Model) -> Array:
    """``[*shape]`` uint32 global index of every site, the counter of its random bits."""
    return jnp.arange(int(np.prod(model.shape)), dtype=jnp.uint32).reshape(model.shape)


def spin_sampler(kernel: Callable, model: Model, *, init: Callable = init_spins, protocol: type = Model) -> Sampler:
    """A sampler of a model's spins from ``state, info = kernel(model, key, state)`` with a `SpinState`.

    Raises:
        ValueError: the model lacks members of the protocol or is no pytree, or its own checks fail.
    """
    check_model(model, protocol)
    return from_kernel(Partial(init, model), Partial(kernel, model), measure_spins)


def check_model(model: Model, protocol: type = Model) -> None:
    """Raise ValueError unless this is a `Model` (or `PairModel`) whose members fit its shape."""
    check_members(model, protocol)
    check_shape("model.colours", model.colours, tuple(model.shape))
    spins = jax.ShapeDtypeStruct(tuple(model.shape), jnp.int8)
    # New functions: before jax 0.12 a traced one may be taken from the cache for another class with as many fields.
    _check_result("model.local_field", jax.eval_shape(lambda m, s: m.local_field(s), model, spins), spins.shape)
    _check_result("model.hamiltonian", jax.eval_shape(lambda m, s: m.hamiltonian(s), model, spins), ())


def _check_result(name: str, result: Any, shape: tuple[int, ...]) -> None:
    is_float = hasattr(result, "dtype") and jnp.issubdtype(result.dtype, jnp.floating)
    if not is_float or result.shape != shape:
        found = f"{result.dtype} of shape {result.shape}" if hasattr(result, "dtype") else kind_of(result)
        raise ValueError(f"{name}: expected floats of shape {shape}, got {found}")
