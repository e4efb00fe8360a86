"""Throughput of couplings and 1x1 convolutions against flowjax and distreqx, which put the batch first.

Both sides have the same features, hidden layers, activations and bins; parameters are those of the start, moved at
random. Layers are compiled before; a call is one of the transform with its log-determinant, or of its value and
gradient in all parameters and inputs.
"""

import time
from collections.abc import Callable
from typing import Any

import distreqx.bijectors as distreqx
import equinox as eqx
import flowjax.bijections as flowjax
import jax
import jax.numpy as jnp
import paramax

from benchmarks.timing import medians, record
from jaxrg.flows import bijectors

NUM_BINS = 8


class Contestant:
    """A compiled transform of a batch and its compiled gradient."""

    def __init__(self, transform: Callable, params: Any, inputs: Any) -> None:
        def loss(params: Any, inputs: Any) -> Any:
            values, log_det = transform(params, inputs)
            return jnp.sum(values**2) - jnp.sum(log_det)

        self.arguments = params, inputs
        start = time.perf_counter()
        self.forward = jax.jit(transform).lower(params, inputs).compile()
        self.gradient = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(params, inputs).compile()
        self.compile_seconds = time.perf_counter() - start

    def call(self, fn: Callable) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(fn(*self.arguments))


def moved(params: Any) -> Any:
    """Parameters some way from where they start."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(keys, leaves, strict=True)
    return structure.unflatten([leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in pairs])


def ours(layer: Any, event_shape: tuple[int, ...], batch: int) -> Contestant:
    inputs = jax.random.normal(jax.random.key(2), (*event_shape, batch))
    return Contestant(layer.forward, moved(layer.init(jax.random.key(0))), inputs)


def of_flowjax(bijection: Any, event_shape: tuple[int, ...], batch: int) -> Contestant:
    """With the parameters that flowjax trains, over the axes that it asks its users to vmap."""
    params, static = eqx.partition(bijection, eqx.is_inexact_array, is_leaf=_is_fixed)

    def transform(params: Any, inputs: Any) -> Any:
        fn = paramax.unwrap(eqx.combine(params, static)).transform_and_log_det
        if inputs.ndim == 2:
            return jax.vmap(fn)(inputs)
        values, log_det = jax.vmap(jax.vmap(fn))(inputs)  # sites of a convolution
        return values, jnp.sum(log_det, axis=1)

    return Contestant(transform, moved(params), jax.random.normal(jax.random.key(2), (batch, *event_shape)))


def _is_fixed(leaf: Any) -> bool:
    return isinstance(leaf, paramax.NonTrainable)


def of_distreqx(kept: int, features: int, hidden: tuple[int, ...], batch: int) -> Contestant:
    """An affine coupling: distreqx's `Block` of `ScalarAffine` of what an equinox perceptron says."""
    net = eqx.nn.MLP(kept, 2 * (features - kept), hidden[0], len(hidden), jax.nn.silu, key=jax.random.key(0))
    params, static = eqx.partition(net, eqx.is_inexact_array)

    def one(params: Any, inputs: Any) -> Any:
        log_scale, shift = jnp.split(eqx.combine(params, static)(inputs[:kept]), 2)
        layer = distreqx.Block(distreqx.ScalarAffine(shift, log_scale=2 * jnp.tanh(log_scale / 2)), 1)
        changed, log_det = layer.forward_and_log_det(inputs[kept:])
        return jnp.concatenate([inputs[:kept], changed]), log_det

    def transform(params: Any, inputs: Any) -> Any:
        return jax.vmap(one, (None, 0))(params, inputs)

    return Contestant(transform, moved(params), jax.random.normal(jax.random.key(2), (batch, features)))


def triangles_of_distreqx(channels: int, sites: int, batch: int) -> Contestant:
    """A 1x1 convolution of distreqx's triangular matrices."""
    params = [
        jnp.eye(channels) + 0.1 * jax.random.normal(jax.random.key(side), (channels, channels)) for side in (0, 1)
    ]

    def one(params: Any, inputs: Any) -> Any:
        upper, lower = (
            distreqx.TriangularLinear(matrix, is_lower) for matrix, is_lower in zip(params, (False, True), strict=True)
        )
        values, first = upper.forward_and_log_det(inputs)
        values, second = lower.forward_and_log_det(values)
        return values, first + second

    def transform(params: Any, inputs: Any) -> Any:
        values, log_det = jax.vmap(jax.vmap(one, (None, 0)), (None, 0))(params, inputs)
        return values, jnp.sum(log_det, axis=1)

    return Contestant(transform, params, jax.random.normal(jax.random.key(2), (batch, sites, channels)))


