r"""Counter-based random bits, computed inside the kernel that uses them.

A word is a pure function of a JAX key, a site and a draw number, so that a trajectory does not depend on the layout of
the lattice, on the number of devices or on where a run was interrupted. The driver folds the step into the key; the
kernel asks for the words of its *global* sites. No array of random numbers is ever written: the generators are unrolled
integer arithmetic that XLA fuses into their consumer.

The default is Threefry4x32 with 13 rounds. Its authors know of no flaw from 12 rounds on (documentation of
Random123), and 13 has published known answers. It was as fast as Philox4x32-7, over which the same authors see a
cloud, and 1.6 times as fast as the Threefry2x32-20 of ``jax.random``; it needs no wide products, which a TPU lacks.
``benchmarks/random_quality.py`` writes the stream in the order in which the kernels consume it and tests it.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_floating, check_count, is_traced

_ROUNDS = 13
_PARITY = 0x1BD11BDA  # Skein's key-schedule constant C240, low word
_ROTATIONS_2X32 = (13, 15, 26, 6, 17, 29, 16, 24)
_ROTATIONS_4X32 = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, in units of 2^-32


def rotate_left(word: Array, amount: int) -> Array:
    """The 32 bits of a word, moved up by 1 to 31 places and wrapped around."""
    return (word << amount) | (word >> (32 - amount))


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
    schedule = (*key_words, key_words[0] ^ key_words[1] ^ _PARITY)
    first, second = (counter + key for counter, key in zip(counter_words, schedule, strict=False))
    for index in range(rounds):
        first = first + second
        second = rotate_left(second, _ROTATIONS_2X32[index % 8]) ^ first
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
    schedule = (*key_words, reduce(jnp.bitwise_xor, key_words) ^ _PARITY)
    words = [counter + key for counter, key in zip(counter_words, schedule, strict=False)]
    for index in range(rounds):
        partner, other = (1, 3) if index % 2 == 0 else (3, 1)
        for target, source, amount in zip((0, 2), (partner, other), _ROTATIONS_4X32[index % 8], strict=True):
            words[target] = words[target] + words[source]
            words[source] = rotate_left(words[source], amount) ^ words[target]
        if index % 4 == 3:
            injection = index // 4 + 1
            keys = [schedule[(injection + offset) % 5] for offset in range(4)]
            keys[3] = keys[3] + injection
            words = [word + key for word, key in zip(words, keys, strict=True)]
    return words[0], words[1], words[2], words[3]


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


def key_words(key: Array) -> tuple[Array, Array, Array, Array]:
    """The four key words of the stream that belongs to a typed JAX key.

    Args:
        key: one typed key (``jax.random.key``). The two words of a threefry key are padded with zeros; the four words
            of an rbg key are used as they are.

    Returns:
        Four uint32 scalars.

    Raises:
        ValueError: a raw uint32 key, an array of keys, or an implementation whose key is neither two nor four words.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"key: expected a typed key from jax.random.key, got an array of {key.dtype}")
    if key.shape != ():
        raise ValueError(f"key: expected a single key, got shape {key.shape}; use jax.vmap over keys")
    data = jax.random.key_data(key)
    if data.shape not in ((2,), (4,)):
        raise ValueError(f"key: expected 2 or 4 words, got {data.shape} from impl {jax.random.key_impl(key)}")
    words = [data[index] for index in range(data.shape[0])]
    words += [jnp.zeros_like(words[0])] * (4 - len(words))
    return words[0], words[1], words[2], words[3]


