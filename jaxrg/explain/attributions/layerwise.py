r"""Attributions that go back through a network layer by layer, as their authors define them.

A neuron j sums :math:`y_j = \sum_i z_{ij} + b_j` with :math:`z_{ij} = h_i w_{ij}` and sends on :math:`a_j`. Either its
relevance :math:`R_j` is divided among its inputs, or differences :math:`\Delta` from a reference, the baseline, pass
through multipliers :math:`m`, and the :math:`m_i \Delta x_i` sum to the difference of the output. Where a difference
vanishes, or is lost in the rounding of its terms, a multiplier is the derivative it tends to.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_count, as_floating, check_number, is_traced
from jaxrg.explain.attributions.attribution import Attribution
from jaxrg.explain.attributions.layers import Layer, as_network, propagate_differences, propagate_relevance
from jaxrg.interactions import shapley_values
from jaxrg.tables import MAX_BYTES, all_bits, check_table, subset_sizes

# Rounding of a value in units of its last place, as the elementary functions of XLA reach it.
ULPS = 4


def _value_and_derivative(activation: Callable[[Array], Array], place: Array) -> tuple[Array, Array]:
    return jax.jvp(activation, (place,), (jnp.ones_like(place),))


def _unless_lost(change: Array, difference: Array, limit: Array, scale: Array) -> Array:
    """change / difference, or the limit where rounding of values of this scale cannot tell the two apart."""
    rounding = ULPS * jnp.finfo(change.dtype).eps * scale
    is_lost = jnp.abs(limit * difference - change) <= rounding
    return jnp.where(is_lost, limit, change / jnp.where(is_lost, 1, difference))


def _slope(activation: Callable[[Array], Array], start: Array, end: Array) -> Array:
    r""":math:`[\sigma(e) - \sigma(s)]/(e - s)`, and where that is lost the mean of σ' by Simpson's rule."""
    (first, at_start), (last, at_end) = (_value_and_derivative(activation, place) for place in (start, end))
    mean = (0.5 * (at_start + at_end) + 2 * _value_and_derivative(activation, 0.5 * (start + end))[1]) / 3
    return _unless_lost(last - first, end - start, mean, jnp.abs(first) + jnp.abs(last))


def _as_parameter(name: str, value: Any) -> Array:
    check_number(name, value)
    return as_floating(name, value)


def lrp_epsilon(layers: Sequence[Layer], sample: ArrayLike, *, output: int, epsilon: float = 0.0) -> Attribution:
    r"""LRP-ε, :math:`R_i = \sum_j \frac{z_{ij}}{y_j + \epsilon\,\mathrm{sign}(y_j)} R_j`.

    Biases and ε ≥ 0 keep what they absorb, which is the completeness gap; without both the relevances sum to the
    output.

    Reference:
        Bach et al., PLoS ONE 10, e0130140 (2015).
    """
    parameter = _as_parameter("epsilon", epsilon)
    if not is_traced(epsilon) and not float(epsilon) >= 0:
        raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon}")
    return propagate_relevance(Partial(_epsilon_step, parameter), *as_network(layers, output, sample))


def _epsilon_step(epsilon: Array, layer: Layer, inputs: Array, multipliers: Array) -> Array:
    sums = inputs @ layer.weight + layer.bias
    epsilon = epsilon.astype(sums.dtype)
    stable = sums + jnp.where(sums >= 0, epsilon, -epsilon)
    # Without ε, a neuron whose sum is 0 sends on 0 / 0: of an activation that is 0 at 0, its derivative there.
    outputs = layer.activation(sums)
    limit = jnp.where(outputs == 0, _value_and_derivative(layer.activation, jnp.zeros_like(sums))[1], 0)
    ratio = jnp.where(stable == 0, limit, outputs / jnp.where(stable == 0, 1, stable))
    return layer.weight @ (ratio * multipliers)


def lrp_alpha_beta(
    layers: Sequence[Layer], sample: ArrayLike, *, output: int, alpha: float = 2.0, beta: float = -1.0
) -> Attribution:
    r"""LRP-αβ, :math:`R_i = \sum_j \Bigl(\alpha \frac{z_{ij}^+}{z_j^+} + \beta \frac{z_{ij}^-}{z_j^-}\Bigr) R_j`, where
    the sums :math:`z_j^\pm` include the bias.

    Raises:
        ValueError: α + β is not 1.

    Reference:
        Bach et al., PLoS ONE 10, e0130140 (2015).
    """
    parts = [_as_parameter(name, value) for name, value in (("alpha", alpha), ("beta", beta))]
    if not is_traced((alpha, beta)) and not abs(float(alpha) + float(beta) - 1) <= 1e-6:
        raise ValueError(f"alpha, beta: expected a sum of 1, got {alpha} and {beta}")
    return propagate_relevance(Partial(_alpha_beta_step, *parts), *as_network(layers, output, sample))


def _alpha_beta_step(alpha: Array, beta: Array, layer: Layer, inputs: Array, multipliers: Array) -> Array:
    contributions = inputs[:, None] * layer.weight
    relevance = layer.activation(jnp.sum(contributions, axis=0) + layer.bias) * multipliers
    given = jnp.zeros_like(inputs)
    for factor, part in ((alpha, jnp.maximum), (beta, jnp.minimum)):
        total = jnp.sum(part(contributions, 0), axis=0) + part(layer.bias, 0)
        share = factor.astype(total.dtype) * safe_divide(relevance, total)
        given = given + jnp.where(part(contributions, 0) != 0, layer.weight, 0) @ share
    return given


def deep_taylor(layers: Sequence[Layer], sample: ArrayLike, *, output: int) -> Attribution:
    r"""Deep Taylor decomposition by the z⁺ rule: a first-order expansion of each neuron about a root of its sum.

    The relevance of a neuron is modelled as :math:`R_j = c_j y_j`, and its root is found by shrinking the inputs with a
    positive contribution, :math:`\tilde x = x - t\,x\,1[z > 0]` with :math:`t = y_j / \sum_i z_{ij}^+`. Then

    .. math:: R_i = \sum_j \frac{\partial R_j}{\partial x_i}\Big|_{\tilde x} (x_i - \tilde x_i).

    The published argument for these roots holds for a sample of at least 0.

    Reference:
        Montavon, Lapuschkin, Binder, Samek & Müller, Pattern Recognit. 65, 211 (2017), arXiv:1512.02479.
    """
    return propagate_relevance(Partial(_deep_taylor_step), *as_network(layers, output, sample))


def _deep_taylor_step(layer: Layer, inputs: Array, multipliers: Array) -> Array:
    contributions = inputs[:, None] * layer.weight
    sums = jnp.sum(contributions, axis=0) + layer.bias
    # The gradient c_j w of c_j y_j is the same at the root as anywhere, and x - x~ is x y_j over the positive part.
    share = safe_divide(layer.activation(sums), jnp.sum(jnp.maximum(contributions, 0), axis=0))
    share = jnp.where(sums == 0, 0, share)  # a root already
    return jnp.where(contributions > 0, layer.weight, 0) @ (share * multipliers)


def deeplift_rescale(layers: Sequence[Layer], sample: ArrayLike, baseline: ArrayLike, *, output: int) -> Attribution:
    r"""DeepLIFT with the rescale rule, :math:`m_i = \sum_j w_{ij} \frac{\Delta a_j}{\Delta y_j} m_j`.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """
    return propagate_differences(Partial(_rescale_step), *as_network(layers, output, sample, baseline=baseline))


def _rescale_step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
    sums, reference = (inputs @ layer.weight + layer.bias for inputs in (here, there))
    return layer.weight @ (_slope(layer.activation, reference, sums) * multipliers)


def deeplift_reveal_cancel(
    layers: Sequence[Layer], sample: ArrayLike, baseline: ArrayLike, *, output: int
) -> Attribution:
    r"""DeepLIFT with the RevealCancel rule: positive and negative contributions to a sum are two players, each with its
    Shapley value of the neuron.

    .. math:: \Delta a^+ = \tfrac12 [\sigma(\bar y + \Delta y^+) - \sigma(\bar y)]
        + \tfrac12 [\sigma(\bar y + \Delta y^+ + \Delta y^-) - \sigma(\bar y + \Delta y^-)]

    and likewise for the negative part; within a part, shares are in proportion to the contributions. An input that does
    not differ has the mean of both multipliers.

    Reference:
        Shrikumar, Greenside & Kundaje, ICML 2017, arXiv:1704.02685.
    """
    return propagate_differences(Partial(_reveal_cancel_step), *as_network(layers, output, sample, baseline=baseline))


def _reveal_cancel_step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
    contributions = (here - there)[:, None] * layer.weight
    none = there @ layer.weight + layer.bias
    positive, negative = (jnp.sum(part(contributions, 0), axis=0) for part in (jnp.maximum, jnp.minimum))
    plus, minus, both = none + positive, none + negative, none + positive + negative
    slope = lambda start, end: _slope(layer.activation, start, end)  # noqa: E731
    plus_slope = 0.5 * (slope(none, plus) + slope(minus, both))
    minus_slope = 0.5 * (slope(none, minus) + slope(plus, both))
    mean, half = 0.5 * (plus_slope + minus_slope), 0.5 * (plus_slope - minus_slope)
    return layer.weight @ (mean * multipliers) + (layer.weight * jnp.sign(contributions)) @ (half * multipliers)


def deep_shap(
    layers: Sequence[Layer], sample: ArrayLike, backgrounds: ArrayLike, *, output: int, max_bytes: int = MAX_BYTES
) -> Attribution:
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
    network = as_network(layers, output, sample, backgrounds=backgrounds)
    max_bytes = as_count("max_bytes", max_bytes)
    for layer in network[0]:
        (num_inputs, num_outputs), size = layer.weight.shape, layer.weight.dtype.itemsize
        # Each coalition: its mask, inputs and gradients; outputs before and after the activation, and derivatives.
        itemsize = num_inputs * (1 + 3 * size) + 3 * num_outputs * size
        check_table(num_inputs, itemsize=itemsize, max_bytes=max_bytes, name="inputs")
    return propagate_differences(Partial(_deep_shap_step), *network)


def _deep_shap_step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
    n, dtype = here.shape[0], here.dtype
    is_there = all_bits(n)
    sums = jnp.where(is_there, here[None], there[None]) @ layer.weight + layer.bias[None]
    outputs, slopes = _value_and_derivative(layer.activation, sums)
    # The limit of an input that does not differ: the mean of the derivative over the same coalitions, without it and
    # with it, by the trapezoidal rule.
    of_size = jnp.asarray([0.0, *(0.5 / (n * math.comb(n - 1, size)) for size in range(n)), 0.0], dtype)
    with_it, without = of_size[subset_sizes(n)], of_size[subset_sizes(n) + 1]
    of_neurons = is_there.T.astype(dtype) @ ((with_it - without)[:, None] * slopes) + (without @ slopes)[None]
    limit = (layer.weight * of_neurons) @ multipliers
    scale = jnp.max(jnp.abs(outputs) @ jnp.abs(multipliers))
    return _unless_lost(shapley_values(outputs @ multipliers), here - there, limit, scale)
