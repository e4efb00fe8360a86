r"""Attributions that go back through a network layer by layer, as their authors define them.

A neuron j sums :math:`y_j = \sum_i z_{ij} + b_j` with :math:`z_{ij} = h_i w_{ij}` and sends on :math:`a_j`. Either its
relevance :math:`R_j` is divided among its inputs, or differences :math:`\Delta` from a reference, the baseline, pass
through multipliers :math:`m`, and the :math:`m_i \Delta x_i` sum to the difference of the output.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.functions import check_coalitions
from jaxrg.explain.attributions.layers import Layer, propagate_differences, propagate_relevance
from jaxrg.interactions import shapley_values
from jaxrg.tables import MAX_BYTES, all_bits

# (contributions z [inputs, outputs], bias [outputs]) -> fraction of each neuron's relevance [inputs, outputs]
Rule = Callable[[Array, Array], Array]


def _divide(layers: Sequence[Layer], sample: Array, output: int, rule: Rule) -> Array:
    def step(layer: Layer, inputs: Array, outputs: Array, relevance: Array) -> Array:
        return rule(inputs[:, None] * layer.weight, layer.bias) @ relevance

    return propagate_relevance(layers, sample, output, step)


def lrp_epsilon(layers: Sequence[Layer], sample: Array, *, output: int, epsilon: float = 0.0) -> Array:
    r"""LRP-ε, :math:`R_i = \sum_j \frac{z_{ij}}{y_j + \epsilon\,\mathrm{sign}(y_j)} R_j`.

    Biases and ε ≥ 0 keep what they absorb; without both the relevances sum to the output.

    Reference:
        Bach et al., PLoS ONE 10, e0130140 (2015).
    """

    def rule(contributions: Array, bias: Array) -> Array:
        sums = jnp.sum(contributions, axis=0) + bias
        return safe_divide(contributions, (sums + jnp.where(sums >= 0, epsilon, -epsilon))[None])

    return _divide(layers, sample, output, rule)


def lrp_alpha_beta(
    layers: Sequence[Layer], sample: Array, *, output: int, alpha: float = 2.0, beta: float = -1.0
) -> Array:
    r"""LRP-αβ, :math:`R_i = \sum_j \Bigl(\alpha \frac{z_{ij}^+}{z_j^+} + \beta \frac{z_{ij}^-}{z_j^-}\Bigr) R_j`, where
    the sums :math:`z_j^\pm` include the bias.

    Raises:
        ValueError: α + β is not 1.

    Reference:
        Bach et al., PLoS ONE 10, e0130140 (2015).
    """
    if abs(alpha + beta - 1) > 1e-6:
        raise ValueError(f"alpha, beta: expected a sum of 1, got {alpha} and {beta}")

    def rule(contributions: Array, bias: Array) -> Array:
        inside = [part(contributions, 0) for part in (jnp.maximum, jnp.minimum)]
        biases = jnp.maximum(bias, 0), jnp.minimum(bias, 0)
        up, down = (safe_divide(z, (jnp.sum(z, axis=0) + b)[None]) for z, b in zip(inside, biases, strict=True))
        return alpha * up + beta * down

    return _divide(layers, sample, output, rule)


def deep_taylor(layers: Sequence[Layer], sample: Array, *, output: int) -> Array:
    r"""Deep Taylor decomposition by the z⁺ rule: a first-order expansion of each neuron about a root of its sum.

    The relevance of a neuron is modelled as :math:`R_j = c_j y_j`, and its root is found by shrinking the inputs with a
    positive contribution, :math:`\tilde x = x - t\,x\,1[z > 0]` with :math:`t = y_j / \sum_i z_{ij}^+`. Then

    .. math:: R_i = \sum_j \frac{\partial R_j}{\partial x_i}\Big|_{\tilde x} (x_i - \tilde x_i).

    The published argument for these roots holds for a sample of at least 0.

    Reference:
        Montavon, Lapuschkin, Binder, Samek & Müller, Pattern Recognit. 65, 211 (2017), arXiv:1512.02479.
    """

    def rule(contributions: Array, bias: Array) -> Array:
        sums = jnp.sum(contributions, axis=0) + bias
        steps = safe_divide(sums, jnp.sum(jnp.maximum(contributions, 0), axis=0))
        # w (x - x~) of each input and neuron; the gradient c_j w of c_j y_j is the same at the root as anywhere.
        return safe_divide(jnp.where(contributions > 0, contributions * steps[None], 0), sums[None])

    return _divide(layers, sample, output, rule)


def _slope(layer: Layer, change: Array, difference: Array, place: Array) -> Array:
    """change / difference, and the derivative of the activation at a place where the difference vanishes."""
    limit = jax.jvp(layer.activation, (place,), (jnp.ones_like(place),))[1]
    return jnp.where(difference == 0, limit, safe_divide(change, difference))


def deeplift_rescale(layers: Sequence[Layer], sample: Array, baseline: Array, *, output: int) -> Array:
    r"""DeepLIFT with the rescale rule, :math:`m_i = \sum_j w_{ij} \frac{\Delta a_j}{\Delta y_j} m_j`.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """

    def step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
        sums, reference = (inputs @ layer.weight + layer.bias for inputs in (here, there))
        change = layer.activation(sums) - layer.activation(reference)
        return layer.weight @ (_slope(layer, change, sums - reference, sums) * multipliers)

    return propagate_differences(layers, sample, baseline, output, step)


def deeplift_reveal_cancel(layers: Sequence[Layer], sample: Array, baseline: Array, *, output: int) -> Array:
    r"""DeepLIFT with the RevealCancel rule: positive and negative contributions to a sum are two players, each with its
    Shapley value of the neuron.

    .. math:: \Delta a^+ = \tfrac12 [\sigma(\bar y + \Delta y^+) - \sigma(\bar y)]
        + \tfrac12 [\sigma(\bar y + \Delta y^+ + \Delta y^-) - \sigma(\bar y + \Delta y^-)]

    and likewise for the negative part; within a part, shares are in proportion to the contributions.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """

    def step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
        contributions = (here - there)[:, None] * layer.weight
        reference = there @ layer.weight + layer.bias
        positive, negative = (jnp.sum(part(contributions, 0), axis=0) for part in (jnp.maximum, jnp.minimum))
        none, plus, minus, both = (
            layer.activation(reference + change) for change in (0, positive, negative, positive + negative)
        )
        plus_slope = _slope(layer, 0.5 * (plus - none) + 0.5 * (both - minus), positive, reference)
        minus_slope = _slope(layer, 0.5 * (minus - none) + 0.5 * (both - plus), negative, reference)
        return (layer.weight * jnp.where(contributions > 0, plus_slope[None], minus_slope[None])) @ multipliers

    return propagate_differences(layers, sample, baseline, output, step)


def deep_shap(
    layers: Sequence[Layer], sample: Array, backgrounds: Array, *, output: int, max_bytes: int = MAX_BYTES
) -> Array:
    r"""Deep SHAP: Shapley values of every neuron, chained from layer to layer and averaged over backgrounds.

    .. math:: m_i = \sum_j \frac{\phi_i(a_j)}{h_i - \bar h_i} m_j

    A neuron with its activation is one component here, and its Shapley values are exact. Where the sum and the
    activation count as two components, as in the package ``shap``, each has one answer only and the chain is DeepLIFT's
    rescale rule averaged over backgrounds.

    Args:
        max_bytes: for what a layer makes of all coalitions of its inputs; backgrounds come one after another.

    Reference:
        Lundberg & Lee, NIPS 2017, arXiv:1705.07874, section 4.2.
    """
    for layer in layers:
        num_inputs, num_outputs = layer.weight.shape
        check_coalitions(num_inputs, num_outputs, sample.dtype, max_bytes)

    def step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
        mixed = jnp.where(all_bits(here.shape[0]), here[None], there[None])
        values = layer.activation(mixed @ layer.weight + layer.bias[None]) @ multipliers
        # An input that does not differ has Shapley value 0, and no multiplier.
        return safe_divide(shapley_values(values), here - there)

    one = lambda baseline: propagate_differences(layers, sample, baseline, output, step)  # noqa: E731
    return jnp.mean(jax.lax.map(one, backgrounds), axis=0)