def bits(key: Array, sites: Array, num_words: int, *, replicas: Array | None = None) -> tuple[Array, ...]:
    """Random words of every site, a pure function of (key, site, replica, draw number).

    Args:
        key: one typed key; fold the step into it.
        sites: uint32 array of *global* site indices, any shape.
        num_words: how many words each site gets; they come in blocks of four, so multiples of four waste none.
        replicas: uint32 array of the shape of ``sites``: a second coordinate, for copies of one lattice. None means 0.

    Returns:
        Tuple of ``num_words`` uint32 arrays shaped like ``sites``. The first words do not depend on ``num_words``.

    Raises:
        ValueError: indices that are not uint32, or a replica array of another shape.

    Example:
        >>> words = bits(jax.random.key(0), jnp.arange(4, dtype=jnp.uint32), 3)
        >>> len(words), words[0].shape, words[0].dtype
        (3, (4,), dtype('uint32'))
    """
    check_count("num_words", num_words)
    replicas = jnp.zeros_like(sites) if replicas is None else replicas
    for name, indices in (("sites", sites), ("replicas", replicas)):
        if indices.dtype != jnp.uint32 or indices.shape != sites.shape:
            raise ValueError(f"{name}: expected uint32 of shape {sites.shape}, got {indices.dtype} of {indices.shape}")
    keys = key_words(key)
    words: list[Array] = []
    for block in range(-(-num_words // 4)):
        counter = (sites, replicas, jnp.uint32(block), jnp.uint32(0))
        words.extend(threefry4x32(keys, counter, rounds=_ROUNDS))
    return tuple(words[:num_words])


def uniform(key: Array, sites: Array, *, replicas: Array | None = None) -> Array:
    """One uniform number a site: float32, a multiple of 2^-24 in [0, 1).

    Probabilities below 2^-24 (about 6e-8) are therefore not resolved; use ``bernoulli`` for rare events.

    Args:
        key: one typed key.
        sites: uint32 array of global site indices.
        replicas: uint32 array of the same shape, or None.

    Returns:
        float32 array shaped like ``sites``.
    """
    (word,) = bits(key, sites, 1, replicas=replicas)
    return (word >> 8).astype(jnp.float32) * 2.0**-24


def bernoulli(key: Array, sites: Array, probability: Array | float, *, replicas: Array | None = None) -> Array:
    """True with a given probability, by comparing integers of 64 bits.

    Probability 1 is always true and 0 never; in between, the probability is floor(p 2^64) / 2^64. NaN, which only a
    traced value can be, is never true. Where p is within a few float spacings of 1, use ``bernoulli_logit``.

    Args:
        key: one typed key.
        sites: uint32 array of global site indices.
        probability: scalar or an array of the shape of ``sites``, in [0, 1].
        replicas: uint32 array of the same shape, or None.

    Returns:
        Boolean array shaped like ``sites``.

    Raises:
        ValueError: probabilities outside [0, 1], where their values can be seen.
    """
    first, second = bits(key, sites, 2, replicas=replicas)
    threshold = binary_expansion(probability, num_planes=32)
    head, tail, certain = (jnp.broadcast_to(part, sites.shape) for part in threshold)
    return (first < head) | ((first == head) & (second < tail)) | (certain != 0)


def bernoulli_logit(key: Array, sites: Array, logit: Array | float, *, replicas: Array | None = None) -> Array:
    r"""True with probability :math:`1/(1 + e^{-x})`, as exact for rare falses as for rare trues.

    The smaller of p and 1 - p is compared: a float32 cannot tell 1 - 10^-9 from 1, and would freeze a cold system.

    Args:
        key: one typed key.
        sites: uint32 array of global site indices.
        logit: x, floating scalar or array of the shape of ``sites``; NaN, which must be traced, gives false.
        replicas: uint32 array of the same shape, or None.

    Returns:
        Boolean array shaped like ``sites``.
    """
    logit = jnp.asarray(logit)
    weight = jnp.exp(-jnp.abs(logit))
    is_rare = bernoulli(key, sites, weight / (1 + weight), replicas=replicas)
    return is_rare ^ jnp.broadcast_to(logit > 0, sites.shape)


class BinaryExpansion(NamedTuple):
    """A probability as the integer floor(p 2^(K+32)), split for comparison; p = 1 has ones for digits."""

    head: Array  # uint32 [...]: the K leading binary digits of p
    tail: Array  # uint32 [...]: the 32 digits after them
    certain: Array  # uint32 [...]: all ones where p = 1, else 0


def binary_expansion(probability: Array | float, *, num_planes: int) -> BinaryExpansion:
    r"""The first K + 32 binary digits of a probability, exactly.

    .. math:: \lfloor p\, 2^{K+32} \rfloor = \mathrm{head} \cdot 2^{32} + \mathrm{tail}

    Every step is a product with a power of two, a floor or a subtraction of the integer part, all exact in floating
    point.

    Args:
        probability: floating array in [0, 1], any shape. NaN, which only a traced value can be, counts as 0.
        num_planes: K, from 0 to 32.

    Returns:
        ``BinaryExpansion`` of uint32 arrays with the shape of ``probability``.

    Raises:
        ValueError: probabilities outside [0, 1], where their values can be seen, or K outside 0 ... 32.

    Example:
        >>> digits = binary_expansion(0.625, num_planes=3)
        >>> int(digits.head), int(digits.tail)
        (5, 0)
    """
    check_count("num_planes", num_planes, minimum=0)
    if num_planes > 32:
        raise ValueError(f"num_planes: expected at most 32, got {num_planes}")
    if not is_traced(probability):
        host = np.asarray(probability)
        if not np.all((host >= 0) & (host <= 1)):
            raise ValueError(
                f"probability: expected values in [0, 1], got {host[~((host >= 0) & (host <= 1))].ravel()[0]}"
            )
    value = as_floating("probability", probability)
    if jnp.finfo(value.dtype).nmant < 23:
        value = value.astype(jnp.float32)
    is_certain = value >= 1
    remainder = jnp.where((value > 0) & ~is_certain, value, 0)

    def next_digits(fraction: Array, count: int) -> tuple[Array, Array]:
        scaled = fraction * 2.0**count
        whole = jnp.floor(scaled)
        return scaled - whole, whole.astype(jnp.uint32)

    # At most 16 digits at a time: a float beyond 2^31 does not convert to uint32 alike on every backend.
    remainder, head_high = next_digits(remainder, num_planes - num_planes // 2)
    remainder, head_low = next_digits(remainder, num_planes // 2)
    remainder, tail_high = next_digits(remainder, 16)
    _, tail_low = next_digits(remainder, 16)
    certain = jnp.where(is_certain, jnp.uint32(0xFFFFFFFF), 0)
    head = (head_high << num_planes // 2) | head_low
    tail = (tail_high << 16) | tail_low
    return BinaryExpansion(head | (certain & jnp.uint32((1 << num_planes) - 1)), tail | certain, certain)
