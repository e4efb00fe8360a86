"""Random words, uniform numbers and Bernoulli draws of the sites of a lattice, from the key of a step."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, check_key, check_shape, is_traced
from jaxrg.random.generators import as_words, threefry4x32_states, threefry4x32_words

ROUNDS = 13  # of Threefry4x32
LIGHT_ROUNDS = 10, 3  # before the first block of words and between blocks; what was tested is told by `light_bits`


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
    check_key("key", key)
    return _key_words(key)


@partial(jax.jit, inline=True)
def _key_words(key: Array) -> tuple[Array, Array, Array, Array]:
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
    check_key("key", key)
    return _bits(key, *_as_counters(sites, replicas), as_count("num_words", num_words))


def _as_counters(sites: Any, replicas: Any) -> tuple[Array, Array | None]:
    sites = as_words("sites", sites)
    return sites, None if replicas is None else as_words("replicas", replicas, sites.shape)


@partial(jax.jit, static_argnums=3, inline=True)
def _bits(key: Array, sites: Array, replicas: Array | None, num_words: int) -> tuple[Array, ...]:
    replicas = jnp.zeros_like(sites) if replicas is None else replicas
    keys = _key_words(key)
    words: list[Array] = []
    for block in range(-(-num_words // 4)):
        counter = (sites, replicas, jnp.uint32(block), jnp.uint32(0))
        words.extend(threefry4x32_words(keys, counter, ROUNDS))
    return tuple(words[:num_words])


def light_bits(key: Array, sites: Array, num_words: int, *, replicas: Array | None = None) -> tuple[Array, ...]:
    r"""Random words of half as many operations as those of `bits`, a pure function of the same (key, site, replica).

    .. math:: (r_{4b}, \ldots, r_{4b+3}) = \text{Threefry4x32}_{10 + 3b}(k, (\text{site}, \text{replica}, 0, 0))

    The states of one Threefry after 10, 13, 16, ... rounds: three rounds join the words that belong to a site, where
    those of `bits` are calls of their own, of 13 rounds each. For `jaxrg.samplers.multispin_heat_bath` to be given as
    ``generator``.

    What is known: with 7 rounds in place of 10, neighbouring sites are correlated in 2^22 words, with 8 in 2^26 words.
    These pass ``python -m benchmarks.random_quality --generator light_bits`` in every order on 2^26 words, and the
    Diehard and STS tests of dieharder. What is not claimed: the authors of Threefry call 12 rounds the least without
    known flaws, so there are tests of more words that these fail. Words of one site are not independent across blocks:
    a sum has no carry into bit 0, so that bit 0 of word 4 is the sum of six bits of words 0 to 3, and that of word 6 of
    six others, in three of four sites. Compare a result that matters with `bits`.

    Args:
        key: one typed key; fold the step into it.
        sites: uint32 array of *global* site indices, any shape.
        num_words: how many words each site gets.
        replicas: uint32 array of the shape of ``sites``, or None, which means 0.

    Returns:
        Tuple of ``num_words`` uint32 arrays shaped like ``sites``. The first words do not depend on ``num_words``.

    Raises:
        ValueError: indices that are not uint32, or a replica array of another shape.

    Example:
        >>> sites = jnp.arange(4, dtype=jnp.uint32)
        >>> zero = jnp.zeros_like(sites)
        >>> words = light_bits(jax.random.key(0), sites, 8)
        >>> fourth = threefry4x32_words(key_words(jax.random.key(0)), (sites, zero, zero, zero), 13)[0]
        >>> bool(jnp.all(words[4] == fourth))
        True

    Reference:
        Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
    """
    check_key("key", key)
    return _light_bits(key, *_as_counters(sites, replicas), as_count("num_words", num_words))


@partial(jax.jit, static_argnums=3, inline=True)
def _light_bits(key: Array, sites: Array, replicas: Array | None, num_words: int) -> tuple[Array, ...]:
    first, further = LIGHT_ROUNDS
    rounds = tuple(first + further * block for block in range(-(-num_words // 4)))
    zeros = jnp.zeros_like(sites)
    counter = (sites, zeros if replicas is None else replicas, zeros, zeros)
    blocks = threefry4x32_states(_key_words(key), counter, rounds)
    return tuple(word for block in blocks for word in block)[:num_words]


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
    check_key("key", key)
    return _uniform(key, *_as_counters(sites, replicas))


@partial(jax.jit, inline=True)
def _uniform(key: Array, sites: Array, replicas: Array | None) -> Array:
    (word,) = _bits(key, sites, replicas, 1)
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
    check_key("key", key)
    sites, replicas = _as_counters(sites, replicas)
    _check_probability(probability)
    return _bernoulli(key, sites, replicas, _for_sites("probability", probability, sites))


def _for_sites(name: str, value: Any, sites: Array) -> Array:
    """A scalar, or a value for every site."""
    array = as_floating(name, value)
    if array.ndim:
        check_shape(name, array, sites.shape)
    return array


@partial(jax.jit, inline=True)
def _bernoulli(key: Array, sites: Array, replicas: Array | None, probability: Array) -> Array:
    first, second = _bits(key, sites, replicas, 2)
    threshold = _binary_expansion(probability, 32)
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

    Raises:
        ValueError: NaN where it can be seen, or logits of another shape than the sites.
    """
    check_key("key", key)
    sites, replicas = _as_counters(sites, replicas)
    array = _for_sites("logit", logit, sites)
    if not is_traced(array) and np.any(np.isnan(np.asarray(array))):
        raise ValueError("logit: expected numbers, got NaN")
    return _bernoulli_logit(key, sites, replicas, array)


@partial(jax.jit, inline=True)
def _bernoulli_logit(key: Array, sites: Array, replicas: Array | None, logit: Array) -> Array:
    weight = jnp.exp(-jnp.abs(logit))
    is_rare = _bernoulli(key, sites, replicas, weight / (1 + weight))
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
    planes = as_count("num_planes", num_planes, minimum=0)
    if planes > 32:
        raise ValueError(f"num_planes: expected at most 32, got {planes}")
    _check_probability(probability)
    return _binary_expansion(as_floating("probability", probability), planes)


def _check_probability(probability: Any) -> None:
    if not is_traced(probability):
        host = np.asarray(as_floating("probability", probability))
        wrong = host[~((host >= 0) & (host <= 1))]
        if wrong.size:
            raise ValueError(f"probability: expected values in [0, 1], got {wrong.ravel()[0]}")


@partial(jax.jit, static_argnums=1, inline=True)
def _binary_expansion(value: Array, num_planes: int) -> BinaryExpansion:
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
