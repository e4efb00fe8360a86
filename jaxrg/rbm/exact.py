"""Exact answers for small machines: partition function, distributions and likelihood by enumeration of one layer.

States are numbered as in `jaxrg.tables`. A state's field is the sum of a part from its low bits, tabulated once, and a
part from its high bits, one row for each chunk.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import tables
from jaxrg.checks import as_floating, check_shape, is_traced
from jaxrg.rbm.energy import (
    RBM,
    as_machine,
    as_units,
    exchanged,
    log_two_cosh,
    transpose,
    unchecked_visible_hamiltonian,
)
from jaxrg.sums import LogSumExp, add_log_weights, empty_log_sum

CHUNK_ELEMENTS = 2**21  # fields at once, 16 MB of float64 for each temporary


def _num_low_bits(num_visible: int, num_hidden: int, chunk_elements: int) -> int:
    """Bits of the index inside a chunk, so that a chunk holds at most ``chunk_elements`` fields."""
    return min(num_visible, max(0, (chunk_elements // max(num_hidden, num_visible)).bit_length() - 1))


def _fold(add, init, machine: RBM, chunk_elements: int):
    """`jaxrg.tables.fold` of ``add(carry, -H [1, chunk])`` over the visible states, one chunk for all low bits."""
    num_visible, num_hidden = machine.weights.shape
    num_low = _num_low_bits(num_visible, num_hidden, chunk_elements)
    low = tables.all_spins(num_low, machine.weights.dtype)
    low_field, low_linear = low @ machine.weights[:num_low], low @ machine.visible_bias[:num_low]

    def add_chunk(carry, index: Array):
        high = tables.spins_of(index[0], num_visible - num_low, machine.weights.dtype)
        field = machine.hidden_bias + high @ machine.weights[num_low:]
        linear = low_linear + high @ machine.visible_bias[num_low:]
        return add(carry, (linear + jnp.sum(log_two_cosh(low_field + field[None, :]), axis=1))[None])

    return tables.fold(add_chunk, init, num_visible - num_low, chunk_size=1)


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _log_partition(machine: RBM, *, chunk_elements: int) -> Array:
    num_visible, num_hidden = machine.weights.shape
    machine = exchanged(machine) if num_hidden < num_visible else machine

    def add(total: LogSumExp, log_weights: Array) -> tuple[LogSumExp, None]:
        return add_log_weights(total, log_weights[0])[0], None

    return _fold(add, empty_log_sum((), machine.weights.dtype), machine, chunk_elements)[0].value


def log_partition(machine: RBM) -> Array:
    r"""Logarithm of the partition function, by enumerating the smaller layer.

    .. math:: \ln Z = \ln \sum_v e^{-H(v)} = \ln \sum_h e^{-H(h)}

    2^24 states against 1,600 units of the other layer take about a minute; the smaller has at most 30. Memory stays
    below 1 GB whatever the layers, also under ``jax.grad``. The sum is streamed with a running maximum and a
    compensated total, in the dtype of the machine. Only float64 gives ten digits: in float32 each Hamiltonian is
    already rounded at 1e-7 of its size, so :math:`\ln Z` near 1500 comes in steps of 1.2e-4. NaN gives NaN.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> round(float(log_partition(machine)), 5)  # 5 ln 2
        3.46574
    """
    return _log_partition(_as_small_machine(machine), chunk_elements=CHUNK_ELEMENTS)


def _as_small_machine(machine: RBM) -> RBM:
    """A machine whose smaller layer can be enumerated."""
    machine = as_machine(machine)
    tables.check_num_bits(min(machine.weights.shape), name="machine, units of the smaller layer")
    return machine


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _visible_energies(machine: RBM, *, chunk_elements: int) -> Array:
    return _fold(lambda _, log_weights: (None, -log_weights), None, machine, chunk_elements)[1].reshape(-1)


def visible_energies(machine: RBM) -> Array:
    """H(v) of every visible state, ``[2**num_visible]`` in index order."""
    return _visible_energies(_as_tabled(machine), chunk_elements=CHUNK_ELEMENTS)


def _as_tabled(machine: RBM) -> RBM:
    """A machine whose visible states fit tables."""
    machine = as_machine(machine)
    tables.check_table(machine.weights.shape[0], copies=3, name="num_visible")
    return machine


def visible_distribution(machine: RBM) -> Array:
    r"""Probability of every visible state, :math:`P(v) = e^{-H(v)}/Z`.

    Returns:
        ``[2**num_visible]``, in index order; sums to 1. The table must fit in memory.

    Example:
        >>> machine = RBM(jnp.zeros((2, 1)), jnp.array([50.0, 0.0]), jnp.zeros(1))
        >>> visible_distribution(machine).tolist()  # unit 0 is +1 in states 1 and 3
        [0.0, 0.5, 0.0, 0.5]
    """
    return _visible_distribution(_as_tabled(machine), chunk_elements=CHUNK_ELEMENTS)


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _visible_distribution(machine: RBM, *, chunk_elements: int) -> Array:
    return jax.nn.softmax(-_visible_energies(machine, chunk_elements=chunk_elements))


def hidden_distribution(machine: RBM) -> Array:
    """Probability of every hidden state, ``[2**num_hidden]`` in index order; see `visible_distribution`."""
    return visible_distribution(transpose(machine))


def log_probability(machine: RBM, visible: Array) -> Array:
    r"""Exact logarithm of the probability of one visible state, :math:`\ln P(v) = -H(v) - \ln Z`.

    Returns:
        Scalar; both terms grow with the machine, so large ones need float64.
    """
    machine = _as_small_machine(machine)
    visible = as_units("visible", visible, machine.visible_bias.shape)
    return _log_probability(machine, visible, chunk_elements=CHUNK_ELEMENTS)


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _log_probability(machine: RBM, visible: Array, *, chunk_elements: int) -> Array:
    return -unchecked_visible_hamiltonian(machine, visible) - _log_partition(machine, chunk_elements=chunk_elements)


def log_likelihood(machine: RBM, data: Array, weights: Array | None = None) -> Array:
    r"""Exact mean log-likelihood of visible states; differentiate it for the exact gradient.

    .. math:: \mathcal{L} = \frac{\sum_n w_n \ln P(v_n)}{\sum_n w_n}

    With all states as data and their probabilities under a target as weights, its negative is the cross entropy: the
    Kullback-Leibler divergence plus the entropy of the target.

    Args:
        weights: ``[num_samples]``, not negative; equal unless given.

    Returns:
        Scalar of the machine's dtype, in nats per sample. NaN where, inside a jit, data are not ±1 or a weight is
        negative.

    Raises:
        ValueError: data that are not ±1, as 0/1 data are not, or weights that are negative or all zero.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> round(float(log_likelihood(machine, jnp.ones((5, 3), jnp.int8))), 5)  # -3 ln 2
        -2.07944
    """
    machine, data, weights = as_weighted_data(machine, data, weights)
    return _log_likelihood(machine, data, weights, chunk_elements=CHUNK_ELEMENTS)


def as_weighted_data(
    machine: RBM, data: Array, weights: Array | None, *, name: str = "data"
) -> tuple[RBM, Array, Array | None]:
    """A machine that can be enumerated, samples of its visible layer and their weights, checked."""
    machine = _as_small_machine(machine)
    data = as_units(name, data, (None, machine.weights.shape[0]))
    if weights is None:
        return machine, data, None
    weights = as_floating("weights", weights)
    check_shape("weights", weights, (data.shape[0],))
    if not is_traced(weights):
        host = np.asarray(weights)
        if np.any(host < 0) or np.any(np.isinf(host)) or host.sum() == 0:
            raise ValueError(
                f"weights: expected finite weights >= 0 with a positive sum, got {host.min()} to {host.max()}"
            )
    return machine, data, weights


def weighted_energies(machine: RBM, data: Array, weights: Array | None) -> tuple[Array, Array]:
    """H of every sample, and its weight, which is NaN below zero; both ``[num_samples]`` of the machine's dtype."""
    hamiltonians = jax.vmap(unchecked_visible_hamiltonian, (None, 0))(machine, data)
    weights = jnp.ones_like(hamiltonians) if weights is None else weights.astype(hamiltonians.dtype)
    return hamiltonians, jnp.where(weights >= 0, weights, jnp.nan)


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _log_likelihood(machine: RBM, data: Array, weights: Array | None, *, chunk_elements: int) -> Array:
    hamiltonians, weights = weighted_energies(machine, data, weights)
    mean = jnp.sum(weights * hamiltonians) / jnp.sum(weights)
    return -mean - _log_partition(machine, chunk_elements=chunk_elements)


def negative_log_likelihood(machine: RBM, data: Array, weights: Array | None = None) -> Array:
    """Minus `log_likelihood`: the loss of exact training."""
    machine, data, weights = as_weighted_data(machine, data, weights)
    return _negative_log_likelihood(machine, data, weights, chunk_elements=CHUNK_ELEMENTS)


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _negative_log_likelihood(machine: RBM, data: Array, weights: Array | None, *, chunk_elements: int) -> Array:
    return -_log_likelihood(machine, data, weights, chunk_elements=chunk_elements)
