"""Neural networks as pure pairs of functions over a plain dictionary of parameters; the one place that knows flax.

Everything else in the library takes bare callables, so any other framework works too: an equinox module is
``jax.vmap(module)``, and a function of your own is itself.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_count


class Net(NamedTuple):
    """A network as two pure functions.

    Attributes:
        init: ``params = init(key, inputs)`` from one batch ``[batch, ...]`` whose values do not matter.
        apply: ``outputs = apply(params, inputs)`` on a batch.
    """

    init: Callable[[Array, Array], PyTree]
    apply: Callable[[PyTree, Array], Array]


def from_linen(module: linen.Module) -> Net:
    """The pure pair of a flax linen module without mutable state."""

    def apply(params: PyTree, inputs: Array) -> Array:
        return jnp.asarray(module.apply(params, inputs))

    return Net(init=module.init, apply=apply)


def from_nnx(module: nnx.Module) -> tuple[Net, PyTree]:
    """The pure pair of a flax NNX module, and the parameters it holds; ``init`` returns those parameters again.

    The state may be stacked along new leading axes and mapped over, as checkpoints of a training run are.
    """
    graph, params = nnx.split(module)

    def apply(params: PyTree, inputs: Array) -> Array:
        return nnx.merge(graph, params)(inputs)

    return Net(init=lambda key, inputs: params, apply=apply), params


class _Mlp(linen.Module):
    widths: Sequence[int]

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        hidden = inputs.reshape(inputs.shape[0], -1)
        for width in self.widths[:-1]:
            hidden = jax.nn.relu(linen.Dense(width)(hidden))
        return linen.Dense(self.widths[-1])(hidden)


class _Cnn(linen.Module):
    channels: Sequence[int]
    num_outputs: int

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        hidden = inputs if inputs.ndim == 4 else inputs[..., None]
        for num_channels in self.channels:
            hidden = jax.nn.relu(linen.Conv(num_channels, (3, 3))(hidden))
            # flax divides by an integer count; users who forbid promotion in their own code can still use this.
            with jax.numpy_dtype_promotion("standard"):
                hidden = linen.avg_pool(hidden, (2, 2), strides=(2, 2))
        return linen.Dense(self.num_outputs)(hidden.reshape(hidden.shape[0], -1))


def mlp(widths: Sequence[int]) -> Net:
    """A perceptron with ReLU between layers; inputs of any shape are flattened; ``widths`` ends with the outputs.

    Raises:
        ValueError: no widths, or a width below one.
    """
    if not widths:
        raise ValueError(f"widths: expected at least the number of outputs, got {widths!r}")
    for width in widths:
        check_count("widths", width)
    return from_linen(_Mlp(tuple(widths)))


def cnn(channels: Sequence[int], num_outputs: int) -> Net:
    """3x3 convolutions with ReLU, each followed by a 2x2 average pool, and one dense layer on top.

    Inputs are ``[batch, rows, columns]`` or ``[batch, rows, columns, channels]``.

    Raises:
        ValueError: a count below one.
    """
    for num_channels in channels:
        check_count("channels", num_channels)
    check_count("num_outputs", num_outputs)
    return from_linen(_Cnn(tuple(channels), num_outputs))
