r"""The sparsity theorem, measured: three conditions on a game, and the number of salient interactions they allow.

Let :math:`\bar u(m)` be the mean of :math:`v(S) - v(\emptyset)` over the sets of m players and :math:`A_k` the sum of
the AND interactions of order k. A set of k players lies in one of m with probability
:math:`\binom mk / \binom nk`, so that for every game

.. math:: \bar u(m) = \sum_{k=1}^{n} \frac{\binom mk}{\binom nk} A_k

The conditions: (1) interactions above an order M vanish, so that :math:`\bar u` is a polynomial of degree M; (2)
:math:`\bar u` does not fall with m; (3) :math:`\bar u(m') \ge (m'/m)^p\, \bar u(m)` for m' < m. Then
:math:`0 \le \bar u(m) \le m^p\, \bar u(1)`, and M values of :math:`\bar u` determine each :math:`A_k` through numbers
:math:`W^{(M)}_{km}` that stay bounded as n grows, so that :math:`|A_k| = O(n^p)`. With
:math:`\eta_k = |A_k| / \sum_{|S|=k} |I(S)|`, at most :math:`|A_k| / (\tau \eta_k)` interactions of order k reach τ.
"""

import functools
import itertools
import math
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_table
from jaxrg.explain.evidence import as_fraction
from jaxrg.interactions.dividends import harsanyi
from jaxrg.interactions.orders import sum_by_order
from jaxrg.interactions.view import SALIENT_FRACTION
from jaxrg.transforms import num_bits


class SparsityConditions(NamedTuple):
    """What the theorem asks of a game, and what it promises; counts are floats, so that NaN stays NaN."""

    highest_order: Array  # [...] M, of a salient interaction
    strength_above: Array  # [...] share of all strength that is above M: 0 where condition 1 holds to the letter
    mean_values: Array  # [..., n + 1] mean of v(S) - v(∅) over the sets of each size
    largest_drop: Array  # [...] by how much these fall from any size to a larger one, at most: 0 by condition 2
    exponent: Array  # [...] smallest p >= 0 of condition 3; infinite where there is none
    threshold: Array  # [...] τ
    sums: Array  # [..., n + 1] A, of the interactions of each order
    cancellation: Array  # [..., n + 1] η; 1 where nothing cancels, also where nothing is
    num_salient: Array  # [..., n + 1] interactions of each order that reach τ
    bound: Array  # [..., n + 1] the most there can be by the theorem; infinite where condition 3 fails


def sparsity_conditions(values: ArrayLike, fraction: ArrayLike = SALIENT_FRACTION) -> SparsityConditions:
    r"""The constants of the three conditions in a game, and the bound on its salient interactions of each order.

    .. math:: N_k \le \frac{1}{\tau \eta_k} \max_\pm \sum_m \Bigl[\max(\pm W_{km}, 0)\, m^p\, \bar u(1) +
        \max(\mp W_{km}, 0)\, d\Bigr] + \frac{1}{\tau \eta_k} \sum_m |W_{km}|\, |r(m)|

    with d the largest drop and r(m) what orders above M add to :math:`\bar u(m)`, both 0 where the conditions hold to
    the letter: the bound holds for every game whose exponent is finite, however well it meets the others. W are
    computed exactly, at sizes m like the extrema of a Chebyshev polynomial, for which they are smallest.

    Args:
        values: ``[..., 2**n]``; the score should rise with the players, as the log odds of the class that is found do.
        fraction: of the largest interaction, for the threshold τ.

    Returns:
        `SparsityConditions`. A bound above :math:`\binom nk` says nothing.

    Example:
        >>> found = sparsity_conditions(jnp.array([0.0, 1.0, 1.0, 4.0]))  # (number of players)**2
        >>> [float(x) for x in (found.highest_order, found.largest_drop, found.exponent)], found.num_salient.tolist()
        ([2.0, 0.0, 2.0], [0.0, 2.0, 1.0])

    Reference:
        Ren, Gao, Shen & Zhang, ICLR 2024, arXiv:2305.01939, for the conditions and η; their bound has unspecified
        coefficients of :math:`n^{p+\delta}`, which the exact ones replace here.
    """
    table = as_table("values", values)
    as_count("num_players", num_bits(table))
    return _sparsity_conditions(table, as_fraction(fraction), *_expansions(num_bits(table)))


