r"""What a network's interactions are by order: tables of many inputs, mean order, spindles and similarity.

The order of :math:`I(S)` is :math:`|S|`. Entry ``k`` of every spectrum (`interactions.order_strengths`) belongs to
order k; entry 0 is the empty set's, which holds v(∅) and is no interaction: normalisation and mean order leave it out.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count
from jaxrg.interactions.dividends import harsanyi
from jaxrg.interactions.games import Game, bytes_per_mask, evaluate
from jaxrg.interactions.masking import masked_game, num_players_of
from jaxrg.interactions.orders import OrderStrengths, sum_by_order
from jaxrg.interactions.scores import log_odds
from jaxrg.tables import CHUNK_SIZE, MAX_BYTES, check_table

TABLES_PER_SAMPLE = 4  # the values, their transform and what lies between


@jax.jit
def mean_normalized(strengths: OrderStrengths) -> OrderStrengths:
    """All parts divided by the mean total over orders 1 ... n: a flat spectrum is one everywhere.

    A sample without any interaction has NaN. Average the samples first where the strong ones shall count more.
    """
    mean = jnp.mean(strengths.total[..., 1:], axis=-1, keepdims=True)
    return OrderStrengths(*(part / mean for part in strengths))


@jax.jit
def mean_order(total: Array) -> Array:
    r"""The mean order :math:`\sum_k k\,I^{(k)} / \sum_k I^{(k)}` of strengths ``[..., n + 1]``, over orders 1 ... n.

    Example:
        >>> float(mean_order(jnp.array([7.0, 1.0, 0.0, 1.0])))
        2.0
    """
    orders = jnp.arange(total.shape[-1], dtype=total.dtype).reshape((1,) * (total.ndim - 1) + (-1,))
    return jnp.sum(orders * total, axis=-1) / jnp.sum(total[..., 1:], axis=-1)


def _spindle(num_players: int, log_weight: float) -> Array:
    """``[n + 1]`` with mean one over orders 1 ... n."""
    check_count("num_players", num_players)
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


@jax.jit
def jaccard_by_order(first: Array, second: Array) -> Array:
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
    if first.shape != second.shape:
        raise ValueError(f"second: expected the shape {first.shape} of first, got {second.shape}")
    signed = [(jnp.maximum(sign * first, 0), jnp.maximum(sign * second, 0)) for sign in (1, -1)]
    shared, joined = (sum_by_order(part(*signed[0]) + part(*signed[1])) for part in (jnp.minimum, jnp.maximum))
    return shared / joined


def interactions_of_samples(
    model: Callable[[Array], Array],
    inputs: Array,
    labels: Array,
    *,
    baseline: Array,
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
    if inputs.shape[:1] != labels.shape:
        raise ValueError(f"labels: expected shape {inputs.shape[:1]}, one for every input, got {labels.shape}")
    n, num_samples = num_players_of(assignment), labels.shape[0]

    def game_of(sample: Array, label: Array) -> Game:
        of_label = lambda outputs: score(outputs, label)  # noqa: E731
        return masked_game(model, sample, baseline=baseline, assignment=assignment, score=of_label)

    # Every input costs the same, so that zeros will do.
    probe = game_of(jnp.zeros_like(inputs, shape=inputs.shape[1:]), jnp.zeros_like(labels, shape=()))
    itemsize = jax.eval_shape(probe, jax.ShapeDtypeStruct((2, n), jnp.bool_)).dtype.itemsize
    table = itemsize * 2**n
    check_table(n, itemsize=itemsize, copies=max(num_samples, 1) + TABLES_PER_SAMPLE, max_bytes=max_bytes)
    budget = max_bytes - num_samples * table
    per_sample = TABLES_PER_SAMPLE * table + bytes_per_mask(probe) * min(2**n, CHUNK_SIZE)
    num_together = min(max(budget // per_sample, 1), max(num_samples, 1))
    lane_bytes = budget // num_together - (TABLES_PER_SAMPLE - 1) * table

    def one(sample_and_label: tuple[Array, Array]) -> Array:
        return interaction(evaluate(game_of(*sample_and_label), max_bytes=lane_bytes))

    if num_together >= num_samples:
        return jax.vmap(one)((inputs, labels))
    # Batches of nearly equal size: the same number of them, with the least memory.
    num_batches = -(-num_samples // num_together)
    return jax.lax.map(one, (inputs, labels), batch_size=-(-num_samples // num_batches))
