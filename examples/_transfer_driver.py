"""One driver for the studies of transfer: a network of eight layers, its training, and scores that survive a kill."""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import datasets, nets, training
from jaxrg.explain import transplants

BATCH_SIZE = 50
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "dense1", "dense2", "output")
STRIDE = 2  # of the first layer, as AlexNet has one
POOLED = ("conv2", "conv5")
SOURCE, CONTROL = "B", "base again"  # two networks of one seed that are trained on B with nothing transplanted


class Architecture(NamedTuple):
    """Five convolutions and three dense layers, as AlexNet has them."""

    kernels: tuple[int, ...]  # side of each
    channels: tuple[int, ...]
    width: int  # of the dense layers
    num_classes: int
    is_periodic: bool  # convolutions on a torus and a mean over its sites, which take any size


class Tasks(NamedTuple):
    """What a network is first trained on, by name, and what all are tested on; each a training and a test set."""

    sources: dict[str, tuple[datasets.Dataset, datasets.Dataset]]
    target: tuple[datasets.Dataset, datasets.Dataset]


# %%
def convolution(inputs: jax.Array, kernel: jax.Array, stride: int, is_periodic: bool) -> jax.Array:
    """As one product of matrices, which on a CPU takes a seventh of the time of XLA's convolution of few channels."""
    side = kernel.shape[0]
    edge = ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0))
    padded = jnp.pad(inputs, edge, mode="wrap" if is_periodic else "constant")
    rows, columns = (span_of(inputs.shape[axis], stride) for axis in (1, 2))
    shifted = [
        padded[:, down : down + rows : stride, right : right + columns : stride]
        for down in range(side)
        for right in range(side)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def span_of(side: int, stride: int) -> int:
    """Sites from the first to the last one that a stride takes."""
    return (side - 1) // stride * stride + 1


def largest_of_four(inputs: jax.Array) -> jax.Array:
    """2x2 maxima; an odd last row or column sits out."""
    batch, rows, columns, channels = inputs.shape
    even = inputs[:, : rows // 2 * 2, : columns // 2 * 2]
    return jnp.max(even.reshape(batch, rows // 2, 2, columns // 2, 2, channels), axis=(2, 4))


@functools.cache
def network(architecture: Architecture) -> nets.Net:
    """The pair of functions, one object for each architecture, so that programs are shared."""
    kernels, channels, width, num_classes, is_periodic = architecture

    def init(key: jax.Array, inputs: jax.Array) -> dict[str, Any]:
        sides = [(side - 1) // 4 + 1 for side in inputs.shape[1:3]]  # of the maps of the third layer
        features = channels[-1] if is_periodic else (sides[0] // 2) * (sides[1] // 2) * channels[-1]
        before = (1, *channels[:-1])
        shapes: list[tuple[int, ...]] = [
            (side, side, few, many) for side, few, many in zip(kernels, before, channels, strict=True)
        ]
        shapes += [(features, width), (width, width), (width, num_classes)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        # One draw, cut up: XLA takes seconds to compile eight.
        parts = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
        params = {}
        for name, shape, part in zip(LAYERS, shapes, parts, strict=True):
            scale = np.sqrt(2 / np.prod(shape[:-1])).astype(np.float32)  # He et al., 2015
            params[name] = {"kernel": scale * part.reshape(shape), "bias": jnp.zeros(shape[-1])}
        return params

    def apply(params: dict[str, Any], inputs: jax.Array) -> jax.Array:
        hidden = inputs[..., None]
        for number, name in enumerate(LAYERS[:5]):
            sums = convolution(hidden, params[name]["kernel"], 1 if number else STRIDE, is_periodic)
            hidden = jax.nn.relu(sums + params[name]["bias"][None, None, None])
            hidden = largest_of_four(hidden) if name in POOLED else hidden
        hidden = jnp.mean(hidden, axis=(1, 2)) if is_periodic else hidden.reshape(len(hidden), -1)
        for name in LAYERS[5:]:
            hidden = hidden if name == LAYERS[5] else jax.nn.relu(hidden)
            hidden = hidden @ params[name]["kernel"] + params[name]["bias"][None]
        return hidden

    return nets.Net(jax.jit(init), jax.jit(apply))


def layers_of(params: dict[str, Any]) -> list[Any]:
    return [params[name] for name in LAYERS]


@functools.cache
def gradient_of(architecture: Architecture) -> training.GradientFn:
    net = network(architecture)

    def loss_fn(key, params, batch):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(net.apply(params, batch[0]), batch[1]))

    return training.gradient_of(loss_fn)


@functools.cache
def optimizer_of(rate: float, num_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, num_steps))


# %%
def trained(
    key: jax.Array, architecture: Architecture, params: Any, data: datasets.Dataset, num_frozen: int, scale: Any
) -> Any:
    """Parameters after training with so many first layers as they are; one program for all of one shape of data."""
    num_steps = scale.num_epochs * (len(data.labels) // BATCH_SIZE)
    layers = transplants.layer_numbers(params, layers_of)
    run = training.fit(
        key,
        gradient_of(architecture),
        transplants.freeze_first(optimizer_of(scale.rate, num_steps), layers, num_frozen),
        params,
        (data.inputs, data.labels),
        num_epochs=scale.num_epochs,
        batch_size=BATCH_SIZE,
    )
    return run.params


def accuracy(architecture: Architecture, params: Any, data: datasets.Dataset) -> float:
    outputs = network(architecture).apply(params, data.inputs)
    return float(np.mean(np.argmax(np.asarray(outputs), axis=-1) == np.asarray(data.labels)))


class Ledger:
    """Scores in a file, one line for each training that has ended; a killed study goes on from them."""

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self.file, self.scores = file, {}
        first = json.dumps({"settings": settings})
        lines = file.read_text().splitlines() if file.exists() else [first]
        if json.loads(lines[0]) != json.loads(first):
            raise ValueError(f"out: expected scores of {first} in {file}, got those of {lines[0]}")
        for line in lines[1:]:
            try:
                seed, source, name, number, score = json.loads(line)
            except ValueError:  # the line that a kill cut short
                continue
            self.scores[seed, source, name, number] = score
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = [json.dumps([*key, score]) for key, score in self.scores.items()]
        file.write_text("\n".join([first, *kept]) + "\n")

    def add(self, seed: int, source: str, name: str, number: int, score: float) -> None:
        self.scores[seed, source, name, number] = score
        with self.file.open("a") as stream:
            stream.write(json.dumps([seed, source, name, number, score]) + "\n")


def study_seed(seed: int, architecture: Architecture, tasks: Tasks, scale: Any, ledger: Ledger) -> None:
    """All trainings of one seed: the bases, and every treatment at every depth.

    What needs no other task is done once, with the first source: the treatments that transplant from B or from nothing.
    """
    train, test = tasks.target
    keys = jax.random.split(jax.random.fold_in(jax.random.key(7), seed), 4 + len(tasks.sources))
    net, start_time, done = network(architecture), time.time(), len(ledger.scores)
    start, untrained = (net.init(key, train.inputs[:1]) for key in keys[:2])
    layers = transplants.layer_numbers(start, layers_of)

    def train_fn(params: Any, num_frozen: int) -> float:
        return accuracy(architecture, trained(keys[2], architecture, params, train, num_frozen, scale), test)

    def base(name: str, key: jax.Array, data: tuple[datasets.Dataset, datasets.Dataset]) -> Any:
        init_key, train_key = jax.random.split(key)
        params = trained(train_key, architecture, net.init(init_key, train.inputs[:1]), data[0], 0, scale)
        ledger.add(seed, "", name, 0, accuracy(architecture, params, data[1]))
        return params

    groups: list[tuple[str, Sequence[str]]] = [("", ("BnB", "BnB+", "random"))]
    groups += [(source, ("AnB", "AnB+")) for source in tasks.sources]
    own: dict[str, Any] = {"random": untrained}
    if not is_complete(ledger, seed, tasks):
        own["B"] = base(SOURCE, keys[3], tasks.target)
        if (seed, "", CONTROL, 0) not in ledger.scores:
            ledger.add(seed, "", CONTROL, 0, train_fn(start, 0))
    for number, (source, names) in enumerate(groups):
        wanted = {name: transplants.TREATMENTS[name] for name in names}
        known = {key[2:]: score for key, score in ledger.scores.items() if key[:2] == (seed, source)}
        if all((name, n) in known for name in names for n in range(1, len(LAYERS))):
            continue
        others = {"A": base(source, keys[3 + number], tasks.sources[source])} if source else {}
        transplants.transfer_scores(
            train_fn,
            start,
            own | others,
            layers,
            treatments=wanted,
            known=known,
            on_score=functools.partial(ledger.add, seed, source),
        )
    new = len(ledger.scores) - done
    print(f"  seed {seed}: {new} trainings in {time.time() - start_time:.0f} s", flush=True)


def is_complete(ledger: Ledger, seed: int, tasks: Tasks) -> bool:
    rows = [("", name) for name in ("BnB", "BnB+", "random")]
    rows += [(source, name) for source in tasks.sources for name in ("AnB", "AnB+")]
    return all((seed, source, name, n) in ledger.scores for source, name in rows for n in range(1, len(LAYERS)))


def study(
    architecture: Architecture, tasks_of: Callable[[int], Tasks], scale: Any, file: Path, settings: Mapping[str, Any]
) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, np.ndarray]]:
    """Accuracies ``[seeds, depths]`` by source and treatment, and those ``[seeds]`` of the bases."""
    ledger = Ledger(file, settings)
    for seed in range(scale.num_seeds):
        study_seed(seed, architecture, tasks_of(seed), scale, ledger)
    seeds = range(scale.num_seeds)
    rows = sorted({key[1:3] for key in ledger.scores if key[3]})
    bases = sorted({key[2] for key in ledger.scores if not key[3]})
    depths = range(1, len(LAYERS))
    scores = {row: np.array([[ledger.scores[seed, *row, n] for n in depths] for seed in seeds]) for row in rows}
    return scores, {name: np.array([ledger.scores[seed, "", name, 0] for seed in seeds]) for name in bases}
