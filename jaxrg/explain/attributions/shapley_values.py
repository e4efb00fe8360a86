"""Shapley values by their definition, of a function and layer by layer."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.layers import Layer, hidden_inputs, one_output
from jaxrg.tables import MAX_BYTES, all_bits, check_table, subset_sizes
from jaxrg.transforms import num_bits


def _check_inputs(num_inputs: int, num_outputs: int, dtype: np.dtype, max_bytes: int) -> None:
    """Raise ValueError unless the inputs and outputs of a layer in all coalitions fit the memory."""
    # Each coalition: its mask and its inputs; outputs before and after the activation.
    itemsize = num_inputs * (1 + 2 * dtype.itemsize) + 2 * num_outputs * dtype.itemsize
    check_table(num_inputs, itemsize=itemsize, max_bytes=max_bytes, name="inputs")


def _shapley_values(values: Array) -> Array:
    """Shapley values ``[n]`` of a game ``[2**n]``: the gain by each player, weighted by who was there before."""
    n = num_bits(values)
    weights = jnp.asarray([1 / (n * math.comb(n - 1, size)) for size in range(n)], values.dtype)
    # Without the bit of a player, the indices of the others count up: the sizes are the same for all.
    weights = weights[subset_sizes(n - 1)]
    pairs = (values.reshape(-1, 2, 2**player) for player in range(n))
    return jnp.stack([jnp.sum(weights * (pair[:, 1] - pair[:, 0]).reshape(-1)) for pair in pairs])


def shapley(function: Callable[[Array], Array], sample: Array, baseline: Array, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Shapley values of the inputs, :math:`a_i = \sum_{S \not\ni i} \frac{|S|!(n-|S|-1)!}{n!} [v(S \cup i) - v(S)]`.

    For patches, tokens or sampled coalitions there is `interactions.masked_game` with `interactions.shapley_values`.

    Args:
        max_bytes: for the inputs of all coalitions; what the function needs in between comes on top.

    Raises:
        ValueError: more inputs than fit the memory allowed, with the bytes.

    Example:
        >>> shapley(lambda x: x[0] * x[1] ** 2, jnp.ones(2), jnp.zeros(2)).tolist()
        [0.5, 0.5]

    Reference:
        Shapley, Contributions to the Theory of Games II, 307 (1953); Lundberg & Lee, NIPS 2017, arXiv:1705.07874.
    """
    _check_inputs(sample.shape[0], 1, sample.dtype, max_bytes)
    return _shapley_values(jax.vmap(function)(jnp.where(all_bits(sample.shape[0]), sample[None], baseline[None])))


def deep_shap(
    layers: Sequence[Layer], sample: Array, backgrounds: Array, *, output: int, max_bytes: int = MAX_BYTES
) -> Array:
    r"""Deep SHAP: Shapley values of every neuron, chained from layer to layer by multipliers.

    .. math:: m_{ij} = \frac{\phi_i(a_j)}{h_i - \bar h_i}, \qquad m_i = \sum_j m_{ij} m_j, \qquad
        a_i = E_b\, (x_i - b_i)\, m_i

    A neuron with its activation is one component here, and its Shapley values are exact. Where the sum and the
    activation count as two components, as in the package ``shap``, each has one answer only and the chain is DeepLIFT's
    rescale rule averaged over backgrounds.

    Args:
        max_bytes: for what a layer makes of all coalitions of its inputs; backgrounds come one after another.

    Returns:
        ``[inputs]``; they sum to f(x) - E f(b).

    Raises:
        ValueError: a layer with more inputs or outputs than fit the memory allowed, with the bytes.

    Reference:
        Lundberg & Lee, NIPS 2017, arXiv:1705.07874, section 4.2.
    """
    for layer in layers:
        num_inputs, num_outputs = layer.weight.shape
        _check_inputs(num_inputs, num_outputs, sample.dtype, max_bytes)

    def one(baseline: Array) -> Array:
        here, there = hidden_inputs(layers, sample), hidden_inputs(layers, baseline)
        multipliers = one_output(here, output)
        for layer, present, absent in reversed(list(zip(layers, here[:-1], there[:-1], strict=True))):
            mixed = jnp.where(all_bits(present.shape[0]), present[None], absent[None])
            values = layer.activation(mixed @ layer.weight + layer.bias[None]) @ multipliers
            # An input that does not differ has Shapley value 0, and no multiplier.
            multipliers = safe_divide(_shapley_values(values), present - absent)
        return (sample - baseline) * multipliers

    return jnp.mean(jax.lax.map(one, backgrounds), axis=0)
