"""The generators: pure functions of a key and a counter, unrolled integer arithmetic that fuses with its consumer."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_array, as_count, kind_of

_PARITY = 0x1BD11BDA  # Skein's key-schedule constant C240, low word
_ROTATIONS_2X32 = (13, 15, 26, 6, 17, 29, 16, 24)
_ROTATIONS_4X32 = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, in units of 2^-32


def as_words(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Words of 32 bits, or ValueError."""
    words = as_array(name, value)
    if words.dtype != jnp.uint32 or shape not in (None, words.shape):
        wanted = "" if shape is None else f" of shape {shape}"
        raise ValueError(f"{name}: expected uint32{wanted}, got {words.dtype} of {words.shape}")
    return words


def _as_blocks(name: str, values: Any, count: int) -> tuple[Array, ...]:
    """So many arrays of words, scalars or of one shape, or ValueError."""
    if not isinstance(values, Sequence | np.ndarray | Array) or isinstance(values, str) or len(values) != count:
        raise ValueError(f"{name}: expected {count} arrays of uint32, got {kind_of(values)}")
    words = tuple(as_words(name, value) for value in values)
    if len({word.shape for word in words} - {()}) > 1:
        raise ValueError(f"{name}: expected words of one shape, got {[word.shape for word in words]}")
    return words


def rotate_left(word: Array, amount: int) -> Array:
    """The 32 bits of a word, moved up by 1 to 31 places and wrapped around.

    Raises:
        ValueError: a word that is no uint32, or another number of places.
    """
    places = as_count("amount", amount)
    if places > 31:
        raise ValueError(f"amount: expected 1 to 31 places, got {places}")
    return _rotated(as_words("word", word), places)


def _rotate(word: Array, amount: int) -> Array:
    return (word << amount) | (word >> (32 - amount))


_rotated = partial(jax.jit, static_argnums=1, inline=True)(_rotate)


def threefry2x32(
    key_words: Sequence[Array], counter_words: Sequence[Array], *, rounds: int = 20
) -> tuple[Array, Array]:
    """Threefry2x32, the generator behind ``jax.random``, unrolled on a tuple of words.

    Args:
        key_words: two uint32 arrays or scalars.
        counter_words: two uint32 arrays of one shape.
        rounds: at least 13 for no known flaw; 20 is the authors' choice.

    Returns:
        Two uint32 arrays shaped like the counter.

    Example:
        >>> zero = jnp.uint32(0)
        >>> [hex(int(word)) for word in threefry2x32((zero, zero), (zero, zero))]
        ['0x6b200159', '0x99ba4efe']

    Reference:
        Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
    """
    return _threefry2x32(
        _as_blocks("key_words", key_words, 2),
        _as_blocks("counter_words", counter_words, 2),
        as_count("rounds", rounds),
    )


@partial(jax.jit, static_argnums=2, inline=True)
def _threefry2x32(key_words: Sequence[Array], counter_words: Sequence[Array], rounds: int) -> tuple[Array, ...]:
    schedule = (*key_words, key_words[0] ^ key_words[1] ^ _PARITY)
    first, second = (counter + key for counter, key in zip(counter_words, schedule, strict=False))
    for index in range(rounds):
        first = first + second
        second = _rotate(second, _ROTATIONS_2X32[index % 8]) ^ first
        if index % 4 == 3:
            injection = index // 4 + 1
            first = first + schedule[injection % 3]
            second = second + (schedule[(injection + 1) % 3] + injection)
    return first, second


