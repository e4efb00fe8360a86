r"""Sums over all 2^n configurations of n spins, streamed so that memory holds one chunk of them at a time.

A Hamiltonian is any function of one configuration, int8 spins ``[*shape]`` to a scalar, with P(s) = exp(-H)/Z; +inf
forbids a state, NaN stays NaN. A bound method of a pytree of couplings, such as ``model.hamiltonian``, and a lambda of
arrays are compiled once for all their values. Everything can be differentiated with respect to the couplings, to every
order, with the memory of one chunk. Spin ``i`` of a state's index is site ``i`` in row-major order, as in
`jaxrg.tables`.

All functions raise ValueError for more spins than `jaxrg.tables` counts or whose tables it holds, a Hamiltonian that is
not scalar, and a chunk that is no power of two.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg import tables
from jaxrg.base import Hamiltonian, PyTree
from jaxrg.checks import as_sides, check_function
from jaxrg.closures import as_partial
from jaxrg.sums import add_log_weights, empty_log_sum


def checked_shape(shape: Sequence[int], *, name: str = "shape", copies: int = 0) -> tuple[int, ...]:
    """The sides as a tuple, or ValueError when their states are too many to count, or for so many tables of them."""
    sides = as_sides(name, shape)
    tables.check_num_bits(math.prod(sides), name=name)
    tables.check_table(math.prod(sides), copies=copies, name=name)
    return sides


def checked_hamiltonian(hamiltonian: Hamiltonian) -> Partial:
    """The Hamiltonian as a pytree, or ValueError when it is no function."""
    check_function("hamiltonian", hamiltonian, of="one configuration")
    return as_partial(hamiltonian)


def states_of(index: Array, shape: tuple[int, ...]) -> Array:
    """Configurations ``[chunk, *shape]`` of their indices."""
    return tables.spins_of(index, math.prod(shape)).reshape(-1, *shape)


def energy_dtype(hamiltonian: Hamiltonian, shape: tuple[int, ...]) -> Any:
    """Floating dtype of a Hamiltonian, which must return a scalar for one configuration."""
    energy = jax.eval_shape(hamiltonian, jax.ShapeDtypeStruct(shape, jnp.int8))
    if getattr(energy, "shape", None) != ():
        raise ValueError(f"hamiltonian: expected a scalar for one configuration {shape}, got {energy}")
    if jnp.issubdtype(energy.dtype, jnp.complexfloating):
        raise ValueError(f"hamiltonian: expected a real energy, got {energy.dtype}")
    if not jnp.issubdtype(energy.dtype, jnp.floating):
        return jnp.result_type(float)
    return np.promote_types(energy.dtype, np.float32)  # sums over all states need more than half precision


@functools.partial(jax.jit, static_argnames=("shape", "chunk_size"))
def _log_partition(hamiltonian: Partial, shape: tuple[int, ...], chunk_size: int) -> Array:
    dtype = energy_dtype(hamiltonian, shape)

    def add(total, index):
        energies = jax.vmap(hamiltonian)(states_of(index, shape)).astype(dtype)
        return add_log_weights(total, -energies)[0], None

    return tables.fold(add, empty_log_sum((), dtype), math.prod(shape), chunk_size=chunk_size)[0].value


def log_partition(hamiltonian: Hamiltonian, shape: Sequence[int], *, chunk_size: int = tables.CHUNK_SIZE) -> Array:
    r"""ln Z by a streamed sum over all 2^n states.

    .. math:: \ln Z = \ln \sum_s e^{-H(s)}, \qquad \partial \ln Z = -\langle \partial H \rangle

    Use float64: in float32, 24 spins lose about 1e-7 of ln Z and 1e-5 of its derivative.

    Args:
        hamiltonian: reduced Hamiltonian of one configuration.
        shape: sides of the configuration, at most 30 sites.
        chunk_size: states evaluated together, a power of two; memory grows with it.

    Returns:
        Scalar in the dtype of the Hamiltonian; -inf where every state is forbidden.

    Example:
        >>> round(float(log_partition(lambda s: -0.5 * jnp.float32(s[0] * s[1]), (2,))), 5)  # ln(4 cosh ½)
        1.50641
    """
    return _log_partition(checked_hamiltonian(hamiltonian), checked_shape(shape), tables.checked_chunk_size(chunk_size))


@functools.partial(jax.jit, static_argnames=("shape", "chunk_size"))
def _expectation(hamiltonian: Partial, observe: Partial, shape: tuple[int, ...], chunk_size: int) -> PyTree:
    dtype = energy_dtype(hamiltonian, shape)

    def empty(value: jax.ShapeDtypeStruct) -> Array:
        is_inexact = jnp.issubdtype(value.dtype, jnp.inexact)
        return jnp.zeros(value.shape, np.promote_types(dtype, value.dtype) if is_inexact else dtype)

    def add(carry, index):
        total, sums = carry
        spins = states_of(index, shape)
        energies = jax.vmap(hamiltonian)(spins).astype(dtype)
        total, factor, weights = add_log_weights(total, -energies)

        def accumulate(old: Array, values: Array) -> Array:
            # A forbidden state counts for nothing, also where the observable is infinite or NaN there.
            is_forbidden = jnp.reshape(energies == jnp.inf, (-1, *[1] * (values.ndim - 1)))
            values = jnp.where(is_forbidden, jnp.zeros_like(values), values)
            new = jnp.tensordot(weights.astype(old.dtype), values.astype(old.dtype), 1, precision=lax.Precision.HIGHEST)
            return old * factor.astype(old.dtype) + new

        return (total, jax.tree.map(accumulate, sums, jax.vmap(observe)(spins))), None

    observed = jax.eval_shape(observe, jax.ShapeDtypeStruct(shape, jnp.int8))
    init = empty_log_sum((), dtype), jax.tree.map(empty, observed)
    (total, sums), _ = tables.fold(add, init, math.prod(shape), chunk_size=chunk_size)
    return jax.tree.map(lambda value: value / total.total.value.astype(value.dtype), sums)


def expectation(
    hamiltonian: Hamiltonian,
    observe: Callable[[Array], PyTree],
    shape: Sequence[int],
    *,
    chunk_size: int = tables.CHUNK_SIZE,
) -> PyTree:
    r"""Boltzmann averages by a streamed sum over all 2^n states.

    .. math:: \langle O \rangle = \frac{\sum_s O(s)\, e^{-H(s)}}{\sum_s e^{-H(s)}}

    Args:
        hamiltonian: reduced Hamiltonian of one configuration.
        observe: one configuration to any pytree of arrays (integers are averaged in the Hamiltonian's dtype).
        shape: sides of the configuration, at most 30 sites.
        chunk_size: states evaluated together, a power of two; memory grows with it times the size of the observables.

    Returns:
        The observables' pytree of averages; nan where every state is forbidden.

    Example:
        >>> mean = expectation(lambda s: -0.5 * jnp.float32(s[0] * s[1]), lambda s: s[0] * s[1], (2,))
        >>> round(float(mean), 5)  # tanh ½
        0.46212
    """
    check_function("observe", observe, of="one configuration")
    chunk = tables.checked_chunk_size(chunk_size)
    return _expectation(checked_hamiltonian(hamiltonian), as_partial(observe), checked_shape(shape), chunk)


@functools.partial(jax.jit, static_argnames="shape")
def _energies(hamiltonian: Partial, shape: tuple[int, ...]) -> Array:
    dtype = energy_dtype(hamiltonian, shape)
    return tables.tabulate(lambda index: jax.vmap(hamiltonian)(states_of(index, shape)).astype(dtype), math.prod(shape))


def energies(hamiltonian: Hamiltonian, shape: Sequence[int]) -> Array:
    """H(s) of all 2^n states, ``[2**n]`` in index order.

    Example:
        >>> energies(lambda s: -0.5 * jnp.float32(s[0] * s[1]), (2,)).tolist()
        [-0.5, 0.5, 0.5, -0.5]
    """
    return _energies(checked_hamiltonian(hamiltonian), checked_shape(shape, copies=1))


def distribution(hamiltonian: Hamiltonian, shape: Sequence[int]) -> Array:
    """P(s) = exp(-H(s))/Z of all 2^n states, ``[2**n]`` in index order.

    Example:
        >>> distribution(lambda s: jnp.float32(0.0), (2,)).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    return _distribution(checked_hamiltonian(hamiltonian), checked_shape(shape, copies=3))


@functools.partial(jax.jit, static_argnames="shape")
def _distribution(hamiltonian: Partial, shape: tuple[int, ...]) -> Array:
    return jax.nn.softmax(-_energies(hamiltonian, shape))
