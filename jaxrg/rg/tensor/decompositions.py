r"""Truncated singular value decompositions whose derivatives of every order stay finite where singular values meet.

The singular vectors of degenerate values have no derivative, but what a network needs of them has: only the spaces that
are kept matter, not the bases in them. Here the bases are carried along without turning, :math:`U^T dU = 0`, and the
values become a matrix C, diagonal where it is evaluated and not in its derivative:

.. math:: dC = U^T\, dM\, V, \qquad
    dU\, C - M_c\, dV = (1 - U U^T)\, dM\, V, \qquad dV\, C^T - M_c^T\, dU = (1 - V V^T)\, dM^T U

with :math:`M_c = M - U C V^T` what is cut. No difference of two kept values is divided by, only the gap at the cut.
Powers of C are taken with it, :math:`R^{2p} = C C^T`, whose derivative solves a Sylvester equation in which nothing
cancels.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.base import safe_divide
from jaxrg.rg.tensor.contraction import matmul

OVERSAMPLING = 8  # columns beyond twice the rank
MAX_SWEEPS = 24  # of the subspace iteration
MAX_SOLVES = 40  # of the iteration for what is cut, whose error falls by (s_beyond / s_kept)^2 each


class TruncatedSVD(NamedTuple):
    """The leading part U C V^T of a matrix.

    Attributes:
        left: ``[n, rank]`` U, orthonormal, zero where the value is.
        core: ``[rank, rank]`` C, diagonal, its derivative is not; falling values, 0 for those lost in rounding.
        right: ``[m, rank]`` V, as U.
    """

    left: Array
    core: Array
    right: Array


def truncated_svd(matrix: Array, rank: int) -> TruncatedSVD:
    """The largest singular values and their vectors; for matrices ``[n, m]`` with min(n, m) >= rank."""
    return TruncatedSVD(*_truncated(matrix, rank)[:3])


def _leading(matrix: Array, num_columns: int, rank: int) -> tuple[Array, Array, Array]:
    """The leading part by subspace iteration from a fixed start, until M V = U S for all that is kept."""
    tolerance = 64 * float(jnp.finfo(matrix.dtype).eps)

    def sweep(state: tuple) -> tuple:
        image, *_, count = state
        left, _ = jnp.linalg.qr(image)
        right, upper = jnp.linalg.qr(matmul(matrix.T, left))
        turned, values, turned_right = jnp.linalg.svd(upper.T)
        left, right = matmul(left, turned), matmul(right, turned_right.T)
        image = matmul(matrix, right)
        residual = jnp.max(jnp.abs(image[:, :rank] - left[:, :rank] * values[None, :rank])) / values[0]
        return image, left, values, right, residual, count + 1

    start = jax.random.normal(jax.random.key(0), (matrix.shape[1], num_columns), matrix.dtype)
    state = sweep((matmul(matrix, start), 0))
    unsettled = lambda state: (state[4] > tolerance) & (state[5] < MAX_SWEEPS)  # noqa: E731
    _, left, values, right, *_ = lax.while_loop(unsettled, sweep, state)
    return left, values, right


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _truncated(matrix: Array, rank: int) -> tuple[Array, ...]:
    """U, C and V, and what comes next of the same, which makes the derivative's equations easy to solve."""
    smaller = min(matrix.shape)
    num_columns = 2 * rank + OVERSAMPLING
    if 3 * num_columns > smaller:
        left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
        right = right.T
    else:
        left, values, right = _leading(matrix, num_columns, rank)
    lost = float(jnp.finfo(matrix.dtype).eps) * smaller * values[0]
    values = jnp.where(values > lost, values, 0)
    # Vectors without a value are any basis of what is lost, into which the others turn: they are none of what is kept.
    is_kept = (values[:rank] > 0).astype(matrix.dtype)[None, :]
    kept = left[:, :rank] * is_kept, jnp.diag(values[:rank]), right[:, :rank] * is_kept
    return *kept, left[:, rank:], values[rank:], right[:, rank:]


@_truncated.defjvp
def _truncated_jvp(rank: int, primals: tuple, tangents: tuple) -> tuple:
    (matrix,), (change,) = primals, tangents
    out = _truncated(matrix, rank)
    left, _, right = out[:3]
    of_right, of_left = matmul(change, right), matmul(change.T, left)
    core_change = matmul(left.T, of_right)
    sides = of_right - matmul(left, core_change), of_left - matmul(right, core_change.T)
    left_change, right_change = _solve_cut(matrix, out, sides)
    return out, (left_change, core_change, right_change, *map(jnp.zeros_like, out[3:]))


def _solve_cut(matrix: Array, parts: tuple, sides: tuple[Array, Array]) -> tuple[Array, Array]:
    """X C - M_c Y = A and Y C^T - M_c^T X = B, for any derivative of U, C, V and M."""
    left, core, right = parts[:3]

    def equations(unknown: tuple[Array, Array]) -> tuple[Array, Array]:
        x, y = unknown
        cut_y = matmul(matrix, y) - matmul(left, matmul(core, matmul(right.T, y)))
        cut_x = matmul(matrix.T, x) - matmul(right, matmul(core.T, matmul(left.T, x)))
        return matmul(x, core) - cut_y, matmul(y, core.T) - cut_x

    solve = functools.partial(_solve_diagonal, *lax.stop_gradient((matrix, parts)))
    return lax.custom_linear_solve(equations, sides, lambda _, given: solve(given), symmetric=True)


