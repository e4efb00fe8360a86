"""Stratified estimates that use every sample for every interaction: by coalition size and membership."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_array, as_count
from jaxrg.interactions.sampling.designs import Allocation, Pairs, allocate, least_budget, paired_estimator
from jaxrg.interactions.sampling.estimators import Estimate, Estimator, as_pairs, enumerated, pays_for_all
from jaxrg.tables import MAX_BYTES

# From this expected number of samples on, a stratum is empty once in exp(10) = 22,000 draws and its mean is used;
# below, memberships are weighted by their probability instead, which needs no sample in any one stratum.
MIN_EXPECTED = 10.0
SUM_TOLERANCE = 1e-4  # of probabilities, which may come in single precision


def _membership_probabilities(num_players: int, size: int, order: int) -> np.ndarray:
    """Probability that a random coalition holds 0, ..., k given players and lacks the other given ones."""
    n, s = num_players, size
    if order == 1:
        return np.array([1 - s / n, s / n])
    both, neither = s * (s - 1) / (n * (n - 1)), (n - s) * (n - s - 1) / (n * (n - 1))
    return np.array([neither, (1 - both - neither) / 2, both])


def _coefficients(num_players: int, size: int, sizes: np.ndarray) -> np.ndarray:
    """``[2, k + 1]``: what the means of a coalition and of its complement count for, by members of K it holds."""
    n, order = num_players, num_players - len(sizes) + 1
    held = np.arange(order + 1)

    def probability(t: np.ndarray) -> np.ndarray:
        is_size = (t >= 0) & (t < len(sizes))
        return np.where(is_size, sizes[np.where(is_size, t, 0)], 0.0)

    direct = (-1.0) ** (order - held) * probability(size - held)
    mirrored = (-1.0) ** held * probability(n - size - order + held)
    # A pair of coalitions of the middle size estimates that size twice.
    return np.stack([direct, mirrored]) / (2 if 2 * size == n else 1)


def _sums_by_membership(masks: Array, numbers: Array, order: int) -> Array:
    """``[features, patterns, n(, n)]``: sums of each number over the samples of every membership pattern.

    The patterns of pairs are: neither, the column only, the row only, both.
    """
    held = masks.astype(numbers.dtype)
    total = jnp.sum(numbers, axis=0)
    with_one = numbers.T @ held
    if order == 1:
        return jnp.stack([total[:, None] - with_one, with_one], axis=1)
    both = jnp.einsum("mf,mi,mj->fij", numbers, held, held)
    row, column = with_one[:, :, None], with_one[:, None, :]
    neither = total[:, None, None] - row - column + both
    return jnp.stack([neither, column - both, row - both, both], axis=1)


def _size_terms(masks, is_used, smaller, larger, tables, order: int) -> tuple[Array, Array]:
    """Contribution of the pairs of one size, and its variance."""
    (direct, mirrored, chance), is_exact, is_poststratified = tables
    used = is_used.astype(smaller.dtype)
    count = jnp.sum(used)
    means = jnp.sum(smaller * used) / count, jnp.sum(larger * used) / count
    a, b = (smaller - means[0]) * used, (larger - means[1]) * used
    numbers = jnp.stack([used, a, b, a * a, a * b, b * b], axis=1)

    def spread(aa: Array, ab: Array, bb: Array) -> Array:
        return direct**2 * aa + 2 * direct * mirrored * ab + mirrored**2 * bb

    counts, sum_a, sum_b, sum_aa, sum_ab, sum_bb = _sums_by_membership(masks, numbers, order)
    sums = direct * sum_a + mirrored * sum_b
    squares = spread(sum_aa, sum_ab, sum_bb)

    # Means of the strata. One with fewer than two samples takes the variance of its whole size.
    at_least_one = jnp.maximum(counts, 1)
    pooled = spread(jnp.sum(a * a), jnp.sum(a * b), jnp.sum(b * b)) / count
    within = (squares - sums**2 / at_least_one) / jnp.maximum(counts - 1, 1)
    within = jnp.where(counts > 1.5, jnp.maximum(within, 0), pooled)
    of_means = jnp.sum(sums / at_least_one, axis=0)
    variance_of_means = jnp.sum(within / at_least_one, axis=0)

    # Memberships weighted by their probability: a covariance, unbiased with count - 1. Its squared residuals are too
    # small twice, because the mean of the values and the covariance itself are fitted to them.
    inverse = safe_divide(jnp.ones_like(chance), chance)
    weighted = jnp.sum(sums * inverse, axis=0) / (count - 1)
    second = jnp.sum(squares * inverse**2, axis=0) / (count - 1)
    variance_weighted = jnp.maximum(second - weighted**2, 0) * count / (count - 1) ** 2

    constant = jnp.sum(direct) * means[0] + jnp.sum(mirrored) * means[1]
    value = constant + jnp.where(is_poststratified, of_means, weighted)
    variance = jnp.where(is_poststratified, variance_of_means, variance_weighted)
    return value, jnp.where(is_exact, 0, variance)


def stratified_estimate(pairs: Pairs, allocation: Allocation, sizes: np.ndarray) -> Estimate:
    """The estimate of `stratified` from the pairs of any `allocate`."""
    n, order, dtype = allocation.num_players, allocation.num_players - len(sizes) + 1, pairs.smaller.dtype
    of_pair = allocation.sizes
    strata, counts = np.unique(of_pair, return_counts=True)
    rows = np.zeros((len(strata), counts.max()), np.int32)
    is_used = np.arange(counts.max()) < counts[:, None]
    for index, size in enumerate(strata):
        rows[index, : counts[index]] = np.flatnonzero(of_pair == size)
    probabilities = np.stack([_membership_probabilities(n, int(size), order) for size in strata])
    coefficients = np.stack([_coefficients(n, int(size), sizes) for size in strata])
    is_exact = ~np.isin(strata, allocation.sampled_sizes)
    needed = np.where(np.any(coefficients != 0, axis=1), probabilities, 1.0).min(-1)
    is_poststratified = is_exact | (counts * needed >= MIN_EXPECTED)
    held = [0, 1] if order == 1 else [0, 1, 1, 2]  # members of K in every pattern
    of_patterns = np.concatenate([coefficients, probabilities[:, None]], axis=1)[..., held]
    of_patterns = jnp.asarray(of_patterns, dtype).reshape(*of_patterns.shape, *(1,) * order)
    tables = jax.tree.map(jnp.asarray, (rows, is_used, of_patterns, is_exact, is_poststratified))

    def add(total, stratum):
        index, used, *of_size = stratum
        terms = _size_terms(pairs.masks[index], used, pairs.smaller[index], pairs.larger[index], of_size, order)
        return (total[0] + terms[0], total[1] + terms[1]), None

    zeros = jnp.zeros((n,) * order, dtype)
    start = zeros + (-1.0) ** order * float(sizes[0]) * pairs.at_empty + float(sizes[-1]) * pairs.at_full
    (value, variance), _ = jax.lax.scan(add, (start, zeros), tables)
    return Estimate(as_pairs(value), as_pairs(jnp.sqrt(variance)))


def stratified(num_players: int, budget: int, sizes: ArrayLike) -> Estimator:
    r"""Any index of single players or pairs, stratified by coalition size and membership, with paired coalitions.

    .. math:: \phi_K = \sum_t q_t \sum_{W \subseteq K} (-1)^{|K|-|W|}\; \mathrm{E}[v(S) : |S| = t + |W|, S \cap K = W]

    Each expectation is the mean of the samples of its stratum; where such samples are too rare to count on, those of
    all strata of the size, weighted by the probability of membership. The error takes a coalition and its complement
    as one sample. Sizes that can be afforded whole are exact.

    Args:
        num_players, budget: as in every estimator; every size gets some evaluations.
        sizes: ``[n - k + 1]`` probability of each size of T, k = 1 or 2: `shapley_sizes`, `banzhaf_sizes`,
            `shapley_taylor_sizes`.

    Returns:
        An `Estimator` of values ``[n]`` or ``[n, n]``.

    Example:
        >>> estimator = stratified(5, 32, np.full(5, 1 / 5))  # the sizes of Shapley values; enough for all coalitions
        >>> masks = estimator.design(jax.random.key(0))
        >>> estimate = estimator.estimate(masks, masks[:, :2].all(-1).astype(jnp.float32))
        >>> bool(jnp.allclose(estimate.values, jnp.array([0.5, 0.5, 0.0, 0.0, 0.0]), atol=1e-6))
        True

    Reference:
        Kolpaczki, Muschalik, Fumagalli, Hammer & Hüllermeier, AISTATS 2024, arXiv:2401.13371 (SVARM-IQ); paired
        samples: Covert & Lee, AISTATS 2021, arXiv:2012.01536.
    """
    n, num_evaluations = as_count("num_players", num_players), as_count("budget", budget)
    given = as_array("sizes", sizes)
    if given.ndim != 1 or len(given) not in (n, n - 1) or len(given) == 0:
        raise ValueError(
            f"sizes: expected {n} probabilities (for players) or {n - 1} (for pairs), got shape {given.shape}"
        )
    # From the host, whose precision a float32 array would take from them.
    chances = np.asarray(given if isinstance(sizes, Array) else sizes, np.float64)
    if not (np.all(chances >= 0) and abs(chances.sum() - 1) < SUM_TOLERANCE):
        raise ValueError(f"sizes: expected probabilities that sum to one, got a sum of {chances.sum():.6g}")
    return _stratified(n, num_evaluations, tuple(chances.tolist()))


@functools.lru_cache(maxsize=64)
def _stratified(n: int, budget: int, chances: tuple[float, ...]) -> Estimator:
    sizes, order = np.array(chances), n - len(chances) + 1
    if pays_for_all(n, budget, least_budget(n), f"paired coalitions of every size (order {order})"):
        return enumerated(n, sizes, MAX_BYTES)
    allocation = allocate(n, budget, order=order)
    return paired_estimator(allocation, lambda pairs: stratified_estimate(pairs, allocation, sizes))