def triangles_of_flowjax(channels: int, sites: int, batch: int) -> Contestant:
    """A 1x1 convolution of flowjax's triangular matrices."""
    one = jnp.eye(channels)
    parts = [flowjax.TriangularAffine(jnp.zeros(channels), one, lower=is_lower) for is_lower in (False, True)]
    return of_flowjax(flowjax.Chain(parts), (sites, channels), batch)


def affine(features: int, hidden: tuple[int, ...], batch: int) -> dict[str, Contestant]:
    kept = features // 2
    mask = [index < kept for index in range(features)]
    peer = flowjax.Coupling(
        jax.random.key(0),
        transformer=flowjax.Affine(),
        untransformed_dim=kept,
        dim=features,
        nn_width=hidden[0],
        nn_depth=len(hidden),
        nn_activation=jax.nn.silu,
    )
    return {
        "jaxrg": ours(bijectors.affine_coupling((features,), mask, bijectors.perceptron(hidden)), (features,), batch),
        "distreqx": of_distreqx(kept, features, hidden, batch),
        "flowjax": of_flowjax(peer, (features,), batch),
    }


def spline(features: int, hidden: tuple[int, ...], batch: int) -> dict[str, Contestant]:
    kept = features // 2
    mask = [index < kept for index in range(features)]
    layer = bijectors.spline_coupling((features,), mask, bijectors.perceptron(hidden), num_bins=NUM_BINS)
    peer = flowjax.Coupling(
        jax.random.key(0),
        transformer=flowjax.RationalQuadraticSpline(knots=NUM_BINS - 1, interval=4),
        untransformed_dim=kept,
        dim=features,
        nn_width=hidden[0],
        nn_depth=len(hidden),
        nn_activation=jax.nn.silu,
    )
    return {"jaxrg": ours(layer, (features,), batch), "flowjax": of_flowjax(peer, (features,), batch)}


def convolution(channels: int, sites: int, batch: int) -> dict[str, Contestant]:
    return {
        "jaxrg": ours(bijectors.invertible_convolution((channels, sites)), (channels, sites), batch),
        "distreqx": triangles_of_distreqx(channels, sites, batch),
        "flowjax": triangles_of_flowjax(channels, sites, batch),
    }


def records(name: str, contestants: dict[str, Contestant], peer: str, repeats: int) -> list[dict[str, Any]]:
    """Forward, gradient and compile time of ours against one peer."""
    found = []
    for what in ("forward", "gradient"):
        times = medians({who: one.call(getattr(one, what)) for who, one in contestants.items()}, repeats=repeats)
        mine, theirs = 1e3 * times["jaxrg"], 1e3 * times[peer]
        suffix = "" if what == "gradient" else "_forward"
        found.append(record(name + suffix, mine, "ms", peer=peer, peer_value=theirs, ratio=theirs / mine))
    mine, theirs = (contestants[who].compile_seconds for who in ("jaxrg", peer))
    return [*found, record(name + "_compile", mine, "s", peer=peer, peer_value=theirs, ratio=theirs / mine)]


def run(*, quick: bool) -> list[dict[str, Any]]:
    """Ratios above one mean that jaxrg is faster; the plain name is that of value and gradient."""
    batch, repeats = (1024, 5) if quick else (8192, 15)
    hidden = (64, 64)
    blocks = affine(4, (10, 10, 10), 4 * batch)  # NeuralRG's, all blocks of a lattice side by side
    wide = affine(16, hidden, batch)  # nearly all of it matrix products, which are the same on both sides
    convolutions = convolution(12, 256, 16 if quick else 64)
    return [
        *records("affine_vs_distreqx", blocks, "distreqx", repeats),
        *records("affine_vs_flowjax", blocks, "flowjax", repeats),
        *records("affine_wide_vs_distreqx", wide, "distreqx", repeats),
        *records("affine_wide_vs_flowjax", wide, "flowjax", repeats),
        *records("rqs_vs_flowjax", spline(16, hidden, batch), "flowjax", repeats),
        *records("convolution_vs_distreqx", convolutions, "distreqx", repeats),
        *records("convolution_vs_flowjax", convolutions, "flowjax", repeats),
    ]