def _solve_diagonal(matrix: Array, parts: tuple, sides: tuple[Array, Array]) -> tuple[Array, Array]:
    """The same where C is diagonal, by iteration: exact among the vectors known, alternating between X and Y beyond."""
    left, core, right, next_left, next_values, next_right = parts
    values, others = jnp.diag(core)[None, :], next_values[:, None]
    eps = float(jnp.finfo(matrix.dtype).eps)
    gap = (values - others) * (values + others)
    # A multiplet that is cut has no derivative: its part is left out.
    gap = jnp.where(gap > math.sqrt(eps) * values * values, gap, 0)

    def step(state: tuple) -> tuple:
        x_old, y_old, _, count = state
        rest_x = sides[0] - x_old * values + matmul(matrix, y_old) - matmul(left, matmul(core, matmul(right.T, y_old)))
        next_x = matmul(next_left.T, rest_x)
        x = x_old + safe_divide(rest_x - matmul(next_left, next_x), values)
        rest_y = sides[1] - y_old * values + matmul(matrix.T, x) - matmul(right, matmul(core, matmul(left.T, x)))
        next_y = matmul(next_right.T, rest_y)
        y = y_old + safe_divide(rest_y - matmul(next_right, next_y), values)
        x = x + matmul(next_left, safe_divide(values * next_x + others * next_y, gap))
        y = y + matmul(next_right, safe_divide(values * next_y + others * next_x, gap))
        moved = jnp.maximum(jnp.max(jnp.abs(x - x_old) * values), jnp.max(jnp.abs(y - y_old) * values))
        return x, y, moved, count + 1

    size = jnp.maximum(jnp.max(jnp.abs(sides[0])), jnp.max(jnp.abs(sides[1])))
    state = step((jnp.zeros_like(sides[0]), jnp.zeros_like(sides[1]), size, 0))
    x, y, *_ = lax.while_loop(lambda s: (s[2] > 16 * eps * size) & (s[3] < MAX_SOLVES), step, state)
    return x, y


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def core_root(core: Array, power: int) -> Array:
    """R with R^(2 power) = C C^T of a diagonal C with values >= 0."""
    return jnp.diag(jnp.diag(core) ** (1 / power))


@core_root.defjvp
def _core_root_jvp(power: int, primals: tuple, tangents: tuple) -> tuple:
    (core,), (change,) = primals, tangents
    root = core_root(core, power)
    half = matmul(change, core.T)

    def equation(x: Array) -> Array:
        powers = [jnp.eye(root.shape[0], dtype=root.dtype)]
        for _ in range(2 * power - 1):
            powers.append(matmul(powers[-1], root))
        terms = [matmul(matmul(powers[j], x), powers[2 * power - 1 - j]) for j in range(2 * power)]
        return functools.reduce(jnp.add, terms)

    values = lax.stop_gradient(jnp.diag(root))
    rows, columns = values[:, None], values[None, :]
    sums = functools.reduce(jnp.add, [rows**j * columns ** (2 * power - 1 - j) for j in range(2 * power)])
    return root, lax.custom_linear_solve(equation, half + half.T, lambda _, b: safe_divide(b, sums), symmetric=True)


@jax.custom_jvp
def core_inverse(root: Array) -> Array:
    """The inverse of a diagonal matrix, 0 where it is 0."""
    values = jnp.diag(root)
    return jnp.diag(safe_divide(jnp.ones_like(values), values))


@core_inverse.defjvp
def _core_inverse_jvp(primals: tuple, tangents: tuple) -> tuple:
    inverse = core_inverse(*primals)
    return inverse, -matmul(matmul(inverse, tangents[0]), inverse)


class Halves(NamedTuple):
    r"""A matrix cut in two, :math:`M \approx L\, E\, R^T` with weights E on the bond between.

    Attributes:
        left: ``[n, rank]`` L.
        right: ``[m, rank]`` R.
        half_weight: ``[rank, rank]`` the square root of E, diagonal; the identity without weights.
        error: scalar, relative Frobenius norm of what was cut.
    """

    left: Array
    right: Array
    half_weight: Array
    error: Array


def split(matrix: Array, rank: int, *, is_weighted: bool = False) -> Halves:
    r"""Cut a matrix between the square roots of its singular values, or their powers ¾, ¾ and the weights to the -½."""
    left, core, right = truncated_svd(matrix, rank)
    root = core_root(core, 4 if is_weighted else 2)
    inverse = core_inverse(root)
    outer = matmul(root, matmul(root, root)) if is_weighted else root
    half_weight = inverse if is_weighted else jnp.eye(rank, dtype=matrix.dtype)
    halves = matmul(left, outer), matmul(right, matmul(inverse, core).T)
    cut = lax.stop_gradient(matrix - matmul(matmul(left, core), right.T))
    error = jnp.sqrt(jnp.sum(cut * cut) / jnp.sum(jnp.square(lax.stop_gradient(matrix))))
    return Halves(*halves, half_weight, error)
