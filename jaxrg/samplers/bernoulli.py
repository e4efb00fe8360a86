"""Words of 32 Bernoulli variables, one a bit lane, whose probabilities are traced values.

Comparing a uniform number with p digit by digit costs one random word and one logical operation a digit, for 32 lanes
at once. Probabilities are integers of K + 32 binary digits (`jaxrg.random.BinaryExpansion`), so that rare events keep
their rate: e^{-20} is far below the spacing of float32 near one, and far above 2^{-(K+32)}.
"""

from collections.abc import Sequence
from functools import reduce

import jax.numpy as jnp
from jax import Array

from jaxrg.random import BinaryExpansion, binary_expansion, rotate_left

_ONES = 0xFFFFFFFF


def complement(expansion: BinaryExpansion, *, num_planes: int) -> BinaryExpansion:
    r"""The expansion of 1 - p, exactly: 2^(K+32) minus the integer.

    Args:
        expansion: of p, with K = ``num_planes`` leading digits, any shape.
        num_planes: K, from 0 to 31.

    Returns:
        ``BinaryExpansion`` of the same shape.
    """
    ones = jnp.uint32(_ONES)
    is_zero = (expansion.head == 0) & (expansion.tail == 0)
    is_one = expansion.certain != 0
    borrow = jnp.where(expansion.tail == 0, jnp.uint32(0), 1)
    head = jnp.uint32(1 << num_planes) - expansion.head - borrow
    head = jnp.where(is_zero, jnp.uint32((1 << num_planes) - 1), jnp.where(is_one, 0, head))
    tail = jnp.where(is_zero, ones, jnp.where(is_one, 0, -expansion.tail))
    return BinaryExpansion(head, tail, jnp.where(is_zero, ones, 0))


def logistic_expansion(argument: Array, *, num_planes: int) -> BinaryExpansion:
    r"""Digits of :math:`p = 1/(1 + e^{-x})`, with p(x) + p(-x) = 1 exactly.

    The smaller of p and 1 - p is computed in floating point, the other as its complement in integers, so the rates of
    rare and of almost certain events have the same relative precision.

    Args:
        argument: x, floating, any shape.
        num_planes: K leading digits, from 0 to 31.

    Returns:
        ``BinaryExpansion`` with the shape of x.
    """
    weight = jnp.exp(-jnp.abs(argument))
    smaller = binary_expansion(weight / (1 + weight), num_planes=num_planes)
    larger = complement(smaller, num_planes=num_planes)
    is_large = argument > 0
    return BinaryExpansion(*(jnp.where(is_large, up, down) for up, down in zip(larger, smaller, strict=True)))


def acceptance_expansion(energy_change: Array, *, num_planes: int) -> BinaryExpansion:
    r"""Digits of Metropolis' :math:`\min(1, e^{-\Delta H})`; exactly one where :math:`\Delta H \le 0`.

    Args:
        energy_change: reduced :math:`\Delta H`, floating, any shape.
        num_planes: K leading digits, from 0 to 32.

    Returns:
        ``BinaryExpansion`` with the shape of the energy change.
    """
    return binary_expansion(jnp.exp(-jnp.maximum(energy_change, 0)), num_planes=num_planes)


def stretched_planes(words: Sequence[Array]) -> list[Array]:
    r"""Half as many planes again, each the sum of two words that are rotated apart.

    .. math:: r'_m = \mathrm{rotate}(r_{2m}, 11) \oplus \mathrm{rotate}(r_{2m+1}, 22)

    A lane compares the words themselves first; the further planes matter to the few that are undecided after that.
    Bit j of r' comes from lanes j - 11 and j - 22. Over any two lanes all bits of words, further planes and
    ``settling_word`` are independent, as a count of ranks over GF(2) shows, so any two lanes have the joint law of
    fresh random words. Of three lanes that holds unless they are j, j - 11 and j - 22.

    Args:
        words: an even number of uint32 arrays of one shape, independent and uniform, at least 4.

    Returns:
        The further planes and then the words, in the order of ``bernoulli_planes``.
    """
    further = [
        rotate_left(first, 11) ^ rotate_left(second, 22) for first, second in zip(words[::2], words[1::2], strict=True)
    ]
    return [*further, *words]


def settling_word(words: Sequence[Array]) -> Array:
    r"""A word that settles undecided lanes, made of the random words themselves.

    .. math:: w = \bigoplus_{k=0}^{n-1} \mathrm{rotate}(r_k, k)

    Each bit of w adds n bits from n different lanes, and no bit of a word enters two bits of w. Given all the bits of
    any n - 1 lanes, w is therefore still uniform: no n - 1 lanes can tell it from a fresh random word.

    Args:
        words: 2 to 32 uint32 arrays of one shape, independent and uniform.

    Returns:
        One uint32 array of that shape.
    """
    return reduce(jnp.bitwise_xor, [rotate_left(word, shift) if shift else word for shift, word in enumerate(words)])


def bernoulli_planes(
    planes: Sequence[Array], expansions: BinaryExpansion, settle: Array, *, mirrored: Array | None = None
) -> tuple[Array, ...]:
    r"""Words whose 32 bits are true with given probabilities, all from the same random words.

    Lane j of the K planes is a uniform number in binary that is compared with p from the last digit to the first:
    with x the result so far and b the digit, ``x = r | x if b else r & x``, which is the majority of (r, x, b). The
    recursion starts from ``settle < tail``, which decides the fraction 2^-K of lanes whose planes do not. Every lane
    has

    .. math:: P(x_j = 1) = \lfloor p\, 2^{K+32} \rfloor / 2^{K+32}

    exactly. What remains is joint: undecided lanes of one word are settled together. Two lanes have a covariance of
    at most :math:`2^{-2K}/4`, a correlation below :math:`2^{-2K}/(4p(1-p))` and, for events rarer than
    :math:`2^{-K}`, of at most :math:`2^{-K}`.

    Args:
        planes: K uint32 arrays of one shape; the last holds the leading digits.
        expansions: with K leading digits, and a leading axis over the probabilities, ``[n]``.
        settle: uint32 array of the planes' shape: one more random word, or ``settling_word``.
        mirrored: uint32 mask of the planes' shape, or None: lanes whose random number u is replaced by the largest one
            less u, every binary digit turned over.

    Returns:
        ``n`` uint32 arrays shaped like a plane. In each lane they are monotone in p, for they compare the same number.
    """
    if mirrored is not None:
        planes = [plane ^ mirrored for plane in planes]
    outcomes = []
    for index in range(expansions.head.shape[0]):
        head, tail, certain = (part[index] for part in expansions)
        outcome = jnp.where(settle < tail, jnp.uint32(_ONES), certain)
        if mirrored is not None:
            other = jnp.where(~settle < tail, jnp.uint32(_ONES), certain)
            outcome = (other & mirrored) | (outcome & ~mirrored)
        for digit, plane in enumerate(planes):
            outcome = jnp.where((head >> digit) & 1 != 0, plane | outcome, plane & outcome)
        outcomes.append(outcome)
    return tuple(outcomes)
