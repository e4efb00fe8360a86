r"""Interaction indices of a game, exact, to any order, from its table of ``2**n`` values.

Each index is linear, symmetric in the players, and gives a subset S the dividends I(T) of its supersets in shares that
depend on the sizes t = |T| and s = |S| and on the order k alone, :math:`\sum_{T \supseteq S} w(t, s) I(T)`. The share
is the body of each function below; `interaction_index` makes of it what a caller sees,

``index(values, order, *, max_bytes=MAX_BYTES)``

    Args:
        values: ``[..., 2**n]``, a game in index order; integers and booleans are taken as floats.
        order: k, the largest subset, 1 ... n; static under jit.
        max_bytes: for the intermediate arrays, up to a few copies of the table.

    Returns:
        ``[..., num]``: one value for each subset of at most ``order`` players in the order of `subsets_up_to`. Entry 0,
        the empty set, is v(∅) unless the docstring says otherwise.

    Raises:
        ValueError: not ``2**n`` real values; order < 1 or > n; more memory than ``max_bytes``.

It is compiled, and can be vmapped and differentiated. Written as means of discrete derivatives over contexts
(`jaxrg.interactions.indices.contexts`), an index costs `O(2^n)` for a fixed order; only its few weights differ.

These are indices of AND interactions. Those of OR interactions need no code of their own: OR interactions are the
dividends of the absences, so every index of ``-jnp.flip(values, -1)``, the game T ↦ -v(N∖T), is the index of OR
interactions of ``values``. Shapley and Banzhaf values are the same in both; of order s the SII and BII differ by the
factor (-1)**(s + 1).
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import jax
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_table, check_function
from jaxrg.interactions.indices.contexts import Family, Index, checked, every_index, index_of, sums_of_derivatives
from jaxrg.tables import MAX_BYTES
from jaxrg.transforms import num_bits

Share = Callable[[int, int, int], Fraction]
"""``w(t, s, order)``: what a subset of s players has of the dividend of a superset of t >= s, in exact fractions."""


def _weight(share: Share, t: int, s: int, n: int, order: int) -> Fraction:
    r"""Weight of a context that gives :math:`\sum_{T \supseteq S} w(|T|, |S|) I(T) = \sum_t p_{|S|}(t) D_S(t)`.

    .. math:: p_s(t) = \sum_{j=t}^{n-s} (-1)^{j-t} \binom{n-s-t}{j-t} w(s+j, s)
    """
    signed = ((-1) ** (j - t) * math.comb(n - s - t, j - t) for j in range(t, n - s + 1))
    return sum((sign * share(s + j, s, order) for j, sign in enumerate(signed, t)), Fraction(0))


FAMILY = Family(sums_of_derivatives, _weight)


def interaction_index(share: Share) -> Index:
    """The index of a share, as a function of a table that this module's docstring describes.

    Its name and docstring become the index's.

    Example:
        >>> shapley = interaction_index(lambda t, s, order: Fraction(1, t - s + 1))
        >>> shapley(jnp.array([0.0, 1.0, 2.0, 7.0]), 1).tolist()[1:]
        [3.0, 4.0]
    """
    check_function("share", share, of="t, s and order")
    return index_of(functools.cache(share), FAMILY)


@interaction_index
def shapley_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Shapley interaction index (SII).

    .. math:: \sum_{T \subseteq N\setminus S} \frac{|T|!\,(n-|T|-|S|)!}{(n-|S|+1)!} \Delta_S v(T)
        = \sum_{T \supseteq S} \frac{I(T)}{|T|-|S|+1}

    Entry 0 is the formula's, the mean over sizes of the mean value of that size.

    Example:
        >>> shapley_interactions(jnp.array([0.0, 1.0, 2.0, 7.0]), 2).tolist()[1:]
        [3.0, 4.0, 4.0]

    Reference:
        Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999).
    """
    return Fraction(1, t - s + 1)


@interaction_index
def banzhaf_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Banzhaf interaction index (BII).

    .. math:: 2^{|S|-n} \sum_{T \subseteq N\setminus S} \Delta_S v(T) = \sum_{T \supseteq S} 2^{|S|-|T|} I(T)

    Entry 0 is the formula's, the mean value of the game.

    Reference:
        Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999).
    """
    return Fraction(1, 2 ** (t - s))


@interaction_index
def chaining_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Chaining interaction index (CHII).

    .. math:: \sum_{T \subseteq N\setminus S} |S| \frac{(n-|S|-|T|)!\,(|S|+|T|-1)!}{n!} \Delta_S v(T)
        = \sum_{T \supseteq S} \frac{|S|}{|T|} I(T)

    Reference:
        Marichal & Roubens, in Advances in Decision Analysis (Kluwer, 1999).
    """
    return Fraction(s, t) if s else Fraction(t == 0)


