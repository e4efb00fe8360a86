r"""Attributions of networks by re-allocating the Taylor terms of every neuron, from the output down.

Arguments as in `explain.attributions`, and the ``shares`` of the terms of a neuron up to ``max_degree``, with which all
is exact where the activations are polynomials of that degree. Errors as of `multi_indices`.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.layers import Layer, propagate_differences, propagate_relevance
from jaxrg.explain.reallocations.shares import NeuronShares, gradient_shares, reallocate
from jaxrg.explain.reallocations.taylor import multi_indices, neuron_terms, taylor_terms


def _by_input(layer: Layer, start: Array, contributions: Array, shares: NeuronShares, max_degree: int) -> Array:
    """What each input is given of each neuron's activation, ``[inputs, outputs]``."""
    powers = multi_indices(contributions.shape[0], max_degree)
    terms = neuron_terms(layer.activation, start, contributions, powers)
    return jnp.sum(shares(powers, contributions) * terms[:, None, :], axis=0)


def reallocate_relevance(
    layers: Sequence[Layer], sample: Array, *, output: int, shares: NeuronShares, max_degree: int
) -> Array:
    r"""Relevance ``[inputs]`` propagated by re-allocating the terms of every neuron about zero.

    Activations are 0 at 0, and the bias of a neuron is its last input. With `epsilon_shares`, `alpha_beta_shares` or
    `deep_taylor_shares` it is LRP-ε, LRP-αβ or deep Taylor. A ReLU has no series at zero, where JAX sets its derivative
    to 0: nothing is allocated then.
    """

    def step(layer: Layer, inputs: Array, outputs: Array, relevance: Array) -> Array:
        contributions = jnp.concatenate([inputs[:, None] * layer.weight, layer.bias[None]])
        given = _by_input(layer, jnp.zeros_like(layer.bias), contributions, shares, max_degree)
        return given[:-1] @ safe_divide(relevance, outputs)

    return propagate_relevance(layers, sample, output, step)


def reallocate_differences(
    layers: Sequence[Layer], sample: Array, baseline: Array, *, output: int, shares: NeuronShares, max_degree: int
) -> Array:
    r"""Differences from a baseline ``[inputs]`` propagated by re-allocating the terms of every neuron about its own.

    With ``fixed_shares(integrated_shares)``, `reveal_cancel_shares` or ``fixed_shares(shapley_shares)`` it is
    DeepLIFT's rescale or RevealCancel rule, or Deep SHAP of one background.
    """

    def step(layer: Layer, here: Array, there: Array, multipliers: Array) -> Array:
        difference, start = here - there, there @ layer.weight + layer.bias
        given = _by_input(layer, start, difference[:, None] * layer.weight, shares, max_degree)
        return safe_divide(given @ multipliers, difference)

    return propagate_differences(layers, sample, baseline, output, step)


def reallocate_grad_cam(head_of_means: Callable[[Array], Array], features: Array, *, max_degree: int) -> Array:
    r"""Grad-CAM's scores ``[rows, columns]``, before its ReLU, by the terms about zero of a head that sees the channel
    means :math:`F_k` only: position p takes :math:`\sum_k \frac{A_{pk}}{\sum_q A_{qk}} \kappa_k` of each.

    Args:
        head_of_means: scalar of the means ``[channels]``; any other head is no re-allocation of its own terms.
        features: A ``[rows, columns, channels]``.
        max_degree: of the terms.
    """
    means = jnp.mean(features, axis=(0, 1))
    terms = taylor_terms(head_of_means, means, jnp.zeros_like(means), max_degree=max_degree)
    by_channel = reallocate(terms, gradient_shares(terms.powers))
    return safe_divide(features, jnp.sum(features, axis=(0, 1), keepdims=True)) @ by_channel