def threefry4x32(
    key_words: Sequence[Array], counter_words: Sequence[Array], *, rounds: int = 20
) -> tuple[Array, Array, Array, Array]:
    """Threefry4x32: adds, rotations and exclusive ors only, four words a call.

    Args:
        key_words: four uint32 arrays or scalars.
        counter_words: four uint32 arrays of one shape.
        rounds: at least 12 for no known flaw; 13 and 20 have published known answers.

    Returns:
        Four uint32 arrays shaped like the counter.

    Example:
        >>> zero = jnp.uint32(0)
        >>> [hex(int(word)) for word in threefry4x32((zero,) * 4, (zero,) * 4, rounds=13)][:2]
        ['0x531c7e4f', '0x39491ee5']

    Reference:
        Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
    """
    return threefry4x32_words(
        _as_blocks("key_words", key_words, 4),
        _as_blocks("counter_words", counter_words, 4),
        as_count("rounds", rounds),
    )


@partial(jax.jit, static_argnums=2, inline=True)
def threefry4x32_words(key_words: Sequence[Array], counter_words: Sequence[Array], rounds: int) -> tuple[Array, ...]:
    return threefry4x32_states(key_words, counter_words, (rounds,))[0]


@partial(jax.jit, static_argnums=2, inline=True)
def threefry4x32_states(
    key_words: Sequence[Array], counter_words: Sequence[Array], rounds: tuple[int, ...]
) -> list[tuple[Array, ...]]:
    """The four words after so many rounds, for each of some ascending numbers of them."""
    schedule = (*key_words, reduce(jnp.bitwise_xor, key_words) ^ _PARITY)
    words = [counter + key for counter, key in zip(counter_words, schedule, strict=False)]
    states = []
    for index in range(rounds[-1]):
        partner, other = (1, 3) if index % 2 == 0 else (3, 1)
        for target, source, amount in zip((0, 2), (partner, other), _ROTATIONS_4X32[index % 8], strict=True):
            words[target] = words[target] + words[source]
            words[source] = _rotate(words[source], amount) ^ words[target]
        if index % 4 == 3:
            injection = index // 4 + 1
            keys = [schedule[(injection + offset) % 5] for offset in range(4)]
            keys[3] = keys[3] + injection
            words = [word + key for word, key in zip(words, keys, strict=True)]
        if index + 1 in rounds:
            states.append(tuple(words))
    return states


def philox4x32(
    key_words: Sequence[Array], counter_words: Sequence[Array], *, rounds: int = 10
) -> tuple[Array, Array, Array, Array]:
    """Philox4x32: two 32x32 -> 64 bit products a round.

    Args:
        key_words: two uint32 arrays or scalars.
        counter_words: four uint32 arrays of one shape.
        rounds: at least 8 for no known flaw (the authors saw suspicious p-values at 7); 10 is their choice.

    Returns:
        Four uint32 arrays shaped like the counter.

    Example:
        >>> zero = jnp.uint32(0)
        >>> [hex(int(word)) for word in philox4x32((zero, zero), (zero,) * 4)][:2]
        ['0x6627e8d5', '0xe169c58d']

    Reference:
        Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
    """
    return _philox4x32(
        _as_blocks("key_words", key_words, 2),
        _as_blocks("counter_words", counter_words, 4),
        as_count("rounds", rounds),
    )


@partial(jax.jit, static_argnums=2, inline=True)
def _philox4x32(key_words: Sequence[Array], counter_words: Sequence[Array], rounds: int) -> tuple[Array, ...]:
    first_key, second_key = key_words
    first, second, third, fourth = counter_words
    first_multiplier, second_multiplier = (jnp.uint32(value) for value in _PHILOX_MULTIPLIERS)
    for index in range(rounds):
        if index:
            first_key = first_key + jnp.uint32(_PHILOX_WEYL[0])
            second_key = second_key + jnp.uint32(_PHILOX_WEYL[1])
        first_high = lax.mulhi(first, jnp.full_like(first, first_multiplier))
        third_high = lax.mulhi(third, jnp.full_like(third, second_multiplier))
        first, second, third, fourth = (
            third_high ^ second ^ first_key,
            third * second_multiplier,
            first_high ^ fourth ^ second_key,
            first * first_multiplier,
        )
    return first, second, third, fourth
