"""Networks as plain lists of dense layers, which layer-by-layer attributions need to see inside of."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_floating_alike, as_labels, check_function, is_traced, take_labelled
from jaxrg.closures import as_partial
from jaxrg.explain.attributions.attribution import Attribution, as_inputs, attribute


class Layer(NamedTuple):
    r"""One layer, :math:`a = \sigma(h W + b)`; a convolution or a pool is one too, by its matrix (`linear_layer`)."""

    weight: Array  # [inputs, outputs]
    bias: Array  # [outputs]
    activation: Callable[[Array], Array]  # elementwise


def identity(values: Array) -> Array:
    """The activation of a linear layer."""
    return values


def as_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with floating weights that fit each other, and with activations that are pytrees."""
    given = list(layers) if isinstance(layers, Sequence) and not isinstance(layers, Layer) else layers
    if not isinstance(given, list) or not all(isinstance(layer, Layer) for layer in given):
        raise ValueError(f"layers: expected a sequence of Layer, got a {type(layers).__name__}")
    if not given:
        raise ValueError("layers: expected at least one, got none")
    arrays = {f"layers[{number}].{part}": value for number, layer in enumerate(given)
              for part, value in (("weight", layer.weight), ("bias", layer.bias))}  # fmt: skip
    arrays = dict(zip(arrays, as_floating_alike(**arrays), strict=True))
    found, width = [], None
    for number, layer in enumerate(given):
        weight, bias = arrays[f"layers[{number}].weight"], arrays[f"layers[{number}].bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[1:]:
            raise ValueError(
                f"layers[{number}]: expected weight [inputs, outputs] and bias [outputs], got {weight.shape} and "
                f"{bias.shape}"
            )
        if width not in (None, weight.shape[0]):
            raise ValueError(f"layers: expected {weight.shape[0]} inputs to layer {number}, got {width}")
        width = weight.shape[1]
        check_function(f"layers[{number}].activation", layer.activation, of="a vector")
        found.append(Layer(weight, bias, as_partial(layer.activation)))
    return tuple(found)


def as_network(layers: Sequence[Layer], output: Any, sample: Any, **others: Any) -> tuple:
    """Layers, the output that is explained, the sample and what it is compared with, all of one precision."""
    checked, inputs = as_layers(layers), as_inputs(sample, **others)
    if inputs[0].shape != checked[0].weight.shape[:1]:
        raise ValueError(
            f"layers: expected {checked[0].weight.shape[0]} inputs to layer 0, got shape {inputs[0].shape}"
        )
    label = as_labels("output", output, checked[-1].weight.shape[1], ())
    dtype = max(checked[0].weight.dtype, inputs[0].dtype, key=lambda one: jnp.finfo(one).bits)
    convert = functools.partial(jax.lax.convert_element_type, new_dtype=dtype)
    checked = tuple(Layer(convert(layer.weight), convert(layer.bias), layer.activation) for layer in checked)
    return checked, label, *map(convert, inputs)


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
    check_function("function", function, of="one input")
    check_function("activation", activation, of="a vector")
    shape = tuple(as_count("input_shape", side) for side in input_shape)
    kind = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if not jnp.issubdtype(kind, jnp.floating):
        raise ValueError(f"dtype: expected a floating type, got {kind}")
    weight, bias, misfit, allowed = _linearised(as_partial(function), shape, kind)
    if not is_traced(misfit) and not float(misfit) <= float(allowed):
        raise ValueError(f"function: expected an affine function, got one {float(misfit):.3g} from its linearisation")
    return Layer(weight, bias, activation)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _linearised(function: Partial, input_shape: tuple[int, ...], dtype: np.dtype) -> tuple[Array, ...]:
    def flat(vector: Array) -> Array:
        return as_floating("function", function(vector.reshape(input_shape))).reshape(-1)

    num_inputs = int(np.prod(input_shape))
    zero, probe = jnp.zeros(num_inputs, dtype), jnp.cos(jnp.arange(num_inputs, dtype=dtype))
    bias, weight = flat(zero), jax.jacfwd(flat)(zero).T
    misfit = jnp.max(jnp.abs(flat(probe) - probe @ weight - bias))
    scale = 1 + jnp.max(jnp.abs(weight)) * num_inputs
    return weight, bias, misfit, 100 * jnp.finfo(dtype).eps * scale


def forward(layers: Sequence[Layer], sample: ArrayLike) -> Array:
    """Outputs of the last layer for inputs ``[..., inputs]``."""
    checked = as_layers(layers)
    inputs = as_floating("sample", sample)
    if not inputs.ndim or inputs.shape[-1] != checked[0].weight.shape[0]:
        raise ValueError(f"sample: expected [..., {checked[0].weight.shape[0]}] for layer 0, got shape {inputs.shape}")
    return _forward(checked, inputs)


@jax.jit
def _forward(layers: tuple[Layer, ...], sample: Array) -> Array:
    dtype = max(layers[0].weight.dtype, sample.dtype, key=lambda one: jnp.finfo(one).bits)
    values = sample.astype(dtype)
    for layer in layers:
        bias = layer.bias.astype(dtype).reshape((1,) * (sample.ndim - 1) + (-1,))
        values = layer.activation(values @ layer.weight.astype(dtype) + bias)
    return values


def _hidden_inputs(layers: Sequence[Layer], sample: Array) -> list[Array]:
    """What each layer receives, and last what the network returns: ``len(layers) + 1`` vectors."""
    found = [sample]
    for layer in layers:
        found.append(layer.activation(found[-1] @ layer.weight + layer.bias))
    return found


def _one_output(outputs: Array, output: Array) -> Array:
    """One at this output and zero elsewhere; NaN everywhere for what is none."""
    places = jnp.arange(outputs.shape[0], dtype=output.dtype)
    return jnp.where(output < outputs.shape[0], (places == output).astype(outputs.dtype), jnp.nan)


# Multipliers m, not relevances R = h m, go back from layer to layer: a hidden unit that happens to be 0, or not to
# differ, has no relevance to pass on, but the chain rule through it goes on.


@jax.jit
def propagate_relevance(step: Partial, layers: Sequence[Layer], output: Array, sample: Array) -> Attribution:
    """One output given back to the inputs, layer by layer: ``multipliers = step(layer, inputs, multipliers)``."""
    hidden = _hidden_inputs(layers, sample)
    multipliers = _one_output(hidden[-1], output)
    for layer, inputs in zip(reversed(layers), reversed(hidden[:-1]), strict=True):
        multipliers = step(layer, inputs, multipliers)
    return attribute(sample * multipliers, take_labelled(hidden[-1], output))


@jax.jit
def propagate_differences(
    step: Partial, layers: Sequence[Layer], output: Array, sample: Array, backgrounds: Array
) -> Attribution:
    r""":math:`m_i \Delta x_i` by the chain rule of differences, ``multipliers = step(layer, here, there, multipliers)``
    of what the layer receives from the sample and from a background; the mean over all of these."""
    here = _hidden_inputs(layers, sample)

    def one(baseline: Array) -> Attribution:
        there = _hidden_inputs(layers, baseline)
        multipliers = _one_output(here[-1], output)
        for layer, *inputs in zip(reversed(layers), reversed(here[:-1]), reversed(there[:-1]), strict=True):
            multipliers = step(layer, *inputs, multipliers)
        return attribute((sample - baseline) * multipliers, take_labelled(here[-1] - there[-1], output))

    if backgrounds.ndim == 1:
        return one(backgrounds)
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.lax.map(one, backgrounds))