@functools.cache
def _bernoulli(index: int) -> Fraction:
    """Bernoulli numbers with B_1 = -1/2, from their recursion."""
    if index == 0:
        return Fraction(1)
    return -sum((math.comb(index + 1, j) * _bernoulli(j) for j in range(index)), Fraction(0)) / (index + 1)


@interaction_index
def k_shapley_interactions(t: int, s: int, order: int) -> Fraction:
    r"""k-SII, or n-Shapley values: the SII made efficient for its order k, with Bernoulli numbers :math:`B_1 = -1/2`.

    .. math:: \sum_{R \subseteq N\setminus S,\, |R| \le k-|S|} B_{|R|}\, \mathrm{SII}(S \cup R)

    They sum to v(N).

    Reference:
        Bordt & von Luxburg, AISTATS 2023, PMLR 206, 709.
    """
    if s == 0:
        return Fraction(t == 0)
    extras = range(min(order, t) - s + 1)
    return sum((_bernoulli(r) * Fraction(math.comb(t - s, r), t - s - r + 1) for r in extras), Fraction(0))


@interaction_index
def shapley_taylor_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Shapley-Taylor interaction index (STII): dividends below the order k, and at it

    .. math:: \frac{k}{n} \sum_{T \subseteq N\setminus S} \binom{n-1}{|T|}^{-1} \Delta_S v(T)
        = \sum_{T \supseteq S} \binom{|T|}{k}^{-1} I(T).

    They sum to v(N).

    Reference:
        Sundararajan, Dhamdhere & Agarwal, ICML 2020, PMLR 119, 9259.
    """
    return Fraction(1, math.comb(t, order)) if s == order else Fraction(t == s)


@interaction_index
def faithful_shapley_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Faithful Shapley interaction index (FSII): dividends of the closest game without interactions above the order k.

    Closest by least squares under the Shapley kernel :math:`(n-1) / \bigl(\binom{n}{|T|} |T| (n-|T|)\bigr)`, equal to
    the game on ∅ and N; they sum to v(N):

    .. math:: I(S) + (-1)^{k-|S|} \frac{|S|}{k+|S|} \binom{k}{|S|}
        \sum_{T \supset S,\, |T|>k} \binom{|T|-1}{k} \binom{|T|+k-1}{k+|S|}^{-1} I(T)

    Reference:
        Tsai, Yeh & Ravikumar, J. Mach. Learn. Res. 24 (94), 1 (2023).
    """
    if t <= order or s == 0:
        return Fraction(t == s)
    share = Fraction(
        s * math.comb(order, s) * math.comb(t - 1, order), (order + s) * math.comb(t + order - 1, order + s)
    )
    return (-1) ** (order - s) * share


@interaction_index
def faithful_banzhaf_interactions(t: int, s: int, order: int) -> Fraction:
    r"""Faithful Banzhaf interaction index (FBII): dividends of the least-squares fit of order k, all coalitions alike.

    .. math:: I(S) + (-1)^{k-|S|} \sum_{T \supset S,\, |T|>k} 2^{|S|-|T|} \binom{|T|-|S|-1}{k-|S|} I(T)

    Entry 0 is the fit's value of the empty coalition.

    Reference:
        Tsai, Yeh & Ravikumar, J. Mach. Learn. Res. 24 (94), 1 (2023); Hammer & Holzman, Z. Oper. Res. 36, 3 (1992).
    """
    if t <= order:
        return Fraction(t == s)
    return (-1) ** (order - s) * Fraction(math.comb(t - s - 1, order - s), 2 ** (t - s))


