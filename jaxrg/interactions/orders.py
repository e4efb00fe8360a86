"""Sums and strengths by order, the number of players of an interaction, and pairs by the size of their context."""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_table, check_count
from jaxrg.interactions.indices.contexts import sums_of_derivatives
from jaxrg.tables import MAX_BYTES
from jaxrg.transforms import num_bits


class OrderStrengths(NamedTuple):
    """Strength by order of interactions ``[..., 2**n]``; every field ``[..., n + 1]``, total = positive + negative."""

    total: Array
    positive: Array
    negative: Array  # of the negative interactions, without their sign


def sum_by_order(values: ArrayLike) -> Array:
    r"""Sum of a table over the subsets of each size, :math:`\sum_{|S|=k} f(S)`, in `O(2^n)` and without a scatter.

    Args:
        values: ``[..., 2**n]``.

    Returns:
        ``[..., n + 1]``.

    Example:
        >>> sum_by_order(jnp.array([1.0, 2.0, 3.0, 4.0])).tolist()
        [1.0, 5.0, 4.0]
    """
    return _sum_by_order(as_table("values", values))


@jax.jit
def _sum_by_order(values: Array) -> Array:
    lead, n = values.shape[:-1], num_bits(values)
    sums = values[..., None]
    for bit in range(n):
        pairs = sums.reshape((*lead, -1, 2, bit + 1))
        nothing = jnp.zeros((*pairs.shape[:-2], 1), values.dtype)
        # A present player moves everything one order up.
        sums = jnp.concatenate([pairs[..., 0, :], nothing], -1) + jnp.concatenate([nothing, pairs[..., 1, :]], -1)
    return sums.reshape((*lead, n + 1))


def order_strengths(interactions: ArrayLike) -> OrderStrengths:
    r"""Strength of the interactions of each order, and of the positive and negative ones among them.

    .. math:: I^{(k)} = \sum_{|S|=k} |I(S)|

    Args:
        interactions: ``[..., 2**n]``: AND, OR or any other table over subsets. Where one is NaN, so is its order.

    Example:
        >>> order_strengths(jnp.array([9.0, 1.0, -2.0, 4.0])).total.tolist()
        [9.0, 3.0, 4.0]

    Reference:
        Zhang, Li, Lin & Zhang, arXiv:2405.10262 (2024).
    """
    return _order_strengths(as_table("interactions", interactions))


@jax.jit
def _order_strengths(interactions: Array) -> OrderStrengths:
    # A maximum with zero may drop NaN once it is compiled; a comparison keeps it.
    positive = _sum_by_order(jnp.where(interactions < 0, 0, interactions))
    negative = _sum_by_order(jnp.where(interactions > 0, 0, -interactions))
    return OrderStrengths(positive + negative, positive, negative)


def multi_order_interactions(values: ArrayLike, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Interaction of every pair of players in contexts of every size m.

    .. math:: I_{ij}^{(m)} = \mathop{\mathrm{mean}}_{T \subseteq N\setminus\{i,j\},\, |T|=m} \Delta_{ij} v(T)

    All pairs and all m come from one pass over the table, in `O(2^n)`; their mean over m is the SII of the pair.

    Args:
        values: ``[..., 2**n]``, n >= 2.
        max_bytes: for the intermediate arrays.

    Returns:
        ``[..., n (n - 1) / 2, n - 1]``: the rows of `pairs`, orders m = 0 ... n - 2.

    Example:
        >>> multi_order_interactions(jnp.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 3.0])).tolist()
        [[1.0, 3.0], [0.0, 2.0], [0.0, 2.0]]

    Reference:
        Zhang et al., ICLR 2021, arXiv:2009.11729; Deng et al., ICLR 2022, arXiv:2111.06236.
    """
    table = as_table("values", values)
    if num_bits(table) < 2:
        raise ValueError(f"values: expected a game of at least 2 players, got {num_bits(table)}")
    return _multi_order_interactions(table, max_bytes)


@functools.partial(jax.jit, static_argnames="max_bytes")
def _multi_order_interactions(values: Array, max_bytes: int) -> Array:
    n = num_bits(values)
    sums = sums_of_derivatives(values, 2, max_bytes)[..., n + 1 :, : n - 1]
    contexts = np.array([math.comb(n - 2, m) for m in range(n - 1)], np.float64)
    return sums / jnp.asarray(contexts, sums.dtype).reshape((1,) * (sums.ndim - 1) + (-1,))


def pairs(num_players: int) -> np.ndarray:
    """Players ``int[n (n - 1) / 2, 2]`` of the rows of `multi_order_interactions`.

    Example:
        >>> pairs(3).tolist()
        [[0, 1], [0, 2], [1, 2]]
    """
    check_count("num_players", num_players, minimum=2)
    return np.array(list(itertools.combinations(range(num_players), 2)))
