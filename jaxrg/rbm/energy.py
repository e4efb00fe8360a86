"""The restricted Boltzmann machine of ±1 units: parameters, energy and the Hamiltonians of its two layers."""

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
    as_spins,
    check_key,
    check_number,
    check_shape,
    is_traced,
    kind_of,
)


class RBM(NamedTuple):
    """Parameters of :math:`E(v, h) = -c·v - b·h - v^T W h`, in units of the temperature.

    Attributes:
        weights: ``[num_visible, num_hidden]``, W.
        visible_bias: ``[num_visible]``, c.
        hidden_bias: ``[num_hidden]``, b.
    """

    weights: Array
    visible_bias: Array
    hidden_bias: Array


def as_machine(machine: Any, *, name: str = "machine") -> RBM:
    """A machine of floating arrays of one dtype that fit together; integers become floats, half precision single.

    Raises:
        ValueError: no `RBM`, weights that are no matrix, a layer without units, or a bias of another length.
    """
    if not isinstance(machine, RBM):
        raise ValueError(f"{name}: expected an RBM of weights, visible_bias and hidden_bias, got {kind_of(machine)}")
    machine = RBM(*as_floating_alike(**machine._asdict()))
    if machine.weights.ndim != 2:
        raise ValueError(
            f"weights: expected shape (num_visible, num_hidden), got {tuple(machine.weights.shape)}; "
            "use jax.vmap over a batch of machines"
        )
    num_visible, num_hidden = machine.weights.shape
    if machine.weights.size == 0:
        raise ValueError(f"weights: expected units in both layers, got shape {tuple(machine.weights.shape)}")
    check_shape("visible_bias", machine.visible_bias, (num_visible,))
    check_shape("hidden_bias", machine.hidden_bias, (num_hidden,))
    return machine


def as_units(name: str, value: Any, shape: tuple[int | None, ...]) -> Array:
    """Units of a layer as an array of spins ±1; None in a shape is any length but zero.

    Raises:
        ValueError: another shape, or units that are not ±1, where they can be seen; of 0 and 1 with what converts them.
    """
    units = as_array(name, value)
    pairs = zip(units.shape, shape, strict=False)
    if units.ndim != len(shape) or any(size == 0 or wanted not in (None, size) for size, wanted in pairs):
        raise ValueError(f"{name}: expected shape {_shape_in_words(shape, units.shape)}, got {tuple(units.shape)}")
    if not is_traced(units):
        host = np.asarray(units)
        if host.dtype == bool or (np.any(host == 0) and np.all((host == 0) | (host == 1))):
            raise ValueError(
                f"{name}: expected spins +1 or -1, got 0 or 1; 2 * {name} - 1 are the spins of 0/1 units, and "
                "rbm.from_binary makes the machine for spins of one for 0/1 units"
            )
    return as_spins(name, units)


