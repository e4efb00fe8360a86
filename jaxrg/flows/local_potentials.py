"""What a site feels of the field around it: a potential of a few terms, each odd or even in what is known.

With the sign of all that is known the potential is mirrored, and on passes that know the same in all directions it has
the symmetries of the square.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.flows.patterns import Passes, quotients

NUM_ODD, NUM_EVEN = 3, 4  # terms of a potential
GAIN = 1.5  # of the tanh of an input
UNIT = 0.3  # of the field, in bounds of it


def terms(field: Array, bound: Array) -> Array:
    """``[NUM_ODD + NUM_EVEN, ...]``: the field, its square, and Legendre polynomials of its tanh, which stay small."""
    x = field / (UNIT * bound)
    t = jnp.tanh(x)
    s = t * t
    odd = [x, t * (5 * s - 3) / 2, t * (s * (63 * s - 70) + 15) / 8]
    even = [x * x, (3 * s - 1) / 2, (s * (35 * s - 30) + 3) / 8, (s * (s * (231 * s - 315) + 105) - 5) / 16]
    return jnp.stack(odd + even)


class Tables(NamedTuple):
    """What is static of the passes of a level."""

    images: np.ndarray  # [num_passes, num_symmetries, num_known] int32
    orbits: np.ndarray  # [num_passes, num_known] int32


def tables(passes: Passes) -> Tables:
    """Of the passes of a level."""
    return Tables(passes.images, passes.orbits)


def shapes(static: Tables, num_features: int, num_layers: int) -> dict[str, tuple[int, ...]]:
    """Of the weights of all passes of a level; without symmetries there are more features, as none are turned."""
    num_passes, num_symmetries, num_known = static.images.shape
    width = num_features if num_symmetries > 1 else 4 * num_features
    mixed = (num_passes, num_layers + 1, width, width, num_symmetries)
    return {
        "first": (num_passes, width, 2, num_known),
        "layers": mixed,  # the last one is what even terms are made of
        "linear": (num_passes, NUM_ODD, 2, int(static.orbits.max()) + 1),
        "odd": (num_passes, NUM_ODD, width),
        "even": (num_passes, NUM_EVEN, width),
        "constant": (num_passes, NUM_EVEN),
    }


def that_feel_nothing(shape: dict[str, tuple[int, ...]], inside: dict[str, Array]) -> dict[str, Array]:
    """Weights to begin with, of normal numbers for the layers inside, whose outputs count for nothing."""
    layers = inside["layers"] * shape["layers"][-2] ** -0.5
    outputs = {name: jnp.zeros(size, layers.dtype) for name, size in shape.items() if name not in inside}
    return outputs | {"first": inside["first"], "layers": layers}


def coefficients(weights: PyTree, static: Tables, known: Array, bound: Array) -> Array:
    """``[NUM_ODD + NUM_EVEN, lanes]`` of the terms of one pass, from ``[num_known, lanes]``, zero for none."""
    num_symmetries, num_known = static.images.shape
    width = weights["first"].shape[0] * num_symmetries
    known = known / (UNIT * bound)
    inputs = jnp.concatenate([known, jnp.tanh(GAIN * known)])
    first = jnp.transpose(weights["first"][:, :, static.images], (2, 0, 1, 3)).reshape(width, 2 * num_known)
    hidden = jnp.tanh(first @ inputs)
    table = quotients(num_symmetries)

    def mixed(layer: Array) -> Array:
        return jnp.transpose(layer[:, :, table], (2, 0, 3, 1)).reshape(width, width)

    *layers, last = (mixed(layer) for layer in weights["layers"])
    for layer in layers:
        hidden = hidden + jnp.tanh(layer @ hidden)
    of_all = functools.partial(jnp.tile, reps=(1, num_symmetries))
    linear = weights["linear"][..., static.orbits].reshape(NUM_ODD, -1)
    odd = linear @ inputs + of_all(weights["odd"]) @ hidden
    even = of_all(weights["even"]) @ jnp.square(jnp.tanh(last @ hidden)) + weights["constant"][:, None]
    return jnp.concatenate([odd, even])
