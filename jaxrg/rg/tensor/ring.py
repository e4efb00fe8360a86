r"""What loop optimisation minimises: a plaquette of four tensors written as a ring of eight halves.

The tensors T_{abcd} of a plaquette have two legs inside of it, a and b, and two outside, c and d. Each is cut across,
:math:`T_{abcd} \approx \sum_k S_{dak} S_{cbk}`, so that a half has one leg outside, one inside and one across the cut;
both halves are alike by reflection. The ring of halves is to be the ring of tensors, as vectors of the eight legs
outside.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from jaxrg.rg.tensor.contraction import einsum, matmul

MEMORY = 30  # pairs of steps and changes of the gradient that L-BFGS keeps
ROUNDS, ITERATIONS = 3, 150  # of L-BFGS, each round in coordinates in which the halves before are well conditioned
FLOOR = 1e-6  # of the metric of those coordinates, relative to its largest value
SOLVES, RIDGE = 400, 1e-6  # conjugate gradients for how the halves move with their target, and what a change costs


@functools.cache
def sectors(num_legs: int, is_even: bool) -> tuple[np.ndarray, ...]:
    """Flat indices of pairs of legs, those of an even sum and those of an odd one; all together without a parity."""
    sums = np.add.outer(np.arange(num_legs), np.arange(num_legs)).reshape(-1) % 2
    return (np.flatnonzero(sums == 0), np.flatnonzero(sums)) if is_even else (np.arange(num_legs**2),)


def _blocks(matrix: Array, sides: tuple[int, int], is_even: bool) -> list[Array]:
    """The parts of a matrix of pairs by pairs that a parity leaves."""
    rows, columns = (sectors(side, is_even) for side in sides)
    return [matrix[row[:, None], column[None]] for row, column in zip(rows, columns, strict=True)]


def _joined(blocks: list[Array], side: int, is_even: bool) -> Array:
    whole = jnp.zeros((side**2, side**2), blocks[0].dtype)
    for rows, block in zip(sectors(side, is_even), blocks, strict=True):
        whole = whole.at[rows[:, None], rows[None]].set(block)
    return whole


def _product(left: list[Array], right: list[Array]) -> list[Array]:
    return [matmul(a, b) for a, b in zip(left, right, strict=True)]


def _transposed(blocks: list[Array]) -> list[Array]:
    return [block.T for block in blocks]


def _trace_of_fourth(blocks: list[Array]) -> Array:
    """Tr M^4."""
    squares = _product(blocks, blocks)
    return functools.reduce(jnp.add, (jnp.sum(square * square.T) for square in squares))


def _crossed(blocks: list[Array], side: int, is_even: bool) -> list[Array]:
    """M_{(aA)(bB)} of M_{(ab)(AB)}."""
    whole = _joined(blocks, side, is_even).reshape((side,) * 4)
    return _blocks(jnp.transpose(whole, (0, 2, 1, 3)).reshape(side**2, side**2), (side, side), is_even)


def even_part(halves: Array, is_even: bool) -> Array:
    """Without the entries that a parity forbids, which the blocks do not see."""
    if not is_even:
        return halves
    sums = functools.reduce(np.add.outer, (np.arange(length) for length in halves.shape))
    return halves * jnp.asarray(sums % 2 == 0, halves.dtype)


class Target(NamedTuple):
    """The ring of tensors, as what its products with rings of halves need."""

    blocks: list[Array]  # T_{(ab)(dc)}
    norm: Array  # scalar <T|T>


def ring_of_tensors(entries: Array, is_even: bool) -> Target:
    """The plaquette of four tensors ``[a, b, c, d]``."""
    side = entries.shape[0]
    pairs = jnp.transpose(entries, (0, 1, 3, 2)).reshape(side**2, side**2)
    blocks = _blocks(pairs, (side, side), is_even)
    double = _crossed(_product(blocks, _transposed(blocks)), side, is_even)
    return Target(blocks, _trace_of_fourth(double))


def _double_halves(halves: Array, others: Array, is_even: bool) -> list[Array]:
    """X_{(iI)(kK)} = sum_o S_oik S'_oIK."""
    side, _, rank = halves.shape
    pairs = einsum("oik,oIK->iIkK", halves, others).reshape(side**2, rank**2)
    return _blocks(pairs, (side, rank), is_even)


def product_of_rings(halves: Array, others: Array, is_even: bool) -> Array:
    """<S ring|S' ring>."""
    double = _double_halves(halves, others, is_even)
    return _trace_of_fourth(_product(double, _transposed(double)))


def distance(halves: Array, target: Target, is_even: bool) -> Array:
    """|T ring - S ring|^2 / <T|T>."""
    side = len(halves)
    across = einsum("dAk,cBk->dcAB", halves, halves).reshape(side**2, side**2)
    mixed = _product(target.blocks, _blocks(across, (side, side), is_even))
    overlap = _trace_of_fourth(_crossed(mixed, side, is_even))
    return 1 + (product_of_rings(halves, halves, is_even) - 2 * overlap) / target.norm


