"""How bijectors are made: from functions of static choices, parameters and an event, jitted once at their boundary."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_floating, as_sides, check_key, kind_of


def bijector(init: Callable, forward: Callable, inverse: Callable, *choices: Any) -> Bijector:
    """A bijector of three functions of a module, whose first arguments are the choices; or of a `Partial` with its own.

    Choices are pytrees: what is static in them is compared by value, so that two bijectors made alike share their
    compiled programs, and what is an array may change without another one.
    """
    init, forward, inverse = (
        fn if isinstance(fn, Partial) else Partial(fn, *choices) for fn in (init, forward, inverse)
    )
    return Bijector(Partial(_init, init), Partial(_apply, forward), Partial(_apply, inverse))


def _init(init: Partial, key: Array) -> PyTree:
    check_key("key", key)
    return _compiled(init, key)


def _apply(fn: Partial, params: PyTree, event: PyTree) -> tuple[PyTree, Array]:
    return _compiled(fn, *alike(params, as_event(event)))


@jax.jit
def _compiled(fn: Partial, *args: PyTree) -> PyTree:
    return fn(*args)


def as_event(event: Any, name: str = "event") -> PyTree:
    """What a user gives for an event as arrays; tuples are events of several parts."""
    if isinstance(event, tuple):
        return tuple(as_event(part, name) for part in event)
    if isinstance(event, dict):
        return {key: as_event(part, name) for key, part in event.items()}
    return as_floating(name, event)


def alike(*trees: PyTree) -> tuple[PyTree, ...]:
    """Trees whose floating arrays all have the widest of their dtypes."""
    floats = [leaf.dtype for leaf in jax.tree.leaves(trees) if _is_floating(leaf)]
    if len(set(floats)) < 2:
        return trees
    widest = max(floats, key=lambda dtype: jnp.finfo(dtype).bits)
    return jax.tree.map(lambda leaf: leaf.astype(widest) if _is_floating(leaf) else leaf, trees)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


@register_static
@dataclasses.dataclass(frozen=True)
class Event:
    """The shape of an event, static.

    Attributes:
        shape: its axes, which come first; those that follow are lanes.
    """

    shape: tuple[int, ...]

    @classmethod
    def of(cls, shape: Any, name: str = "event_shape", *, min_axes: int = 1) -> "Event":
        """The event of a shape a user gives."""
        sides = as_sides(name, shape)
        if len(sides) < min_axes:
            raise ValueError(f"{name}: expected at least {min_axes} axes, got {sides}")
        return cls(sides)

    def check(self, values: Any, name: str = "event") -> None:
        """Raise ValueError unless the values are such an event, or many of them side by side."""
        if not hasattr(values, "shape"):
            raise ValueError(f"{name}: expected an array of shape {(*self.shape, '*lanes')}, got {kind_of(values)}")
        if values.shape[: len(self.shape)] != self.shape:
            raise ValueError(
                f"{name}: expected shape {self.shape}, and lanes after these axes, got {tuple(values.shape)}"
            )

    def lanes(self, values: Array) -> tuple[int, ...]:
        """The axes that follow the event's."""
        return tuple(values.shape[len(self.shape) :])

    def zeros(self, values: Array) -> Array:
        """``[*lanes]`` the log-determinant of what keeps volumes."""
        return jnp.zeros(self.lanes(values), values.dtype)

    def total(self, values: Array) -> Array:
        """``[*lanes]`` sum over the event."""
        return jnp.sum(values, axis=tuple(range(len(self.shape))))


def beside_lanes(constants: Array, values: Array) -> Array:
    """Numbers of the leading axes of an array, with as many axes as it has and in its dtype."""
    return constants.astype(values.dtype).reshape(constants.shape + (1,) * (values.ndim - constants.ndim))


def no_params(*_: Any) -> tuple[()]:
    """What a fixed transform is initialised to."""
    return ()


def check_part(name: str, value: Any, num_parts: int) -> None:
    """Raise ValueError unless an event of several parts, or what belongs to each, is a tuple of so many."""
    if not isinstance(value, Sequence) or len(value) != num_parts:
        found = f"{len(value)}" if isinstance(value, Sequence) else kind_of(value)
        raise ValueError(f"{name}: expected a tuple of {num_parts}, got {found}")
