"""Exact answers for small machines: partition function, distributions and likelihood by enumeration of one layer.

States are numbered as in `jaxrg.tables`, of units of q states in base q. A state's field is the sum of a part from its
low digits, tabulated once, and a part from its high digits, one row for each chunk.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import tables
from jaxrg.checks import as_floating, check_shape, is_traced
from jaxrg.rbm.energy import (
    RBM,
    as_machine,
    as_visible,
    exchanged,
    transpose,
    unchecked_visible_hamiltonian,
)
from jaxrg.rbm.units.gaussian import Gaussian, gaussian_log_partition
from jaxrg.rbm.units.spins import Units
from jaxrg.sums import LogSumExp, add_log_weights, empty_log_sum

CHUNK_ELEMENTS = 2**21  # fields at once, 16 MB of float64 for each temporary


def _num_low(machine: RBM, chunk_elements: int) -> int:
    """Units whose states are side by side in a chunk, so that it holds at most ``chunk_elements`` numbers."""
    num_states, wide = _num_states(machine), max(machine.weights.shape)
    num_low = 0
    while num_low < machine.num_visible and wide * num_states ** (num_low + 1) <= chunk_elements:
        num_low += 1
    return num_low


def _num_states(machine: RBM) -> int:
    return machine.visible_units.num_states or 0


def _digits(index: Array, num_digits: int, base: int) -> Array:
    """``[*index.shape, num_digits]`` digits of an index, the lowest first."""
    powers = np.int32(base) ** np.arange(num_digits, dtype=np.int32).reshape((1,) * index.ndim + (num_digits,))
    return index[..., None] // powers % base


def _features_of(machine: RBM, index: Array, num_units: int) -> Array:
    """Features of the states of the first ``num_units`` units, ``[*index.shape, num_units * num_features]``."""
    table = machine.visible_units.state_features(machine.weights.dtype)
    digits = _digits(index, num_units, _num_states(machine))
    return table[digits].reshape(*index.shape, num_units * machine.visible_units.num_features)


def _fold(add, init, machine: RBM, chunk_elements: int):
    """``carry, values = add(carry, -H [chunk])`` over the visible states in index order; values ``[num_states]``."""
    num_low, num_states = _num_low(machine, chunk_elements), _num_states(machine)
    num_rows, num_high = num_low * machine.visible_units.num_features, machine.num_visible - num_low
    low = _features_of(machine, jnp.arange(num_states**num_low, dtype=jnp.int32), num_low)
    low_field, low_linear = low @ machine.weights[:num_rows], low @ machine.visible_bias[:num_rows]

    def add_chunk(carry, index: Array):
        high = _features_of(machine, index, num_high)
        field = machine.hidden_bias + high @ machine.weights[num_rows:]
        linear = low_linear + high @ machine.visible_bias[num_rows:]
        hidden_terms = machine.hidden_units.log_partition(low_field + field[None, :])
        return add(carry, linear + jnp.sum(hidden_terms, axis=1))

    if num_high == 0:
        return add_chunk(init, jnp.int32(0))
    body = jax.checkpoint(add_chunk, prevent_cse=False)  # type: ignore
    carry, values = jax.lax.scan(body, init, jnp.arange(num_states**num_high, dtype=jnp.int32))
    return carry, jax.tree.map(lambda leaf: leaf.reshape(-1), values)


def _num_bits(units: Units, num_units: int) -> float:
    """Bits of the index of a layer's states; infinite of real units."""
    return np.inf if units.num_states is None else num_units * math.log2(units.num_states)


def _bits_of_layers(machine: RBM) -> tuple[float, float]:
    return (
        _num_bits(machine.visible_units, machine.num_visible),
        _num_bits(machine.hidden_units, machine.num_hidden),
    )


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _log_partition(machine: RBM, *, chunk_elements: int) -> Array:
    visible_units, hidden_units = machine.visible_units, machine.hidden_units
    if isinstance(visible_units, Gaussian) and isinstance(hidden_units, Gaussian):
        return gaussian_log_partition(*machine[:3], visible_units, hidden_units)
    of_visible, of_hidden = _bits_of_layers(machine)
    machine = exchanged(machine) if of_hidden < of_visible else machine

    def add(total: LogSumExp, log_weights: Array) -> tuple[LogSumExp, None]:
        return add_log_weights(total, log_weights)[0], None

    return _fold(add, empty_log_sum((), machine.weights.dtype), machine, chunk_elements)[0].value


def log_partition(machine: RBM) -> Array:
    r"""Logarithm of the partition function, by enumerating the layer with fewer states.

    .. math:: \ln Z = \ln \sum_v e^{-H(v)} = \ln \sum_h e^{-H(h)}

    2^24 states against 1,600 units of the other layer take about a minute; the smaller has at most 2^30. Of Gaussian
    units in both layers it is the closed form. Memory stays below 1 GB whatever the layers, also under ``jax.grad``.
    The sum is streamed with a running maximum and a compensated total, in the dtype of the machine. Only float64 gives
    ten digits: in float32 each Hamiltonian is already rounded at 1e-7 of its size, so :math:`\ln Z` near 1500 comes
    in steps of 1.2e-4. NaN gives NaN.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> round(float(log_partition(machine)), 5)  # 5 ln 2
        3.46574
    """
    return _log_partition(_as_small_machine(machine), chunk_elements=CHUNK_ELEMENTS)


def _as_small_machine(machine: RBM) -> RBM:
    """A machine whose smaller layer can be enumerated."""
    machine = as_machine(machine)
    if min(_bits_of_layers(machine)) < np.inf:
        tables.check_num_bits(math.ceil(min(_bits_of_layers(machine))), name="machine, units of the smaller layer")
    return machine


@functools.partial(jax.jit, static_argnames="chunk_elements")
def _visible_energies(machine: RBM, *, chunk_elements: int) -> Array:
    return _fold(lambda _, log_weights: (None, -log_weights), None, machine, chunk_elements)[1]


def visible_energies(machine: RBM) -> Array:
    """H(v) of every visible state, ``[2**num_visible]`` in index order."""
    return _visible_energies(_as_tabled(machine), chunk_elements=CHUNK_ELEMENTS)


def _as_tabled(machine: RBM) -> RBM:
    """A machine whose visible states fit tables."""
    machine = as_machine(machine)
    num_bits = _num_bits(machine.visible_units, machine.num_visible)
    if num_bits == np.inf:
        raise ValueError(f"machine: expected a layer whose states can be enumerated, got {machine.visible_units}")
    tables.check_table(math.ceil(num_bits), copies=3, name="num_visible")
    return machine


def visible_distribution(machine: RBM) -> Array:
    r"""Probability of every visible state, :math:`P(v) = e^{-H(v)}/Z`.

    Returns:
        ``[2**num_visible]``, in index order; sums to 1. The table must fit in memory. Of units of q states,
        ``[q**num_visible]``, the state of unit i being digit i of the index in base q.

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
        Scalar, of Gaussian units the logarithm of a density; both terms grow with the machine, so large ones need
        float64.
    """
    machine = _as_small_machine(machine)
    visible = as_visible("visible", visible, machine)
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
    data = as_visible(name, data, machine, is_batch=True)
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
