"""Weights to begin with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree


def normal_weights(key: Array, shapes: PyTree, dtype: Any) -> PyTree:
    """Normal numbers in the shapes that are leaves of a tree, of variance one over the last side.

    All come from one draw: each of its own would be compiled for itself.
    """
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda node: isinstance(node, tuple))
    ends = np.cumsum([np.prod(shape) for shape in leaves])
    columns = jnp.split(jax.random.normal(key, (int(ends[-1]),), dtype), ends[:-1])
    drawn = [flat.reshape(shape) / max(shape[-1], 1) ** 0.5 for flat, shape in zip(columns, leaves, strict=True)]
    return structure.unflatten(drawn)
