"""Taps and pictures: what reading costs, what other rules cost, and both against Captum, with what it gets wrong."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import medians, record
from jaxrg.explain import hidden

Record = dict[str, Any]
NUMBERS = ("NHWC", "HWIO", "NHWC")
CLASSES = 10


def parameters(widths: tuple[int, ...]) -> dict[str, Any]:
    """Kernels ``[3, 3, in, out]`` and biases of every convolution, and a linear head."""
    random = np.random.default_rng(0)

    def layer(*shape: int) -> tuple[jax.Array, jax.Array]:
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        return jnp.asarray(scale * random.normal(size=shape), jnp.float32), jnp.zeros(shape[-1])

    convolutions = [layer(3, 3, *pair) for pair in zip((3, *widths), widths, strict=False)]
    return {"convolutions": convolutions, "head": layer(widths[-1], CLASSES)}


def network(params: dict[str, Any], images: jax.Array) -> jax.Array:
    """Outputs ``[batch, classes]``: convolutions with ReLU, max-pools after the second and the fourth, a mean."""
    maps = images
    for number, (kernel, bias) in enumerate(params["convolutions"]):
        maps = jax.lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS)
        maps = jax.nn.relu(maps + bias.reshape(1, 1, 1, -1))
        if number % 2:
            maps = jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    weight, bias = params["head"]
    return jnp.mean(maps, axis=(1, 2)) @ weight + bias.reshape(1, -1)


def total(params: dict[str, Any], images: jax.Array) -> jax.Array:
    """The first output of every image: the pictures of a batch are those of its sum."""
    return jnp.sum(network(params, images)[:, 0])


def study(*, quick: bool) -> tuple[dict[str, Any], jax.Array, int]:
    """Parameters, a batch of images, and how often to repeat."""
    widths, side, batch, repeats = ((8, 8), 16, 4, 3) if quick else ((32, 32, 64, 64, 64), 64, 16, 15)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(batch, side, side, 3)), jnp.float32)
    return parameters(widths), images, repeats


def run(*, quick: bool) -> list[Record]:
    """All records of this part."""
    params, images, repeats = study(quick=quick)
    function = functools.partial(total, params)
    relus = ["relu", *(f"relu_{number}" for number in range(1, len(params["convolutions"])))]
    plain, slope = jax.jit(network), jax.jit(jax.grad(total, 1))
    contestants = {
        "plain": lambda: jax.block_until_ready(plain(params, images)),
        "tapped": lambda: jax.block_until_ready(hidden.run(network, params, images, read=relus)),
        "gradient": lambda: jax.block_until_ready(slope(params, images)),
        "deconvnet": lambda: jax.block_until_ready(hidden.deconvnet(function, images)),
        "guided": lambda: jax.block_until_ready(hidden.guided_backpropagation(function, images)),
    }
    seconds = medians(contestants, repeats=repeats)

    def cost(name: str, value: str, peer: str) -> Record:
        return record(
            name,
            seconds[value] / seconds[peer],
            f"of the {peer} one",
            peer=f"seconds, {peer}",
            peer_value=seconds[peer],
            ratio=seconds[peer] / seconds[value],
        )

    return [
        cost("tap_capture_cost", "tapped", "plain"),
        cost("deconvnet_cost", "deconvnet", "gradient"),
        cost("guided_cost", "guided", "gradient"),
        *_against_captum(quick=quick),
    ]


def _against_captum(*, quick: bool) -> list[Record]:
    try:
        from benchmarks.peers import captum_pictures
    except ModuleNotFoundError as error:
        print(f"no comparison with Captum: {error}")
        return []
    return captum_pictures.run(quick=quick)
