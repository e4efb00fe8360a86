"""Errors of statistics over samples: the bootstrap, and permutations where two groups should be alike."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_array, as_count, as_floating, check_function, check_key, check_number
from jaxrg.closures import as_partial
from jaxrg.stats._layout import mean_and_deviations
from jaxrg.stats._long_run import block_length as core_block_length
from jaxrg.stats._long_run import long_run, reduce_chains

MIN_ROWS = 10  # of a group; fewer show neither their correlation nor their spread
MEMORIES = 24  # times tau_int - 1/2 in a block
MAX_DEVIATION = 3.0  # of the long-run variance of independent rows


class Bootstrap(NamedTuple):
    """A statistic with its bootstrap error; every field but the last has the statistic's shape, or structure."""

    value: PyTree  # of the samples themselves
    error: PyTree  # standard deviation over the resamples
    lower: PyTree  # percentile interval of the given coverage
    upper: PyTree
    is_converged: Array  # [] whether the blocks that are drawn are long against the correlation of the rows


def as_group(name: str, group: PyTree) -> PyTree:
    """Leaves as arrays with one common leading axis."""
    arrays = jax.tree.map(lambda leaf: as_array(name, leaf), group, is_leaf=lambda node: isinstance(node, list))
    shapes = [leaf.shape for leaf in jax.tree.leaves(arrays)]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) != 1 or shapes[0][0] < 1:
        raise ValueError(f"{name}: expected arrays with one common leading axis of samples, got shapes {shapes}")
    return arrays


def bootstrap(
    key: Array,
    statistic: Callable[..., PyTree],
    *groups: PyTree,
    num_resamples: int = 200,
    coverage: float = 0.68,
    block_length: int = 1,
) -> Bootstrap:
    """A statistic of one or more groups of samples, each drawn again with replacement many times.

    Rows that follow one another in a Markov chain are not independent, and drawn one by one give errors that are too
    small: draw them in blocks much longer than ``2 tau_int``, or take `jaxrg.stats.jackknife` or `gamma_method`.
    ``is_converged`` is False where the blocks are shorter than the correlation of the rows in the order given.

    Resamples are worked on one after another: memory is that of one statistic.

    Args:
        key: typed key.
        statistic: ``value = statistic(*groups)``; a pytree of floating arrays.
        groups: arrays or pytrees ``[num_samples, ...]``; each is resampled by itself, the leaves of one together.
        num_resamples: at least 2.
        coverage: of the interval; 0.68 is one standard deviation each side of a Gaussian.
        block_length: rows that are drawn together, from any start; at most half of the shortest group.

    Returns:
        `Bootstrap`. NaN resamples (a curve without a turn, say) are left out of the error and the interval.

    Raises:
        ValueError: no groups, leaves of different lengths, too few resamples, a coverage outside (0, 1), or blocks
            longer than half a group.

    Example:
        >>> estimate = bootstrap(jax.random.key(0), jnp.mean, jax.random.normal(jax.random.key(1), (400,)))
        >>> abs(float(estimate.error) - 0.05) < 0.01, bool(estimate.is_converged)
        (True, True)

    Reference:
        Efron, Ann. Statist. 7, 1 (1979); for blocks Künsch, Ann. Statist. 17, 1217 (1989).
    """
    check_key("key", key)
    check_function("statistic", statistic, of="the groups")
    num_resamples = as_count("num_resamples", num_resamples, minimum=2)
    block_length = as_count("block_length", block_length)
    if not groups:
        raise ValueError("groups: expected at least one, got none")
    check_number("coverage", coverage, above=0, below=1)
    arrays = tuple(as_group("groups", group) for group in groups)
    shortest = min(jax.tree.leaves(group)[0].shape[0] for group in arrays)
    if block_length > 1 and 2 * block_length > shortest:
        raise ValueError(
            f"block_length: expected at most half of the {shortest} samples of a group, got {block_length}"
        )
    return _bootstrap(
        key, as_partial(statistic), arrays, as_floating("coverage", coverage), num_resamples, block_length
    )


