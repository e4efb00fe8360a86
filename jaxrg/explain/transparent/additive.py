"""Additive networks: one function of each feature, which can be drawn, and nothing else."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_key, kind_of
from jaxrg.explain.transparent.monotone import as_features, as_widths
from jaxrg.nets import Net

RANGE = 3.0  # the kinks of the first layer start between plus and minus this, where standardised features lie


class ShapeFunctions(NamedTuple):
    """An additive network as the functions it consists of."""

    intercept: Array  # [outputs], mean output over the background
    values: Array  # [batch, features, outputs], of mean zero over the background


def additive_network(num_features: int, widths: Sequence[int]) -> Net:
    r"""A sum of perceptrons, each of one feature.

    .. math:: F(x) = b + \sum_j f_j(x_j)

    Features do not interact: every AND or OR interaction of two or more is zero, and `shape_functions` explain it
    completely. Each perceptron has ReLU between layers, its first kinks spread over the range of standardised features.

    Args:
        num_features: of the inputs ``[batch, features]``.
        widths: of the hidden layers of each perceptron, and last the number of outputs.

    Returns:
        `Net`; parameters are stacked over features.

    Raises:
        ValueError: a count below one.

    Reference:
        Hastie & Tibshirani, Stat. Sci. 1, 297 (1986); Agarwal et al., NeurIPS 2021, arXiv:2004.13912.
    """
    return _additive(as_count("num_features", num_features), as_widths(widths))


@functools.lru_cache(maxsize=256)
def _additive(num_features: int, widths: tuple[int, ...]) -> Net:
    sizes = list(zip((1, *widths), widths, strict=False))

    @jax.jit
    def init(key: Array, inputs: Array) -> PyTree:
        check_key("key", key)
        dtype = as_features(inputs, num_features).dtype
        *keys, kink_key = jax.random.split(key, len(sizes) + 1)
        layers = [
            {
                "kernel": jax.random.normal(one, (num_features, *size), dtype) * (2 / size[0]) ** 0.5,
                "bias": jnp.zeros((num_features, size[1]), dtype),
            }
            for one, size in zip(keys, sizes, strict=True)
        ]
        kinks = jax.random.uniform(kink_key, layers[0]["bias"].shape, dtype, -RANGE, RANGE)
        layers[0]["bias"] = -layers[0]["kernel"][:, 0] * kinks
        return {"layers": layers, "intercept": jnp.zeros(widths[-1], dtype)}

    @jax.jit
    def apply(params: PyTree, inputs: Array) -> Array:
        return params["intercept"][None] + jnp.sum(_parts(params, as_features(inputs, num_features)), axis=1)

    return Net(init, apply)


def _parts(params: PyTree, inputs: Array) -> Array:
    """``[batch, features, outputs]`` what each feature adds."""
    values = inputs[..., None]
    for number, layer in enumerate(params["layers"]):
        values = jax.nn.relu(values) if number else values
        values = jnp.einsum("bfi,fio->bfo", values, layer["kernel"]) + layer["bias"][None]
    return values


def shape_functions(params: PyTree, inputs: Any, background: Any) -> ShapeFunctions:
    r"""The functions of an additive network, made unique by their mean over a background.

    .. math:: F(x) = \bar F + \sum_j \bigl[f_j(x_j) - E_{x'} f_j(x'_j)\bigr]

    Constants could be moved from one function to another; centred, no part of them is arbitrary, provided no feature of
    the background is a function of others. They are then also the Shapley values of the expected output.

    Args:
        params: of an `additive_network`.
        inputs: ``[batch, features]`` where to evaluate.
        background: ``[samples, features]``, usually the training data.

    Returns:
        `ShapeFunctions`; the intercept and the sum over features give the output.

    Raises:
        ValueError: parameters of another network, or arrays of another shape.

    Example:
        >>> net = additive_network(2, (4, 1))
        >>> inputs = jax.random.normal(jax.random.key(0), (5, 2))
        >>> params = net.init(jax.random.key(1), inputs)
        >>> intercept, values = shape_functions(params, inputs, inputs)
        >>> bool(jnp.allclose(intercept[None] + values.sum(1), net.apply(params, inputs), atol=1e-5))
        True
    """
    if not isinstance(params, dict) or set(params) != {"layers", "intercept"}:
        raise ValueError(f"params: expected those of an additive_network, got {kind_of(params)}")
    num_features = params["layers"][0]["kernel"].shape[0]
    batch = as_features(inputs, num_features)
    try:
        others = as_features(background, num_features)
    except ValueError as error:
        raise ValueError(str(error).replace("inputs", "background", 1)) from error
    if not len(others):
        raise ValueError("background: expected at least one sample, got none")
    return _shape_functions(params, batch, others)


@jax.jit
def _shape_functions(params: PyTree, inputs: Array, background: Array) -> ShapeFunctions:
    means = jnp.mean(_parts(params, background), axis=0)
    return ShapeFunctions(params["intercept"] + jnp.sum(means, axis=0), _parts(params, inputs) - means[None])