@jax.jit
def _sparsity_conditions(values: Array, fraction: Array, weights: Array, shares: Array) -> SparsityConditions:
    n, dtype = num_bits(values), values.dtype
    lead = (1,) * (values.ndim - 1)
    fraction, weights, shares = (array.astype(dtype) for array in (fraction, weights, shares))
    orders = jnp.arange(n + 1, dtype=dtype).reshape(*lead, -1)
    increments = values - values[..., :1]
    interactions = harsanyi(increments)  # order 0 is zero
    strengths = jnp.abs(interactions)
    threshold = fraction * jnp.max(strengths, axis=-1)
    is_salient = (strengths >= threshold[..., None]) & (strengths > 0)
    num_salient, sums, totals = (sum_by_order(of) for of in (is_salient.astype(dtype), interactions, strengths))
    highest = jnp.max(jnp.where(num_salient > 0, orders, 0), axis=-1)
    is_above = orders > highest[..., None]
    total = jnp.sum(totals, axis=-1)
    sizes = jnp.asarray([math.comb(n, k) for k in range(n + 1)], dtype).reshape(*lead, -1)
    means = sum_by_order(increments) / sizes
    drop = jnp.max(jax.lax.cummax(means, axis=means.ndim - 1) - means, axis=-1)
    exponent = _exponent(means)

    largest = jnp.where(
        jnp.isinf(exponent)[..., None], jnp.inf, means[..., 1:2] * jnp.maximum(orders, 1) ** exponent[..., None]
    )
    rest = jnp.abs(jnp.where(is_above, sums, 0) @ shares.T)
    of_order = weights[highest.astype(jnp.int32)]  # [..., order, size]
    sides = [
        jnp.where(part > 0, part * largest[..., None, :], 0) + jnp.maximum(-part, 0) * drop[..., None, None]
        for part in (of_order, -of_order)
    ]
    most = jnp.maximum(*(jnp.sum(side, axis=-1) for side in sides))
    most = most + jnp.sum(jnp.abs(of_order) * rest[..., None, :], axis=-1)
    cancellation = jnp.where(totals == 0, 1, jnp.abs(sums) / jnp.where(totals == 0, 1, totals))
    bound = jnp.where(most == 0, 0, most / (threshold[..., None] * cancellation))
    bound = jnp.where(is_above, 0, bound)
    share = jnp.where(total == 0, 0, jnp.sum(jnp.where(is_above, totals, 0), axis=-1) / jnp.where(total == 0, 1, total))
    found = SparsityConditions(highest, share, means, drop, exponent, threshold, sums, cancellation, num_salient, bound)
    has_nan = jnp.any(jnp.isnan(increments), axis=-1)

    def keep(field: Array) -> Array:
        return jnp.where(has_nan.reshape(has_nan.shape + (1,) * (field.ndim - has_nan.ndim)), jnp.nan, field)

    return SparsityConditions(*map(keep, found))


def _exponent(means: Array) -> Array:
    """The steepest slope of ln(mean value) against ln(size), which neighbouring sizes have; infinite from 0 upwards."""
    before, after = means[..., 1:-1], means[..., 2:]
    steps = np.log1p(1 / np.arange(1, means.shape[-1] - 1)).reshape((1,) * (means.ndim - 1) + (-1,))
    is_positive = (before > 0) & (after > 0)
    ratio = jnp.where(is_positive, after, 1) / jnp.where(is_positive, before, 1)
    slope = jnp.log(ratio) / jnp.asarray(steps, means.dtype)
    is_hopeless = (before <= 0) & ~((before == 0) & (after == 0))
    return jnp.max(jnp.where(is_hopeless, jnp.inf, slope), axis=-1, initial=0)


def _nodes(num_players: int, degree: int) -> list[int]:
    """Sizes 0 < ... <= n, as many as the degree: extrema of a Chebyshev polynomial, rounded and kept apart."""
    nodes = [round(num_players * 0.5 * (1 - math.cos(math.pi * j / degree))) for j in range(degree + 1)]
    for j in range(1, degree + 1):
        nodes[j] = max(nodes[j], nodes[j - 1] + 1)
    nodes[degree] = num_players
    for j in reversed(range(degree)):
        nodes[j] = min(nodes[j], nodes[j + 1] - 1)
    return nodes


@functools.lru_cache(maxsize=16)
def _expansions(num_players: int) -> tuple[np.ndarray, np.ndarray]:
    r"""W ``[degree, order, size]`` of every degree, and the shares :math:`\binom mk / \binom nk` ``[size, order]``.

    The sum of order k is :math:`\binom nk` times the k-th difference at 0 of the polynomial, which Lagrange's formula
    gives from its values at the nodes.
    """
    n = num_players
    weights = np.zeros((n + 1, n + 1, n + 1))
    for degree in range(1, n + 1):
        nodes = _nodes(n, degree)
        for j, node in enumerate(nodes[1:], 1):
            others = nodes[:j] + nodes[j + 1 :]
            scale = math.prod(node - other for other in others)
            differences = [math.prod(m - other for other in others) for m in range(degree + 1)]
            for order in range(degree + 1):
                weights[degree, order, node] = Fraction(math.comb(n, order) * differences[0], scale)
                differences = [after - before for before, after in itertools.pairwise(differences)]
    shares = np.array([[math.comb(m, k) / math.comb(n, k) for k in range(n + 1)] for m in range(n + 1)])
    return weights, shares
