"""Scalar couplings and derivatives with respect to them, shared by the closed forms."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, as_parameter, check_shape, is_traced


def as_coupling(value: ArrayLike, name: str) -> Array:
    """A coupling as a floating array, checked to be finite where its value can be seen."""
    if is_traced(value):
        return as_floating(name, value)
    with jax.ensure_compile_time_eval():  # a number met inside a traced function is still a number
        return as_floating(name, as_parameter(name, value))


def as_scalar(value: ArrayLike, name: str) -> Array:
    """A scalar coupling as a floating array.

    Raises:
        ValueError: a value that is not finite or not a scalar; batches go through ``jax.vmap``.
    """
    array = as_coupling(value, name)
    check_shape(name, array, ())
    return array


def slope(fn: Callable[[Array], Array], coupling: Array) -> Array:
    """Derivative of a function of a scalar; forward mode compiles to half the size of reverse mode."""
    return jax.jvp(fn, (coupling,), (jnp.ones_like(coupling),))[1]


def of_scalar(fn: Callable[[Array], Array]) -> Callable[[ArrayLike], Array]:
    """A function of a scalar coupling that checks it and is compiled once."""
    compiled = jax.jit(fn)

    @functools.wraps(fn)
    def checked(coupling: ArrayLike) -> Array:
        return compiled(as_scalar(coupling, "coupling"))

    return checked
