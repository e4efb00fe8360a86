"""The pseudolikelihood of data: a loss without a partition function."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.rbm.energy import RBM, as_machine, as_units, hidden_field, spin_values
from jaxrg.rbm.tempering.ladders import unit_hamiltonians
from jaxrg.sums import blocked_sum


def pseudo_log_likelihood(machine: RBM, data: Array) -> Array:
    r"""Mean over the samples of the log-probabilities of all visible units, each given all the others.

    .. math:: \mathcal{L}_\mathrm{pseudo} = \frac1M \sum_n \sum_i \ln p(v_{ni} \mid v_{nj}, j \ne i), \qquad
        p(v_i \mid v_j, j \ne i) = \frac{1}{1 + e^{H(v) - H(v^{(i)})}}

    with :math:`v^{(i)}` the layer with unit i flipped. A flip changes the fields on the hidden units by
    :math:`-2 v_i W_{ia}`, so that all units of a sample together cost as much as one product with the weights; memory
    is that of one unit at a time, also under ``jax.grad``. It is exact for machines of any size. What it maximises are
    the conditional distributions: it says little of how much weight phases far from each other have.

    Args:
        machine: an `RBM` of spins.
        data: ``[num_samples, num_visible]`` spins ±1.

    Returns:
        Scalar of the machine's dtype, in nats per sample; its negative is a loss for `jaxrg.training.gradient_of`. NaN
        where, inside a jit, data are not ±1.

    Raises:
        ValueError: no machine, or data that are not ±1 or do not fit.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> round(float(pseudo_log_likelihood(machine, jnp.ones((5, 3), jnp.int8))), 5)  # -3 ln 2
        -2.07944

    Reference:
        Besag, The Statistician 24, 179 (1975).
    """
    machine = as_machine(machine)
    return _pseudo_log_likelihood(machine, as_units("data", data, (None, machine.visible_bias.shape[0])))


@jax.jit
def _pseudo_log_likelihood(machine: RBM, data: Array) -> Array:
    samples = spin_values(machine, data)
    fields = jax.vmap(hidden_field, (None, 0))(machine, samples)  # [num_samples, num_hidden]

    def gain(weights: Array, bias: Array, value: Array, visible: Array, field: Array) -> Array:
        """H of the layer with one unit flipped, minus H of the layer."""
        flipped = unit_hamiltonians(machine, field - 2 * value * weights, visible)
        return 2 * bias * value + jnp.sum(flipped - unit_hamiltonians(machine, field, visible))

    def of_unit(unit: tuple[Array, Array, Array]) -> Array:
        """The sum over all samples."""
        gains = jax.vmap(gain, (None, None, 0, 0, 0))(*unit, samples[:, :1], fields)
        return blocked_sum(jax.nn.log_sigmoid(gains))

    units = machine.weights, machine.visible_bias, samples.T
    return blocked_sum(jax.lax.map(jax.checkpoint(of_unit), units)) / samples.shape[0]
