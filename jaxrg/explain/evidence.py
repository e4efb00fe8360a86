r"""Whether interactions say something: matching over all masks, sparsity, transfer between samples, and null models.

AND, OR and AND-OR interactions reproduce any function of 2**n masks; that they match proves the code and nothing about
the network. What can fail is how few of them suffice, and how many of the few are found again in other samples. Both
have a value for games that mean nothing, too, and stand here beside those null models.

A ``result`` is what `interactions.and_or` returns, or a `Decomposition` of tables from `interactions.harsanyi` and
`interactions.harsanyi_or`. Tables of other shapes are refused, and so are samples or games too few to have an error.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import (
    as_array,
    as_count,
    as_floating,
    as_floating_alike,
    as_integers,
    as_table,
    check_function,
    check_key,
    check_shape,
    is_traced,
)
from jaxrg.closures import as_partial
from jaxrg.interactions.and_or import AndOr
from jaxrg.interactions.dividends import from_harsanyi, from_harsanyi_or
from jaxrg.interactions.orders import sum_by_order
from jaxrg.interactions.view import SALIENT_FRACTION, is_salient
from jaxrg.tables import subset_sizes
from jaxrg.transforms import num_bits


class Decomposition(NamedTuple):
    """AND and OR interactions of games; zeros for one of them leave the other alone."""

    and_: Array  # [..., 2**n]
    or_: Array  # [..., 2**n]


Result: TypeAlias = AndOr | Decomposition


class MatchingError(NamedTuple):
    """Reconstruction of the values of all 2**n masks; each field ``[...]``."""

    largest: Array
    root_mean_square: Array
    relative: Array  # root mean square over the standard deviation of the values; NaN for a constant game


class Transfer(NamedTuple):
    """How far the salient interactions of samples are the same."""

    pairwise: Array  # [samples, samples] share of the sets salient in sample i that are salient in j; diagonal one
    mean: Array  # over i != j
    error: Array  # jackknife over samples: pairs that share a sample are not independent
    chance: Array  # the same share were each sample's sets drawn at random among those of the same orders and kind


class NullComparison(NamedTuple):
    """A statistic of real games beside the same statistic of null games; fields of its shape without the games."""

    value: Array  # mean over the games
    error: Array  # standard error of that mean, over games
    null: Array  # mean over the null games
    null_error: Array  # standard error over the games, each with its nulls averaged first
    difference: Array  # mean of value - null, paired by game
    difference_error: Array  # standard error of the paired difference


def as_decomposition(result: Any, **others: Any) -> tuple[Any, ...]:
    """The tables of a result, and others beside them, as floats of one precision; those of one result have one shape.

    Raises:
        ValueError: no tables of ``2**n`` entries, or of two shapes.
    """
    if not (hasattr(result, "and_") and hasattr(result, "or_")):
        raise ValueError(f"result: expected AND and OR interactions, as a Decomposition, got a {type(result).__name__}")
    and_, or_, *arrays = as_floating_alike(**{"result.and_": result.and_, "result.or_": result.or_} | others)
    as_table("result.and_", and_)
    check_shape("result.or_", or_, and_.shape)
    return Decomposition(and_, or_), *arrays


def reconstruction(result: Result) -> Array:
    r"""The game of AND and OR interactions, ``[..., 2**n]``.

    .. math:: v(T) = \sum_{S \subseteq T} I_\mathrm{and}(S) + I_\mathrm{or}(\emptyset) +
        \sum_{S \cap T \ne \emptyset} I_\mathrm{or}(S)
    """
    return _reconstruction(*as_decomposition(result))


@jax.jit
def _reconstruction(result: Decomposition) -> Array:
    return from_harsanyi(result.and_) + from_harsanyi_or(result.or_)


def matching_error(values: ArrayLike, result: Result) -> MatchingError:
    """How well interactions reproduce a game on all 2**n masks: rounding, if no interaction was left out.

    ``values[..., 2**n]`` are the game itself, or v + q for a denoised extraction.

    Example:
        >>> game = jnp.array([1.0, 2.0, 3.0, 8.0])
        >>> without_pair = Decomposition(jnp.array([1.0, 1.0, 2.0, 0.0]), jnp.zeros(4))
        >>> float(matching_error(game, without_pair).largest)
        4.0
    """
    decomposition, values = _with_values(values, result)
    return _matching_error(values, decomposition)


def _with_values(values: ArrayLike, result: Result) -> tuple[Decomposition, Array]:
    decomposition, table = as_decomposition(result, values=values)
    if decomposition.and_.shape != table.shape:
        raise ValueError(
            f"result.and_: expected the shape of values {tuple(table.shape)}, got {tuple(decomposition.and_.shape)}"
        )
    return decomposition, table


def _root_mean_square(values: Array) -> Array:
    """Over the last axis; its derivative where all vanish is 0."""
    square = jnp.mean(jnp.square(values), axis=-1)
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))


@jax.jit
def _matching_error(values: Array, result: Decomposition) -> MatchingError:
    error = _reconstruction(result) - values
    size = _root_mean_square(error)
    spread = _root_mean_square(values - jnp.mean(values, axis=-1, keepdims=True))
    return MatchingError(jnp.max(jnp.abs(error), axis=-1), size, size / spread)


def _strengths(result: Decomposition) -> Array:
    """|I| of both tables in a row ``[..., 2 * 2**n]``, zero for the empty sets."""
    return jnp.abs(jnp.concatenate([result.and_.at[..., 0].set(0), result.or_.at[..., 0].set(0)], axis=-1))


def sorted_strengths(result: Result) -> Array:
    """Absolute AND and OR interactions of all non-empty sets, largest first, ``[..., 2 * (2**n - 1)]``; those of a
    table with NaN are NaN."""
    return _sorted_strengths(*as_decomposition(result))


@jax.jit
def _sorted_strengths(result: Decomposition) -> Array:
    strengths = jnp.abs(jnp.concatenate([result.and_[..., 1:], result.or_[..., 1:]], axis=-1))
    has_nan = jnp.any(jnp.isnan(strengths), axis=-1, keepdims=True)
    return jnp.where(has_nan, jnp.nan, jnp.sort(strengths, axis=-1, descending=True))


def salient_sets(result: Result, fraction: ArrayLike = SALIENT_FRACTION) -> Array:
    r"""Which AND and OR interactions `interactions.is_salient` calls so, against the largest of both kinds.

    ``bool[..., 2 * 2**n]``: AND sets, then OR sets; never an empty set. NaN is refused where it can be seen; inside a
    compiled function it is never salient.

    Example:
        >>> result = Decomposition(jnp.array([9.0, 1.0, 0.04, 0.5]), jnp.array([0.0, 0.0, 0.0, -0.2]))
        >>> salient_sets(result).tolist()
        [False, True, False, True, False, False, False, True]
    """
    (decomposition,) = as_decomposition(result)
    share = as_fraction(fraction)
    if not is_traced(result):
        for name, table in zip(("and_", "or_"), decomposition, strict=True):
            if not is_traced(table) and np.isnan(table).any():
                raise ValueError(f"result.{name}: expected interactions, got {int(np.isnan(table).sum())} NaN")
    return _salient_sets(decomposition, share)


def as_fraction(fraction: ArrayLike) -> Array:
    """A share in (0, 1] as an array; ValueError for others that can be seen."""
    array = as_floating("fraction", fraction)
    if array.ndim or not (is_traced(fraction) or bool(0 < np.asarray(fraction) <= 1)):
        raise ValueError(f"fraction: expected a number in (0, 1], got {fraction}")
    return array


@jax.jit
def _salient_sets(result: Decomposition, fraction: Array) -> Array:
    return jnp.concatenate(is_salient((result.and_, result.or_), fraction), axis=-1)


def sparsity_curve(values: ArrayLike, result: Result, counts: ArrayLike) -> MatchingError:
    """Matching by the strongest interactions alone, as a function of how many are kept.

    The empty set is always kept. The strongest are not the best choice of that many, so this is an upper limit. Of
    ``counts[num_counts]``, integers, the fields are ``[..., num_counts]``.
    """
    decomposition, values = _with_values(values, result)
    numbers = as_integers("counts", counts, minimum=0)
    if numbers.ndim != 1:
        raise ValueError(f"counts: expected a vector of integers, got shape {tuple(numbers.shape)}")
    return _sparsity_curve(values, decomposition, numbers)


@jax.jit
def _sparsity_curve(values: Array, result: Decomposition, counts: Array) -> MatchingError:
    size, strengths = result.and_.shape[-1], _strengths(result)
    rank = jnp.argsort(jnp.argsort(-strengths, axis=-1), axis=-1)
    rank = rank.at[..., 0].set(-1).at[..., size].set(-1)
    # What is left out must be a number: leaving NaN out would make one of it.
    left_out = jnp.where(jnp.any(jnp.isnan(strengths), axis=-1, keepdims=True), jnp.nan, 0).astype(values.dtype)

    def keep(count: Array) -> MatchingError:
        is_kept = rank < count.astype(rank.dtype)
        halves = (is_kept[..., :size], result.and_), (is_kept[..., size:], result.or_)
        return _matching_error(values, Decomposition(*(jnp.where(kept, table, left_out) for kept, table in halves)))

    return jax.tree.map(lambda field: jnp.moveaxis(field, 0, -1), jax.lax.map(keep, counts))


def sample_transfer(is_salient: ArrayLike) -> Transfer:
    r"""Share of the salient sets of one sample that are salient in another, beside the share that chance gives.

    By chance a set of order k is hit with the frequency of salient sets of that order and kind in the other sample:
    nearly all networks have most salient sets at low orders, where there are few sets to choose from, and that alone
    makes samples agree. A sample without salient sets has NaN in its row and in its column and counts in no mean.

    Args:
        is_salient: bool ``[samples, 2 * 2**n]`` from `salient_sets`.
    """
    member = as_array("is_salient", is_salient)
    length = member.shape[-1] if member.ndim == 2 else 0
    if member.dtype != jnp.bool_ or member.shape[0] < 3 or length < 2 or length & (length - 1):
        raise ValueError(
            f"is_salient: expected bool[samples, 2 * 2**n] of 3 samples or more, got {member.dtype}{list(member.shape)}"
        )
    return _sample_transfer(member)


@jax.jit
def _sample_transfer(is_salient: Array) -> Transfer:
    dtype = jnp.result_type(float)
    member = is_salient.astype(dtype)
    counts = jnp.sum(member, axis=1)
    # What is found again in a sample that has nothing to find says nothing: only pairs with sets in both count.
    is_used = counts > 0
    size = jnp.where(is_used[:, None] & is_used[None], counts[:, None], jnp.nan)
    shares = (member @ member.T) / size

    # Sets of one order and kind are a group.
    by_kind = member.reshape(member.shape[0], 2, -1)
    by_group, num_in_group = (sum_by_order(of).reshape(of.shape[0], -1) for of in (by_kind, jnp.ones_like(by_kind[:1])))
    frequency = by_group / num_in_group
    by_chance = (by_group @ frequency.T) / size

    def pair_mean(pairs: Array) -> tuple[Array, Array]:
        usable = ~jnp.isnan(pairs) & ~jnp.eye(pairs.shape[0], dtype=jnp.bool_)
        total, weight = jnp.where(usable, pairs, 0), usable.astype(dtype)
        # Leaving sample i out removes its row and its column.
        left, left_weight = (jnp.sum(x) - jnp.sum(x, axis=0) - jnp.sum(x, axis=1) for x in (total, weight))
        spread = jnp.var(left / left_weight, where=is_used)
        num_used = jnp.sum(is_used, dtype=jnp.int32).astype(dtype)
        return jnp.sum(total) / jnp.sum(weight), jnp.sqrt(spread * (num_used - 1))

    mean, error = pair_mean(shares)
    return Transfer(shares, mean, error, pair_mean(by_chance)[0])


def random_game(key: Array, values: ArrayLike) -> Array:
    """Null model: independent Gaussian values with the mean and variance of each game; nothing is structured."""
    check_key("key", key)
    values = as_table("values", values)
    return _random_game(key, values)


@jax.jit
def _random_game(key: Array, values: Array) -> Array:
    mean, std = (functools.partial(statistic, axis=-1, keepdims=True) for statistic in (jnp.mean, jnp.std))
    noise = jax.random.normal(key, values.shape, values.dtype)
    noise = noise - mean(noise)
    scale = std(noise)
    return mean(values) + noise / jnp.where(scale == 0, 1, scale) * std(values)


def shuffled_within_sizes(key: Array, table: ArrayLike) -> Array:
    """Null model: entries permuted among the sets of equal size.

    Of a game only the dependence on the number of players is left; of interactions, the strengths by order.
    """
    check_key("key", key)
    table = as_table("table", table)
    return _shuffled_within_sizes(key, table)


@jax.jit
def _shuffled_within_sizes(key: Array, table: Array) -> Array:
    sizes = subset_sizes(num_bits(table))
    noise = jax.random.uniform(key, table.shape)
    # Sorted by size, at random within a size: that is where the entries of each size go.
    draw = jnp.lexsort((noise, jnp.broadcast_to(sizes.reshape((1,) * (table.ndim - 1) + (-1,)), table.shape)))
    places = jnp.argsort(sizes, stable=True)
    return jnp.zeros_like(table).at[..., places].set(jnp.take_along_axis(table, draw, axis=-1))


def compare_to_null(
    key: Array,
    statistic: Callable[[Array], Array],
    values: ArrayLike,
    null_model: Callable[[Array, Array], Array],
    *,
    num_nulls: int = 16,
) -> NullComparison:
    """A statistic of games beside its value under a null model, with errors over games.

    Args:
        statistic: ``[games, ...]`` from tables ``[games, 2**n]``, such as how many `interactions.is_salient` of their
            `interactions.harsanyi`.
        values: ``[games, 2**n]`` games, or interactions where the null model is one of interactions.
        null_model: ``tables = null_model(key, values)``: `random_game`, `shuffled_within_sizes` or another.
        num_nulls: null tables for each game.
    """
    check_key("key", key)
    values = as_table("values", values)
    if values.ndim != 2 or values.shape[0] < 2:
        raise ValueError(f"values: expected [games, 2**n] with 2 games or more, got {tuple(values.shape)}")
    check_function("statistic", statistic, of="tables")
    check_function("null_model", null_model, of="key and tables")
    num_nulls = as_count("num_nulls", num_nulls)
    return _compare_to_null(key, as_partial(statistic), values, as_partial(null_model), num_nulls=num_nulls)


@functools.partial(jax.jit, static_argnames="num_nulls")
def _compare_to_null(
    key: Array, statistic: Partial, values: Array, null_model: Partial, *, num_nulls: int
) -> NullComparison:
    def of(tables: Array) -> Array:
        found = as_floating("statistic", statistic(tables))
        if found.shape[:1] != values.shape[:1]:
            raise ValueError(f"statistic: expected one for each of {values.shape[0]} games, got shape {found.shape}")
        return found.astype(values.dtype)

    real = of(values)
    null = jnp.mean(jax.lax.map(lambda one: of(null_model(one, values)), jax.random.split(key, num_nulls)), axis=0)
    summaries = []
    for samples in (real, null, real - null):
        summaries += [jnp.mean(samples, axis=0), jnp.std(samples, axis=0, ddof=1) / values.shape[0] ** 0.5]
    return NullComparison(*summaries)
