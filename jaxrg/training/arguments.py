"""What the training loops are given, as arrays, or refused by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_array, as_floating, kind_of


def _as_leaf(name: str, path: Any, leaf: Any) -> Array:
    """An array of its own dtype, half precision as single; typed keys and complex numbers stay what they are."""
    others = jax.dtypes.prng_key, jnp.complexfloating
    if isinstance(leaf, Array) and any(jnp.issubdtype(leaf.dtype, kind) for kind in others):
        return leaf
    name = f"{name}{jax.tree_util.keystr(path)}"
    array = as_array(name, leaf)
    return as_floating(name, leaf) if jnp.issubdtype(array.dtype, jnp.floating) else array


def as_arrays(name: str, tree: PyTree) -> PyTree:
    """A pytree of arrays, strongly typed: a weakly typed one would compile the epoch anew after its first update."""
    return jax.tree.map_with_path(lambda path, leaf: _as_leaf(name, path, leaf), tree)


def as_params(name: str, params: PyTree) -> PyTree:
    """A pytree of floating arrays of at least single precision; a list of numbers, or of lists of them, is an array.

    Raises:
        ValueError: no array at all, or something that is none.
    """
    params = jax.tree.map_with_path(
        lambda path, leaf: as_floating(f"{name}{jax.tree_util.keystr(path)}", leaf), _with_arrays(name, params)
    )
    if not jax.tree.leaves(params):
        raise ValueError(f"{name}: expected a pytree of arrays, got {kind_of(params)} without any")
    return params


def as_data(name: str, data: PyTree) -> PyTree:
    """A pytree of arrays; a list of numbers, or of lists of them, is an array."""
    return as_arrays(name, _with_arrays(name, data))


def _with_arrays(name: str, tree: PyTree) -> PyTree:
    """A pytree with an array in place of every list of numbers."""

    def from_list(node: Any) -> Any:
        if not isinstance(node, list) or not node:
            return node
        if all(isinstance(leaf, bool | int | float | np.generic) for leaf in jax.tree.leaves(node)):
            return as_array(name, node)
        return [_with_arrays(name, part) for part in node]

    return jax.tree.map(from_list, tree, is_leaf=lambda node: isinstance(node, list))


def as_weights(weights: Any, num_samples: int) -> Array:
    """Weights of the samples with mean one over all of them.

    Raises:
        ValueError: another shape, negative or infinite weights, NaN, or no weight that is not zero.
    """
    host = np.asarray(as_floating("weights", weights), np.float64)
    if host.shape != (num_samples,):
        raise ValueError(f"weights: expected shape ({num_samples},), one for each sample, got {host.shape}")
    if not np.all(np.isfinite(host) & (host >= 0)) or host.sum() == 0:
        raise ValueError(f"weights: expected finite numbers >= 0, not all zero, got {kind_of(weights)} with others")
    return as_floating("weights", host / host.mean())
