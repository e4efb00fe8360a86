"""Captum (PyTorch) on the same network: the same pictures, their time, and the cases in which it gives others.

XLA convolves on one core of a CPU (a record says how many are busy). A program of its own, ``python -m
benchmarks.peers.captum_pictures``, therefore sees the cores as devices and has a batch spread over them, as PyTorch has
its threads; one device alone is a record beside.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from captum.attr import Deconvolution, GuidedBackprop, LayerAttribution, LayerGradCam
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from torch import nn

from benchmarks.explain_hidden import network, study
from benchmarks.timing import medians, record
from jaxrg.explain import hidden

Record = dict[str, Any]


def torch_network(params: dict[str, Any]) -> nn.Module:
    """The network of the benchmark as modules."""
    layers: list[nn.Module] = []
    for number, (kernel, bias) in enumerate(params["convolutions"]):
        convolution = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
        convolution.weight.data = torch.tensor(np.asarray(kernel)).permute(3, 2, 0, 1).contiguous()
        convolution.bias.data = torch.tensor(np.asarray(bias))
        layers += [convolution, nn.ReLU()]
        if number % 2:
            layers.append(nn.MaxPool2d(2))
    weight, bias = params["head"]
    head = nn.Linear(*weight.shape)
    head.weight.data, head.bias.data = torch.tensor(np.asarray(weight)).T.contiguous(), torch.tensor(np.asarray(bias))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def run(*, quick: bool) -> list[Record]:
    """The records of `measure`, by a program whose devices are the cores."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={os.cpu_count()}"
    command = [sys.executable, "-m", "benchmarks.peers.captum_pictures", *(["--quick"] if quick else [])]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags})
    return json.loads(found.stdout.splitlines()[-1])


def measure(params: dict[str, Any], images: jax.Array, repeats: int) -> list[Record]:
    """Seconds of pictures of one batch, and how many of the cases below are as they are defined."""
    devices = jax.devices()[: math.gcd(len(images), len(jax.devices()))]
    mesh = Mesh(np.array(devices), ("batch",))
    spread = jax.device_put(images, NamedSharding(mesh, PartitionSpec("batch")))
    everywhere = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    model = torch_network(params)
    given = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2).contiguous().requires_grad_()
    last = max(place for place, layer in enumerate(model) if isinstance(layer, nn.ReLU))
    site = "relu" if len(params["convolutions"]) == 1 else f"relu_{len(params['convolutions']) - 1}"
    first = lambda image: network(everywhere, image[None])[0, 0]  # noqa: E731
    cams = jax.jit(jax.vmap(lambda image: hidden.grad_cam(first, image, site)))
    on_one = lambda batch: jnp.sum(network(params, batch)[:, 0])  # noqa: E731
    on_all = lambda batch: jnp.sum(network(everywhere, batch)[:, 0])  # noqa: E731
    side = images.shape[1:3]

    def captum_cam() -> Any:
        heat = LayerGradCam(model, model[last]).attribute(given, target=0, relu_attributions=True)
        return LayerAttribution.interpolate(heat, tuple(side), "bilinear")

    contestants = {
        "deconvnet": lambda: jax.block_until_ready(hidden.deconvnet(on_all, spread)),
        "captum deconvnet": lambda: Deconvolution(model).attribute(given, target=0),
        "deconvnet_one_device": lambda: jax.block_until_ready(hidden.deconvnet(on_one, images)),
        "gradcam": lambda: jax.block_until_ready(cams(spread)),
        "captum gradcam": captum_cam,
        "deconvnet_one_image": lambda: jax.block_until_ready(hidden.deconvnet(on_one, images[:1])),
        "captum deconvnet_one_image": lambda: Deconvolution(model).attribute(given[:1], target=0),
    }
    seconds = medians(contestants, repeats=repeats)
    ours = np.asarray(contestants["deconvnet"]()).transpose(0, 3, 1, 2)
    theirs = contestants["captum deconvnet"]().detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    heat = contestants["captum gradcam"]().detach().numpy()[:, 0]
    np.testing.assert_allclose(np.asarray(contestants["gradcam"]()), heat, atol=1e-4 * np.abs(heat).max())
    results = [
        record(
            f"{name}_vs_captum",
            seconds[name],
            "s a picture" if name.endswith("image") else "s a batch",
            peer=f"{peer}, {torch.get_num_threads()} threads",
            peer_value=seconds[peer],
            ratio=seconds[peer] / seconds[name],
        )
        for name, peer in (
            ("deconvnet", "captum deconvnet"),
            ("deconvnet_one_device", "captum deconvnet"),
            ("gradcam", "captum gradcam"),
            ("deconvnet_one_image", "captum deconvnet_one_image"),
        )
    ]
    outcomes = {name: (_outcome(ours), _outcome(theirs)) for name, (ours, theirs) in cases().items()}
    is_right = {name: [outcome == "right" for outcome in pair] for name, pair in outcomes.items()}
    ours, theirs = np.sum(list(is_right.values()), axis=0).tolist()
    return [
        *results,
        record("convolution_cores", _cores(params, images), "cores busy on one device"),
        record("picture_cases_right", ours, f"of {len(outcomes)}", peer="captum", peer_value=theirs),
        *(
            record(f"picture_is_right: {name}", float(own), "1 is right", peer="captum", peer_value=float(peer))
            for name, (own, peer) in is_right.items()
        ),
    ]


