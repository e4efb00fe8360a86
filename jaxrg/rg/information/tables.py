r"""Information that a coarse variable keeps of its environment, from the joint table of a block and an environment.

A coarse variable H sees the block alone, so that :math:`P(h, e) = \sum_v p(h|v) P(v, e)` is one matrix product, and
:math:`P(v, e, h)` never exists.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, as_floating_alike, is_traced
from jaxrg.tables import MAX_BYTES, all_spins, check_bytes, check_table

MAX_HIDDEN = 8  # units, whose 2**n states are columns of every table


def as_joint(joint: Any) -> Array:
    """Weights of a joint table ``[visible, environment]`` as floats.

    Raises:
        ValueError: another shape, negative or infinite weights, or none above zero, where they can be seen.
    """
    table = as_floating("joint", joint)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"joint: expected weights [visible, environment], got shape {table.shape}")
    if not is_traced(table):
        host = np.asarray(table)
        lowest, total = float(host.min()), float(host.sum())
        if lowest < 0 or total == 0 or np.isinf(total):  # NaN stays NaN
            raise ValueError(f"joint: expected weights >= 0 of a finite sum, got {lowest} and the sum {total}")
    return table


def as_features(features: Any, num_states: int) -> Array:
    """What a filter sees of every state of the block, ``[num_states, num_features]``; by default its spins."""
    if features is None:
        num_spins = num_states.bit_length() - 1
        if num_states != 2**num_spins:
            raise ValueError(f"features: expected those of the {num_states} states of the block, no 2**n, got None")
        bits = np.arange(num_states)[:, None] >> np.arange(num_spins) & 1
        return as_floating("features", 2 * bits - 1)
    array = as_floating("features", features)
    if array.ndim != 2 or len(array) != num_states or not array.size:
        raise ValueError(f"features: expected ({num_states}, num_features) numbers, got shape {array.shape}")
    return array


def hidden_probabilities(weights: Array, features: Array) -> Array:
    """p(h|v) ``[states, 2**num_hidden]`` of features ``[states, num_features]``; hidden unit j is bit j of h."""
    fields = jnp.matmul(features, weights, precision="highest")
    up = jax.nn.sigmoid(2 * fields)
    down = jax.nn.sigmoid(-2 * fields)
    table = jnp.ones((len(features), 1), fields.dtype)
    for unit in range(weights.shape[1]):
        sides = down[:, unit, None], up[:, unit, None]
        table = jnp.concatenate([table * side for side in sides], axis=1)
    return table


def spin_filter(weights: Any, features: Any = None) -> Array:
    r"""The coarse variable of spins ±1, each drawn in the field of what it sees of the block.

    .. math:: p(h | v) = \prod_j \frac{e^{h_j \Lambda_j \cdot v}}{2 \cosh(\Lambda_j \cdot v)}

    A large multiple of Λ is the sign of Λ·v, with a fair coin where that is zero.

    Args:
        weights: ``[num_features, num_hidden]`` Λ, at most 8 hidden units.
        features: ``[num_states, num_features]`` of every state of the block, in place of its spins: products of them
            for another class of filters, a column of ones for biases.

    Returns:
        ``[num_states, 2**num_hidden]`` p(h|v); unit j is bit j of h.

    Raises:
        ValueError: arrays that do not fit together, or too many units.

    Example:
        >>> spin_filter(jnp.array([[100.0], [100.0]]))[:, 1].tolist()  # the majority of two spins
        [0.0, 0.5, 0.5, 1.0]

    Reference:
        Koch-Janusz & Ringel, Nature Physics 14, 578 (2018).
    """
    matrix = as_floating("weights", weights)
    if matrix.ndim != 2 or not matrix.size or matrix.shape[1] > MAX_HIDDEN:
        raise ValueError(
            f"weights: expected [num_features, num_hidden] of 1 to {MAX_HIDDEN} hidden units, got {matrix.shape}"
        )
    if features is None:
        check_table(matrix.shape[0], itemsize=8 * 2 ** matrix.shape[1], name="weights")
        seen = all_spins(matrix.shape[0], matrix.dtype)
    else:
        seen = as_floating("features", features)
        if seen.ndim != 2 or seen.shape[1] != matrix.shape[0]:
            raise ValueError(f"features: expected [num_states, {matrix.shape[0]}], got shape {seen.shape}")
    matrix, seen = as_floating_alike(weights=matrix, features=seen)
    return _spin_filter(matrix, seen)


_spin_filter = jax.jit(hidden_probabilities, inline=True)


def filter_information(joint: Any, coarse: Any = None) -> Array:
    r"""Mutual information of a coarse variable of a block with its environment, in nats, exactly.

    .. math:: I(H; E) = \sum_{h, e} P(h) P(e)\, g\Bigl(\frac{P(h, e)}{P(h) P(e)} - 1\Bigr), \qquad
        g(x) = (1 + x) \ln(1 + x) - x \ge 0

    with :math:`P(h, e) = \sum_v p(h|v) P(v, e)`. No term is negative, so that small informations keep their digits:
    about four in single precision at 1e-6 nats.

    Args:
        joint: ``[visible, environment]`` weights of P(v, e), such as `strip_joint`; they are normalised here.
        coarse: ``[visible, hidden]`` p(h|v), such as a `spin_filter`; None for the block itself, whose I(V; E) no
            coarse variable exceeds.

    Returns:
        Scalar, differentiable in both.

    Raises:
        ValueError: tables that do not fit together, negative weights, or rows of ``coarse`` that do not sum to one.

    Example:
        >>> table = jnp.array([[0.4, 0.1], [0.1, 0.4]])
        >>> round(float(filter_information(table)), 4), round(float(filter_information(table, spin_filter([[0.5]]))), 4)
        (0.1927, 0.0389)
    """
    table = as_joint(joint)
    if coarse is None:
        return _information(table)
    kernel = as_floating("coarse", coarse)
    if kernel.ndim != 2 or len(kernel) != len(table) or not kernel.size:
        raise ValueError(f"coarse: expected p(h|v) of shape ({len(table)}, hidden), got shape {kernel.shape}")
    if not is_traced(kernel):
        rows = np.asarray(kernel)
        miss = np.abs(rows.sum(axis=1) - 1).max()
        if rows.min() < 0 or miss > 1e-2:  # half precision included; NaN stays NaN
            raise ValueError(
                f"coarse: expected rows >= 0 that sum to one, got entries from {rows.min()}, off by {miss}"
            )
    table, kernel = as_floating_alike(joint=table, coarse=kernel)
    return _filter_information(table, kernel)


@functools.partial(jax.jit, inline=True)
def _filter_information(joint: Array, coarse: Array) -> Array:
    return information(jnp.matmul(coarse.T, joint, precision="highest"))


def information(joint: Array) -> Array:
    """Of a table of weights, by terms that are not negative; derivatives are finite where weights vanish."""
    joint = joint / jnp.sum(joint)
    product = jnp.sum(joint, axis=1)[:, None] * jnp.sum(joint, axis=0)[None, :]
    ratio = joint / jnp.where(product > 0, product, 1)
    is_rare, is_there = ratio < 0.5, ratio > 0
    excess = jnp.where(is_rare, 0, ratio - 1)
    rare = jnp.where(is_rare & is_there, ratio, 1)
    terms = jnp.where(is_rare, jnp.where(is_there, rare * jnp.log(rare) - rare, 0) + 1, 0)
    value = jnp.sum(product * (terms + (1 + excess) * jnp.log1p(excess) - excess))
    return jnp.where(jnp.isfinite(jnp.sum(joint)), value, jnp.nan)


_information = jax.jit(information, inline=True)


class RelevantFunctions(NamedTuple):
    """Functions of a block, in the order of what its environment knows of them.

    Attributes:
        correlations: ``[num_functions]`` σ, falling.
        visible: ``[num_functions, visible]`` functions of the block, of mean zero and variance one.
        environment: ``[num_functions, environment]`` those of the environment they are correlated with.
    """

    correlations: Array
    visible: Array
    environment: Array


def relevant_functions(joint: Any, num_functions: int) -> RelevantFunctions:
    r"""Functions of a block and of its environment in pairs that are correlated most, from one singular decomposition.

    .. math:: \frac{P(v, e)}{P(v) P(e)} = 1 + \sum_k \sigma_k f_k(v)\, g_k(e), \qquad
        \langle f_k f_l \rangle = \langle g_k g_l \rangle = \delta_{kl}

    A unit that is hardly told of the block, :math:`p(h|v) \propto e^{h \epsilon f(v)}` with f of mean zero and variance
    one, keeps :math:`\tfrac12 \epsilon^2 \langle \langle f \rangle_e^2 \rangle` of information, most for
    :math:`f = f_1`; and :math:`I(V; E) \to \tfrac12 \sum_k \sigma_k^2` where all σ are small. For a whole column of a
    strip, and one column of the environment at distance r, :math:`\sigma_k = |\lambda_k / \lambda_0|^r` are of the
    transfer matrix: :math:`e^{-2 \pi x_k r / W}` with scaling dimensions x at a critical point.

    Args:
        joint: ``[visible, environment]`` weights of P(v, e).
        num_functions: pairs to return, fewer than the states of either side.

    Raises:
        ValueError: no such table, or more functions than it has.

    Example:
        >>> relevant_functions(jnp.array([[0.4, 0.1], [0.1, 0.4]]), 1).correlations.tolist()
        [0.6000000238418579]

    Reference:
        Gordon, Banerjee, Koch-Janusz & Ringel, Phys. Rev. Lett. 126, 240601 (2021); Hirschfeld, Proc. Cambridge
        Philos. Soc. 31, 520 (1935) for the correlations.
    """
    table, count = as_joint(joint), as_count("num_functions", num_functions)
    if count >= min(table.shape):
        raise ValueError(f"num_functions: expected fewer than the states of a table {table.shape}, got {count}")
    check_bytes("joint", 4 * table.nbytes, 4 * MAX_BYTES, "a table and its decomposition")
    return _relevant_functions(table, count)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _relevant_functions(joint: Array, count: int) -> RelevantFunctions:
    joint = joint / jnp.sum(joint)
    sizes = [jnp.sqrt(jnp.sum(joint, axis=axis)) for axis in (1, 0)]
    inverses = [jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 0) for size in sizes]
    scaled = inverses[0][:, None] * joint * inverses[1][None, :] - sizes[0][:, None] * sizes[1][None, :]
    left, correlations, right = jnp.linalg.svd(scaled, full_matrices=False)
    visible, environment = left.T[:count] * inverses[0][None, :], right[:count] * inverses[1][None, :]
    # The sign that makes the entry furthest from zero positive.
    largest = jnp.take_along_axis(visible, jnp.argmax(jnp.abs(visible), axis=1)[:, None], axis=1)
    signs = jnp.where(largest < 0, -1, 1).astype(visible.dtype)
    return RelevantFunctions(correlations[:count], signs * visible, signs * environment)
