r"""Functions of n bits over all 2^n patterns: the states of n spins, the coalitions of n players.

Bit ``i`` of an index (least significant first) says whether spin ``i`` is +1, whether player ``i`` is present. A table
``[2**n]`` holds a function of every pattern in the order of the index; a fold goes through them all in chunks and keeps
no table. Both run under ``jit``, ``vmap`` and ``grad``, whose memory is that of one chunk.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_integers, check_count, check_function

MAX_BITS = 30  # patterns that an int32 can count, with room for one more bit
MAX_BYTES = 2**31  # for a table and what is made of it, unless a caller says otherwise
CHUNK_SIZE = 2**14  # patterns at a time: larger batches are no faster


def bits_of(index: Array, num_bits: int) -> Array:
    """The bits of indices, ``bool[..., num_bits]``.

    Raises:
        ValueError: indices that are no integers >= 0, or more bits than their type has.

    Example:
        >>> bits_of(jnp.arange(4), 2).tolist()
        [[False, False], [True, False], [False, True], [True, True]]
    """
    return _bits_of(*_checked(index, num_bits))


def _checked(index: Any, num_bits: Any) -> tuple[Array, int]:
    """Indices and how many of their bits are asked for, or ValueError where they do not have so many."""
    indices, count = as_integers("index", index, minimum=0), as_count("num_bits", num_bits, minimum=0)
    widest = jnp.iinfo(indices.dtype).bits
    if count > widest:
        raise ValueError(f"num_bits: expected at most the {widest} of {indices.dtype}, got {count}")
    return indices, count


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _bits_of(index: Array, num_bits: int) -> Array:
    places = jnp.arange(num_bits, dtype=index.dtype).reshape((1,) * index.ndim + (num_bits,))
    return (index[..., None] >> places) & 1 == 1


def spins_of(index: Array, num_bits: int, dtype=jnp.int8) -> Array:
    """The bits of indices as spins ±1, ``[..., num_bits]``: +1 where a bit is set.

    Raises:
        ValueError: indices that are no integers >= 0, more bits than their type has, or a type without -1.

    Example:
        >>> spins_of(jnp.arange(4), 2).tolist()
        [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    """
    kind = jax.dtypes.canonicalize_dtype(dtype)
    if not (jnp.issubdtype(kind, jnp.signedinteger) or jnp.issubdtype(kind, jnp.floating)):
        raise ValueError(f"dtype: expected a signed type, which holds -1, got {kind}")
    return _spins_of(*_checked(index, num_bits), kind)


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def _spins_of(index: Array, num_bits: int, dtype: Any) -> Array:
    return (2 * _bits_of(index, num_bits).astype(jnp.int8) - 1).astype(dtype)


def all_bits(num_bits: int) -> Array:
    """All patterns ``bool[2**num_bits, num_bits]`` in index order.

    Raises:
        ValueError: too many bits for the memory.
    """
    count = as_count("num_bits", num_bits, minimum=0)
    check_table(count, itemsize=count)
    return _all_patterns(bits_of, count)


def all_spins(num_bits: int, dtype=jnp.int8) -> Array:
    """All states ``[2**num_bits, num_bits]`` of spins ±1 in index order.

    Raises:
        ValueError: too many bits for the memory.
    """
    count = as_count("num_bits", num_bits, minimum=0)
    check_table(count, itemsize=count * np.dtype(dtype).itemsize)
    return _all_patterns(spins_of, count, dtype)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _all_patterns(pattern_of: Callable, num_bits: int, *dtype) -> Array:
    # Compiled, so that the integers between never exist.
    return pattern_of(jnp.arange(2**num_bits, dtype=jnp.int32), num_bits, *dtype)


def subset_sizes(num_bits: int) -> Array:
    """Number of set bits of every index, ``int32[2**num_bits]``.

    Raises:
        ValueError: too many bits for the memory.
    """
    count = as_count("num_bits", num_bits, minimum=0)
    check_table(count, itemsize=4)
    return _subset_sizes(count)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _subset_sizes(num_bits: int) -> Array:
    return jax.lax.population_count(jnp.arange(2**num_bits, dtype=jnp.int32))


def check_num_bits(num_bits: int, *, name: str = "num_bits") -> None:
    """Raise ValueError unless an int32 can count the patterns."""
    check_count(name, num_bits, minimum=0)
    if num_bits > MAX_BITS:
        raise ValueError(f"{name}: expected at most {MAX_BITS}, whose patterns int32 can count, got {num_bits}")


def check_bytes(name: str, needed: int, max_bytes: int, what: str) -> None:
    """Raise ValueError unless what an argument asks for fits the memory allowed; nothing is allocated."""
    check_count(name, needed, minimum=0)
    check_count("max_bytes", max_bytes, minimum=0)
    if needed > max_bytes:
        raise ValueError(f"{name}: expected {what} within {max_bytes:,} bytes (max_bytes), got {needed:,} bytes")


def check_table(
    num_bits: int, *, itemsize: int = 8, copies: int = 1, max_bytes: int = MAX_BYTES, name: str = "num_bits"
) -> None:
    """Raise ValueError, with the bytes, unless tables of ``2**num_bits`` entries fit; nothing is allocated."""
    check_count(name, num_bits, minimum=0)
    check_count("max_bytes", max_bytes, minimum=0)
    needed = copies * itemsize * 2**num_bits
    if needed > max_bytes:
        largest = max(int(math.log2(max(max_bytes, 1) / max(copies * itemsize, 1))), 0)
        raise ValueError(
            f"{name}: expected at most {largest} for tables of 2**{largest} in {max_bytes:,} bytes, "
            f"got {num_bits}, which needs {needed:,} bytes"
        )


def check_chunk_size(chunk_size: int) -> None:
    """Raise ValueError unless a chunk is a power of two."""
    check_count("chunk_size", chunk_size)
    if chunk_size & (chunk_size - 1):
        raise ValueError(f"chunk_size: expected a power of two, got {chunk_size}")


def checked_chunk_size(chunk_size: Any) -> int:
    """The chunk as an int, or ValueError unless it is a power of two."""
    check_chunk_size(chunk_size)
    return int(chunk_size)


def fold(
    fn: Callable[[Any, Array], tuple[Any, Any]],
    init: Any,
    num_bits: int,
    *,
    chunk_size: int = CHUNK_SIZE,
    first: Array | int = 0,
) -> tuple[PyTree, PyTree]:
    """``carry, values = fn(carry, index)`` over all indices in order, a chunk at a time; derivatives recompute chunks.

    Args:
        fn: takes ``int32[chunk]`` consecutive indices; returns the new carry, and None or a pytree of ``[chunk, ...]``.
        init: the first carry.
        num_bits: of the indices, at most 30.
        chunk_size: indices at a time, a power of two.
        first: index to start from, instead of 0.

    Returns:
        The last carry, and the values as tables ``[2**num_bits, ...]``.

    Raises:
        ValueError: too many bits, or a chunk that is no power of two.

    Example:
        >>> fold(lambda total, index: (total + jnp.sum(index), index % 2), 0, 2)
        (Array(6, dtype=int32), Array([0, 1, 0, 1], dtype=int32))
    """
    check_function("fn", fn, of="the carry and a chunk of indices")
    check_num_bits(num_bits)
    size = min(checked_chunk_size(chunk_size), 2**num_bits)
    offsets = jnp.int32(first) + jnp.arange(size, dtype=jnp.int32)
    if size == 2**num_bits:
        return fn(init, offsets)
    body = jax.checkpoint(lambda carry, start: fn(carry, start + offsets), prevent_cse=False)  # type: ignore
    carry, values = jax.lax.scan(body, init, jnp.arange(2**num_bits // size, dtype=jnp.int32) * size)
    return carry, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), values)


def tabulate(
    fn: Callable[[Array], PyTree], num_bits: int, *, chunk_size: int = CHUNK_SIZE, first: Array | int = 0
) -> PyTree:
    """``values = fn(index)`` of all indices in order, a chunk at a time.

    Args:
        fn: takes ``int32[chunk]`` consecutive indices; returns a pytree of ``[chunk, ...]``.
        num_bits: of the indices, at most 30.
        chunk_size: indices at a time, a power of two.
        first: index to start from, instead of 0.

    Returns:
        Tables ``[2**num_bits, ...]``.

    Raises:
        ValueError: too many bits, or a chunk that is no power of two.

    Example:
        >>> tabulate(lambda index: bits_of(index, 2).sum(-1), 2).tolist()
        [0, 1, 1, 2]
    """
    check_function("fn", fn, of="a chunk of indices")
    return fold(lambda _, index: (None, fn(index)), None, num_bits, chunk_size=chunk_size, first=first)[1]
