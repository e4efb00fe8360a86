"""Products of arrays in full precision, which accelerators leave for speed where nobody asks for it."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

HIGHEST = lax.Precision.HIGHEST


def einsum(subscripts: str, *arrays: Array) -> Array:
    return jnp.einsum(subscripts, *arrays, precision=HIGHEST)


def matmul(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=HIGHEST)


def tensordot(left: Array, right: Array, axes: Any) -> Array:
    return jnp.tensordot(left, right, axes, precision=HIGHEST)
