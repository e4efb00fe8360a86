"""Errors of statistics over samples: the bootstrap, and permutations where two groups should be alike."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_count


class Bootstrap(NamedTuple):
    """A statistic with its bootstrap error; every field has the statistic's shape, or structure."""

    value: PyTree  # of the samples themselves
    error: PyTree  # standard deviation over the resamples
    lower: PyTree  # percentile interval of the given coverage
    upper: PyTree


def _num_rows(group: PyTree) -> int:
    shapes = [leaf.shape for leaf in jax.tree.leaves(group)]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"groups: expected arrays with one common leading axis, got shapes {shapes}")
    return shapes[0][0]


def bootstrap(
    key: Array,
    statistic: Callable[..., PyTree],
    *groups: PyTree,
    num_resamples: int = 200,
    coverage: float = 0.68,
) -> Bootstrap:
    """A statistic of one or more groups of samples, each drawn again with replacement many times.

    Resamples are worked on one after another: memory is that of one statistic.

    Args:
        key: typed key.
        statistic: ``value = statistic(*groups)``; a pytree of floating arrays.
        groups: arrays or pytrees ``[num_samples, ...]``; each is resampled by itself, the leaves of one together.
        num_resamples: at least 2.
        coverage: of the interval; 0.68 is one standard deviation each side of a Gaussian.

    Returns:
        `Bootstrap`. NaN resamples (a curve without a turn, say) are left out of the error and the interval.

    Raises:
        ValueError: no groups, leaves of different lengths, too few resamples, or a coverage outside (0, 1).

    Example:
        >>> estimate = bootstrap(jax.random.key(0), jnp.mean, jnp.arange(100.0))
        >>> float(estimate.value), abs(float(estimate.error) - 2.89) < 0.5
        (49.5, True)

    Reference:
        Efron, Ann. Statist. 7, 1 (1979).
    """
    check_count("num_resamples", num_resamples, minimum=2)
    if not groups:
        raise ValueError("groups: expected at least one, got none")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage: expected a number between 0 and 1, got {coverage}")
    lengths = [_num_rows(group) for group in groups]

    def resampled(resample_key: Array) -> PyTree:
        drawn = []
        for group_key, group, length in zip(jax.random.split(resample_key, len(groups)), groups, lengths, strict=True):
            rows = jax.random.randint(group_key, (length,), 0, length)
            drawn.append(jax.tree.map(lambda leaf, rows=rows: leaf[rows], group))
        return statistic(*drawn)

    values = jax.lax.map(resampled, jax.random.split(key, num_resamples))
    ends = jnp.asarray([(1 - coverage) / 2, (1 + coverage) / 2])
    intervals = jax.tree.map(lambda leaf: jnp.nanquantile(leaf, ends.astype(leaf.dtype), axis=0), values)
    return Bootstrap(
        value=statistic(*groups),
        error=jax.tree.map(lambda leaf: jnp.nanstd(leaf, axis=0, ddof=1), values),
        lower=jax.tree.map(lambda leaf: leaf[0], intervals),
        upper=jax.tree.map(lambda leaf: leaf[1], intervals),
    )


def permutation_null(
    key: Array, statistic: Callable[[Array, Array], Array], first: Array, second: Array, *, num_permutations: int = 200
) -> Array:
    """A statistic of two groups whose samples have been pooled and dealt out again at random, in the same numbers.

    What it would be if nothing but chance told the groups apart: the control of a split into train and test, or into
    clean and mislabelled samples.

    Args:
        key: typed key.
        statistic: ``value = statistic(first, second)``.
        first: ``[num_first, ...]``.
        second: ``[num_second, ...]``.
        num_permutations: at least 1.

    Returns:
        ``[num_permutations, *value.shape]``.

    Raises:
        ValueError: samples of different shapes.
    """
    check_count("num_permutations", num_permutations)
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"second: expected samples of shape {first.shape[1:]}, got {second.shape[1:]}")
    pooled = jnp.concatenate([first, second])

    def dealt(permutation_key: Array) -> Array:
        order = jax.random.permutation(permutation_key, pooled.shape[0])
        return statistic(pooled[order[: first.shape[0]]], pooled[order[first.shape[0] :]])

    return jax.lax.map(dealt, jax.random.split(key, num_permutations))
