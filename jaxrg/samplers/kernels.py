"""From a kernel, which takes a fresh key for one configuration, to a sampler, which takes the key of a whole run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Kernel, PyTree, Sampler
from jaxrg.checks import PLAIN, check_function, check_key, kind_of
from jaxrg.closures import as_partial
from jaxrg.samplers.derivatives import without_derivatives


def from_kernel(init: Callable[..., PyTree], kernel: Kernel, measure: Callable) -> Sampler:
    """A sampler of one configuration from three plain functions; couplings are the leaves of their `Partial`.

    Args:
        init: ``state = init(key, spins=None)``, a NamedTuple with a field ``step``, at first the uint32 zero.
        kernel: ``state, info = kernel(key, state)`` with a key of its own for each step, and a uint32 `Status` among
            the fields of ``info``. It leaves ``state.step`` alone: that is counted here.
        measure: ``value = measure(fn, state)`` applies ``fn`` to the configuration.

    Returns:
        A sampler whose step number t calls the kernel with ``fold_in(key, t)``; infos and measurements get an axis of
        one chain. Tangents of the leaves of ``kernel`` or of the state are refused, since draws have no derivative.

    Raises:
        ValueError: an argument that is no function; a step with no typed key, or differentiated.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> from jaxrg.samplers.spins import init_spins, measure_spins
        >>> def flip(model, key, state):
        ...     return state._replace(spins=-state.spins), samplers.SpinInfo(1.0, jnp.uint32(0))
        >>> model = models.Ising(lattice.hypercubic((4,)), 0.5)
        >>> sampler = from_kernel(Partial(init_spins, model), Partial(flip, model), measure_spins)
        >>> state, _ = sampler.step(jax.random.key(0), sampler.init(jax.random.key(1)))
        >>> int(state.step), sampler.measure(model.observables, state).energy.shape
        (1, (1,))
    """
    check_function("init", init, of="a key and perhaps spins")
    check_function("kernel", kernel, of="a key and a state")
    check_function("measure", measure, of="a function and a state")
    return Sampler(as_partial(init), counted(kernel), Partial(_measure, as_partial(measure)))


def check_sampler(name: str, sampler: Any) -> None:
    """Raise ValueError unless this is a `Sampler`."""
    if not isinstance(sampler, Sampler):
        raise ValueError(f"{name}: expected a Sampler, as samplers.heat_bath(model) is, got {kind_of(sampler)}")


def check_members(model: Any, protocol: type) -> None:
    """Raise ValueError unless a model is a pytree with all members of a protocol."""
    members = [name for base in protocol.__mro__[::-1] for name in vars(base) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(model, name)]
    if missing or isinstance(model, type):
        lack = f" without {', '.join(missing)}" if missing else ", a class and no instance"
        raise ValueError(
            f"model: expected a {protocol.__name__} ({', '.join(members)}), "
            f"got {model.__name__ if isinstance(model, type) else type(model).__name__}{lack}"
        )
    if jax.tree_util.all_leaves([model]):
        raise ValueError(
            f"model: expected a pytree with the couplings for leaves, got {type(model).__name__}; "
            "see jaxrg.models.pytree"
        )


def counted(kernel: Kernel) -> Partial:
    """The step of a sampler: the kernel with a key made of the run's key and the number of steps, which it counts."""
    return Partial(_step, as_partial(kernel))


def _step(kernel: Kernel, key: Array, state: PyTree) -> tuple[PyTree, PyTree]:
    check_key("key", key)
    kernel, state = without_derivatives((kernel, state))
    # The counter makes the key, so a run resumed from a state goes on exactly as if it had not stopped.
    after, info = kernel(jax.random.fold_in(key, state.step), state)
    return after._replace(step=state.step + 1), _one_chain(info)


def _measure(measure: Callable, fn: Callable, state: PyTree) -> PyTree:
    values = measure(fn, state)
    for leaf in jax.tree.leaves(values):
        if not isinstance(leaf, (*PLAIN, Array)):
            raise ValueError(f"observe: expected a function to arrays or numbers, got {kind_of(leaf)} from it")
    return _one_chain(values)


def _one_chain(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def poisoned(status: Array, result: PyTree) -> PyTree:
    """NaN for every float where a step failed."""

    def leaf(value: Array) -> Array:
        return jnp.where(status == 0, value, jnp.nan) if jnp.issubdtype(value.dtype, jnp.floating) else value

    return jax.tree.map(leaf, result)
