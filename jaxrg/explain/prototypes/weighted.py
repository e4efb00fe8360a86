"""Examples with weights of their own, none below zero, all of them optimal again after each choice."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count
from jaxrg.explain.prototypes.embedding import TILE, MeanEmbedding, as_embedding, as_indices
from jaxrg.explain.prototypes.selection import Prototypes, Swapped, as_number_of_points


class _Active(NamedTuple):
    weights: Array  # [m], feasible
    is_active: Array  # bool [m], those not held at zero
    number: Array  # int, iterations
    is_done: Array  # bool


def nonnegative_weights(gram: Array, means: Array, is_used: Array, start: Array) -> Array:
    r"""The weights that maximise :math:`w\cdot\mu - \tfrac12 w^T K w` over w ≥ 0, zero where a place is not used.

    The active set of Lawson and Hanson: one inactive weight with a positive gradient enters at a time, and a step to
    the optimum of the active ones stops where the first of them would turn negative, which leaves.

    Args:
        gram: ``[m, m]`` K; entries of unused places do not matter.
        means: ``[m]`` μ.
        is_used: bool ``[m]``.
        start: ``[m]`` weights that are optimal among those above zero, as the last ones are, or zeros.

    Reference:
        Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    count, precision = len(means), jnp.finfo(gram.dtype).eps
    gram = jnp.where(is_used[:, None] & is_used[None], gram, 0)
    means = jnp.where(is_used, means, 0)
    largest = jnp.max(jnp.abs(jnp.diagonal(gram)))
    tolerance = 4 * precision * (count * jnp.max(jnp.abs(means)))

    def optimum(is_active: Array) -> Array:
        """The weights at which the gradient of the active ones vanishes."""
        both = is_active[:, None] & is_active[None]
        matrix = jnp.where(both, gram, 0)
        # Near doubles leave a matrix that float32 cannot factorise; what the shift costs, the refinement gives back.
        shift = jnp.where(is_active, 4 * count * precision * largest, 1)
        factor = jax.scipy.linalg.cho_factor(matrix + jnp.diag(shift), lower=True)
        target = jnp.where(is_active, means, 0)
        found = jax.scipy.linalg.cho_solve(factor, target)
        for _ in range(2):
            found = found + jax.scipy.linalg.cho_solve(factor, target - matrix @ found)
        return jnp.where(is_active, found, 0)

    def step(state: _Active) -> _Active:
        goal = optimum(state.is_active)
        is_blocked = state.is_active & ~(goal > 0)
        ratios = jnp.where(is_blocked, state.weights / (state.weights - goal), 1)
        share = jnp.min(jnp.where(jnp.isnan(ratios), 0, ratios))
        weights = jnp.maximum(state.weights + share * (goal - state.weights), 0)
        is_leaving = is_blocked & ((ratios <= share) | jnp.isnan(ratios))
        weights = jnp.where(is_leaving, 0, weights)
        gradient = means - gram @ weights
        entering = jnp.where(is_used & ~state.is_active, gradient, -jnp.inf)
        can_enter = ~jnp.any(is_blocked) & (jnp.max(entering) > tolerance)
        is_entering = (jnp.arange(count) == jnp.argmax(entering)) & can_enter
        is_done = ~jnp.any(is_blocked) & ~can_enter
        return _Active(weights, (state.is_active & ~is_leaving) | is_entering, state.number + 1, is_done)

    def is_going_on(state: _Active) -> Array:
        return ~state.is_done & (state.number < 3 * count + 3)

    first = _Active(start, is_used & (start > 0), jnp.int32(0), jnp.bool_(False))
    return jax.lax.while_loop(is_going_on, step, first).weights


def _gain(gram: Array, means: Array, weights: Array) -> Array:
    return weights @ means - 0.5 * (weights @ gram @ weights)


def protodash(embedding: MeanEmbedding, num_prototypes: int) -> Prototypes:
    r"""Weighted prototypes, each next one where the gradient of the fit is largest.

    .. math:: \max_{w \ge 0}\; l(w) = w\cdot\mu - \tfrac12 w^T K w, \qquad
        x_{m+1} = \arg\max_x \frac{\partial l}{\partial w_x} = \arg\max_x \Bigl[\mu_x - \sum_j w_j k(x, x_j)\Bigr]

    All weights are optimal again after each choice. Columns of the kernel are kept: n·m numbers.

    Args:
        embedding: from `mean_embedding`.
        num_prototypes: m, at most n.

    Returns:
        `Prototypes`; MMD² is that of the weights as they are, which need not sum to one, and never rises. A prototype
        that does not help has weight zero.

    Raises:
        ValueError: more prototypes than points.

    Reference:
        Gurumoorthy, Dhurandhar, Cecchi & Aggarwal, ICDM 2019, arXiv:1707.01212.
    """
    count = as_number_of_points("num_prototypes", num_prototypes, len(as_embedding(embedding).points))
    return _protodash(embedding, count)


