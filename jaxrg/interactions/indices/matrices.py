"""Interactions of pairs in their three forms: rows, symmetric matrices, and whole tables over subsets.

Rows ``[..., n (n - 1) / 2]`` are those of `jaxrg.interactions.pairs`, the last ones of an index of order two.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, as_table, is_traced
from jaxrg.interactions.indices.contexts import subset_indices, subsets_of_size
from jaxrg.tables import MAX_BYTES, check_table
from jaxrg.transforms import num_bits


def pairs_of_matrix(matrix: ArrayLike) -> Array:
    """The rows of a symmetric matrix of pairs ``[..., n, n]``, such as sampling estimates; its diagonal is left out.

    Example:
        >>> pairs_of_matrix(jnp.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])).tolist()
        [1.0, 2.0, 3.0]
    """
    table = as_floating("matrix", matrix)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or table.shape[-1] < 2:
        raise ValueError(f"matrix: expected [..., n, n] of at least two players, got shape {table.shape}")
    if not is_traced(table):
        host = np.asarray(table)
        if not np.array_equal(host, np.swapaxes(host, -1, -2), equal_nan=True):
            raise ValueError("matrix: expected a symmetric one, got different entries above and below the diagonal")
    return _pairs_of_matrix(table)


@jax.jit
def _pairs_of_matrix(matrix: Array) -> Array:
    return matrix[..., *np.triu_indices(matrix.shape[-1], 1)]


def _num_players(values: Array) -> int:
    """The n of rows of pairs; ValueError for another number of rows."""
    num_pairs = values.shape[-1] if values.ndim else 0
    n = (1 + math.isqrt(1 + 8 * num_pairs)) // 2
    if num_pairs == 0 or n * (n - 1) // 2 != num_pairs:
        raise ValueError(f"values: expected [..., n (n - 1) / 2], a row for each pair, got shape {values.shape}")
    return n


def matrix_of_pairs(values: ArrayLike) -> Array:
    """The symmetric matrix ``[..., n, n]`` of rows of pairs, with a zero diagonal.

    Example:
        >>> matrix_of_pairs(jnp.array([1.0, 2.0, 3.0])).tolist()
        [[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]]
    """
    rows = as_floating("values", values)
    return _matrix_of_pairs(rows, _num_players(rows))


@functools.partial(jax.jit, static_argnums=1)
def _matrix_of_pairs(values: Array, num_players: int) -> Array:
    empty = jnp.zeros((*values.shape[:-1], num_players, num_players), values.dtype)
    upper = empty.at[..., *np.triu_indices(num_players, 1)].set(values)
    return upper + upper.mT


def table_of_pairs(values: ArrayLike, *, max_bytes: int = MAX_BYTES) -> Array:
    """The table ``[..., 2**n]`` that holds rows of pairs at their subsets, and zero elsewhere.

    Example:
        >>> table_of_pairs(jnp.array([1.0, 2.0, 3.0])).tolist()
        [0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 3.0, 0.0]
    """
    rows = as_floating("values", values)
    n = _num_players(rows)
    copies = math.prod(rows.shape[:-1])
    check_table(n, itemsize=rows.dtype.itemsize, copies=copies, max_bytes=max_bytes, name="values")
    return _table_of_pairs(rows, n)


@functools.partial(jax.jit, static_argnums=1)
def _table_of_pairs(values: Array, num_players: int) -> Array:
    empty = jnp.zeros((*values.shape[:-1], 2**num_players), values.dtype)
    return empty.at[..., _places(num_players)].set(values)


def pairs_of_table(table: ArrayLike) -> Array:
    """The rows of the pairs of a table ``[..., 2**n]`` over subsets, such as `harsanyi` gives.

    Example:
        >>> pairs_of_table(jnp.arange(8.0)).tolist()
        [3.0, 5.0, 6.0]
    """
    values = as_table("table", table)
    if num_bits(values) < 2:
        raise ValueError(f"table: expected one of at least two players, got {num_bits(values)}")
    return _pairs_of_table(values)


@jax.jit
def _pairs_of_table(table: Array) -> Array:
    return table[..., _places(num_bits(table))]


def _places(num_players: int) -> np.ndarray:
    return subset_indices(subsets_of_size(num_players, 2)).astype(np.int32)
