"""The restricted Boltzmann machine of ±1 units: parameters, energy and the Hamiltonians of its two layers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import check_count, check_shape, check_spins


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


def check_machine(machine: RBM) -> tuple[int, int]:
    """``(num_visible, num_hidden)`` of a machine whose arrays fit together.

    Raises:
        ValueError: the weights are no matrix, or a bias has another length.
    """
    if machine.weights.ndim != 2:
        raise ValueError(
            f"weights: expected shape (num_visible, num_hidden), got {tuple(machine.weights.shape)}; "
            "use jax.vmap over a batch of machines"
        )
    num_visible, num_hidden = machine.weights.shape
    check_shape("visible_bias", machine.visible_bias, (num_visible,))
    check_shape("hidden_bias", machine.hidden_bias, (num_hidden,))
    return num_visible, num_hidden


def init(key: Array, num_visible: int, num_hidden: int, *, scale: float = 0.01, dtype=None) -> RBM:
    """A machine with normal weights and no biases, so that it starts with the ±1 symmetry.

    Args:
        scale: standard deviation of the weights.
        dtype: of all parameters; the default float of JAX unless given.

    Example:
        >>> init(jax.random.key(0), num_visible=4, num_hidden=2).weights.shape
        (4, 2)
    """
    check_count("num_visible", num_visible)
    check_count("num_hidden", num_hidden)
    dtype = jnp.result_type(float) if dtype is None else dtype
    weights = scale * jax.random.normal(key, (num_visible, num_hidden), dtype)
    return RBM(weights, jnp.zeros(num_visible, dtype), jnp.zeros(num_hidden, dtype))


def transpose(machine: RBM) -> RBM:
    """The same machine with its layers exchanged: hidden units become visible."""
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
    num_visible, num_hidden = check_machine(machine)
    check_spins("visible", visible, (num_visible,))
    check_spins("hidden", hidden, (num_hidden,))
    hidden = hidden.astype(machine.weights.dtype)
    return -visible.astype(machine.weights.dtype) @ machine.visible_bias - hidden @ hidden_field(machine, visible)


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
    num_visible, _ = check_machine(machine)
    check_spins("visible", visible, (num_visible,))
    return unchecked_visible_hamiltonian(machine, visible)


def unchecked_visible_hamiltonian(machine: RBM, visible: Array) -> Array:
    """`visible_hamiltonian` for states the library made itself."""
    linear = visible.astype(machine.weights.dtype) @ machine.visible_bias
    return -linear - jnp.sum(log_two_cosh(hidden_field(machine, visible)))


def hidden_hamiltonian(machine: RBM, hidden: Array) -> Array:
    r"""Reduced Hamiltonian of the hidden layer, the visible one summed out: the coarse-grained Hamiltonian.

    .. math:: H(h) = -\sum_a b_a h_a - \sum_i \ln 2\cosh\Big(c_i + \sum_a W_{ia} h_a\Big)

    Returns:
        Scalar of the machine's dtype.
    """
    _, num_hidden = check_machine(machine)
    check_spins("hidden", hidden, (num_hidden,))
    return unchecked_visible_hamiltonian(transpose(machine), hidden)


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
    check_machine(machine)
    weights = jnp.asarray(machine.weights) / 4
    visible_bias = jnp.asarray(machine.visible_bias) / 2
    hidden_bias = jnp.asarray(machine.hidden_bias) / 2
    shift = -(jnp.sum(visible_bias) + jnp.sum(hidden_bias) + jnp.sum(weights))
    return RBM(weights, visible_bias + jnp.sum(weights, axis=1), hidden_bias + jnp.sum(weights, axis=0)), shift


def to_binary(machine: RBM) -> tuple[RBM, Array]:
    r"""The 0/1 machine equal to a ±1 machine: the inverse of `from_binary`.

    .. math:: W = 4W', \quad c_i = 2c'_i - 2\sum_a W'_{ia}, \quad b_a = 2b'_a - 2\sum_i W'_{ia}

    Returns:
        The parameters for 0/1 units, and the constant :math:`E_{01} - E`.
    """
    check_machine(machine)
    weights, visible_bias, hidden_bias = machine
    shift = jnp.sum(weights) - jnp.sum(visible_bias) - jnp.sum(hidden_bias)
    of_visible, of_hidden = (
        2 * (bias - jnp.sum(weights, axis)) for bias, axis in ((visible_bias, 1), (hidden_bias, 0))
    )
    return RBM(4 * weights, of_visible, of_hidden), shift