class _Chosen(NamedTuple):
    indices: Array  # int [m]
    weights: Array  # [m]
    columns: Array  # [m, n] kernel values
    is_used: Array  # bool [m]

    def masked(self) -> tuple[Array, Array]:
        """``[m, m]`` kernel values among the chosen, and the weights of those in use."""
        return self.columns[:, self.indices], jnp.where(self.is_used, self.weights, 0)


def _none_chosen(embedding: MeanEmbedding, count: int) -> _Chosen:
    dtype = embedding.means.dtype
    columns = jnp.zeros((count, len(embedding.means)), dtype)
    return _Chosen(jnp.zeros(count, jnp.int32), jnp.zeros(count, dtype), columns, jnp.zeros(count, bool))


def _with(embedding: MeanEmbedding, chosen: _Chosen, place: Array, index: Array) -> tuple[_Chosen, Array]:
    """One more prototype, with optimal weights, and the gain l."""
    indices = chosen.indices.at[place].set(index)
    columns = chosen.columns.at[place].set(embedding.column(index))
    is_used = chosen.is_used.at[place].set(True)
    gram, means = columns[:, indices], embedding.means[indices]
    weights = nonnegative_weights(gram, means, is_used, chosen.weights.at[place].set(0))
    return _Chosen(indices, weights, columns, is_used), _gain(gram, means, weights)


def _is_free(embedding: MeanEmbedding, chosen: _Chosen) -> Array:
    """bool ``[n]``: points that are no prototype."""
    taken = jnp.zeros(len(embedding.means), jnp.int32).at[chosen.indices].add(chosen.is_used.astype(jnp.int32))
    return taken == 0


@functools.partial(jax.jit, static_argnames="count")
def _protodash(embedding: MeanEmbedding, count: int) -> Prototypes:
    def step(chosen: _Chosen, place: Array) -> tuple[_Chosen, tuple[Array, Array]]:
        gradient = embedding.means - chosen.weights @ chosen.columns
        index = jnp.argmax(jnp.where(_is_free(embedding, chosen), gradient, -jnp.inf)).astype(jnp.int32)
        chosen, gain = _with(embedding, chosen, place, index)
        return chosen, (index, embedding.mean - 2 * gain)

    chosen, (indices, traced) = jax.lax.scan(step, _none_chosen(embedding, count), jnp.arange(count))
    return Prototypes(indices, chosen.weights, traced)


def protogreedy(embedding: MeanEmbedding, num_prototypes: int) -> Prototypes:
    r"""Weighted prototypes, each next one the point with which the optimal weights fit best.

    .. math:: x_{m+1} = \arg\max_x \max_{w \ge 0} l(w_{S_m \cup x}), \qquad l(w) = w\cdot\mu - \tfrac12 w^T K w

    The weights of every candidate are found for themselves: n problems of at most m weights a step, for thousands of
    points and tens of prototypes. `protodash` looks at gradients alone and goes as far as `mmd_critic`.

    Args:
        embedding: from `mean_embedding`.
        num_prototypes: m, at most n.

    Returns:
        `Prototypes`, as of `protodash`.

    Raises:
        ValueError: more prototypes than points.

    Example:
        >>> from jaxrg.explain.prototypes import mean_embedding, rbf
        >>> data = [[0.0], [0.1], [0.2], [0.1], [5.0], [5.1]]
        >>> found = protogreedy(mean_embedding(data, rbf(1.0)), 2)
        >>> found.indices.tolist(), bool(found.weights[0] > found.weights[1])
        ([1, 4], True)

    Reference:
        Gurumoorthy, Dhurandhar, Cecchi & Aggarwal, ICDM 2019, arXiv:1707.01212.
    """
    count = as_number_of_points("num_prototypes", num_prototypes, len(as_embedding(embedding).points))
    return _protogreedy(embedding, count)


