"""Examples with equal weights that stand for a data set, chosen greedily, and improved by exchanging them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, check_count
from jaxrg.explain.prototypes.embedding import MeanEmbedding, as_embedding, as_indices


class Prototypes(NamedTuple):
    """Examples in the order in which they were chosen."""

    indices: Array  # int [m], points of the data
    weights: Array  # [m]
    mmd_squared: Array  # [m], after each of them was chosen


class Swapped(NamedTuple):
    """Examples after exchanges."""

    indices: Array  # int [m], points of the data
    weights: Array  # [m]
    mmd_squared: Array  # scalar
    num_swaps: Array  # int, exchanges made
    is_local_optimum: Array  # bool, whether no single exchange improves them


def as_number_of_points(name: str, value: Any, available: int) -> int:
    """A count that the points suffice for, or a ValueError."""
    count = as_count(name, value)
    if count > available:
        raise ValueError(f"{name}: expected at most {available}, as many as there are free points, got {count}")
    return count


def centred_column(embedding: MeanEmbedding, index: Array) -> Array:
    r"""``[n]`` kernel values with one point, relative to the mean of the data.

    .. math:: \tilde k_{ij} = k_{ij} - \mu_i - \mu_j + \bar k

    MMD² of m points is the mean of these over their pairs: sums of small numbers, where the three terms of the
    definition are large and cancel.
    """
    column = embedding.column(index)
    return column - (embedding.means[index] - embedding.mean) - embedding.means


def centred_diagonal(embedding: MeanEmbedding) -> Array:
    """``[n]`` the same of every point with itself."""
    return embedding.diagonal - 2 * embedding.means + embedding.mean


def mmd_critic(embedding: MeanEmbedding, num_prototypes: int) -> Prototypes:
    r"""Prototypes of MMD-critic: each next one makes MMD² of the points chosen so far as small as one point can.

    .. math:: x_{m+1} = \arg\min_x \mathrm{MMD}^2(S_m \cup x), \qquad
        \mathrm{MMD}^2(S) = \frac{1}{|S|^2} \sum_{i,j \in S} \tilde k_{ij}

    A step takes one new column of the kernel, so that m of n points take n·m kernel values and memory of order n.
    The bound 1 - 1/e of the reference needs a kernel that is nearly diagonal; with a Gaussian of usual width it does
    not hold, and no bound is known: `swap` improves the choice, and `protogreedy` with weights comes closer.

    Args:
        embedding: from `mean_embedding`.
        num_prototypes: m, at most n.

    Returns:
        `Prototypes` with weights 1/m; the first is the point of the largest 2 μ - k(x, x).

    Raises:
        ValueError: more prototypes than points.

    Example:
        >>> from jaxrg.explain.prototypes import mean_embedding, rbf
        >>> data = [[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]
        >>> mmd_critic(mean_embedding(data, rbf(1.0)), 2).indices.tolist()
        [1, 4]

    Reference:
        Kim, Khanna & Koyejo, NIPS 2016.
    """
    count = as_number_of_points("num_prototypes", num_prototypes, len(as_embedding(embedding).points))
    return _mmd_critic(embedding, count)


@functools.partial(jax.jit, static_argnames="count")
def _mmd_critic(embedding: MeanEmbedding, count: int) -> Prototypes:
    diagonal = centred_diagonal(embedding)

    def step(carry: tuple[Array, Array, Array], size: Array) -> tuple[Any, tuple[Array, Array]]:
        sums, is_free, total = carry  # of centred values: with the chosen points; among them
        added = 2 * sums + diagonal
        index = jnp.argmin(jnp.where(is_free, added, jnp.inf)).astype(jnp.int32)
        total = total + added[index]
        carry = sums + centred_column(embedding, index), is_free.at[index].set(False), total
        return carry, (index, total / size**2)

    start = jnp.zeros_like(diagonal), jnp.ones(len(diagonal), bool), jnp.zeros((), diagonal.dtype)
    _, (indices, traced) = jax.lax.scan(step, start, jnp.arange(1, count + 1, dtype=diagonal.dtype))
    return Prototypes(indices, jnp.full(count, 1 / count, diagonal.dtype), traced)


def swap(embedding: MeanEmbedding, indices: Any, *, num_sweeps: int = 10) -> Swapped:
    r"""Exchange prototypes of equal weight for other points, one at a time, while MMD² falls.

    A visit takes one prototype out and puts the best of all points in its place; a sweep visits all. After a sweep
    without an exchange no single exchange is left that improves the set. A visit takes two columns of the kernel.

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` different points to start from, as those of `mmd_critic`.
        num_sweeps: sweeps at most; another number does not compile anew.

    Returns:
        `Swapped`, whose MMD² is no larger than that of the start, up to rounding.

    Raises:
        ValueError: points that are not there or come twice.

    Example:
        >>> from jaxrg.explain.prototypes import mean_embedding, rbf
        >>> data = [[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]
        >>> swap(mean_embedding(data, rbf(1.0)), [0, 1]).indices.tolist()
        [4, 1]
    """
    chosen = as_indices(as_embedding(embedding), indices)
    check_count("num_sweeps", num_sweeps)
    return _swap(embedding, chosen, np.int32(num_sweeps))


class _Visits(NamedTuple):
    indices: Array  # int [m]
    sums: Array  # [n], centred kernel values summed over the prototypes
    number: Array  # int, visits made
    num_swaps: Array  # int
    unchanged: Array  # int, visits since the last exchange


@jax.jit
def _swap(embedding: MeanEmbedding, indices: Array, num_sweeps: Array) -> Swapped:
    diagonal, count = centred_diagonal(embedding), len(indices)
    # What m sums of kernel values are known to: smaller gains are rounding, and could be exchanged for ever.
    resolution = 4 * count * jnp.finfo(diagonal.dtype).eps * jnp.max(embedding.diagonal)

    def sums_of(indices: Array) -> Array:
        add = lambda number, sums: sums + centred_column(embedding, indices[number])  # noqa: E731
        return jax.lax.fori_loop(0, count, add, jnp.zeros_like(diagonal))

    def visit(state: _Visits) -> _Visits:
        place = state.number % count
        old = state.indices[place]
        without = state.sums - centred_column(embedding, old)
        added = 2 * without + diagonal
        is_free = jnp.ones(len(diagonal), bool).at[state.indices].set(False)
        best = jnp.argmin(jnp.where(is_free, added, jnp.inf)).astype(jnp.int32)
        is_better = added[best] < added[old] - resolution
        new = jnp.where(is_better & (count < len(diagonal)), best, old)
        return _Visits(
            state.indices.at[place].set(new),
            without + centred_column(embedding, new),
            state.number + 1,
            state.num_swaps + (new != old).astype(jnp.int32),
            jnp.where(new == old, state.unchanged + 1, 0),
        )

    def is_going_on(state: _Visits) -> Array:
        return (state.unchanged < count) & (state.number < num_sweeps * count)

    zero = jnp.int32(0)
    end = jax.lax.while_loop(is_going_on, visit, _Visits(indices, sums_of(indices), zero, zero, zero))
    mmd_squared = jnp.mean(sums_of(end.indices)[end.indices]) / count  # anew, without the rounding of the visits
    weights = jnp.full(count, 1 / count, diagonal.dtype)
    return Swapped(end.indices, weights, mmd_squared, end.num_swaps, end.unchanged >= count)