@functools.partial(jax.jit, static_argnames=("num_resamples", "block_length"))
def _bootstrap(
    key: Array, statistic: Callable, groups: tuple, coverage: Array, num_resamples: int, block_length: int
) -> Bootstrap:
    lengths = [jax.tree.leaves(group)[0].shape[0] for group in groups]

    def resampled(resample_key: Array) -> PyTree:
        drawn = []
        for group_key, group, length in zip(jax.random.split(resample_key, len(groups)), groups, lengths, strict=True):
            num_blocks = -(-length // block_length)
            starts = jax.random.randint(group_key, (num_blocks,), 0, length - block_length + 1)
            rows = (starts[:, None] + jnp.arange(block_length, dtype=starts.dtype)[None]).ravel()[:length]
            drawn.append(jax.tree.map(lambda leaf, rows=rows: leaf[rows], group))
        return statistic(*drawn)

    values = jax.lax.map(resampled, jax.random.split(key, num_resamples))
    ends = jnp.stack([(1 - coverage) / 2, (1 + coverage) / 2])
    intervals = jax.tree.map(lambda leaf: jnp.nanquantile(leaf, ends.astype(leaf.dtype), axis=0), values)
    error = jax.tree.map(lambda leaf: jnp.nanstd(leaf, axis=0, ddof=1), values)
    errors, memories = jax.tree.leaves(error), [_is_long(group, block_length) for group in groups]
    return Bootstrap(
        value=statistic(*groups),
        error=error,
        lower=jax.tree.map(lambda leaf: leaf[0], intervals),
        upper=jax.tree.map(lambda leaf: leaf[1], intervals),
        is_converged=jnp.all(jnp.stack([*map(jnp.all, map(jnp.isfinite, errors)), *memories])),
    )


def _is_long(group: PyTree, block_length: int) -> Array:
    """Whether blocks are long against the memory of the rows, taken over all columns together."""
    num_rows = jax.tree.leaves(group)[0].shape[0]
    if num_rows < MIN_ROWS:
        return jnp.bool_(False)
    length = core_block_length(1, num_rows)
    total, count, is_reliable = jnp.float32(0), jnp.float32(0), jnp.bool_(True)
    for leaf in jax.tree.leaves(group):
        series = jax.lax.stop_gradient(leaf).astype(jnp.float32)[None]
        _, deviations = mean_and_deviations(series)
        reduced = reduce_chains(deviations / jnp.maximum(jnp.max(jnp.abs(deviations)), jnp.finfo(jnp.float32).tiny))
        moves = reduced.variance > 0
        found = long_run(reduced, num_rows, length, 0.0)
        total += jnp.sum(jnp.where(moves, 2 * found.tau_int, 0))
        count += jnp.sum(moves.astype(jnp.float32))
        is_reliable &= jnp.all(found.is_reliable | ~moves)
    excess = total / jnp.maximum(count, 1) - 1  # 2 tau_int - 1
    noise = jnp.sqrt(2 / 48)  # of one column; more columns may not be independent
    is_long = is_reliable & (MEMORIES * jnp.abs(excess) / 2 < block_length)
    return (count > 0) & ((jnp.abs(excess) < MAX_DEVIATION * noise) | is_long)


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
    check_key("key", key)
    check_function("statistic", statistic, of="two groups")
    num_permutations = as_count("num_permutations", num_permutations)
    groups = (as_floating("first", as_group("first", first)), as_floating("second", as_group("second", second)))
    if groups[0].shape[1:] != groups[1].shape[1:]:
        raise ValueError(f"second: expected samples of shape {groups[0].shape[1:]}, got {groups[1].shape[1:]}")
    dtype = jnp.promote_types(groups[0].dtype, groups[1].dtype)
    pooled = tuple(group.astype(dtype) for group in groups)
    return _permutation_null(key, as_partial(statistic), *pooled, num_permutations)


@functools.partial(jax.jit, static_argnames="num_permutations")
def _permutation_null(key: Array, statistic: Callable, first: Array, second: Array, num_permutations: int) -> Array:
    pooled = jnp.concatenate([first, second])

    def dealt(permutation_key: Array) -> Array:
        order = jax.random.permutation(permutation_key, pooled.shape[0])
        return statistic(pooled[order[: first.shape[0]]], pooled[order[first.shape[0] :]])

    return jax.lax.map(dealt, jax.random.split(key, num_permutations))