def _best_addition(embedding: MeanEmbedding, chosen: _Chosen, place: Array) -> tuple[Array, Array]:
    """The point that gains most at a free place, and its gain."""
    gram, start = chosen.masked()
    means = embedding.means[chosen.indices]
    is_used = chosen.is_used.at[place].set(True)

    def gain(index: Array) -> Array:
        column = chosen.columns[:, index].at[place].set(embedding.diagonal[index])
        own = gram.at[place].set(column).at[:, place].set(column)
        its_means = means.at[place].set(embedding.means[index])
        weights = nonnegative_weights(own, its_means, is_used, start.at[place].set(0))
        return _gain(jnp.where(is_used[:, None] & is_used[None], own, 0), its_means, weights)

    n = len(embedding.means)
    gains = jax.lax.map(gain, jnp.arange(n), batch_size=min(n, TILE))
    index = jnp.argmax(jnp.where(_is_free(embedding, chosen), gains, -jnp.inf)).astype(jnp.int32)
    return index, gains[index]


@functools.partial(jax.jit, static_argnames="count")
def _protogreedy(embedding: MeanEmbedding, count: int) -> Prototypes:
    def step(chosen: _Chosen, place: Array) -> tuple[_Chosen, tuple[Array, Array]]:
        index, _ = _best_addition(embedding, chosen, place)
        chosen, gain = _with(embedding, chosen, place, index)
        return chosen, (index, embedding.mean - 2 * gain)

    chosen, (indices, traced) = jax.lax.scan(step, _none_chosen(embedding, count), jnp.arange(count))
    return Prototypes(indices, chosen.weights, traced)


def swap_weighted(embedding: MeanEmbedding, indices: Any, *, num_sweeps: int = 10) -> Swapped:
    r"""Exchange weighted prototypes for other points, one at a time, while the fit of the optimal weights improves.

    As `swap`, with all weights optimal before and after; a visit costs as much as a step of `protogreedy`.

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` different points to start from, as those of `protogreedy`.
        num_sweeps: sweeps at most; another number does not compile anew.

    Returns:
        `Swapped`, whose MMD² is no larger than that of the start, up to rounding.

    Raises:
        ValueError: points that are not there or come twice.
    """
    chosen = as_indices(as_embedding(embedding), indices)
    check_count("num_sweeps", num_sweeps)
    return _swap_weighted(embedding, chosen, np.int32(num_sweeps))


class _Visits(NamedTuple):
    chosen: _Chosen
    gain: Array  # scalar l
    number: Array  # int, visits made
    num_swaps: Array  # int
    unchanged: Array  # int, visits since the last exchange


@jax.jit
def _swap_weighted(embedding: MeanEmbedding, indices: Array, num_sweeps: Array) -> Swapped:
    count = len(indices)
    start = _none_chosen(embedding, count)
    columns = jax.lax.map(embedding.column, indices)
    gram, means = columns[:, indices], embedding.means[indices]
    weights = nonnegative_weights(gram, means, ~start.is_used, start.weights)
    start = _Chosen(indices, weights, columns, ~start.is_used)
    resolution = 4 * count * jnp.finfo(means.dtype).eps * jnp.max(embedding.means)

    def visit(state: _Visits) -> _Visits:
        place, chosen = state.number % count, state.chosen
        rest = chosen._replace(is_used=chosen.is_used.at[place].set(False))
        rest = rest._replace(weights=_refitted(embedding, rest))
        index, gain = _best_addition(embedding, rest, place)
        is_better = gain > state.gain + resolution
        new, new_gain = _with(embedding, rest, place, index)
        kept = jax.tree.map(lambda left, right: jnp.where(is_better, left, right), new, chosen)
        return _Visits(
            kept,
            jnp.where(is_better, new_gain, state.gain),
            state.number + 1,
            state.num_swaps + is_better.astype(jnp.int32),
            jnp.where(is_better, 0, state.unchanged + 1),
        )

    def is_going_on(state: _Visits) -> Array:
        return (state.unchanged < count) & (state.number < num_sweeps * count)

    zero = jnp.int32(0)
    first = _Visits(start, _gain(gram, means, weights), zero, zero, zero)
    end = jax.lax.while_loop(is_going_on, visit, first)
    mmd_squared = embedding.mean - 2 * end.gain
    return Swapped(end.chosen.indices, end.chosen.weights, mmd_squared, end.num_swaps, end.unchanged >= count)


def _refitted(embedding: MeanEmbedding, chosen: _Chosen) -> Array:
    gram, start = chosen.masked()
    return nonnegative_weights(gram, embedding.means[chosen.indices], chosen.is_used, jnp.zeros_like(start))
