"""An event in two parts by a mask over its leading axes, without gathers where slices do."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import register_static

from jaxrg.checks import kind_of
from jaxrg.flows.bijectors.making import Event

MAX_SLICES = 32  # of a mask in more pieces, one gather compiles and runs faster


@register_static
@dataclasses.dataclass(frozen=True)
class Halves:
    """The features of an event, its leading axes as one, in two parts.

    Attributes:
        event: the whole event.
        num_axes: so many leading axes are the features.
        kept: features where the mask is True, in rising order.
        changed: the others.
    """

    event: Event
    num_axes: int
    kept: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def rest(self) -> tuple[int, ...]:
        """The axes of the event that are no features."""
        return self.event.shape[self.num_axes :]

    def separate(self, values: Array) -> tuple[Array, Array]:
        """``[kept, *rest, *lanes]`` and ``[changed, *rest, *lanes]`` parts of an event."""
        self.event.check(values)
        features = values.reshape(-1, *values.shape[self.num_axes :])
        return take_rows(features, self.kept), take_rows(features, self.changed)

    def join(self, kept: Array, changed: Array) -> Array:
        """The event of its parts."""
        source = {feature: (0, row) for row, feature in enumerate(self.kept)}
        source |= {feature: (1, row) for row, feature in enumerate(self.changed)}
        pieces: list[list[int]] = []  # of which part, from which row, to which one
        for feature in range(len(source)):
            part, row = source[feature]
            if pieces and pieces[-1][0] == part and pieces[-1][2] == row:
                pieces[-1][2] = row + 1
            else:
                pieces.append([part, row, row + 1])
        if len(pieces) <= MAX_SLICES:
            parts = (kept, changed)
            features = jnp.concatenate([parts[part][start:stop] for part, start, stop in pieces])
        else:
            order = np.argsort(np.array(self.kept + self.changed))
            features = jnp.concatenate([kept, changed])[order]
        return features.reshape(*self.event.shape[: self.num_axes], *features.shape[1:])


def halves_of(event_shape: Any, mask: Any, *, may_be_empty: bool = False) -> Halves:
    """The two parts of an event by a mask that a user gives.

    Raises:
        ValueError: no booleans, a shape that is not that of the event's leading axes, or a part without features.
    """
    event = Event.of(event_shape)
    if isinstance(mask, Tracer) or not isinstance(mask, Array | np.ndarray | Sequence):
        raise ValueError(f"mask: expected booleans whose values can be seen, got {kind_of(mask)}")
    try:
        host = np.asarray(mask)
    except ValueError as error:
        raise ValueError("mask: expected booleans of one shape, got a ragged list") from error
    if host.dtype != np.bool_:
        raise ValueError(f"mask: expected booleans, got {kind_of(mask)}")
    if host.ndim == 0 or host.shape != event.shape[: host.ndim]:
        raise ValueError(f"mask: expected the shape of leading axes of the event {event.shape}, got {host.shape}")
    flat = host.ravel()
    if flat.all() or (not flat.any() and not may_be_empty):
        raise ValueError(f"mask: expected True and False, got {bool(flat[0])} everywhere")
    kept, changed = (tuple(np.flatnonzero(part).tolist()) for part in (flat, ~flat))
    return Halves(event, host.ndim, kept, changed)


def take_rows(values: Array, rows: Sequence[int]) -> Array:
    """Some rows of an array, as slices where they are few."""
    slices: list[slice] = []
    rows = list(rows)
    start = 0
    while start < len(rows):
        step = rows[start + 1] - rows[start] if start + 1 < len(rows) else 1
        stop = start + 1
        while step > 0 and stop < len(rows) and rows[stop] - rows[stop - 1] == step:
            stop += 1
        slices.append(slice(rows[start], rows[stop - 1] + 1, max(step, 1)))
        start = stop
    if len(slices) == 1:
        return values[slices[0]]
    if 0 < len(slices) <= MAX_SLICES:
        return jnp.concatenate([values[part] for part in slices])
    return values[np.array(rows, np.int32)]


def num_features(halves: Halves) -> int:
    """Number of features of the whole event."""
    return math.prod(halves.event.shape[: halves.num_axes])
