"""Networks as plain lists of dense layers, which layer-by-layer attributions need to see inside of."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Layer(NamedTuple):
    r"""One layer, :math:`a = \sigma(h W + b)`; a convolution or a pool is one too, by its matrix (`linear_layer`)."""

    weight: Array  # [inputs, outputs]
    bias: Array  # [outputs]
    activation: Callable[[Array], Array]  # elementwise


def identity(values: Array) -> Array:
    """The activation of a linear layer."""
    return values


def linear_layer(
    function: Callable[[Array], Array], input_shape: tuple[int, ...], activation: Callable[[Array], Array], dtype=None
) -> Layer:
    """A layer from any affine function of one input, such as a convolution or an average pool; shapes are flattened.

    Raises:
        ValueError: a function that is not affine.

    Example:
        >>> linear_layer(lambda x: 2 * x.sum(0) + 1, (2, 1), identity).weight.tolist()
        [[2.0], [2.0]]
    """
    kind = jnp.result_type(float) if dtype is None else dtype
    num_inputs = int(np.prod(input_shape))
    flat = lambda vector: function(vector.reshape(input_shape)).reshape(-1)  # noqa: E731
    expand = jax.jit(lambda vector: (flat(vector), jax.jacfwd(flat)(vector).T))
    bias, weight = expand(jnp.zeros(num_inputs, kind))
    probe = jnp.cos(jnp.arange(num_inputs, dtype=kind))
    misfit = float(jnp.max(jnp.abs(expand(probe)[0] - probe @ weight - bias)))
    allowed = 100 * float(jnp.finfo(kind).eps) * (1 + float(jnp.max(jnp.abs(weight))) * num_inputs)
    if not misfit <= allowed:
        raise ValueError(f"function: expected an affine function, got one {misfit:.3g} from its linearisation")
    return Layer(weight, bias, activation)


def forward(layers: Sequence[Layer], sample: Array) -> Array:
    """Outputs of the last layer for inputs ``[..., inputs]``."""
    for layer in layers:
        bias = layer.bias.reshape((1,) * (sample.ndim - 1) + (-1,))
        sample = layer.activation(sample @ layer.weight + bias)
    return sample


def _hidden_inputs(layers: Sequence[Layer], sample: Array) -> list[Array]:
    """What each layer receives, and last what the network returns: ``len(layers) + 1`` vectors."""
    if not layers:
        raise ValueError("layers: expected at least one, got none")
    found = [sample]
    for number, layer in enumerate(layers):
        if found[-1].shape != layer.weight.shape[:1]:
            raise ValueError(
                f"layers: expected {layer.weight.shape[0]} inputs to layer {number}, got shape {found[-1].shape}"
            )
        found.append(layer.activation(found[-1] @ layer.weight + layer.bias))
    return found


def _one_output(hidden: Sequence[Array], output: int) -> Array:
    return jax.nn.one_hot(output, hidden[-1].shape[0], dtype=hidden[-1].dtype)


def propagate_relevance(layers: Sequence[Layer], sample: Array, output: int, step: Callable[..., Array]) -> Array:
    """One output given back to the inputs, layer by layer: ``relevance = step(layer, inputs, outputs, relevance)``."""
    hidden = _hidden_inputs(layers, sample)
    relevance = hidden[-1] * _one_output(hidden, output)
    for number, layer in reversed(list(enumerate(layers))):
        relevance = step(layer, hidden[number], hidden[number + 1], relevance)
    return relevance


def propagate_differences(
    layers: Sequence[Layer], sample: Array, baseline: Array, output: int, step: Callable[..., Array]
) -> Array:
    r""":math:`m_i \Delta x_i` by the chain rule of differences, ``multipliers = step(layer, here, there, multipliers)``
    of what the layer receives from the sample and from the baseline."""
    here, there = _hidden_inputs(layers, sample), _hidden_inputs(layers, baseline)
    multipliers = _one_output(here, output)
    for number, layer in reversed(list(enumerate(layers))):
        multipliers = step(layer, here[number], there[number], multipliers)
    return (sample - baseline) * multipliers