def _conditioned(halves: Array, is_even: bool) -> tuple[Array, Array]:
    """Matrices ``[i k, z]`` and inverse of coordinates in which the norm of a ring is one of each half."""
    side, _, rank = halves.shape
    double = _double_halves(halves, halves, is_even)
    ring = _product(double, _transposed(double))
    rest = _product(_product(ring, _product(ring, ring)), double)
    whole = jnp.zeros((side**2, rank**2), halves.dtype)
    for rows, columns, block in zip(sectors(side, is_even), sectors(rank, is_even), rest, strict=True):
        whole = whole.at[rows[:, None], columns[None]].set(block)
    metric = jnp.transpose(whole.reshape(side, side, rank, rank), (0, 2, 1, 3)).reshape(side * rank, side * rank)
    values, vectors = jnp.linalg.eigh((metric + metric.T) / 2)
    roots = jnp.sqrt(jnp.maximum(values, 0) / values[-1] + FLOOR)
    return einsum("az,bz->ab", vectors / roots[None], vectors), einsum("az,bz->ab", vectors * roots[None], vectors)


def _moved(halves: Array, matrix: Array) -> Array:
    return matmul(halves.reshape(len(halves), -1), matrix).reshape(halves.shape)


class _Descent(NamedTuple):
    """Where the optimiser stands."""

    point: Array
    best: Array  # the closest so far
    best_value: Array
    state: optax.OptState
    count: Array
    is_done: Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def fit(start: Array, target: Target, is_even: bool) -> Array:
    """Halves whose ring is as close to the target as descent from the start comes; they move with the target alone."""
    optimizer, eps = optax.lbfgs(memory_size=MEMORY), jnp.finfo(start.dtype).eps

    def one_round(halves: Array, _: None) -> tuple[Array, None]:
        matrix, inverse = _conditioned(halves, is_even)

        def value_fn(point: Array) -> Array:
            return distance(even_part(_moved(point, matrix), is_even), target, is_even)

        value_and_grad = optax.value_and_grad_from_state(value_fn)

        def goes_on(here: _Descent) -> Array:
            return (here.count < ITERATIONS) & ~here.is_done

        def advance(here: _Descent) -> _Descent:
            value, gradient = value_and_grad(here.point, state=here.state)
            updates: Any
            updates, state = optimizer.update(
                gradient, here.state, here.point, value=value, grad=gradient, value_fn=value_fn
            )
            is_better = value < here.best_value
            is_done = (
                (jnp.abs(value) < 8 * eps)
                | (jnp.linalg.norm(gradient) < eps**0.6)
                | ~jnp.all(jnp.isfinite(updates))
                | (jnp.max(jnp.abs(updates)) == 0)
            )
            best = jnp.where(is_better, here.point, here.best), jnp.where(is_better, value, here.best_value)
            return _Descent(here.point + updates, *best, state, here.count + 1, is_done)

        point = _moved(halves, inverse)
        infinite = jnp.asarray(jnp.inf, point.dtype)
        first = _Descent(point, point, infinite, optimizer.init(point), jnp.int32(0), jnp.bool_(False))
        last = lax.while_loop(goes_on, advance, first)
        return even_part(_moved(last.best, matrix), is_even), None

    with jax.numpy_dtype_promotion("standard"):  # the optimiser's counters
        return lax.scan(one_round, start, None, length=ROUNDS)[0]


@fit.defjvp
def _fit_jvp(is_even: bool, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Of the changes of the halves whose ring changes most like the target, by least squares, the smallest.

    The exact derivative of the minimum is of no use: changes that the ring hardly sees grow from step to step.
    """
    start, target = primals
    halves = fit(start, target, is_even)
    matrix, inverse = jax.tree.map(lax.stop_gradient, _conditioned(halves, is_even))
    point = _moved(halves, inverse)

    def as_halves(point: Array) -> Array:
        return even_part(_moved(point, matrix), is_even)

    def overlap(point: Array, target: Target) -> Array:
        return distance(as_halves(point), target, is_even)

    def of_rings(left: Array, right: Array) -> Array:
        return 2 * product_of_rings(as_halves(left), as_halves(right), is_even) / target.norm

    def curved(direction: Array) -> Array:
        """Products of the ring's change with its change along every coordinate."""
        slope = jax.jvp(lambda right: jax.grad(of_rings)(point, right), (point,), (direction,))[1]
        return slope + RIDGE * _moved(_moved(direction, matrix), matrix)

    _, change = jax.jvp(lambda target: jax.grad(overlap)(point, target), (target,), (tangents[1],))
    tol = float(jnp.finfo(halves.dtype).eps) ** 0.6

    def solve(matrix: Any, values: Array) -> Array:
        return jax.scipy.sparse.linalg.cg(matrix, values, tol=tol, atol=tol / 100, maxiter=SOLVES)[0]

    moved = lax.custom_linear_solve(curved, -change, solve)  # without a transpose, which would not hold
    return halves, as_halves(moved)
