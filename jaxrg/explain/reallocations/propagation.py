r"""Attributions of networks by re-allocating the Taylor terms of every neuron, from the output down.

The common arguments: the ``layers`` of a network; a ``sample`` x ``[inputs]``; the ``output`` that is explained; the
``shares`` of the terms of a neuron; their ``max_degree``, with which all is exact where the activations are polynomials
of that degree; ``max_bytes`` for the terms of a layer. All raise ValueError for widths that do not fit, a degree beyond
10 and more terms than fit the memory.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.attributions.layers import Layer, hidden_inputs, one_output
from jaxrg.explain.reallocations.shares import NeuronShares, gradient_shares, reallocate
from jaxrg.explain.reallocations.taylor import multi_indices, neuron_terms, taylor_terms
from jaxrg.tables import MAX_BYTES


def _chain(
    multipliers: Array, layer: Layer, start: Array, contributions: Array, shares, max_degree: int, max_bytes: int
) -> Array:
    """Relevance of the inputs ``[inputs]`` of a layer from relevance per unit of activation ``[outputs]``."""
    powers = multi_indices(contributions.shape[0], max_degree, max_bytes=max_bytes)
    terms = neuron_terms(layer.activation, start, contributions, powers)
    return jnp.sum(shares(powers, contributions) * terms[:, None, :], axis=0) @ multipliers


def reallocate_relevance(
    layers: Sequence[Layer],
    sample: Array,
    *,
    output: int,
    shares: NeuronShares,
    max_degree: int,
    max_bytes: int = MAX_BYTES,
) -> Array:
    r"""Relevance ``[inputs]`` propagated by re-allocating the terms of every neuron about zero.

    Activations are 0 at 0, and the bias of a neuron is its last input. With `epsilon_shares`, `alpha_beta_shares` or
    `deep_taylor_shares` it is LRP-ε, LRP-αβ or deep Taylor. A ReLU has no series at zero, where JAX sets its derivative
    to 0: nothing is allocated then.
    """
    hidden = hidden_inputs(layers, sample)
    relevance = hidden[-1] * one_output(hidden, output)
    for number, layer in reversed(list(enumerate(layers))):
        contributions = jnp.concatenate([hidden[number][:, None] * layer.weight, layer.bias[None]])
        multipliers = safe_divide(relevance, hidden[number + 1])
        start = jnp.zeros_like(layer.bias)
        relevance = _chain(multipliers, layer, start, contributions, shares, max_degree, max_bytes)[:-1]
    return relevance


def reallocate_differences(
    layers: Sequence[Layer],
    sample: Array,
    baseline: Array,
    *,
    output: int,
    shares: NeuronShares,
    max_degree: int,
    max_bytes: int = MAX_BYTES,
) -> Array:
    r"""Differences from a baseline ``[inputs]`` propagated by re-allocating the terms of every neuron about its own.

    With ``fixed_shares(integrated_shares)``, `reveal_cancel_shares` or ``fixed_shares(shapley_shares)`` it is
    DeepLIFT's rescale or RevealCancel rule, or Deep SHAP of one background.
    """
    here, there = hidden_inputs(layers, sample), hidden_inputs(layers, baseline)
    multipliers = relevance = one_output(here, output)
    for number, layer in reversed(list(enumerate(layers))):
        difference = here[number] - there[number]
        start = there[number] @ layer.weight + layer.bias
        contributions = difference[:, None] * layer.weight
        relevance = _chain(multipliers, layer, start, contributions, shares, max_degree, max_bytes)
        multipliers = safe_divide(relevance, difference)
    return relevance


def reallocate_grad_cam(
    head_of_means: Callable[[Array], Array], features: Array, *, max_degree: int, max_bytes: int = MAX_BYTES
) -> Array:
    r"""Grad-CAM's scores ``[rows, columns]``, before its ReLU, by the terms of a head that sees the channel means
    :math:`F_k` only: position p takes :math:`\sum_k \frac{A_{pk}}{\sum_q A_{qk}} \kappa_k` of each.

    Args:
        head_of_means: scalar of the means ``[channels]``; any other head is no re-allocation of its own terms.
        features: A ``[rows, columns, channels]``.
        max_degree: of the terms about zero.
        max_bytes: for the terms.
    """
    means = jnp.mean(features, axis=(0, 1))
    terms = taylor_terms(head_of_means, means, jnp.zeros_like(means), max_degree=max_degree, max_bytes=max_bytes)
    by_channel = reallocate(terms, gradient_shares(terms.powers))
    return safe_divide(features, jnp.sum(features, axis=(0, 1), keepdims=True)) @ by_channel
