"""The same machine in other units and in other gauges."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import is_traced
from jaxrg.rbm.energy import RBM, are_alike, as_machine, as_spin_machine, exchanged
from jaxrg.rbm.gibbs import check_finite
from jaxrg.rbm.units import Binary, Gaussian, GreyLevels, Potts, Spins

SYMMETRIC = Spins, Gaussian, GreyLevels  # units that -φ is as likely of as φ, where there is no field


def from_binary(machine: RBM) -> tuple[RBM, Array]:
    r"""The machine of spins ±1 equal to one of units 0 and 1.

    With :math:`x = (1 + v)/2, y = (1 + h)/2` the energy
    :math:`E_{01}(x, y) = -c·x - b·y - x^T W y` equals :math:`E(v, h)` plus a constant, where

    .. math:: W' = W/4, \quad c'_i = c_i/2 + \sum_a W_{ia}/4, \quad b'_a = b_a/2 + \sum_i W_{ia}/4.

    Args:
        machine: of `Binary` units in both layers. From scikit-learn's BernoulliRBM:
            ``RBM(model.components_.T, model.intercept_visible_, model.intercept_hidden_, Binary(), Binary())``.

    Returns:
        The machine of spins, and the constant :math:`E_{01} - E`; so :math:`\ln Z_{01} = \ln Z - (E_{01} - E)`.

    Raises:
        ValueError: other units than `Binary` ones.
    """
    machine = as_machine(machine)
    for name, units in (("visible_units", machine.visible_units), ("hidden_units", machine.hidden_units)):
        if not isinstance(units, Binary):
            raise ValueError(f"machine: expected {name} of rbm.units.Binary(), got {units}")
    return _from_binary(machine)


@jax.jit
def _from_binary(machine: RBM) -> tuple[RBM, Array]:
    weights, visible_bias, hidden_bias = machine.weights / 4, machine.visible_bias / 2, machine.hidden_bias / 2
    shift = -(jnp.sum(visible_bias) + jnp.sum(hidden_bias) + jnp.sum(weights))
    return RBM(weights, visible_bias + jnp.sum(weights, axis=1), hidden_bias + jnp.sum(weights, axis=0)), shift


def to_binary(machine: RBM) -> tuple[RBM, Array]:
    r"""The 0/1 machine equal to a ±1 machine: the inverse of `from_binary`.

    .. math:: W = 4W', \quad c_i = 2c'_i - 2\sum_a W'_{ia}, \quad b_a = 2b'_a - 2\sum_i W'_{ia}

    Returns:
        The machine of `Binary` units, and the constant :math:`E_{01} - E`.

    Raises:
        ValueError: a machine with other units than spins.
    """
    return _to_binary(as_spin_machine(machine))


@jax.jit
def _to_binary(machine: RBM) -> tuple[RBM, Array]:
    weights, visible_bias, hidden_bias = machine[:3]
    shift = jnp.sum(weights) - jnp.sum(visible_bias) - jnp.sum(hidden_bias)
    of_visible, of_hidden = (
        2 * (bias - jnp.sum(weights, axis)) for bias, axis in ((visible_bias, 1), (hidden_bias, 0))
    )
    return RBM(4 * weights, of_visible, of_hidden, Binary(), Binary()), shift


def fix_gauge(machine: RBM) -> tuple[RBM, Array]:
    r"""The machine of this distribution in a form that does not depend on how it was reached.

    Hidden units may be permuted, and hidden spins, grey levels or Gaussian units flipped,
    :math:`\phi(h_a) \to -\phi(h_a)`, without a change of what the visible layer does. Here the weight of largest
    magnitude of each such unit is positive, and units are sorted by the norm of their weights, the largest first.
    Weights of Potts units sum to zero over the states of a unit, in both layers, and what that takes goes into the
    biases, whose sums are zero too.

    Args:
        machine: of any units.

    Returns:
        The machine, and the constant :math:`E_{old} - E_{new}`, so that :math:`\ln Z_{new} = \ln Z_{old} +` it.

    Example:
        >>> machine, _ = fix_gauge(RBM(jnp.array([[0.5, -2.0], [-1.0, 1.0]]), jnp.zeros(2), jnp.array([0.1, 0.2])))
        >>> machine.weights.tolist()
        [[2.0, -0.5], [-1.0, 1.0]]
    """
    return _fix_gauge(as_machine(machine))


@jax.jit
def _fix_gauge(machine: RBM) -> tuple[RBM, Array]:
    machine, shift = _zero_sum(machine)
    mirrored, shift_of_hidden = _zero_sum(exchanged(machine))
    machine, shift = exchanged(mirrored), shift + shift_of_hidden
    size = machine.hidden_units.num_features
    if not isinstance(machine.hidden_units, SYMMETRIC):
        signs = jnp.ones_like(machine.hidden_bias)
    else:
        largest = jnp.argmax(jnp.abs(machine.weights), axis=0)
        signs = jnp.where(jnp.take_along_axis(machine.weights, largest[None, :], axis=0)[0] < 0, -1, 1)
    norms = jnp.sum(machine.weights**2, axis=0).reshape(-1, size).sum(1)
    order = jnp.argsort(-norms, stable=True)
    return _reordered(machine, order, signs.astype(machine.weights.dtype)), shift


def _zero_sum(machine: RBM) -> tuple[RBM, Array]:
    """Weights and biases of visible Potts units without their means over states, and what the energy loses."""
    if not isinstance(machine.visible_units, Potts):
        return machine, jnp.zeros((), machine.weights.dtype)
    shape = machine.num_visible, machine.visible_units.num_states
    weights, bias = machine.weights.reshape(*shape, -1), machine.visible_bias.reshape(shape)
    of_weights, of_bias = jnp.mean(weights, axis=1, keepdims=True), jnp.mean(bias, axis=1, keepdims=True)
    moved = machine._replace(
        weights=(weights - of_weights).reshape(machine.weights.shape),
        visible_bias=(bias - of_bias).reshape(-1),
        hidden_bias=machine.hidden_bias + jnp.sum(of_weights, axis=(0, 1)),
    )
    return moved, -jnp.sum(of_bias)


def _reordered(machine: RBM, order: Array, signs: Array) -> RBM:
    """Hidden features times signs, then units in another order."""
    size = machine.hidden_units.num_features
    columns = (order[:, None] * size + jnp.arange(size)[None, :]).reshape(-1)
    units = machine.hidden_units
    if isinstance(units, Gaussian) and units.log_precision.ndim:
        units = Gaussian(units.log_precision[order])
    return machine._replace(
        weights=(machine.weights * signs[None, :])[:, columns],
        hidden_bias=(machine.hidden_bias * signs)[columns],
        hidden_units=units,
    )


def align(machine: RBM, reference: RBM) -> RBM:
    r"""The machine with its hidden units in the order, and with the signs, in which they resemble another's most.

    .. math:: \max_{\pi, \epsilon} \sum_a \epsilon_a W_{\pi(a)} \cdot W^{ref}_a

    over permutations, and signs where the hidden units have that symmetry, solved as an assignment problem. Align
    machines before their weights or their receptive fields are averaged or compared.

    Args:
        machine: of any units, not traced.
        reference: of as many units of the same kinds.

    Returns:
        A machine with the same visible distribution.

    Raises:
        ValueError: machines that do not correspond, are traced, or have NaN or infinite parameters.

    Example:
        >>> reference = RBM(jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.zeros(2), jnp.zeros(2))
        >>> flipped = RBM(jnp.array([[0.0, -2.0], [1.5, 0.0]]), jnp.zeros(2), jnp.array([0.0, 0.3]))
        >>> align(flipped, reference).weights.tolist()
        [[2.0, 0.0], [-0.0, 1.5]]
    """
    machine, reference = as_machine(machine), as_machine(reference, name="reference")
    if is_traced((machine, reference)):
        raise ValueError("machine: expected arrays with values, got tracers: an assignment is found outside of jit")
    is_alike = are_alike(machine.visible_units, reference.visible_units)
    is_alike &= are_alike(machine.hidden_units, reference.hidden_units)
    if machine.weights.shape != reference.weights.shape or not is_alike:
        raise ValueError(
            f"reference: expected weights {machine.weights.shape} between {machine.visible_units} and "
            f"{machine.hidden_units}, got {reference.weights.shape} between {reference.visible_units} and "
            f"{reference.hidden_units}"
        )
    machine, reference = check_finite(machine), check_finite(reference)
    from scipy.optimize import linear_sum_assignment  # a dependency of JAX, needed here alone

    size = machine.hidden_units.num_features
    own, wanted = (
        np.moveaxis(np.asarray(part.weights).reshape(-1, part.num_hidden, size), 1, 0).reshape(part.num_hidden, -1)
        for part in (machine, reference)
    )
    overlaps = wanted @ own.T
    has_signs = isinstance(machine.hidden_units, SYMMETRIC)
    _, order = linear_sum_assignment(np.abs(overlaps) if has_signs else overlaps, maximize=True)
    signs = np.ones(machine.num_hidden * size, overlaps.dtype)
    if has_signs:
        signs[order] = np.where(overlaps[np.arange(len(order)), order] < 0, -1, 1)
    return _reordered_alone(machine, np.asarray(order, np.int32), signs)


_reordered_alone = jax.jit(_reordered)
