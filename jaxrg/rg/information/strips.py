r"""Joint tables of a block and its environment on strips of infinite length, from the transfer matrix.

Columns follow each other along the strip. With interactions of neighbouring columns alone, what lies beyond the nearest
column on either side of the buffer tells nothing more, :math:`I(H; E) = I(H; e_l, e_r)`, so that the information of an
infinite environment comes from two columns.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_integers, as_sides, is_traced
from jaxrg.exact.transfer_matrix import as_couplings, build_strip, check_width
from jaxrg.tables import MAX_BYTES, check_bytes

MAX_STRIP_WIDTH = 10
NUM_SQUARINGS = 40  # T to the power of 2^40: levels a part in 10^11 apart are told apart


def strip_joint(
    coupling: ArrayLike,
    width: int,
    block: Sequence[int],
    buffer: int,
    *,
    field: ArrayLike = 0.0,
    num_sides: int = 2,
) -> Array:
    r"""Probabilities of a block of Ising spins and of its environment, on an infinite strip that closes across.

    Args:
        coupling: scalar K, or along and across the strip ``[2]``, H = -K Σ s s' - h Σ s.
        width: sites W across the strip, from 2 to 10; of two, with double bonds.
        block: sides of the block along and across the strip.
        buffer: columns on either side between the block and the environment, 0 for none.
        field: scalar h.
        num_sides: 2, or 1 for an environment that follows the block and does not come before it.

    Returns:
        ``[2**block sites, 2**(num_sides * W)]`` P(v, e), in the dtype of the coupling. Site ``(i, j)`` of the block is
        bit ``i * block[1] + j`` of v; site ``j`` of the column before it is bit ``j`` of e, and of the one that
        follows bit ``W + j``. NaN where the leading state is not unique within rounding.

    Raises:
        ValueError: sizes out of range, tables beyond the memory, or couplings that are not finite.

    Example:
        >>> table = strip_joint(0.4406868, 4, (2, 2), buffer=1)
        >>> from jaxrg.rg import information
        >>> round(float(information.filter_information(table)), 4)  # nats that four spins tell of all the others
        0.3867

    Reference:
        Koch-Janusz & Ringel, Nature Physics 14, 578 (2018) for block, buffer and environment.
    """
    along, across, field = as_couplings(coupling, field)
    num_sites = check_width(width, periodic=True, maximum=MAX_STRIP_WIDTH)
    sides = as_sides("block", block)
    if len(sides) != 2 or sides[1] > num_sites:
        raise ValueError(f"block: expected sides (along, across) with at most {num_sites} sites across, got {sides}")
    steps, columns = as_count("buffer", buffer, minimum=0) + 1, _as_sides_count(num_sides)
    _check_sizes("block", 2 ** sides[1], sides[0], 2**num_sites, columns, along.dtype.itemsize)
    return _strip_joint(along, across, field, num_sites, sides, steps, columns)


def _as_sides_count(num_sides: int) -> int:
    count = as_count("num_sides", num_sides)
    if count > 2:
        raise ValueError(f"num_sides: expected 1 or 2, got {count}")
    return count


def _check_sizes(name: str, num_labels: int, length: int, num_states: int, num_sides: int, itemsize: int) -> None:
    entries = num_labels**length * num_states**2  # of the table, and of what is summed to it
    what = f"{num_labels}**{length} states of a block beside {num_states}**{num_sides} of the environment"
    check_bytes(name, 3 * entries * itemsize, 4 * MAX_BYTES, what)


@functools.partial(jax.jit, static_argnames=("width", "block", "steps", "num_sides"))
def _strip_joint(
    along: Array, across: Array, field: Array, width: int, block: tuple[int, ...], steps: int, num_sides: int
) -> Array:
    strip = build_strip(along, across, field, width, periodic=True)
    transfer = jax.vmap(strip.apply)(jnp.eye(2**width, dtype=along.dtype))
    labels = np.arange(2**width) % 2 ** block[1]
    return _joint(transfer, labels, 2 ** block[1], block[0], steps, num_sides)


def column_joint(transfer: Any, labels: Any, length: int, buffer: int, *, num_sides: int = 2) -> Array:
    r"""Probabilities of a block and of its environment for any strip, from the transfer matrix of its columns.

    .. math:: P(v, e) \propto \sum_{c \to v} l(e_l)\, T^{b+1}(e_l, c_1) T(c_1, c_2) \cdots T^{b+1}(c_n, e_r)\, r(e_r)

    with the leading left and right vectors l and r of T, and the sum over columns whose labels are those of the block.

    Args:
        transfer: ``[states, states]`` weights T >= 0 of a column and the one that follows, all weights of columns
            included.
        labels: ``[states]`` integers from 0, what is seen of a column that is in the block.
        length: columns n of the block.
        buffer: columns b on either side between the block and the environment.
        num_sides: 2, or 1 for an environment that follows the block alone.

    Returns:
        ``[num_labels**length, states**num_sides]`` P(v, e) with :math:`v = \sum_i \mathrm{label}_i A^i` of A labels and
        :math:`e = e_l + e_r \cdot` states, or :math:`e_r`. NaN where the leading state is not unique within rounding.

    Raises:
        ValueError: arrays that do not fit together, negative weights, or tables beyond the memory.

    Example:
        >>> bonds = jnp.exp(0.5 * jnp.array([[1.0, -1.0], [-1.0, 1.0]]))
        >>> table = column_joint(bonds, [0, 1], length=1, buffer=1, num_sides=1)  # a chain at K = 0.5
        >>> round(float(2 * (table[0, 0] - table[0, 1])), 4), round(float(jnp.tanh(0.5) ** 2), 4)
        (0.2136, 0.2136)
    """
    matrix = as_floating("transfer", transfer)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"transfer: expected a square matrix [states, states], got shape {matrix.shape}")
    if not is_traced(matrix):
        host = np.asarray(matrix)
        if host.min() < 0 or np.isinf(host).any():  # NaN stays NaN
            raise ValueError(f"transfer: expected finite weights >= 0, got entries from {host.min()} to {host.max()}")
    seen = as_integers("labels", labels, minimum=0)
    if is_traced(seen) or seen.shape != matrix.shape[:1]:
        raise ValueError(f"labels: expected {len(matrix)} integers with values, got shape {seen.shape}")
    kinds = np.asarray(seen)
    num_labels, columns = int(kinds.max()) + 1, as_count("length", length)
    steps, sides = as_count("buffer", buffer, minimum=0) + 1, _as_sides_count(num_sides)
    _check_sizes("length", num_labels, columns, len(matrix), sides, matrix.dtype.itemsize)
    return _column_joint(matrix, seen, num_labels, columns, steps, sides)


_column_joint = jax.jit(lambda *arguments: _joint(*arguments), static_argnums=(2, 3, 4, 5))


def _joint(transfer: Array, labels: Any, num_labels: int, length: int, steps: int, num_sides: int) -> Array:
    """The table of a scaled transfer matrix, a column of the block at a time."""
    left, right, value = leading(transfer)
    transfer, num_states = transfer / value, len(transfer)
    multiply = functools.partial(jnp.matmul, precision="highest")
    far = functools.reduce(multiply, [transfer] * steps)
    is_label = (jnp.asarray(labels)[None, :] == jnp.arange(num_labels)[:, None]).astype(transfer.dtype)
    # [environment before, labels of the columns so far, column]
    sums = (left[:, None] * far if num_sides == 2 else left[None, :])[:, None, :] * is_label[None]
    for _ in range(length - 1):
        sums = multiply(sums, transfer)[:, None] * is_label[None, :, None]
        sums = sums.reshape(len(sums), -1, num_states)
    sums = multiply(sums, far) * right[None, None]
    # e_r is the slower index of the environment
    table = sums.transpose(1, 2, 0).reshape(sums.shape[1], -1)
    return table / jnp.sum(table)


def leading(transfer: Array) -> tuple[Array, Array, Array]:
    """Left and right vectors of the largest eigenvalue of a matrix >= 0, and the eigenvalue; NaN if it is not alone."""

    def square(power: Array, _: None) -> tuple[Array, None]:
        power = jnp.matmul(power, power, precision="highest")
        return power / jnp.max(power), None

    power, _ = jax.lax.scan(square, transfer / jnp.max(transfer), None, length=NUM_SQUARINGS)
    left, right = (jnp.sum(power, axis=axis) for axis in (0, 1))
    left, right = left / jnp.sum(left), right / jnp.sum(right)
    image = jnp.matmul(transfer, right, precision="highest")
    value = jnp.sum(image)
    # A projector on more than one state has columns that differ.
    rest = jnp.sum(jnp.abs(power / jnp.sum(power) - right[:, None] * left[None, :]))
    rest = rest + jnp.sum(jnp.abs(image / value - right))
    is_alone = rest < len(transfer) * float(jnp.finfo(transfer.dtype).eps) ** (2 / 3)
    return left, right, value * jnp.where(is_alone, 1, jnp.nan)
