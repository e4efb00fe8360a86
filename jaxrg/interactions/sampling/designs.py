r"""Paired coalitions stratified by size, the design of the stratified, regression and proxy estimators.

Every coalition comes with its complement. Sizes whose coalitions can all be afforded are enumerated, from the outside
in; the others share what is left of the budget, and their coalitions are uniform.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.interactions.indices.contexts import subsets_of_size
from jaxrg.interactions.sampling.estimators import check_budget

MIN_UNITS = 4  # a size: three degrees of freedom are the fewest whose variance has a mean square


class Allocation(NamedTuple):
    """How many pairs (coalition, complement) each size gets; all static."""

    num_players: int
    enumerated: np.ndarray  # bool[num_enumerated, n], every coalition of the sizes below those sampled
    sampled_sizes: tuple[int, ...]  # up to n/2
    counts: tuple[int, ...]  # pairs of each sampled size

    @property
    def num_pairs(self) -> int:
        """Pairs of both kinds."""
        return len(self.enumerated) + sum(self.counts)

    @property
    def num_masks(self) -> int:
        """Evaluations: both of each pair, and the empty and the full coalition."""
        return 2 * self.num_pairs + 2

    @property
    def sizes(self) -> np.ndarray:
        """Size of the smaller coalition of every pair."""
        return np.concatenate([self.enumerated.sum(-1), np.repeat(self.sampled_sizes, self.counts)]).astype(int)


def _shares(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers of at least `MIN_UNITS` in proportion to the weights that sum to the total."""
    spare = total - MIN_UNITS * len(weights)
    exact = spare * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: spare - counts.sum()]] += 1
    return counts + MIN_UNITS


def allocate(num_players: int, budget: int, *, order: int, min_enumerated: int = 0) -> Allocation:
    r"""Spend a budget on coalition sizes as :math:`(s(n-s))^{-k/2}`.

    A mean over the coalitions of size s that hold given players uses a share of the samples that vanishes with s: the
    variance of order k is :math:`\propto (p(1-p))^{-k}/m_s` with p = s/n, and the best :math:`m_s` is its square root.
    Sizes up to ``min_enumerated`` are enumerated whatever it costs, and every other size gets `MIN_UNITS` pairs.
    """
    half = num_players // 2
    fixed = sum(math.comb(num_players, size) for size in range(1, min_enumerated + 1))
    minimum = 2 + 2 * (fixed + MIN_UNITS * max(half - min_enumerated, 0))
    check_budget(num_players, budget, minimum, f"paired coalitions of every size (order {order})")
    left = (budget - 2) // 2
    sizes = np.arange(1, half + 1)
    weights = (sizes * (num_players - sizes)) ** (-0.5 * order)
    weights[sizes * 2 == num_players] /= 2  # one size, not a size and its mirror image
    enumerated: list[np.ndarray] = []
    first = 0
    # Of an even number of players, the middle size is its own complement and is always sampled.
    while first < half and 2 * sizes[first] < num_players:
        distinct = math.comb(num_players, int(sizes[first]))
        share = left * weights[first] / weights[first:].sum()
        affordable = left - distinct >= MIN_UNITS * (half - first - 1)
        if sizes[first] > min_enumerated and (distinct > share or not affordable):
            break
        enumerated.append(subsets_of_size(num_players, int(sizes[first])))
        left -= distinct
        first += 1
    empty = np.zeros((0, num_players), bool)
    counts = _shares(left, weights[first:]) if first < half else np.zeros(0, int)
    return Allocation(
        num_players,
        np.concatenate([empty, *enumerated]),
        tuple(int(size) for size in sizes[first:]),
        tuple(int(count) for count in counts),
    )


def paired_masks(key: Array, allocation: Allocation) -> Array:
    """The masks of an allocation: empty, full, the smaller coalition of every pair, then their complements."""
    n, num_sampled = allocation.num_players, sum(allocation.counts)
    ranks = jnp.argsort(jnp.argsort(jax.random.bits(key, (num_sampled, n)), axis=-1), axis=-1)
    sizes = jnp.asarray(np.repeat(allocation.sampled_sizes, allocation.counts).astype(np.int32)).reshape(-1, 1)
    sampled = ranks.astype(jnp.int32) < sizes
    smaller = jnp.concatenate([jnp.asarray(allocation.enumerated), sampled])
    ends = jnp.concatenate([jnp.zeros((1, n), jnp.bool_), jnp.ones((1, n), jnp.bool_)])
    return jnp.concatenate([ends, smaller, ~smaller])


def split_pairs(values: Array) -> tuple[Array, Array, Array, Array]:
    """Values of the empty and full coalition, of the smaller coalition of each pair, and of their complements."""
    smaller, larger = jnp.split(values[2:], 2)
    return values[0], values[1], smaller, larger
