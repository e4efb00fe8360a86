"""What the samplers of one spin configuration share: state, start, measurement, site indices, check of a model."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Model, PyTree, Sampler
from jaxrg.checks import check_spins
from jaxrg.samplers.kernels import from_kernel


class SpinState(NamedTuple):
    """One configuration."""

    spins: Array  # [*shape] int8, +1 or -1
    step: Array  # [] uint32, steps taken


class SpinInfo(NamedTuple):
    """What one sweep did."""

    acceptance: Array  # [] float32, fraction of spins that changed
    status: Array  # [] uint32 `Status`


def init_spins(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """A random configuration, or the given one.

    Raises:
        ValueError: ``spins`` of another shape than the model's, or not ±1.
    """
    spins = jax.random.rademacher(key, model.shape, jnp.int8) if spins is None else jnp.asarray(spins)
    check_spins("spins", spins, model.shape)
    return SpinState(spins.astype(jnp.int8), jnp.uint32(0))


def init_ordered(model: Model, key: Array, spins: Array | None = None) -> SpinState:
    """All spins up, or the given configuration; cluster samplers relax fastest from order."""
    return init_spins(model, key, jnp.ones(model.shape, jnp.int8) if spins is None else spins)


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
    """Raise ValueError unless this is a `Model` (or `PairModel`) whose couplings and fields fit it."""
    members = [name for base in protocol.__mro__[::-1] for name in vars(base) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(model, name)]
    if missing:
        raise ValueError(
            f"model: expected a {protocol.__name__} ({', '.join(members)}), "
            f"got {type(model).__name__} without {', '.join(missing)}"
        )
    if jax.tree_util.all_leaves([model]):
        raise ValueError(
            f"model: expected a pytree with the couplings for leaves, got {type(model).__name__}; "
            "see jax.tree_util.register_dataclass"
        )
    jax.eval_shape(lambda m: m.local_field(jnp.ones(m.shape, jnp.int8)), model)