def _cores(params: dict[str, Any], images: jax.Array) -> float:
    """Seconds of all cores in one second of the network on one device."""
    apply = jax.jit(network)
    apply(params, images).block_until_ready()
    start, processor = time.perf_counter(), time.process_time()
    for _ in range(20):
        apply(params, images).block_until_ready()
    return (time.process_time() - processor) / (time.perf_counter() - start)


def _outcome(check: Callable[[], Any]) -> str:
    """Whether a picture is as defined; what is raised is no picture."""
    try:
        found, expected = check()
    except (AssertionError, RuntimeError, ValueError, AttributeError) as error:
        return f"raises {type(error).__name__}: {error}"[:80]
    return "right" if np.allclose(np.asarray(found), np.asarray(expected), atol=1e-6) else "wrong"


class _Functional(nn.Module):
    """f = w . relu(U x), with the ReLU as a function."""

    def __init__(self, inner: np.ndarray, outer: np.ndarray) -> None:
        super().__init__()
        self.inner, self.outer = torch.tensor(inner), torch.tensor(outer)

    def forward(self, x: Any) -> Any:
        return (torch.relu(x @ self.inner.T) @ self.outer)[:, None]


class _Clamped(_Functional):
    """The same, with the ReLU as a clamp."""

    def forward(self, x: Any) -> Any:
        return (torch.clamp(x @ self.inner.T, min=0) @ self.outer)[:, None]


class _Reused(_Functional):
    """The same, with one module for two ReLUs, of which the second changes nothing."""

    def __init__(self, inner: np.ndarray, outer: np.ndarray) -> None:
        super().__init__(inner, outer)
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return (self.relu(self.relu(x @ self.inner.T)) @ self.outer)[:, None]


class _InPlace(_Reused):
    def __init__(self, inner: np.ndarray, outer: np.ndarray) -> None:
        super().__init__(inner, outer)
        self.relu = nn.ReLU(inplace=True)


def cases() -> dict[str, tuple[Callable, Callable]]:
    """What each library gives, and what the definition says, by small networks whose pictures are known by hand."""
    random = np.random.default_rng(2)
    inner, outer, x = (random.normal(size=shape).astype(np.float32) for shape in ((12, 3), (12,), (3,)))
    is_on = inner @ x > 0
    deconvnet, guided = np.maximum(outer, 0) @ inner, (np.maximum(outer, 0) * is_on) @ inner
    assert not np.allclose(guided, (outer * is_on) @ inner, atol=0.1), "a case that the plain gradient would pass"
    writings: dict[str, tuple[Callable, type[nn.Module]]] = {
        "ReLU as a function": (jax.nn.relu, _Functional),
        "ReLU as a clamp at zero": (lambda x: jnp.maximum(x, 0), _Clamped),
        "one ReLU used twice": (lambda x: jax.nn.relu(jax.nn.relu(x)), _Reused),
        "one ReLU used twice, in place": (lambda x: jax.nn.relu(jax.nn.relu(x)), _InPlace),
    }
    found: dict[str, tuple[Callable, Callable]] = {}
    for name, (activation, module) in writings.items():
        function = lambda x, activation=activation: jnp.dot(outer, activation(inner @ x))  # noqa: E731
        for kind, ours, theirs, expected in (
            ("deconvnet", hidden.deconvnet, Deconvolution, deconvnet),
            ("guided", hidden.guided_backpropagation, GuidedBackprop, guided),
        ):

            def by_captum(module: Any = module, theirs: Any = theirs, expected: Any = expected) -> Any:
                given = torch.tensor(x[None], requires_grad=True)
                return theirs(module(inner, outer)).attribute(given, target=0).detach().numpy()[0], expected

            found[f"{kind}, {name}"] = (
                lambda ours=ours, function=function, expected=expected: (ours(function, x), expected),
                by_captum,
            )
    maps = np.array([[[[-1.0, 2.0], [0.5, -3.0]]]], np.float32)
    head = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def captum_default() -> Any:
        heat = LayerGradCam(head, head[0]).attribute(torch.tensor(maps, requires_grad=True), target=0)
        return heat.detach().numpy()[0, 0], np.maximum(maps[0, 0], 0) / 4

    def ours_default() -> Any:
        mean = lambda image: jnp.mean(image[..., None] * 1.0)  # noqa: E731
        return hidden.grad_cam(mean, maps[0, 0], "mul"), np.maximum(maps[0, 0], 0) / 4

    return found | {"Grad-CAM by default, as published with its ReLU": (ours_default, captum_default)}


if __name__ == "__main__":
    print(json.dumps(measure(*study(quick="--quick" in sys.argv))))
