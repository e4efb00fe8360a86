"""The same machine in other units and in other gauges."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.rbm.energy import RBM, as_machine, as_spin_machine
from jaxrg.rbm.units import Binary


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
            raise ValueError(f"machine: expected {name} of rbm.Binary(), got {units}")
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
