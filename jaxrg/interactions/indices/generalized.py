r"""Generalized values: what a whole subset of players is worth, as the Shapley value is what one is worth.

.. math:: \Phi(S) = \sum_{T \subseteq N\setminus S} p_s(t)\, \bigl(v(T \cup S) - v(T)\bigr), \qquad s = |S|,\; t = |T|

They differ in the weight p of one coalition that the subset joins, which is the body of each function below. What a
caller sees has the arguments, shapes and errors of `jaxrg.interactions.indices.shares`; entry 0, the empty set, is
v(∅).

Reference:
    SGV, BGV: Marichal, Discrete Appl. Math. 107, 139 (2000); CHGV, IGV, EGV: Marichal, Kojadinovic & Fujimoto, Discrete
    Appl. Math. 155, 26 (2007).
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import check_function
from jaxrg.interactions.indices.contexts import Family, Index, checked, every_index, index_of, joining_sums
from jaxrg.tables import MAX_BYTES

JoiningWeight = Callable[[int, int, int, int], Fraction]
"""``p(t, s, n, order)``: the weight of one coalition of t players that a subset of s of the n players joins."""


def _weight(formula: JoiningWeight, t: int, s: int, n: int, order: int) -> Fraction:
    """The formula's; one for the empty set in the empty context."""
    return formula(t, s, n, order) if s else Fraction(t == 0)


FAMILY = Family(joining_sums, _weight)


def generalized_value(weight: JoiningWeight) -> Index:
    """The generalized value of a weight ``p(t, s, n, order)``, under its name and docstring."""
    check_function("weight", weight, of="t, s, n and order")
    return index_of(weight, FAMILY)


@generalized_value
def shapley_generalized_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""Shapley generalized value (SGV), :math:`p_s(t) = t!\,(n-s-t)!/(n-s+1)!`: the subset joins as one player."""
    return Fraction(1, (n - s + 1) * math.comb(n - s, t))


@generalized_value
def banzhaf_generalized_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""Banzhaf generalized value (BGV), :math:`p_s(t) = 2^{s-n}`."""
    return Fraction(1, 2 ** (n - s))


@generalized_value
def chaining_generalized_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""Chaining generalized value (CHGV), :math:`p_s(t) = \frac{s}{s+t} \binom{n}{s+t}^{-1}`."""
    return Fraction(s, (s + t) * math.comb(n, s + t))


@generalized_value
def internal_generalized_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""Internal generalized value (IGV), :math:`v(S) - v(\emptyset)`."""
    return Fraction(t == 0)


@generalized_value
def external_generalized_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""External generalized value (EGV), :math:`v(N) - v(N \setminus S)`."""
    return Fraction(t == n - s)


@functools.cache
def _forming(t: int, n: int, order: int) -> Fraction:
    """The probability that a coalition of t players forms, over the number of sets that may then arrive."""
    forms = sum(
        (math.comb(t, before) * _forming(before, n, order) for before in range(max(t - order, 0), t)), Fraction(t == 0)
    )
    return forms / sum(math.comb(n - t, arriving) for arriving in range(1, min(order, n - t) + 1))


@generalized_value
def joint_shapley_values(t: int, s: int, n: int, order: int) -> Fraction:
    r"""Joint Shapley value (JointSV): players arrive in sets of at most ``order``, all possible next sets alike.

    .. math:: p_s(t) = q_t = \frac{[t = 0] + \sum_{r=\max(t-k,0)}^{t-1} \binom{t}{r} q_r}
        {\sum_{r=1}^{\min(k,\,n-t)} \binom{n-t}{r}}

    They sum to v(N).

    Reference:
        Harris, Pymar & Rowat, ICLR 2022, arXiv:2107.11357.
    """
    return _forming(t, n, order)


WEIGHTS: dict[str, JoiningWeight] = {
    "SGV": shapley_generalized_values.formula,
    "BGV": banzhaf_generalized_values.formula,
    "CHGV": chaining_generalized_values.formula,
    "IGV": internal_generalized_values.formula,
    "EGV": external_generalized_values.formula,
    "JointSV": joint_shapley_values.formula,
}


def generalized_values(values: ArrayLike, order: int, *, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """Every generalized value to one order from the same sums.

    Returns:
        SGV, BGV, CHGV, IGV, EGV and JointSV to ``[..., num]``.

    Example:
        >>> found = generalized_values(jnp.array([0.0, 1.0, 2.0, 7.0]), 2)
        >>> found["SGV"].tolist(), found["EGV"].tolist()
        ([0.0, 3.0, 4.0, 7.0], [0.0, 5.0, 6.0, 7.0])
    """
    return _generalized_values(*checked(values, order), max_bytes)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _generalized_values(values: Array, order: int, max_bytes: int) -> dict[str, Array]:
    return every_index(WEIGHTS, FAMILY, values, order, max_bytes)
