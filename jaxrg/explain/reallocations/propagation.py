r"""Attributions of networks by re-allocating the Taylor terms of every neuron, from the output down.

Arguments and results as in `explain.attributions`, and the ``shares`` of the terms of a neuron up to ``max_degree``,
with which all is exact where the activations are polynomials of that degree. Errors as of `multi_indices`.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_floating, check_function
from jaxrg.closures import as_partial
from jaxrg.explain.attributions.attribution import Attribution, as_function
from jaxrg.explain.attributions.layers import Layer, as_network, propagate_differences, propagate_relevance
from jaxrg.explain.reallocations.shares import NeuronShares, gradient_shares, reallocate
from jaxrg.explain.reallocations.taylor import multi_indices, neuron_terms, taylor_terms


def _step_of(step: Callable, shares: NeuronShares, max_degree: int, num_inputs: int) -> Partial:
    check_function("shares", shares, of="powers and contributions")
    multi_indices(num_inputs, max_degree)  # refuses what is too much
    return as_partial(functools.partial(step, int(max_degree), as_partial(shares)))


def _multipliers(
    activation: Callable[[Array], Array],
    start: Array,
    inputs: Array,
    weight: Array,
    shares: NeuronShares,
    max_degree: int,
) -> Array:
    """What each input is given of each neuron's activation, per unit of the input, ``[inputs, outputs]``."""
    contributions = inputs[:, None] * weight
    powers = multi_indices(inputs.shape[0], max_degree)
    terms, slopes = neuron_terms(activation, start, contributions, powers)
    given = shares(powers, contributions)
    # An input that is zero takes no part in a term, but has a share of the slope of those that are linear in it.
    of_own = jnp.where(powers[..., None] > 0, given, 0)
    of_others = jnp.sum((given - of_own) * terms[:, None], axis=0)
    return weight * jnp.sum(of_own * slopes, axis=0) + safe_divide(of_others, inputs[:, None])


def reallocate_relevance(
    layers: Sequence[Layer], sample: ArrayLike, *, output: int, shares: NeuronShares, max_degree: int
) -> Attribution:
    r"""Relevance ``[inputs]`` propagated by re-allocating the terms of every neuron about zero.

    Activations are 0 at 0, and the bias of a neuron is its last input. With `epsilon_shares`, `alpha_beta_shares` or
    `deep_taylor_shares` it is LRP-ε, LRP-αβ or deep Taylor. A ReLU has no series at zero, where JAX sets its derivative
    to 0: nothing is allocated then.
    """
    network = as_network(layers, output, sample)
    largest = max(layer.weight.shape[0] for layer in network[0]) + 1
    return propagate_relevance(_step_of(_relevance_step, shares, max_degree, largest), *network)


def _relevance_step(max_degree: int, shares: NeuronShares, layer: Layer, inputs: Array, multipliers: Array) -> Array:
    inputs = jnp.concatenate([inputs, jnp.ones_like(inputs[:1])])
    weight = jnp.concatenate([layer.weight, layer.bias[None]])
    found = _multipliers(layer.activation, jnp.zeros_like(layer.bias), inputs, weight, shares, max_degree)
    return found[:-1] @ multipliers


def reallocate_differences(
    layers: Sequence[Layer],
    sample: ArrayLike,
    baseline: ArrayLike,
    *,
    output: int,
    shares: NeuronShares,
    max_degree: int,
) -> Attribution:
    r"""Differences from a baseline ``[inputs]`` propagated by re-allocating the terms of every neuron about its own.

    With ``fixed_shares(integrated_shares)``, `reveal_cancel_shares` or ``fixed_shares(shapley_shares)`` it is
    DeepLIFT's rescale or RevealCancel rule, or Deep SHAP of one background. No difference is divided by, so that inputs
    which do not differ have the multiplier that they tend to.
    """
    network = as_network(layers, output, sample, baseline=baseline)
    largest = max(layer.weight.shape[0] for layer in network[0])
    return propagate_differences(_step_of(_differences_step, shares, max_degree, largest), *network)


def _differences_step(
    max_degree: int, shares: NeuronShares, layer: Layer, here: Array, there: Array, multipliers: Array
) -> Array:
    start = there @ layer.weight + layer.bias
    return _multipliers(layer.activation, start, here - there, layer.weight, shares, max_degree) @ multipliers


def reallocate_grad_cam(head_of_means: Callable[[Array], Array], features: ArrayLike, *, max_degree: int) -> Array:
    r"""Grad-CAM's scores ``[rows, columns]``, before its ReLU, by the terms about zero of a head that sees the channel
    means :math:`F_k` only: position p takes :math:`\sum_k \frac{A_{pk}}{\sum_q A_{qk}} \kappa_k` of each.

    Args:
        head_of_means: scalar of the means ``[channels]``; any other head is no re-allocation of its own terms.
        features: A ``[rows, columns, channels]``.
        max_degree: of the terms.
    """
    features = as_floating("features", features)
    if features.ndim != 3 or not features.size:
        raise ValueError(f"features: expected [rows, columns, channels], got shape {features.shape}")
    multi_indices(features.shape[-1], max_degree)  # refuses what is too much
    return _reallocate_grad_cam(as_function(head_of_means), features, max_degree=int(max_degree))


@functools.partial(jax.jit, static_argnames="max_degree")
def _reallocate_grad_cam(head_of_means: Partial, features: Array, *, max_degree: int) -> Array:
    means = jnp.mean(features, axis=(0, 1))
    terms = taylor_terms(head_of_means, means, jnp.zeros_like(means), max_degree=max_degree)
    by_channel = reallocate(terms, gradient_shares(terms.powers))
    return safe_divide(features, jnp.sum(features, axis=(0, 1), keepdims=True)) @ by_channel