@interaction_index
def k_additive_shapley(t: int, s: int, order: int) -> Fraction:
    r"""kADD-SHAP: the SII of the closest game without interactions above the order k.

    .. math:: \sum_{T \supseteq S,\, |T| \le k} \frac{\mathrm{FSII}_k(T)}{|T|-|S|+1}

    Reference:
        Pelegrina, Duarte & Grabisch, Artif. Intell. 325, 104014 (2023).
    """
    if s == 0:
        return Fraction(t == 0)
    faithful, shapley = faithful_shapley_interactions.formula, shapley_interactions.formula
    within = range(s, min(order, t) + 1)
    shares = (math.comb(t - s, u - s) * faithful(t, u, order) * shapley(u, s, order) for u in within)
    return sum(shares, Fraction(0))


@interaction_index
def fourier_coefficients(t: int, s: int, order: int) -> Fraction:
    r"""Fourier coefficients of a game over the characters :math:`\prod_{i\in S} s_i`, with presence spins s = ±1.

    .. math:: \hat v(S) = 2^{-n} \sum_{T \subseteq N} (-1)^{|S \setminus T|} v(T) = 2^{-|S|}\, \mathrm{BII}(S)

    They are the entries of ``transforms.walsh(values)`` whose subsets have at most ``order`` players; entry 0 is the
    mean value. Authors who write the characters as :math:`(-1)^{|S \cap T|}`, +1 for an absent player, have the factor
    (-1)**|S| besides.

    Reference:
        O'Donnell, Analysis of Boolean Functions, ch. 1 (Cambridge, 2014).
    """
    return Fraction(1, 2**t)


def shapley_values(values: ArrayLike, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Shapley value of every player, ``[..., n]``; they sum to v(N) - v(∅). The SII of order 1.

    .. math:: \varphi_i = \sum_{T \subseteq N\setminus i} \frac{|T|!\,(n-|T|-1)!}{n!} \Delta_i v(T)
        = \sum_{S \ni i} \frac{I(S)}{|S|}

    Example:
        >>> shapley_values(jnp.array([0.0, 1.0, 2.0, 7.0])).tolist()
        [3.0, 4.0]

    Reference:
        Shapley, Contributions to the Theory of Games II, 307 (1953).
    """
    return _values_of_players(as_table("values", values), "SII", max_bytes)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _values_of_players(values: Array, name: str, max_bytes: int) -> Array:
    if num_bits(values) == 0:
        return values[..., :0]
    return every_index({name: SHARES[name]}, FAMILY, values, 1, max_bytes)[name][..., 1:]


def banzhaf_values(values: ArrayLike, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Banzhaf value of every player, ``[..., n]``: the mean derivative over all contexts. The BII of order 1.

    .. math:: \beta_i = 2^{1-n} \sum_{T \subseteq N\setminus i} \Delta_i v(T) = \sum_{S \ni i} 2^{1-|S|} I(S)

    Reference:
        Banzhaf, Rutgers Law Rev. 19, 317 (1965).
    """
    return _values_of_players(as_table("values", values), "BII", max_bytes)


SHARES: dict[str, Share] = {
    "Moebius": lambda t, s, order: Fraction(t == s),
    "Co-Moebius": lambda t, s, order: Fraction(1),
    "SII": shapley_interactions.formula,
    "BII": banzhaf_interactions.formula,
    "CHII": chaining_interactions.formula,
    "k-SII": k_shapley_interactions.formula,
    "STII": shapley_taylor_interactions.formula,
    "FSII": faithful_shapley_interactions.formula,
    "FBII": faithful_banzhaf_interactions.formula,
    "kADD-SHAP": k_additive_shapley.formula,
    "Fourier": fourier_coefficients.formula,
}


def interaction_indices(values: ArrayLike, order: int, *, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """Every index of this module to one order, from a single pass over the table.

    Returns:
        The names of the literature (SII, BII, CHII, k-SII, STII, FSII, FBII, kADD-SHAP, Moebius, Co-Moebius, Fourier)
        to ``[..., num]``, and SV and BV to ``[..., n]``.

    Example:
        >>> found = interaction_indices(jnp.array([0.0, 1.0, 2.0, 7.0]), 2)
        >>> found["SII"].tolist()[1:], found["BV"].tolist()
        ([3.0, 4.0, 4.0], [3.0, 4.0])
    """
    return _interaction_indices(*checked(values, order), max_bytes)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _interaction_indices(values: Array, order: int, max_bytes: int) -> dict[str, Array]:
    found, n = every_index(SHARES, FAMILY, values, order, max_bytes), num_bits(values)
    return found | {"SV": found["SII"][..., 1 : n + 1], "BV": found["BII"][..., 1 : n + 1]}
