"""Weighted regression in the manner of KernelSHAP and KernelSHAP-IQ, on paired and stratified coalitions."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count
from jaxrg.interactions.indices.contexts import check_order
from jaxrg.interactions.sampling.designs import Allocation, Pairs, allocate, least_budget, paired_estimator
from jaxrg.interactions.sampling.estimators import (
    Estimate,
    Estimator,
    as_matrix,
    enumerated,
    pays_for_all,
    shapley_sizes,
)
from jaxrg.tables import MAX_BYTES, check_bytes

NUM_REFINEMENTS = 3  # of the solution, on its residuals: as exact as they are, also where the inverse is not
ALWAYS_ENUMERATED = 20  # players up to which coalitions drawn at random may leave some unknown open
NUM_COPIES = 5  # of the features and of their products that are in memory at once; four where compiled


def _row_weights(allocation: Allocation, order: int) -> np.ndarray:
    """Weight of each pair: coalitions of its size times kernel, over the pairs there are of it; their sum is one."""
    n, k, counts = allocation.num_players, order, np.bincount(allocation.sizes)

    def weight_of(size: int) -> float:
        if size < k:
            return 0.0  # fitted exactly, as a constraint
        coalitions = math.lgamma(n + 1) - math.lgamma(size + 1) - math.lgamma(n - size + 1)
        kernel = math.lgamma(size - k + 1) + math.lgamma(n - size - k + 1) - math.lgamma(n - 2 * k + 1)
        half = 0.5 if 2 * size == n else 1.0  # both coalitions of a pair have the middle size
        return half * math.exp(coalitions + kernel - 2 * k * math.log(n)) / counts[size]

    weights = np.array([weight_of(size) for size in range(len(counts))])[allocation.sizes]
    return weights / weights.sum()


def _solve(rows: Array, targets: Array, weights: Array, constraints: Array, constrained: Array, strata: np.ndarray):
    """Weighted least squares under equality constraints, with a sandwich error by strata."""
    normal = rows.T @ (weights[:, None] * rows)
    # Constraint rows that the data do not see at all would leave the system singular without a trace of themselves.
    normal = normal + constraints.T @ constraints * (jnp.trace(normal) / jnp.sum(constraints**2))
    inverse = jnp.linalg.inv(normal)
    spread = inverse @ constraints.T
    onto_constraints = spread @ jnp.linalg.inv(constraints @ spread)
    projector = inverse - onto_constraints @ spread.T
    coefficients = jnp.zeros(rows.shape[1], rows.dtype)
    for _ in range(NUM_REFINEMENTS):
        coefficients = coefficients + onto_constraints @ (constrained - constraints @ coefficients)
        coefficients = coefficients + projector @ (rows.T @ (weights * (targets - rows @ coefficients)))
    influences = (rows @ projector) * weights[:, None]
    leverages = jnp.sum(influences * rows, axis=1)
    floor = jnp.sqrt(jnp.finfo(rows.dtype).eps)
    influences = influences * ((targets - rows @ coefficients) / jnp.maximum(1 - leverages, floor))[:, None]
    # Sampling is by size: what is common to a size is no error.
    sizes, of_size = np.unique(strata, return_inverse=True)
    counts = np.bincount(of_size)
    sums = jnp.zeros((len(sizes), rows.shape[1]), rows.dtype).at[of_size].add(influences)
    means = sums / jnp.asarray(counts, rows.dtype)[:, None]
    scale = jnp.asarray((counts / np.maximum(counts - 1, 1))[of_size], rows.dtype)[:, None]
    return coefficients, scale * (influences - means[of_size]) ** 2


def kernel_regression(num_players: int, budget: int, order: int, *, max_bytes: int = MAX_BYTES) -> Estimator:
    r"""Shapley values (order 1) or the Shapley interaction index of pairs (order 2) by weighted least squares.

    With signs :math:`\sigma_i = \pm 1` for players in and out, and :math:`\bar S` the complement of S,

    .. math:: \tfrac12[v(S) - v(\bar S)] \approx \tfrac12 \sum_i \phi_i \sigma_i, \qquad
        \tfrac12[v(S) + v(\bar S)] - \tfrac12[v(N) + v(\emptyset)] \approx
        \tfrac14 \sum_{i<j} I_{ij} (\sigma_i \sigma_j - 1)

    weighted by :math:`1/\binom{n-2k}{s-k}`, with the values of all coalitions of less than k, or more than n - k,
    players as constraints. Pairing a coalition with its complement is what separates the orders. Consistent, not
    unbiased at a finite budget. The error is a sandwich estimate by sizes with leave-one-out residuals. Of up to 20
    players the coalitions of at most k of them, and their complements, are all played, which leaves no unknown open.

    Returns:
        An `Estimator` of values ``[n]``, whose sum is exact, or ``[n, n]``. The budget pays for twice as many pairs of
        coalitions as unknowns at least, or for all coalitions; the memory is for the matrix of the two and products.

    Reference:
        Lundberg & Lee, NeurIPS 2017, arXiv:1705.07874; Fumagalli, Muschalik, Kolpaczki, Hüllermeier & Hammer, ICML
        2024, arXiv:2405.10852 (KernelSHAP-IQ); sizes alike or nearly: Musco & Witter, ICLR 2025, arXiv:2410.01917.
    """
    n = as_count("num_players", num_players)
    check_order(order, min(2, n))
    return _kernel_regression(n, as_count("budget", budget), int(order), max_bytes)


@functools.lru_cache(maxsize=64)
def _kernel_regression(n: int, budget: int, order: int, max_bytes: int) -> Estimator:
    unknowns = math.comb(n, order)
    min_enumerated = order if n <= ALWAYS_ENUMERATED else order - 1
    minimum = max(2 + 4 * unknowns, least_budget(n, min_enumerated))
    if pays_for_all(n, budget, minimum, f"a regression on {unknowns:,} unknowns"):
        return enumerated(n, shapley_sizes(n, order), max_bytes)
    # Features, influences, their squares and products; before any design is made, and for the whole budget.
    entries = NUM_COPIES * unknowns * (budget // 2 + unknowns)
    needed = entries * jnp.finfo(jnp.result_type(float)).bits // 8
    check_bytes(
        "budget", needed, max_bytes, f"a regression of {budget // 2:,} pairs of coalitions on {unknowns:,} unknowns"
    )
    allocation = allocate(n, budget, order=order, min_enumerated=min_enumerated)
    weights = _row_weights(allocation, order)
    first, second = (players.astype(np.int32) for players in np.triu_indices(n, 1))

    def estimate(pairs: Pairs) -> Estimate:
        dtype = pairs.smaller.dtype
        signs = 2 * pairs.masks.astype(dtype) - 1
        if order == 1:
            rows, targets = 0.5 * signs, 0.5 * (pairs.smaller - pairs.larger)
            constraints = jnp.full((1, n), 0.5, dtype)
            constrained = 0.5 * (pairs.at_full - pairs.at_empty).reshape(1)
        else:
            rows = 0.25 * (signs[:, first] * signs[:, second] - 1)
            targets = 0.5 * (pairs.smaller + pairs.larger) - 0.5 * (pairs.at_full + pairs.at_empty)
            constraints, constrained = rows[:n], targets[:n]  # the single players come first
        scaled, is_sampled = (jnp.asarray(x, dtype) for x in (weights, allocation.is_sampled))
        coefficients, squares = _solve(rows, targets, scaled, constraints, constrained, allocation.sizes)
        error = jnp.sqrt(is_sampled @ squares)
        if order == 1:
            return Estimate(coefficients, error)
        return Estimate(as_matrix(coefficients, n), as_matrix(error, n))

    return paired_estimator(allocation, estimate)
