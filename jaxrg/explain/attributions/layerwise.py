r"""Layer-wise relevance propagation and the deep Taylor decomposition, as their authors define them.

A neuron j sums :math:`y_j = \sum_i z_{ij} + b_j` with :math:`z_{ij} = h_i w_{ij}`.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.layers import Layer, hidden_inputs, one_output

# (contributions z [inputs, outputs], bias [outputs]) -> fraction of each neuron's relevance [inputs, outputs]
Rule = Callable[[Array, Array], Array]


def _propagate(layers: Sequence[Layer], sample: Array, output: int, rule: Rule) -> Array:
    hidden = hidden_inputs(layers, sample)
    relevance = hidden[-1] * one_output(hidden, output)
    for layer, inputs in zip(reversed(layers), reversed(hidden[:-1]), strict=True):
        relevance = rule(inputs[:, None] * layer.weight, layer.bias) @ relevance
    return relevance


def lrp_epsilon(layers: Sequence[Layer], sample: Array, *, output: int, epsilon: float = 0.0) -> Array:
    r"""LRP-ε, :math:`R_i = \sum_j \frac{z_{ij}}{y_j + \epsilon\,\mathrm{sign}(y_j)} R_j`.

    Biases and ε ≥ 0 keep what they absorb; without both the relevances sum to the output.

    Reference:
        Bach et al., PLoS ONE 10, e0130140 (2015).
    """

    def rule(contributions: Array, bias: Array) -> Array:
        sums = jnp.sum(contributions, axis=0) + bias
        return safe_divide(contributions, (sums + jnp.where(sums >= 0, epsilon, -epsilon))[None])

    return _propagate(layers, sample, output, rule)


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

    def share(part: Callable, contributions: Array, bias: Array) -> Array:
        inside = part(contributions, 0)
        return safe_divide(inside, (jnp.sum(inside, axis=0) + part(bias, 0))[None])

    def rule(contributions: Array, bias: Array) -> Array:
        return alpha * share(jnp.maximum, contributions, bias) + beta * share(jnp.minimum, contributions, bias)

    return _propagate(layers, sample, output, rule)


def deep_taylor(layers: Sequence[Layer], sample: Array, *, output: int) -> Array:
    r"""Deep Taylor decomposition by the z⁺ rule: a first-order expansion of each neuron about a root of its sum.

    The relevance of a neuron is modelled as :math:`R_j = c_j y_j`, and its root is found by shrinking the inputs with a
    positive contribution, :math:`\tilde x = x - t\,x\,1[z > 0]` with :math:`t = y_j / \sum_i z_{ij}^+`. Then

    .. math:: R_i = \sum_j \frac{\partial R_j}{\partial x_i}\Big|_{\tilde x} (x_i - \tilde x_i).

    The published argument for these roots holds for a sample of at least 0.

    Reference:
        Montavon, Lapuschkin, Binder, Samek & Müller, Pattern Recognit. 65, 211 (2017), arXiv:1512.02479.
    """
    hidden = hidden_inputs(layers, sample)
    relevance = hidden[-1] * one_output(hidden, output)
    for layer, inputs in zip(reversed(layers), reversed(hidden[:-1]), strict=True):
        sums = inputs @ layer.weight + layer.bias
        contributions = inputs[:, None] * layer.weight
        steps = safe_divide(sums, jnp.sum(jnp.maximum(contributions, 0), axis=0))
        # x - x~ of each input and neuron; the gradient of c_j y_j is the same at the root as anywhere.
        moved = inputs[:, None] * jnp.where(contributions > 0, steps[None], 0)
        relevance = jnp.sum(safe_divide(relevance, sums)[None] * layer.weight * moved, axis=1)
    return relevance
