"""Criticisms: the points that a set of prototypes represents worst, and that differ among themselves."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_floating, check_number
from jaxrg.explain.prototypes.embedding import MeanEmbedding, _witness, as_embedding, as_indices, as_weights
from jaxrg.explain.prototypes.selection import as_number_of_points


class Criticisms(NamedTuple):
    """Points in the order in which they were chosen."""

    indices: Array  # int [c], points of the data
    witness: Array  # [c], the witness function there: above zero where prototypes are missing
    log_determinant: Array  # [c], of the kernel among the criticisms up to each


def criticisms(
    embedding: MeanEmbedding, indices: Any, num_criticisms: int, *, weights: Any = None, diversity: Any = 1.0
) -> Criticisms:
    r"""Points where the witness function is largest, kept apart by the log-determinant of their kernel.

    .. math:: \max_C \sum_{x \in C} |f(x)| + \lambda \ln\det K_{CC}, \qquad
        f(x) = \frac{1}{n} \sum_i k(x, x_i) - \sum_j w_j k(x, x_j)

    Greedily, each step with one column of the kernel and one of its Cholesky factor: n·c numbers are held. Mind the
    scales: \|f\| is at most of the order of MMD, while the determinant of a point near another criticism loses
    several units; at λ = 1, as published, the witness only decides between points that are about as far from
    each other. With λ = 0 criticisms are the largest \|f\|, often neighbours.

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` the prototypes, which are no candidates.
        num_criticisms: c, at most n - m.
        weights: ``[m]`` of the prototypes; 1/m each where none are given.
        diversity: λ, zero or more.

    Raises:
        ValueError: prototypes that are not there or come twice, more criticisms than points are left, or a diversity
            below zero.

    Example:
        >>> from jaxrg.explain.prototypes import mean_embedding, rbf
        >>> data = [[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]]
        >>> criticisms(mean_embedding(data, rbf(1.0)), [1, 3], 1).indices.tolist()
        [5]

    Reference:
        Kim, Khanna & Koyejo, NIPS 2016.
    """
    chosen = as_indices(as_embedding(embedding), indices)
    shares = as_weights(embedding, chosen, weights)
    factor = as_floating("diversity", diversity)
    check_number("diversity", factor, above=-float(jnp.finfo(factor.dtype).tiny))
    count = as_number_of_points("num_criticisms", num_criticisms, len(embedding.points) - len(chosen))
    return _criticisms(embedding, chosen, shares, factor.astype(embedding.means.dtype), count)


@functools.partial(jax.jit, static_argnames="count")
def _criticisms(embedding: MeanEmbedding, prototypes: Array, weights: Array, diversity: Array, count: int):
    missing = _witness(embedding, prototypes, weights)
    least = jnp.finfo(missing.dtype).eps * embedding.diagonal  # below which a residual is rounding
    is_free = jnp.ones(len(missing), bool).at[prototypes].set(False)

    def step(carry: tuple[Array, Array, Array, Array], place: Array) -> tuple[Any, tuple[Array, Array]]:
        factor, residual, is_free, total = carry  # [c, n] rows of the Cholesky factor; what they leave of k(x, x)
        gain = jnp.log(jnp.maximum(residual, least))
        score = jnp.abs(missing) + diversity * gain
        index = jnp.argmax(jnp.where(is_free, score, -jnp.inf)).astype(jnp.int32)
        explained = factor[:, index] @ factor
        row = (embedding.column(index) - explained) / jnp.sqrt(jnp.maximum(residual[index], least[index]))
        total = total + gain[index]
        carry = factor.at[place].set(row), residual - row**2, is_free.at[index].set(False), total
        return carry, (index, total)

    start = jnp.zeros((count, len(missing)), missing.dtype), embedding.diagonal, is_free, jnp.zeros((), missing.dtype)
    _, (indices, traced) = jax.lax.scan(step, start, jnp.arange(count))
    return Criticisms(indices, missing[indices], traced)
