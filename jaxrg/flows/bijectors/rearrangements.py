"""Events with their entries in another order, or in parts: volumes stay what they are."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array
from jax.tree_util import register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_integers
from jaxrg.flows.bijectors.halves import Halves, halves_of, take_rows
from jaxrg.flows.bijectors.making import Event, bijector, check_part, no_params


@register_static
@dataclasses.dataclass(frozen=True)
class Order:
    """An order of the features of an event and the one back."""

    event: Event
    num_axes: int
    order: tuple[int, ...]
    back: tuple[int, ...]


def permutation(event_shape: Sequence[int], order: Any) -> Bijector:
    r"""The features of an event in another order, :math:`y_i = x_{\pi_i}`.

    Args:
        event_shape: shape of the event.
        order: :math:`\pi`, integers in the shape of the event's leading axes, which count its features in C order.

    Raises:
        ValueError: no such shape, or no permutation.

    Example:
        >>> permutation((3,), [1, 2, 0]).forward((), jnp.arange(3.0))[0].tolist()
        [1.0, 2.0, 0.0]
    """
    event = Event.of(event_shape)
    host = np.asarray(as_integers("order", order))
    if host.ndim == 0 or host.shape != event.shape[: host.ndim]:
        raise ValueError(f"order: expected the shape of leading axes of the event {event.shape}, got {host.shape}")
    flat = host.ravel()
    if not np.array_equal(np.sort(flat), np.arange(flat.size)):
        raise ValueError(f"order: expected every integer from 0 to {flat.size - 1} once, got {flat.tolist()}")
    static = Order(event, host.ndim, tuple(flat.tolist()), tuple(np.argsort(flat).tolist()))
    return bijector(no_params, _permute, _permute_back, static)


def _permute(static: Order, params: PyTree, values: Array) -> tuple[Array, Array]:
    return _reorder(static, static.order, values)


def _permute_back(static: Order, params: PyTree, values: Array) -> tuple[Array, Array]:
    return _reorder(static, static.back, values)


def _reorder(static: Order, order: tuple[int, ...], values: Array) -> tuple[Array, Array]:
    static.event.check(values)
    features = values.reshape(-1, *values.shape[static.num_axes :])
    return take_rows(features, order).reshape(values.shape), static.event.zeros(values)


def split(event_shape: Sequence[int], mask: Any) -> Bijector:
    """An event becomes a pair of its features where the mask is True and of the others; the inverse merges them.

    Args:
        event_shape: shape of the event.
        mask: booleans of the event's leading axes.

    Raises:
        ValueError: shapes that do not fit, or a mask of one kind only.

    Example:
        >>> parts, _ = split((3,), [True, False, True]).forward((), jnp.arange(3.0))
        >>> [part.tolist() for part in parts]
        [[0.0, 2.0], [1.0]]
    """
    return bijector(no_params, _split, _merge, halves_of(event_shape, mask))


def _split(halves: Halves, params: PyTree, values: Array) -> tuple[tuple[Array, Array], Array]:
    parts = halves.separate(values)
    return parts, halves.event.zeros(values)


def _merge(halves: Halves, params: PyTree, parts: tuple[Array, Array]) -> tuple[Array, Array]:
    check_part("event", parts, 2)
    kept, changed = parts
    Event((len(halves.kept), *halves.rest)).check(kept, "event[0]")
    Event((len(halves.changed), *halves.rest)).check(changed, "event[1]")
    if kept.shape[1:] != changed.shape[1:]:
        raise ValueError(f"event: expected parts with the same lanes, got {kept.shape} and {changed.shape}")
    values = halves.join(kept, changed)
    return values, halves.event.zeros(values)
