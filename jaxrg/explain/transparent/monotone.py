"""Networks that rise or fall with chosen inputs whatever their parameters are."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, as_integers, check_key, kind_of
from jaxrg.nets import Net


def as_widths(value: Any) -> tuple[int, ...]:
    """Widths of layers, that of the outputs last, or a ValueError."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
        raise ValueError(f"widths: expected a sequence that ends with the number of outputs, got {kind_of(value)}")
    return tuple(as_count("widths", width) for width in value)


def as_features(inputs: Any, num_features: int) -> Array:
    """A batch ``[batch, num_features]`` of floats, or a ValueError."""
    batch = as_floating("inputs", inputs)
    if batch.ndim != 2 or batch.shape[1] != num_features:
        raise ValueError(f"inputs: expected [batch, {num_features}], got shape {tuple(batch.shape)}")
    return batch


def monotone_network(signs: Any, widths: Sequence[int]) -> Net:
    r"""A perceptron whose outputs all rise with some inputs and fall with others, by construction.

    .. math:: h^{1}_k = \phi_k\Bigl(\sum_j c_j(w_{kj}) x_j + b_k\Bigr), \qquad c_j(w) = |w|,\ -|w|\ \text{or}\ w

    for an input that rises, falls or is free; weights of later layers enter as \|w\|. Since every activation rises,
    so does the output: no training can break it, and no penalty is needed. Of the units of a layer in turn one is
    convex, φ(x) = max(x, 0), one concave, min(x, 0), and one bounded, x clipped to [-1, 1]: with convex units alone
    only convex functions could be had, with the three all continuous monotone ones to any precision.

    Args:
        signs: ``[features]`` of +1 where outputs rise with a feature, -1 where they fall, 0 where it is free.
        widths: of the hidden layers, and last the number of outputs, which are linear.

    Returns:
        `Net` on ``[batch, features]``.

    Raises:
        ValueError: other signs, or a width below one.

    Example:
        >>> net = monotone_network((1, -1), (6, 1))
        >>> params = net.init(jax.random.key(0), jnp.zeros((1, 2)))
        >>> slope = jax.grad(lambda x: net.apply(params, x[None])[0, 0])(jnp.array([0.3, 0.2]))
        >>> bool(slope[0] >= 0), bool(slope[1] <= 0)
        (True, True)

    Reference:
        Runje & Shankaranarayana, ICML 2023, arXiv:2205.11775.
    """
    given = as_integers("signs", signs, minimum=-1, maximum=1)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"signs: expected one for every feature, got shape {tuple(given.shape)}")
    return _monotone(tuple(np.asarray(given).tolist()), as_widths(widths))


@functools.lru_cache(maxsize=256)
def _monotone(signs: tuple[int, ...], widths: tuple[int, ...]) -> Net:
    sizes = list(zip((len(signs), *widths), widths, strict=False))

    @jax.jit
    def init(key: Array, inputs: Array) -> PyTree:
        check_key("key", key)
        dtype = as_features(inputs, len(signs)).dtype
        keys = jax.random.split(key, len(sizes))
        return [
            {"kernel": jax.random.normal(one, size, dtype) / size[0] ** 0.5, "bias": jnp.zeros(size[1], dtype)}
            for one, size in zip(keys, sizes, strict=True)
        ]

    @jax.jit
    def apply(params: PyTree, inputs: Array) -> Array:
        values = as_features(inputs, len(signs))
        sign = jnp.asarray(signs, values.dtype)[:, None]
        for number, layer in enumerate(params):
            kernel = jnp.abs(layer["kernel"])
            kernel = kernel if number else jnp.where(sign == 0, layer["kernel"], sign * kernel)
            values = values @ kernel + layer["bias"][None]
            values = _activated(values) if number + 1 < len(params) else values
        return values

    return Net(init, apply)


def _activated(values: Array) -> Array:
    kind = jnp.arange(values.shape[1])[None] % 3
    bent = jnp.where(kind == 1, jnp.minimum(values, 0), jnp.clip(values, -1, 1))
    return jnp.where(kind == 0, jnp.maximum(values, 0), bent)
