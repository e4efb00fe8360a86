"""What an attribution returns, and what every one of them is given: inputs as vectors, functions as one number."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_floating, as_floating_alike, check_function, check_shape
from jaxrg.closures import as_partial


class Attribution(NamedTuple):
    """What each input is given of an output, and how far all of it together is from what there is to give."""

    values: Array  # [n]
    completeness_gap: Array  # sum of the values less f(x) - f(b), or less f(x) where there is no baseline


def as_inputs(sample: Any, **others: Any) -> list[Array]:
    """The sample and what it is compared with as floats of one precision; ``backgrounds`` have one axis more."""
    arrays = as_floating_alike(sample=sample, **others)
    shape = arrays[0].shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"sample: expected one input [n] with n >= 1, got shape {shape}")
    for name, array in zip(others, arrays[1:], strict=True):
        if name != "backgrounds":
            check_shape(name, array, shape)
        elif array.ndim != 2 or array.shape[1:] != shape or not len(array):
            raise ValueError(f"backgrounds: expected [1 or more, {shape[0]}], got shape {array.shape}")
    return arrays


def as_function(function: Callable[[Array], Array]) -> Partial:
    """The function as a pytree of the arrays it holds."""
    check_function("function", function, of="one input")
    return as_partial(function)


def number_of(function: Callable[[Array], Array], *, is_differentiated: bool = False) -> Callable[[Array], Array]:
    """The function with its output as one number in the precision of its input; what has none is refused."""

    def value(inputs: Array) -> Array:
        raw = function(inputs)
        output = as_floating("function", raw)
        if output.shape:
            raise ValueError(f"function: expected one number of an input, got shape {output.shape}")
        if is_differentiated and not jnp.issubdtype(jnp.result_type(raw), jnp.floating):
            raise ValueError(f"function: expected a floating number, which has a gradient, got {jnp.result_type(raw)}")
        return jax.lax.convert_element_type(output, inputs.dtype)

    return value


def attribute(values: Array, total: Array) -> Attribution:
    """The attribution of values that should sum to a total."""
    return Attribution(values, jnp.sum(values) - total)
