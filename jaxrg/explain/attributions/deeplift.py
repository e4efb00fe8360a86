r"""DeepLIFT: differences from a reference, propagated by multipliers, as its authors define it.

The reference input is the ``baseline``; the results :math:`m_i \Delta x_i` sum to the difference of the output from its
reference.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.layers import Layer, hidden_inputs, one_output


def _slope(layer: Layer, change: Array, difference: Array, place: Array) -> Array:
    """change / difference, and the derivative of the activation at a place where the difference vanishes."""
    limit = jax.jvp(layer.activation, (place,), (jnp.ones_like(place),))[1]
    return jnp.where(difference == 0, limit, safe_divide(change, difference))


def deeplift_rescale(layers: Sequence[Layer], sample: Array, baseline: Array, *, output: int) -> Array:
    r"""DeepLIFT with the rescale rule, :math:`m_j = \frac{\Delta a_j}{\Delta y_j} m_{a_j}` and
    :math:`m_i = \sum_j w_{ij} m_j`.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """
    here, there = hidden_inputs(layers, sample), hidden_inputs(layers, baseline)
    multipliers = one_output(here, output)
    for number, layer in reversed(list(enumerate(layers))):
        sums, reference = (inputs[number] @ layer.weight + layer.bias for inputs in (here, there))
        slope = _slope(layer, here[number + 1] - there[number + 1], sums - reference, sums)
        multipliers = layer.weight @ (slope * multipliers)
    return (sample - baseline) * multipliers


def deeplift_reveal_cancel(layers: Sequence[Layer], sample: Array, baseline: Array, *, output: int) -> Array:
    r"""DeepLIFT with the RevealCancel rule: positive and negative contributions to a sum are two players, each with its
    Shapley value of the neuron.

    .. math:: \Delta a^+ = \tfrac12 [\sigma(\bar y + \Delta y^+) - \sigma(\bar y)]
        + \tfrac12 [\sigma(\bar y + \Delta y^+ + \Delta y^-) - \sigma(\bar y + \Delta y^-)]

    and likewise for the negative part; within a part, shares are in proportion to the contributions.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """
    here, there = hidden_inputs(layers, sample), hidden_inputs(layers, baseline)
    multipliers = one_output(here, output)
    for number, layer in reversed(list(enumerate(layers))):
        contributions = (here[number] - there[number])[:, None] * layer.weight
        reference = there[number] @ layer.weight + layer.bias
        positive, negative = (jnp.sum(part(contributions, 0), axis=0) for part in (jnp.maximum, jnp.minimum))
        none, plus, minus, both = (
            layer.activation(reference + change) for change in (0, positive, negative, positive + negative)
        )
        plus_slope = _slope(layer, 0.5 * (plus - none) + 0.5 * (both - minus), positive, reference)
        minus_slope = _slope(layer, 0.5 * (minus - none) + 0.5 * (both - plus), negative, reference)
        multipliers = (layer.weight * jnp.where(contributions > 0, plus_slope[None], minus_slope[None])) @ multipliers
    return (sample - baseline) * multipliers
