"""Operations with another derivative than their own."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

MAX_PLACES = 16  # of a window that is unrolled: as many slices are compiled, 8x8 of them for a quarter of a minute

Rule: TypeAlias = Callable[..., Any]
"""``cotangents = rule(pullback, cotangent, *inputs)``: what goes back from an operation to each of its ``inputs`` (a
tuple, or the one array of one input) where ``cotangent`` arrives; ``pullback(cotangent)`` is the tuple of its own."""


def ruled(apply: Callable[..., Sequence[Any]], rule: Rule, is_operand: Sequence[bool]) -> Callable[..., Sequence[Any]]:
    """An operation with a list of outputs, whose derivative is that of a rule; of its operands that are floats."""

    def moves(values: Sequence[Any]) -> list[bool]:
        return [
            chosen and jnp.issubdtype(value.dtype, jnp.inexact)
            for chosen, value in zip(is_operand, values, strict=True)
        ]

    def backward(values: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
        is_moved = moves(values)
        moved = [value for value, is_one in zip(values, is_moved, strict=True) if is_one]

        def of_moved(*some: Any) -> Any:
            given = iter(some)
            outputs = apply(*(next(given) if is_one else value for value, is_one in zip(values, is_moved, strict=True)))
            return tuple(outputs) if len(outputs) > 1 else outputs[0]

        arriving = tuple(cotangents) if len(cotangents) > 1 else cotangents[0]
        found = rule(jax.vjp(of_moved, *moved)[1], arriving, *moved)
        found = list(found) if isinstance(found, tuple | list) else [found]
        shapes, expected = [jnp.shape(part) for part in found], [value.shape for value in moved]
        if shapes != expected:
            raise ValueError(f"rules: expected cotangents of shapes {expected}, got {shapes}")
        given = iter(found)
        return tuple(next(given) if is_one else None for is_one in is_moved)

    swapped = jax.custom_vjp(apply)
    swapped.defvjp(lambda *values: (apply(*values), values), backward)
    return swapped


@dataclasses.dataclass(frozen=True)
class _MaxPool:
    """What goes back from a max-pool, window place by window place.

    The same as its own derivative, also in ties, of which the first wins; XLA's select-and-scatter takes a multiple of
    the time on a CPU.
    """

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def __call__(self, pullback: Callable, cotangent: Array, inputs: Array) -> Array:
        lowest = jnp.asarray(-jnp.inf, inputs.dtype)
        padded = lax.pad(inputs, lowest, [(low, high, 0) for low, high in self.padding])
        places = [self._slice(padded, offset, cotangent.shape) for offset in self._offsets()]
        largest = functools.reduce(jnp.maximum, places)
        back, is_free = jnp.zeros_like(padded), jnp.ones(cotangent.shape, bool)
        for offset, values in zip(self._offsets(), places, strict=True):
            is_first = is_free & (values == largest)
            is_free &= ~is_first
            around = [
                (start, size - start - (count - 1) * stride - 1, stride - 1)
                for start, size, count, stride in zip(offset, padded.shape, cotangent.shape, self.strides, strict=True)
            ]
            back += lax.pad(jnp.where(is_first, cotangent, 0), jnp.zeros((), cotangent.dtype), around)
        ends = [size - high for size, (_, high) in zip(padded.shape, self.padding, strict=True)]
        return lax.slice(back, [low for low, _ in self.padding], ends)

    def _offsets(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*map(range, self.window))

    def _slice(self, padded: Array, offset: Sequence[int], counts: Sequence[int]) -> Array:
        ends = [start + (count - 1) * stride + 1
                for start, count, stride in zip(offset, counts, self.strides, strict=True)]  # fmt: skip
        return lax.slice(padded, offset, ends, self.strides)


def max_pool_rule(params: Mapping[str, Any]) -> Rule | None:
    """The rule of a ``reduce_window_max`` with these parameters, if its windows are dense and small."""
    is_dense = all(step == 1 for step in (*params["base_dilation"], *params["window_dilation"]))
    if not is_dense or math.prod(params["window_dimensions"]) > MAX_PLACES:
        return None
    return Partial(
        _MaxPool(
            tuple(params["window_dimensions"]),
            tuple(params["window_strides"]),
            tuple(map(tuple, params["padding"])),
        )
    )
