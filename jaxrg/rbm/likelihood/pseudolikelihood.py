"""The pseudolikelihood of data: a loss without a partition function."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.rbm.energy import RBM, as_machine, as_visible, field_on_hidden, visible_features
from jaxrg.sums import blocked_sum


def pseudo_log_likelihood(machine: RBM, data: Array) -> Array:
    r"""Mean over the samples of the log-probabilities of all visible units, each given all the others.

    .. math:: \mathcal{L}_\mathrm{pseudo} = \frac1M \sum_n \sum_i \ln p(v_{ni} \mid v_{nj}, j \ne i), \qquad
        p(v_i \mid v_j, j \ne i) = \frac{1}{\sum_s e^{H(v) - H(v^{(i \to s)})}}

    with :math:`v^{(i \to s)}` the layer with unit i in state s. That changes the fields on the hidden units by
    :math:`-2 v_i W_{ia}` for a spin that flips, so that all units of a sample together cost as much as one product with
    the weights for each state; memory is that of one unit at a time, also under ``jax.grad``. It is exact for machines
    of any size. What it maximises are the conditional distributions: it says little of how much weight phases far from
    each other have.

    Args:
        machine: an `RBM` of visible spins or other units of few states.
        data: ``[num_samples, num_visible]`` of these units.

    Returns:
        Scalar of the machine's dtype, in nats per sample; its negative is a loss for `jaxrg.training.gradient_of`. NaN
        where, inside a jit, data are no such units.

    Raises:
        ValueError: no machine, real visible units, or data that are no such units or do not fit.

    Example:
        >>> machine = RBM(jnp.zeros((3, 2)), jnp.zeros(3), jnp.zeros(2))
        >>> round(float(pseudo_log_likelihood(machine, jnp.ones((5, 3), jnp.int8))), 5)  # -3 ln 2
        -2.07944

    Reference:
        Besag, The Statistician 24, 179 (1975).
    """
    machine = as_machine(machine)
    if machine.visible_units.num_states is None:
        raise ValueError(f"machine: expected visible units of few states, got {machine.visible_units}")
    return _pseudo_log_likelihood(machine, as_visible("data", data, machine, is_batch=True))


@jax.jit
def _pseudo_log_likelihood(machine: RBM, data: Array) -> Array:
    size, log_partition = machine.visible_units.num_features, machine.hidden_units.log_partition
    states = machine.visible_units.state_features(machine.weights.dtype)
    features = visible_features(machine, data)
    fields = jax.vmap(field_on_hidden, (None, 0))(machine, features)  # [num_samples, num_hidden]

    def of_unit(unit: tuple[Array, Array, Array]) -> Array:
        """The sum over all samples."""
        weights, bias, own = unit
        moves = states[None] - own[:, None, :]  # [num_samples, num_states, num_features]
        moved = log_partition(fields[:, None, :] + moves @ weights) - log_partition(fields)[:, None, :]
        return -blocked_sum(jax.nn.logsumexp(moves @ bias + jnp.sum(moved, axis=2), axis=1))

    units = (
        machine.weights.reshape(-1, size, machine.weights.shape[1]),
        machine.visible_bias.reshape(-1, size),
        jnp.moveaxis(features.reshape(len(data), -1, size), 1, 0),
    )
    return blocked_sum(jax.lax.map(jax.checkpoint(of_unit), units)) / data.shape[0]
