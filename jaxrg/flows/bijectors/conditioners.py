"""The functions inside couplings: perceptrons with features leading, flax networks and bare functions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_function, kind_of
from jaxrg.closures import as_partial
from jaxrg.flows.bijectors.making import Event, beside_lanes


class Conditioner(NamedTuple):
    """A function with parameters of the features of an event, which come first.

    Attributes:
        init: ``params = init(key, inputs, num_outputs)`` from ``[features, *rest]`` whose values do not matter.
        apply: ``outputs = apply(params, inputs)``, ``[num_outputs, *rest, *lanes]`` of ``[features, *rest, *lanes]``.
    """

    init: Callable[[Array, Array, int], PyTree]
    apply: Callable[[PyTree, Array], Array]


class Dense(NamedTuple):
    """One layer: outputs = weight @ inputs + bias."""

    weight: Array  # [outputs, inputs]
    bias: Array  # [outputs]


def perceptron(hidden: Sequence[int], *, activation: Callable[[Array], Array] = jax.nn.silu) -> Conditioner:
    r"""Dense layers that act on the features, with everything after them side by side.

    .. math:: h_0 = x, \quad h_l = a(W_l h_{l-1} + b_l), \quad y = W h_n + b

    The last layer starts at zero, so that what it conditions starts at the identity. On an event with more axes than
    features it is a 1x1 convolution.

    Args:
        hidden: widths of the hidden layers; none makes a linear function.
        activation: elementwise function between the layers.

    Raises:
        ValueError: a width that is no count, or no function.

    Example:
        >>> net = perceptron((8,))
        >>> params = net.init(jax.random.key(0), jnp.zeros(3), 2)
        >>> net.apply(params, jnp.ones((3, 100))).shape
        (2, 100)
    """
    widths = as_widths("hidden", hidden)
    check_function("activation", activation, of="an array")
    return Conditioner(Partial(init_dense, Event(widths)), Partial(_apply_dense, as_partial(activation)))


def as_widths(name: str, widths: Any) -> tuple[int, ...]:
    """Widths of hidden layers that a user gives."""
    if isinstance(widths, str | bytes) or not isinstance(widths, Sequence):
        raise ValueError(f"{name}: expected a sequence of widths such as (32, 32), got {kind_of(widths)}")
    return tuple(as_count(name, width) for width in widths)


def init_dense(hidden: Event, key: Array, inputs: Array, num_outputs: int) -> tuple[Dense, ...]:
    """Random layers between given widths, the last one of zeros."""
    layers = init_layers(key, (inputs.shape[0], *hidden.shape, num_outputs), inputs.dtype)
    return (*layers[:-1], Dense(jnp.zeros_like(layers[-1].weight), layers[-1].bias))


def init_layers(key: Array, widths: Sequence[int], dtype: Any) -> tuple[Dense, ...]:
    """Layers that keep the variance of what goes through them, without biases."""
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        Dense(jax.random.normal(layer_key, (after, before), dtype) / max(before, 1) ** 0.5, jnp.zeros(after, dtype))
        for layer_key, before, after in zip(keys, widths[:-1], widths[1:], strict=True)
    )


def _apply_dense(activation: Callable, params: tuple[Dense, ...], inputs: Array) -> Array:
    for layer in params[:-1]:
        inputs = activation(dense(layer, inputs))
    return dense(params[-1], inputs)


def dense(layer: Dense, inputs: Array) -> Array:
    """``[outputs, ...]`` of one layer."""
    outputs = jnp.tensordot(layer.weight, inputs, 1)
    return outputs + beside_lanes(layer.bias, outputs)


def as_conditioner(name: str, value: Any, rest: tuple[int, ...]) -> Conditioner:
    """What a user gives for a conditioner: one, a pair of ``init`` and ``apply`` like `nets.Net`, or a bare function.

    A network takes ``[batch, *rest, features]`` and starts with its outputs multiplied by a gain of zero; a bare
    function takes ``[features, *rest, *lanes]`` as a conditioner does, and is taken as it is.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, Conditioner):
        return Conditioner(as_partial(value.init), as_partial(value.apply))
    init, apply = getattr(value, "init", None), getattr(value, "apply", None)
    if callable(init) and callable(apply):
        return Conditioner(Partial(_init_net, as_partial(init)), Partial(_apply_net, Event(rest), as_partial(apply)))
    if not callable(value):
        raise ValueError(
            f"{name}: expected a function of features, a network with init and apply, or a perceptron, "
            f"got {kind_of(value)}"
        )
    return Conditioner(Partial(_init_function), Partial(_apply_function, as_partial(value)))


def _init_function(key: Array, inputs: Array, num_outputs: int) -> tuple[()]:
    return ()


def _apply_function(fn: Callable, params: tuple[()], inputs: Array) -> Array:
    return fn(inputs)


class Gained(NamedTuple):
    """A network and what its outputs are multiplied by."""

    net: PyTree
    gain: Array  # [outputs]


def _init_net(init: Callable, key: Array, inputs: Array, num_outputs: int) -> Gained:
    """In single precision, which flax's parameters have; with events in double they become so."""
    batch = jnp.moveaxis(inputs, 0, -1)[None].astype(jnp.float32)
    return Gained(init(key, batch), jnp.zeros(num_outputs, batch.dtype))


def _apply_net(rest: Event, apply: Callable, params: Gained, inputs: Array) -> Array:
    """Lanes become the batch of the network, and its outputs come first again."""
    num_axes = 1 + len(rest.shape)
    lanes = inputs.shape[num_axes:]
    batch = jnp.moveaxis(inputs.reshape(*inputs.shape[:num_axes], -1), (0, -1), (-1, 0))
    outputs = jnp.moveaxis(apply(params.net, batch), (-1, 0), (0, -1))
    if outputs.shape[0] != params.gain.shape[0]:
        raise ValueError(f"conditioner: expected {params.gain.shape[0]} outputs, got {outputs.shape[0]}")
    outputs = outputs.reshape(*outputs.shape[:-1], *lanes)
    return outputs * beside_lanes(params.gain, outputs)