def _shape_in_words(shape: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    # A length that is free is shown as the one that came, so that the message says what differs.
    fits = len(given) == len(shape) and 0 not in given
    sizes = [str(size) if size is not None else str(given[0]) if fits else "num_samples" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def spin_values(machine: RBM, units: Array) -> Array:
    """Spins in the dtype of the machine, and NaN for what is none: inside a jit nobody can look at the values."""
    values = units.astype(machine.weights.dtype)
    return jnp.where(jnp.abs(values) == 1, values, jnp.nan)


def init(key: Array, num_visible: int, num_hidden: int, *, scale: float = 0.01, dtype=None) -> RBM:
    """A machine with normal weights and no biases, so that it starts with the ±1 symmetry.

    Args:
        scale: standard deviation of the weights.
        dtype: of all parameters; the default float of JAX unless given.

    Raises:
        ValueError: sizes below 1, a scale that is no finite number, or a dtype that is not floating.

    Example:
        >>> init(jax.random.key(0), num_visible=4, num_hidden=2).weights.shape
        (4, 2)
    """
    check_key("key", key)
    check_number("scale", scale)
    dtype = as_float_dtype("dtype", dtype)
    sizes = as_count("num_visible", num_visible), as_count("num_hidden", num_hidden)
    return _init(key, as_floating("scale", scale), *sizes, dtype)


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
def _init(key: Array, scale: Array, num_visible: int, num_hidden: int, dtype: np.dtype) -> RBM:
    weights = scale.astype(dtype) * jax.random.normal(key, (num_visible, num_hidden), dtype)
    return RBM(weights, jnp.zeros(num_visible, dtype), jnp.zeros(num_hidden, dtype))


def transpose(machine: RBM) -> RBM:
    """The same machine with its layers exchanged: hidden units become visible."""
    return exchanged(as_machine(machine))


@jax.jit
def exchanged(machine: RBM) -> RBM:
    """`transpose` of a machine that has been checked."""
    return RBM(machine.weights.T, machine.hidden_bias, machine.visible_bias)


@jax.custom_jvp
def log_two_cosh(x: Array) -> Array:
    r""":math:`\ln 2\cosh x = |x| + \ln(1 + e^{-2|x|})`, without overflow or switch points; its derivative is tanh."""
    magnitude = jnp.abs(x)
    return magnitude + jnp.log1p(jnp.exp(-2 * magnitude))


@log_two_cosh.defjvp
def _log_two_cosh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # JAX gives |x| the slope 1 at 0 and no curvature, where ln 2cosh x has 0 and 1; tanh is right to every order.
    (x,), (tangent,) = primals, tangents
    return log_two_cosh(x), jnp.tanh(x) * tangent


def hidden_field(machine: RBM, visible: Array) -> Array:
    """Field ``b + W^T v`` on each hidden unit, ``[num_hidden]``; no checks, one matrix product under ``vmap``."""
    return machine.hidden_bias + visible.astype(machine.weights.dtype) @ machine.weights


def visible_field(machine: RBM, hidden: Array) -> Array:
    """Field ``c + W h`` on each visible unit, ``[num_visible]``; no checks, one matrix product under ``vmap``."""
    # With the hidden units on the left a batch of them stays on the left of the result: no transposed copy.
    product = jax.lax.dot_general(hidden.astype(machine.weights.dtype), machine.weights, (((0,), (1,)), ((), ())))
    return machine.visible_bias + product


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
    visible = as_units("visible", visible, machine.visible_bias.shape)
    return _energy(machine, visible, as_units("hidden", hidden, machine.hidden_bias.shape))


@jax.jit
def _energy(machine: RBM, visible: Array, hidden: Array) -> Array:
    visible, hidden = spin_values(machine, visible), spin_values(machine, hidden)
    return -visible @ machine.visible_bias - hidden @ hidden_field(machine, visible)


def visible_hamiltonian(machine: RBM, visible: Array) -> Array:
    r"""Reduced Hamiltonian of the visible layer, the hidden one summed out: P(v) = exp(-H(v)) / Z.

    .. math:: H(v) = -\sum_i c_i v_i - \sum_a \ln 2\cosh\Big(b_a + \sum_i v_i W_{ia}\Big)

    Returns:
        Scalar of the machine's dtype. In float32 it is good to about 1e-7 of its own size.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.ones(3), jnp.zeros(2))
        >>> round(float(visible_hamiltonian(machine, jnp.array([1, 1, -1]))), 5)  # -1 - 2 ln 2
        -2.38629
    """
    machine = as_machine(machine)
    return unchecked_visible_hamiltonian(machine, as_units("visible", visible, machine.visible_bias.shape))


@jax.jit
def unchecked_visible_hamiltonian(machine: RBM, visible: Array) -> Array:
    """`visible_hamiltonian` of units that have been checked, or NaN of what are no spins."""
    visible = spin_values(machine, visible)
    return -visible @ machine.visible_bias - jnp.sum(log_two_cosh(hidden_field(machine, visible)))


def hidden_hamiltonian(machine: RBM, hidden: Array) -> Array:
    r"""Reduced Hamiltonian of the hidden layer, the visible one summed out: the coarse-grained Hamiltonian.

    .. math:: H(h) = -\sum_a b_a h_a - \sum_i \ln 2\cosh\Big(c_i + \sum_a W_{ia} h_a\Big)

    Returns:
        Scalar of the machine's dtype.
    """
    machine = as_machine(machine)
    return _hidden_hamiltonian(machine, as_units("hidden", hidden, machine.hidden_bias.shape))


@jax.jit
def _hidden_hamiltonian(machine: RBM, hidden: Array) -> Array:
    return unchecked_visible_hamiltonian(exchanged(machine), hidden)


def from_binary(machine: RBM) -> tuple[RBM, Array]:
    r"""The ±1 machine equal to one whose parameters are meant for units 0 and 1.

    With :math:`x = (1 + v)/2, y = (1 + h)/2` the energy
    :math:`E_{01}(x, y) = -c·x - b·y - x^T W y` equals :math:`E(v, h)` plus a constant, where

    .. math:: W' = W/4, \quad c'_i = c_i/2 + \sum_a W_{ia}/4, \quad b'_a = b_a/2 + \sum_i W_{ia}/4.

    Args:
        machine: parameters of the 0/1 machine. From scikit-learn's BernoulliRBM:
            ``RBM(model.components_.T, model.intercept_visible_, model.intercept_hidden_)``.

    Returns:
        The ±1 machine, and the constant :math:`E_{01} - E`; so :math:`\ln Z_{01} = \ln Z - (E_{01} - E)`.
    """
    return _from_binary(as_machine(machine))


@jax.jit
def _from_binary(machine: RBM) -> tuple[RBM, Array]:
    weights, visible_bias, hidden_bias = machine.weights / 4, machine.visible_bias / 2, machine.hidden_bias / 2
    shift = -(jnp.sum(visible_bias) + jnp.sum(hidden_bias) + jnp.sum(weights))
    return RBM(weights, visible_bias + jnp.sum(weights, axis=1), hidden_bias + jnp.sum(weights, axis=0)), shift


def to_binary(machine: RBM) -> tuple[RBM, Array]:
    r"""The 0/1 machine equal to a ±1 machine: the inverse of `from_binary`.

    .. math:: W = 4W', \quad c_i = 2c'_i - 2\sum_a W'_{ia}, \quad b_a = 2b'_a - 2\sum_i W'_{ia}

    Returns:
        The parameters for 0/1 units, and the constant :math:`E_{01} - E`.
    """
    return _to_binary(as_machine(machine))


@jax.jit
def _to_binary(machine: RBM) -> tuple[RBM, Array]:
    weights, visible_bias, hidden_bias = machine
    shift = jnp.sum(weights) - jnp.sum(visible_bias) - jnp.sum(hidden_bias)
    of_visible, of_hidden = (
        2 * (bias - jnp.sum(weights, axis)) for bias, axis in ((visible_bias, 1), (hidden_bias, 0))
    )
    return RBM(4 * weights, of_visible, of_hidden), shift
