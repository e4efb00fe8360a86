"""How far a measured number or histogram is from an exact one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, as_operands, check_shape, is_traced


class ChiSquared(NamedTuple):
    """Pearson's test; every field a scalar."""

    statistic: Array
    num_degrees_of_freedom: Array
    p_value: Array


def z_score(mean: Array, error: Array, exact: Array | float) -> Array:
    r"""Deviation from the exact value in standard errors.

    .. math:: z = (\bar x - x) / \sigma

    Returns:
        Elementwise; infinite, or NaN where the deviation vanishes too, for an error of zero.

    Example:
        >>> float(z_score(jnp.float32(1.5), jnp.float32(0.25), 1.0))
        2.0
    """
    return _z_score(*as_operands(mean=mean, error=error, exact=exact))


@jax.jit
def _z_score(mean: Array, error: Array, exact: Array) -> Array:
    return (mean - exact) / error


def chi_squared(observed_counts: Array, expected_probabilities: Array) -> ChiSquared:
    r"""Pearson's chi-squared test of independent counts against known probabilities.

    .. math:: \chi^2 = \sum_k \frac{(n_k - N p_k)^2}{N p_k}, \qquad p = Q(\nu/2, \chi^2/2)

    Cells of probability zero are no degree of freedom; a count in one makes the statistic infinite. The p-value wants
    an expectation of about five or more in every cell, and samples thinned to independence.

    Args:
        observed_counts: counts of any shape; float32 holds them exactly to 2^24.
        expected_probabilities: of the same shape, summing to one.

    Raises:
        ValueError: shapes that differ, fewer than two cells, negative counts, or probabilities that are negative or do
            not sum to one within 1e-4.

    Example:
        >>> result = chi_squared(jnp.array([60, 40]), jnp.array([0.5, 0.5]))
        >>> float(result.statistic), round(float(result.p_value), 4)
        (4.0, 0.0455)
    """
    probabilities = as_floating("expected_probabilities", expected_probabilities)
    counts = as_floating("observed_counts", observed_counts)
    check_shape("observed_counts", counts, probabilities.shape)
    if not is_traced(counts) and (counts.size < 2 or np.any(np.asarray(counts) < 0)):
        raise ValueError(f"observed_counts: expected two or more counts >= 0, got shape {counts.shape}")
    if not is_traced(probabilities):
        host = np.asarray(probabilities)
        if np.any(host < 0) or abs(host.sum(dtype=np.float64) - 1) > 1e-4:
            raise ValueError(
                f"expected_probabilities: expected entries >= 0 that sum to 1, got a minimum of {host.min()} "
                f"and a sum of {host.sum(dtype=np.float64)}"
            )
    return _chi_squared(counts, probabilities)


@jax.jit
def _chi_squared(counts: Array, probabilities: Array) -> ChiSquared:
    counts = counts.astype(probabilities.dtype)
    expected = jnp.sum(counts) * probabilities
    is_possible = probabilities != 0
    terms = jnp.square(counts - expected) / jnp.where(is_possible, expected, 1)
    impossible = jnp.where(counts == 0, 0, jnp.inf * counts)
    statistic = jnp.sum(jnp.where(is_possible, terms, impossible))
    num_degrees_of_freedom = jnp.sum(is_possible.astype(probabilities.dtype)) - 1
    p_value = jax.scipy.special.gammaincc(num_degrees_of_freedom / 2, statistic / 2)
    return ChiSquared(statistic, num_degrees_of_freedom, p_value)
