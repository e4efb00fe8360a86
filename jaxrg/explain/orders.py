r"""What a network's interactions are by order: tables of many inputs, mean order, spindles and similarity.

The order of :math:`I(S)` is :math:`|S|`. Entry ``k`` of every spectrum (`interactions.order_strengths`) belongs to
order k; entry 0 is the empty set's, which holds v(∅) and is no interaction: normalisation and mean order leave it out.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import (
    as_count,
    as_floating,
    as_floating_alike,
    as_labels,
    as_table,
    check_function,
    check_shape,
    is_traced,
)
from jaxrg.closures import as_partial
from jaxrg.explain._games import StaticAssignment
from jaxrg.interactions.dividends import harsanyi
from jaxrg.interactions.games import Game, bytes_per_mask, evaluate
from jaxrg.interactions.masking import check_inputs, masked_game, num_players_of
from jaxrg.interactions.orders import OrderStrengths, sum_by_order
from jaxrg.interactions.scores import log_odds
from jaxrg.tables import CHUNK_SIZE, MAX_BYTES, check_table

TABLES_PER_SAMPLE = 4  # the values, their transform and what lies between


def mean_normalized(strengths: OrderStrengths) -> OrderStrengths:
    """All parts divided by the mean total over orders 1 ... n: a flat spectrum is one everywhere.

    A sample without any interaction has NaN. Average the samples first where the strong ones shall count more.
    """
    if not isinstance(strengths, OrderStrengths):
        raise ValueError(f"strengths: expected OrderStrengths, got a {type(strengths).__name__}")
    parts = as_floating_alike(**strengths._asdict())
    for name, part in zip(strengths._fields, parts, strict=True):
        _check_orders(f"strengths.{name}", part)
        check_shape(f"strengths.{name}", part, parts[0].shape)
    return _mean_normalized(OrderStrengths(*parts))


def _check_orders(name: str, spectrum: Array) -> None:
    if not spectrum.ndim or spectrum.shape[-1] < 2:
        raise ValueError(f"{name}: expected [..., n + 1] of n >= 1 players, got shape {tuple(spectrum.shape)}")


@jax.jit
def _mean_normalized(strengths: OrderStrengths) -> OrderStrengths:
    mean = jnp.mean(strengths.total[..., 1:], axis=-1, keepdims=True)
    return OrderStrengths(*(part / mean for part in strengths))


def mean_order(total: ArrayLike) -> Array:
    r"""The mean order :math:`\sum_k k\,I^{(k)} / \sum_k I^{(k)}` of strengths ``[..., n + 1]``, over orders 1 ... n.

    Example:
        >>> float(mean_order(jnp.array([7.0, 1.0, 0.0, 1.0])))
        2.0
    """
    total = as_floating("total", total)
    _check_orders("total", total)
    return _mean_order(total)


@jax.jit
def _mean_order(total: Array) -> Array:
    orders = jnp.arange(total.shape[-1], dtype=total.dtype).reshape((1,) * (total.ndim - 1) + (-1,))
    return jnp.sum((orders * total)[..., 1:], axis=-1) / jnp.sum(total[..., 1:], axis=-1)


def _spindle(num_players: int, log_weight: float) -> Array:
    """``[n + 1]`` with mean one over orders 1 ... n."""
    num_players = as_count("num_players", num_players)
    # C(n, k) e^{k log_weight} as a product of ratios: no factorial overflows.
    steps = np.arange(1, num_players + 1)
    logs = np.cumsum(np.log((num_players + 1 - steps) / steps) + log_weight)
    values = np.exp(np.concatenate([[0.0], logs]) - logs.max())
    return jnp.asarray(values / values[1:].mean())


def independent_outputs_spectrum(num_players: int) -> Array:
    r"""The spindle of a game whose values are independent and of equal variance.

    .. math:: I^{(k)} \propto \binom{n}{k} 2^{k/2}, \qquad
        \frac{k_\mathrm{peak}}{n} \to \frac{\sqrt 2}{1 + \sqrt 2} \approx 0.586

    since I(S) sums :math:`2^{|S|}` values with signs. Exact in expectation for Gaussian values.

    Example:
        >>> strengths = independent_outputs_spectrum(2)
        >>> round(float(strengths[1] / strengths[2]), 3)  # 2 sqrt(2) to 2
        1.414
    """
    return _spindle(num_players, 0.5 * np.log(2))


def independent_interactions_spectrum(num_players: int) -> Array:
    r"""The spindle of independent interactions of equal strength, :math:`I^{(k)} \propto \binom{n}{k}`, peak at n/2.

    Reference:
        Ren, Zhang, Xu, Xin, Liu & Zhang, NeurIPS 2024, arXiv:2407.19198 (their assumption on initialised networks).
    """
    return _spindle(num_players, 0.0)


def jaccard_by_order(first: ArrayLike, second: ArrayLike) -> Array:
    r"""Jaccard similarity of two interaction vectors, order by order, with their signs.

    .. math:: J^{(k)} = \frac{\sum_{|S|=k} \min(I^+, I'^+) + \min(I^-, I'^-)}{\sum_{|S|=k} \max(I^+, I'^+) +
        \max(I^-, I'^-)}, \qquad I^\pm = \max(\pm I, 0)

    Averages over few samples differ for that reason alone, high orders the most, where there are many interactions:
    what random splits of the same samples reach (`stats.permutation_null`) is the most there is.

    Args:
        first: ``[..., 2**n]``, an average over training samples say.
        second: the same over test samples.

    Returns:
        ``[..., n + 1]``: one for equal vectors, zero for opposite signs, NaN where both are zero.

    Example:
        >>> jaccard_by_order(jnp.array([0.0, 1.0, -2.0, 4.0]), jnp.array([0.0, 2.0, -2.0, -4.0])).tolist()
        [nan, 0.75, 0.0]

    Reference:
        Zhang, Li, Lin & Zhang, arXiv:2405.10262 (2024).
    """
    first, second = as_floating_alike(first=first, second=second)
    as_table("first", first)
    if first.shape != second.shape:
        raise ValueError(f"second: expected the shape {tuple(first.shape)} of first, got {tuple(second.shape)}")
    return _jaccard_by_order(first, second)


@jax.jit
def _jaccard_by_order(first: Array, second: Array) -> Array:
    signed = [(jnp.maximum(sign * first, 0), jnp.maximum(sign * second, 0)) for sign in (1, -1)]
    shared, joined = (sum_by_order(part(*signed[0]) + part(*signed[1])) for part in (jnp.minimum, jnp.maximum))
    return shared / joined


def interactions_of_samples(
    model: Callable[[Array], Array],
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    baseline: ArrayLike,
    assignment: np.ndarray,
    score: Callable[[Array, Array], Array] = log_odds,
    interaction: Callable[[Array], Array] = harsanyi,
    max_bytes: int = MAX_BYTES,
) -> Array:
    """Exact interactions of a classifier on several inputs, one table each: `masked_game`, `evaluate`, transform.

    As many inputs are worked on together as fit the memory, by an estimate that leaves fusion out. For the checkpoints
    of a training run (`training.train_checkpoints`) map it over them with ``jax.lax.map``, and memory stays that of
    one.

    Args:
        model: ``outputs = model(inputs[batch, ...])``; it, ``baseline`` and ``assignment`` are those of `masked_game`.
        inputs: ``[samples, ...]``.
        labels: int ``[samples]``, the class whose score is explained.
        score: ``values[batch] = score(outputs, label)``.
        interaction: from values to a table, `harsanyi` or `harsanyi_or`.
        max_bytes: for all tables and the intermediate arrays of the inputs at work.

    Returns:
        ``[samples, 2**n]``.
    """
    check_function("model", model, of="inputs")
    check_function("score", score, of="outputs and a label")
    check_function("interaction", interaction, of="values")
    samples, background = as_floating_alike(inputs=inputs, baseline=baseline)
    if not samples.ndim or not len(samples):
        raise ValueError(f"inputs: expected [samples, ...], one or more, got shape {tuple(samples.shape)}")
    players, max_bytes = StaticAssignment.of(assignment), as_count("max_bytes", max_bytes)
    check_inputs(np.empty(samples.shape[1:]), background, players.array)
    model, score, interaction = as_partial(model), as_partial(score), as_partial(interaction)
    outputs = jax.eval_shape(
        model, samples[:1] if is_traced(samples) else np.empty((1, *samples.shape[1:]), samples.dtype)
    )
    chosen = as_labels("labels", labels, outputs.shape[-1], samples.shape[:1])
    n, num_samples = num_players_of(players.array), len(samples)

    # Every input costs the same, so that zeros will do.
    first = np.zeros(samples.shape[1:], samples.dtype), np.zeros((), chosen.dtype)
    probe = _game_of(model, score, background, players, *first)
    itemsize = jax.eval_shape(probe, jax.ShapeDtypeStruct((2, n), jnp.bool_)).dtype.itemsize
    table = itemsize * 2**n
    check_table(n, itemsize=itemsize, copies=num_samples + TABLES_PER_SAMPLE, max_bytes=max_bytes)
    budget = max_bytes - num_samples * table
    per_sample = TABLES_PER_SAMPLE * table + bytes_per_mask(probe) * min(2**n, CHUNK_SIZE)
    num_together = min(max(budget // per_sample, 1), num_samples)
    lane_bytes = budget // num_together - (TABLES_PER_SAMPLE - 1) * table
    # Batches of nearly equal size: the same number of them, with the least memory.
    num_batches = -(-num_samples // num_together)
    return _interactions_of_samples(
        (model, score, interaction), samples, chosen, background, players,
        batch_size=-(-num_samples // num_batches), max_bytes=lane_bytes,
    )  # fmt: skip


def _game_of(
    model: Partial, score: Partial, baseline: Array, players: StaticAssignment, sample: ArrayLike, label: ArrayLike
) -> Game:
    of_label = lambda outputs: score(outputs, label)  # noqa: E731
    return masked_game(model, sample, baseline=baseline, assignment=players.array, score=of_label)


@functools.partial(jax.jit, static_argnames=("players", "batch_size", "max_bytes"))
def _interactions_of_samples(
    functions: tuple[Partial, Partial, Partial],
    inputs: Array,
    labels: Array,
    baseline: Array,
    players: StaticAssignment,
    *,
    batch_size: int,
    max_bytes: int,
) -> Array:
    model, score, interaction = functions

    def one(sample_and_label: tuple[Array, Array]) -> Array:
        game = _game_of(model, score, baseline, players, *sample_and_label)
        return interaction(evaluate(game, max_bytes=max_bytes))

    if batch_size >= len(labels):
        return jax.vmap(one)((inputs, labels))
    return jax.lax.map(one, (inputs, labels), batch_size=batch_size)
