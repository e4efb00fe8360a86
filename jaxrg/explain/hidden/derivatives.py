"""Operations with another derivative than their own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

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
