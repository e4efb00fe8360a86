"""The restricted Boltzmann machine: parameters, energy and the Hamiltonians of its two layers."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import (
    as_array,
    as_count,
    as_floating,
    as_floating_alike,
    check_key,
    check_number,
    check_shape,
    kind_of,
)
from jaxrg.rbm.units.gaussian import Gaussian, check_normalizable
from jaxrg.rbm.units.spins import SPINS, Spins, Units


class RBM(NamedTuple):
    r"""Parameters of :math:`E(v, h) = -c·v - b·h - v^T W h`, in units of the temperature.

    Units are spins ±1 unless they are said to be others of `jaxrg.rbm.units`. In general
    :math:`E(v, h) = u(v) + u(h) - c·\phi(v) - b·\phi(h) - \phi(v)^T W \phi(h)` with the features φ and the energy u
    of a kind of units, and of Potts units every feature, one for each state, has its row or column.

    Attributes:
        weights: ``[num_visible, num_hidden]``, W.
        visible_bias: ``[num_visible]``, c.
        hidden_bias: ``[num_hidden]``, b.
        visible_units: what the visible units are.
        hidden_units: what the hidden units are.
    """

    weights: Array
    visible_bias: Array
    hidden_bias: Array
    visible_units: Any = SPINS  # `Units`, but a machine is a tree of arrays to optax's types
    hidden_units: Any = SPINS

    @property
    def num_visible(self) -> int:
        """Units of the visible layer."""
        return self.visible_bias.shape[0] // self.visible_units.num_features

    @property
    def num_hidden(self) -> int:
        """Units of the hidden layer."""
        return self.hidden_bias.shape[0] // self.hidden_units.num_features


def as_machine(machine: Any, *, name: str = "machine") -> RBM:
    """A machine of floating arrays of one dtype that fit together; integers become floats, half precision single.

    Raises:
        ValueError: no `RBM`, weights that are no matrix, a layer without units, a bias of another length, units that
            are none, or a machine of Gaussian units alone that cannot be normalised.
    """
    if not isinstance(machine, RBM):
        raise ValueError(f"{name}: expected an RBM of weights, visible_bias and hidden_bias, got {kind_of(machine)}")
    arrays = as_floating_alike(
        weights=machine.weights, visible_bias=machine.visible_bias, hidden_bias=machine.hidden_bias
    )
    machine = RBM(arrays[0], arrays[1], arrays[2], machine.visible_units, machine.hidden_units)
    if machine.weights.ndim != 2:
        raise ValueError(
            f"weights: expected shape (num_visible, num_hidden), got {tuple(machine.weights.shape)}; "
            "use jax.vmap over a batch of machines"
        )
    rows, columns = machine.weights.shape
    if machine.weights.size == 0:
        raise ValueError(f"weights: expected units in both layers, got shape {tuple(machine.weights.shape)}")
    check_shape("visible_bias", machine.visible_bias, (rows,))
    check_shape("hidden_bias", machine.hidden_bias, (columns,))
    return _checked_units(machine)


def _checked_units(machine: RBM) -> RBM:
    """The machine, if its units are some and fit its weights."""
    rows, columns = machine.weights.shape
    layers = ("visible_units", machine.visible_units, rows), ("hidden_units", machine.hidden_units, columns)
    for layer, units, length in layers:
        check_units(layer, units)
        if length % units.num_features:
            raise ValueError(
                f"weights: expected {units.num_features} rows or columns for each of the {layer}, got {length} in all"
            )
        if isinstance(units, Gaussian) and units.log_precision.shape not in ((), (length,)):
            raise ValueError(
                f"log_precision: expected one number or shape ({length},), got {tuple(units.log_precision.shape)}"
            )
    if isinstance(machine.visible_units, Gaussian) and isinstance(machine.hidden_units, Gaussian):
        check_normalizable(machine.weights, machine.visible_units, machine.hidden_units)
    return machine


def check_units(name: str, units: Any) -> None:
    """Raise ValueError unless these are a kind of units, not the class of one."""
    if isinstance(units, type) or not hasattr(units, "log_partition") or not hasattr(units, "num_features"):
        raise ValueError(f"{name}: expected units such as rbm.units.Spins(), got {kind_of(units)}")


def are_alike(units: Units, others: Units) -> bool:
    """Whether two layers are of one kind of units; parameters of their own may differ."""
    return jax.tree.structure(units) == jax.tree.structure(others)


def as_spin_machine(machine: Any) -> RBM:
    """A machine with spins ±1 in both layers."""
    machine = as_machine(machine)
    for name, units in (("visible_units", machine.visible_units), ("hidden_units", machine.hidden_units)):
        if not isinstance(units, Spins):
            raise ValueError(
                f"machine: expected spins ±1 in both layers, got {units} as {name}; rbm.from_binary makes spins of 0/1 "
                "units"
            )
    return machine


def as_units(name: str, value: Any, shape: tuple[int | None, ...], units: Units = SPINS) -> Array:
    """Units of a layer as an array; None in a shape is any length but zero.

    Raises:
        ValueError: another shape, or what are no such units, where they can be seen; of 0 and 1 with what converts
            them.
    """
    layer = as_array(name, value)
    pairs = zip(layer.shape, shape, strict=False)
    if layer.ndim != len(shape) or any(size == 0 or wanted not in (None, size) for size, wanted in pairs):
        raise ValueError(f"{name}: expected shape {_shape_in_words(shape, layer.shape)}, got {tuple(layer.shape)}")
    return units.checked(name, layer)


def as_visible(name: str, value: Any, machine: RBM, *, is_batch: bool = False) -> Array:
    """The visible layer of a machine, or samples of it ``[num_samples, num_visible]``; see `as_units`."""
    shape = (None, machine.num_visible) if is_batch else (machine.num_visible,)
    return as_units(name, value, shape, machine.visible_units)


def as_hidden(name: str, value: Any, machine: RBM, *, is_batch: bool = False) -> Array:
    """The hidden layer of a machine, or samples of it; see `as_visible`."""
    shape = (None, machine.num_hidden) if is_batch else (machine.num_hidden,)
    return as_units(name, value, shape, machine.hidden_units)


def _shape_in_words(shape: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    # A length that is free is shown as the one that came, so that the message says what differs.
    fits = len(given) == len(shape) and 0 not in given
    sizes = [str(size) if size is not None else str(given[0]) if fits else "num_samples" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _known_features(units: Units, layer: Array, dtype: Any) -> Array:
    is_valid = units.are_valid(layer)
    features = units.features(layer, dtype)
    return jnp.where(jnp.repeat(is_valid, units.num_features, axis=-1), features, jnp.nan)


def visible_features(machine: RBM, visible: Array) -> Array:
    """φ(v) in the dtype of the machine, NaN of what are no such units: inside a jit nobody can look at the values."""
    return _known_features(machine.visible_units, visible, machine.weights.dtype)


def hidden_features(machine: RBM, hidden: Array) -> Array:
    """φ(h); see `visible_features`."""
    return _known_features(machine.hidden_units, hidden, machine.weights.dtype)


def init(
    key: Array,
    num_visible: int,
    num_hidden: int,
    *,
    visible_units: Units = SPINS,
    hidden_units: Units = SPINS,
    scale: float = 0.01,
    dtype=None,
) -> RBM:
    """A machine with normal weights and no biases, so that spins start with their symmetry.

    Args:
        visible_units: what the visible units are; spins ±1 unless given.
        hidden_units: what the hidden units are.
        scale: standard deviation of the weights.
        dtype: of all parameters; the default float of JAX unless given.

    Raises:
        ValueError: sizes below 1, a scale that is no finite number, a dtype that is not floating, or units that are
            none.

    Example:
        >>> init(jax.random.key(0), num_visible=4, num_hidden=2).weights.shape
        (4, 2)
    """
    check_key("key", key)
    check_number("scale", scale)
    dtype = as_float_dtype("dtype", dtype)
    sizes = as_count("num_visible", num_visible), as_count("num_hidden", num_hidden)
    for name, units in (("visible_units", visible_units), ("hidden_units", hidden_units)):
        check_units(name, units)
    lengths = (size * units.num_features for size, units in zip(sizes, (visible_units, hidden_units), strict=True))
    weights, visible_bias, hidden_bias = _init(key, as_floating("scale", scale), *lengths, dtype)
    return _checked_units(RBM(weights, visible_bias, hidden_bias, visible_units, hidden_units))


def as_float_dtype(name: str, value: Any) -> np.dtype:
    """A floating dtype, by default that of JAX.

    Raises:
        ValueError: no floating dtype, or one that JAX does not hold, as float64 without ``jax_enable_x64``.
    """
    try:
        dtype = np.dtype(jnp.result_type(float) if value is None else value)
    except TypeError:
        raise ValueError(f"{name}: expected a floating dtype, got {value!r}") from None
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{name}: expected a floating dtype, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(f"{name}: expected a dtype that JAX holds, got {dtype} without jax_enable_x64")
    return dtype


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _init(key: Array, scale: Array, rows: int, columns: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    weights = scale.astype(dtype) * jax.random.normal(key, (rows, columns), dtype)
    return weights, jnp.zeros(rows, dtype), jnp.zeros(columns, dtype)


def transpose(machine: RBM) -> RBM:
    """The same machine with its layers exchanged: hidden units become visible."""
    return exchanged(as_machine(machine))


@jax.jit
def exchanged(machine: RBM) -> RBM:
    """`transpose` of a machine that has been checked."""
    weights, visible_bias, hidden_bias, visible_units, hidden_units = machine
    return RBM(weights.T, hidden_bias, visible_bias, hidden_units, visible_units)


def hidden_field(machine: RBM, visible: Array) -> Array:
    """Field ``b + W^T φ(v)`` on each hidden unit, ``[num_hidden]``; no checks, one matrix product under ``vmap``."""
    return field_on_hidden(machine, machine.visible_units.features(visible, machine.weights.dtype))


def visible_field(machine: RBM, hidden: Array) -> Array:
    """Field ``c + W φ(h)`` on each visible unit, ``[num_visible]``; no checks, one matrix product under ``vmap``."""
    return field_on_visible(machine, machine.hidden_units.features(hidden, machine.weights.dtype))


def field_on_hidden(machine: RBM, features: Array) -> Array:
    """Field ``b + W^T φ`` of visible features."""
    return machine.hidden_bias + features @ machine.weights


def field_on_visible(machine: RBM, features: Array) -> Array:
    """Field ``c + W φ`` of hidden features."""
    # With the hidden units on the left a batch of them stays on the left of the result: no transposed copy.
    return machine.visible_bias + jax.lax.dot_general(features, machine.weights, (((0,), (1,)), ((), ())))


def energy(machine: RBM, visible: Array, hidden: Array) -> Array:
    r"""Energy of one configuration of both layers, in units of the temperature.

    .. math:: E(v, h) = -\sum_i c_i v_i - \sum_a b_a h_a - \sum_{ia} v_i W_{ia} h_a

    Returns:
        Scalar of the machine's dtype.

    Example:
        >>> machine = RBM(jnp.ones((2, 1)), jnp.zeros(2), jnp.zeros(1))
        >>> float(energy(machine, jnp.array([1, 1]), jnp.array([-1])))
        2.0
    """
    machine = as_machine(machine)
    visible = as_visible("visible", visible, machine)
    return _energy(machine, visible, as_hidden("hidden", hidden, machine))


@jax.jit
def _energy(machine: RBM, visible: Array, hidden: Array) -> Array:
    base = machine.visible_units.base_energy(visible, machine.weights.dtype)
    base += machine.hidden_units.base_energy(hidden, machine.weights.dtype)
    visible, hidden = visible_features(machine, visible), hidden_features(machine, hidden)
    return base - visible @ machine.visible_bias - hidden @ field_on_hidden(machine, visible)


def visible_hamiltonian(machine: RBM, visible: Array) -> Array:
    r"""Reduced Hamiltonian of the visible layer, the hidden one summed out: P(v) = exp(-H(v)) / Z.

    .. math:: H(v) = -\sum_i c_i v_i - \sum_a \ln 2\cosh\Big(b_a + \sum_i v_i W_{ia}\Big)

    for spins; in general :math:`H(v) = u(v) - c·\phi(v) - \sum_a \ln \sum_h e^{f_a·\phi(h) - u(h)}` with the field
    :math:`f = b + W^T \phi(v)`.

    Returns:
        Scalar of the machine's dtype. In float32 it is good to about 1e-7 of its own size.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.ones(3), jnp.zeros(2))
        >>> round(float(visible_hamiltonian(machine, jnp.array([1, 1, -1]))), 5)  # -1 - 2 ln 2
        -2.38629
    """
    machine = as_machine(machine)
    return unchecked_visible_hamiltonian(machine, as_visible("visible", visible, machine))


@jax.jit
def unchecked_visible_hamiltonian(machine: RBM, visible: Array) -> Array:
    """`visible_hamiltonian` of units that have been checked, or NaN of what are none."""
    base = machine.visible_units.base_energy(visible, machine.weights.dtype)
    visible = visible_features(machine, visible)
    hidden_terms = machine.hidden_units.log_partition(field_on_hidden(machine, visible))
    return base - visible @ machine.visible_bias - jnp.sum(hidden_terms)


def hidden_hamiltonian(machine: RBM, hidden: Array) -> Array:
    r"""Reduced Hamiltonian of the hidden layer, the visible one summed out: the coarse-grained Hamiltonian.

    .. math:: H(h) = -\sum_a b_a h_a - \sum_i \ln 2\cosh\Big(c_i + \sum_a W_{ia} h_a\Big)

    Returns:
        Scalar of the machine's dtype.
    """
    machine = as_machine(machine)
    return _hidden_hamiltonian(machine, as_hidden("hidden", hidden, machine))


@jax.jit
def _hidden_hamiltonian(machine: RBM, hidden: Array) -> Array:
    return unchecked_visible_hamiltonian(exchanged(machine), hidden)
