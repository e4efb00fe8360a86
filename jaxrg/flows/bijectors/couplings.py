"""Couplings: some features are changed, each by itself, in a way that the others and a condition determine."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Bijector, PyTree
from jaxrg.flows.bijectors.conditioners import as_conditioner
from jaxrg.flows.bijectors.halves import Halves, halves_of
from jaxrg.flows.bijectors.making import Event, bijector, check_part


@register_static
@dataclasses.dataclass(frozen=True)
class Coupled:
    """What is static in a coupling.

    Attributes:
        halves: which features condition and which are changed.
        condition: shape of the condition, ``(conditions, *rest)``, or None.
        outputs: outputs of the conditioner for every changed feature.
        encode: a function of a module of the features that stay, for the conditioner to look at, or None.
    """

    halves: Halves
    condition: Event | None
    outputs: int
    encode: Callable[[Array], Array] | None = None

    def inputs(self, kept: Array) -> Array:
        """What the conditioner sees of the features that stay."""
        return kept if self.encode is None else self.encode(kept)


def coupling(
    event_shape: Sequence[int],
    mask: Any,
    conditioner: Any,
    condition_shape: Sequence[int] | None,
    forward: Partial,
    inverse: Partial,
    outputs: int,
    *,
    encode: Callable[[Array], Array] | None = None,
) -> Bijector:
    """A coupling of elementwise functions ``values, log_det = forward(values, outputs)`` and the inverse.

    They take ``[changed, ...]`` values and ``[outputs, changed, ...]`` of the conditioner, both with the same axes
    after these, and return the log-derivative of every value.
    """
    halves = halves_of(event_shape, mask, may_be_empty=condition_shape is not None)
    condition = None
    if condition_shape is not None:
        condition = Event.of(condition_shape, "condition_shape")
        if condition.shape[1:] != halves.rest:
            expected = f"(conditions, {', '.join(map(str, halves.rest))})" if halves.rest else "(conditions,)"
            raise ValueError(f"condition_shape: expected {expected}, got {condition.shape}")
    net = as_conditioner("conditioner", conditioner, halves.rest)
    static = Coupled(halves, condition, outputs, encode)
    return bijector(
        Partial(_init, static, net.init),
        Partial(_change, static, net.apply, forward),
        Partial(_change, static, net.apply, inverse),
    )


def _init(static: Coupled, init: Callable, key: Array) -> PyTree:
    inputs = static.inputs(jnp.zeros((len(static.halves.kept), *static.halves.rest), jnp.result_type(float)))
    if static.condition is not None:
        inputs = jnp.concatenate([inputs, jnp.zeros(static.condition.shape, inputs.dtype)])
    return init(key, inputs, static.outputs * len(static.halves.changed))


def _change(
    static: Coupled, apply: Callable, elementwise: Callable, params: PyTree, event: PyTree
) -> tuple[PyTree, Array]:
    halves, values, condition = static.halves, event, None
    if static.condition is not None:
        check_part("event", event, 2)
        values, condition = event
        static.condition.check(condition, "condition")
    kept, changed = halves.separate(values)
    inputs = static.inputs(kept)
    if condition is not None:
        inputs = jnp.concatenate([inputs, condition])
    outputs = apply(params, inputs)
    expected = (static.outputs * changed.shape[0], *changed.shape[1:])
    if outputs.shape != expected:
        raise ValueError(f"conditioner: expected outputs of shape {expected}, got {outputs.shape}")
    changed, log_det = elementwise(changed, outputs.reshape(static.outputs, *changed.shape))
    values = halves.join(kept, changed)
    log_det = jnp.sum(log_det, axis=tuple(range(1 + len(halves.rest))))
    return values if condition is None else (values, condition), log_det
