r"""Paired coalitions stratified by size, the design of the stratified, regression and proxy estimators.

Every coalition comes with its complement. Sizes whose coalitions can all be afforded are enumerated, from the outside
in; the others share what is left of the budget, and their coalitions are uniform.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.interactions.indices.contexts import subsets_of_size
from jaxrg.interactions.sampling.estimators import Estimator, estimator_of, random_order, with_ends

MIN_UNITS = 4  # a size: three degrees of freedom are the fewest whose variance has a mean square


class Allocation(NamedTuple):
    """How many pairs (coalition, complement) each size gets; all static."""

    num_players: int
    enumerated: np.ndarray  # bool[num_enumerated, n], every coalition of the sizes below those sampled
    sampled_sizes: tuple[int, ...]  # up to n/2
    counts: tuple[int, ...]  # pairs of each sampled size

    @property
    def num_pairs(self) -> int:
        """Pairs, enumerated and sampled."""
        return len(self.enumerated) + sum(self.counts)

    @property
    def num_masks(self) -> int:
        """Evaluations: both of each pair, and the empty and the full coalition."""
        return 2 * self.num_pairs + 2

    @property
    def is_sampled(self) -> np.ndarray:
        """Which pairs are samples and not all there are."""
        return np.arange(self.num_pairs) >= len(self.enumerated)

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


def least_budget(num_players: int, min_enumerated: int = 0) -> int:
    """Evaluations that the smallest allocation takes."""
    fixed = sum(math.comb(num_players, size) for size in range(1, min_enumerated + 1))
    return 2 + 2 * (fixed + MIN_UNITS * max(num_players // 2 - min_enumerated, 0))


def allocate(num_players: int, budget: int, *, order: int, min_enumerated: int = 0) -> Allocation:
    r"""Spend a budget on coalition sizes as :math:`(s(n-s))^{-k/2}`.

    A mean over the coalitions of size s that hold given players uses a share of the samples that vanishes with s: the
    variance of order k is :math:`\propto (p(1-p))^{-k}/m_s` with p = s/n, and the best :math:`m_s` is its square root.
    Sizes up to ``min_enumerated`` are enumerated whatever it costs, and every other size gets `MIN_UNITS` pairs. The
    budget pays for `least_budget` but not for all coalitions, so there are three players at least.
    """
    half = num_players // 2
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
        num_players, np.concatenate([empty, *enumerated]), tuple(sizes[first:].tolist()), tuple(counts.tolist())
    )


class Pairs(NamedTuple):
    """What an estimate from paired coalitions sees."""

    masks: Array  # bool[num_pairs, n], the smaller coalition of each pair
    at_empty: Array  # the values: scalars,
    at_full: Array
    smaller: Array  # [num_pairs]
    larger: Array  # [num_pairs], of the complements


def paired_estimator(allocation: Allocation, estimate: Callable[[Pairs], Any]) -> Estimator:
    """An estimator that plays empty, full, the smaller coalition of every pair, then their complements."""
    num_pairs, counts = allocation.num_pairs, allocation.counts

    def design(key: Array) -> Array:
        ranks = jnp.argsort(random_order(key, sum(counts), allocation.num_players), axis=-1).astype(jnp.int32)
        sizes = jnp.asarray(np.repeat(allocation.sampled_sizes, counts).astype(np.int32)).reshape(-1, 1)
        smaller = jnp.concatenate([jnp.asarray(allocation.enumerated), ranks < sizes])
        return with_ends(jnp.concatenate([smaller, ~smaller]))

    def estimate_pairs(masks: Array, values: Array) -> Any:
        return estimate(Pairs(masks[2 : 2 + num_pairs], values[0], values[1], *jnp.split(values[2:], 2)))

    return estimator_of(design, estimate_pairs, allocation.num_masks)
