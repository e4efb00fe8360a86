"""Networks for the study of probes: their layers, the probes of each, and what interventions on one layer do."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import datasets, nets, training
from jaxrg.explain import hidden as taps
from jaxrg.explain import probes

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
NUM_CLASSES, SIDE, BATCH_SIZE = 10, 28, 50
TAG = 3  # side of the mark in a corner that half of the images have, whatever their digit
BLOCKS = np.array([[4, 24], [4, 14], [14, 24]])  # rows and columns whose ink makes the types of the control task


class Data(NamedTuple):
    """Digits with a mark, of which networks, probes and tests see different ones."""

    images: jax.Array  # [n, 28, 28]
    labels: np.ndarray  # [n]
    tags: np.ndarray  # [n] whether there is a mark
    types: np.ndarray  # [n] which eighths of the image have much ink: as many types as there are answers
    train: slice
    fit: slice
    choose: slice
    test: slice


class Trained(NamedTuple):
    """A network, where it is looked at, and the parameters it began and ended with."""

    net: nets.Net
    sites: list[str]
    first: Any
    last: Any

    def layers(self, params: Any, inputs: jax.Array) -> list[jax.Array]:
        """Images, the values at every site, logits, each ``[images, features]``."""
        reading = taps.run(self.net.apply, params, inputs, read=self.sites)
        values = [inputs, *(reading.values[site] for site in self.sites), reading.output]
        return [each.reshape(len(inputs), -1) for each in values]


def data_of(sizes: tuple[int, int, int]) -> Data:
    """``sizes`` of what networks learn from, what probes are fitted to and, twice, what they are chosen by."""
    shuffled, _ = datasets.split(jax.random.key(0), datasets.mnist_5k(), 4_999)
    images, labels = shuffled.inputs, np.asarray(shuffled.labels)
    tags = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.5, labels.shape)).astype(np.int64)
    images = images.at[:, :TAG, :TAG].set(jnp.asarray(tags, images.dtype)[:, None, None])
    ink = np.asarray(images)[:, 4:24, 4:24].reshape(-1, 4, 5, 2, 10).mean(axis=(2, 4)).reshape(-1, 8)
    types = (ink > np.median(ink, axis=0)).astype(np.int64) @ (2 ** np.arange(8))
    train, fit, choose = np.cumsum(sizes)
    parts = slice(0, train), slice(train, fit), slice(fit, choose), slice(choose, choose + 2 * sizes[2])
    return Data(images, labels, tags, types, *parts)


def sites_of(net: nets.Net, params: Any, inputs: jax.Array, kind: str) -> list[str]:
    """Names of the values that are looked at, the operations of a kind: ReLUs, or the divisions of average pools."""
    return [site.name for site in taps.taps(net.apply, params, inputs) if site.kind == kind]


def train(net: nets.Net, kind: str, data: Data, num_epochs: int, seed: int) -> Trained:
    init_key, train_key = jax.random.split(jax.random.key(seed))

    def loss_fn(key, params, batch):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(net.apply(params, batch[0]), batch[1]))

    first = net.init(init_key, data.images[:1])
    batches = data.images[data.train], jnp.asarray(data.labels[data.train])
    options: dict[str, Any] = {"num_epochs": num_epochs, "batch_size": min(BATCH_SIZE, len(batches[1]))}
    run = training.fit(train_key, training.gradient_of(loss_fn), optax.adam(1e-3), first, batches, **options)
    return Trained(net, sites_of(net, first, data.images[:1], kind), first, run.params)


# What can be read


class Read(NamedTuple):
    """A probe chosen on samples of its own, on the samples of the test."""

    probe: probes.LogisticProbes  # that of one penalty
    is_right: np.ndarray  # [num_test]
    gap: float  # largest one certified

    @property
    def accuracy(self) -> float:
        return float(self.is_right.mean())


def read(hidden: Any, labels: np.ndarray, data: Data, rank: int | None = None) -> Read:
    """The best probe of several penalties."""
    flat, labels = np.asarray(hidden).reshape(len(hidden), -1), np.asarray(labels)
    found = probes.logistic_probes(flat[data.fit], labels[data.fit], PENALTIES, tolerance=1e-8)
    if rank is not None:
        found = probes.rank_limited_probes(found, flat[data.fit], labels[data.fit], rank, tolerance=1e-8)
    scores = probes.classification_scores(found, flat[data.choose], labels[data.choose])
    best = int(jnp.argmin(scores.cross_entropy))
    chosen = probes.LogisticProbes(*(part[best : best + 1] for part in found))
    logits = flat[data.test] @ chosen.weights[0] + chosen.bias[0]
    return Read(chosen, logits.argmax(axis=1) == labels[data.test], float(found.gap.max()))


def compression(hidden: Any, labels: np.ndarray, data: Data) -> float:
    """Uniform code over the code by a probe, of the samples that probes are fitted to and chosen by."""
    part = slice(data.fit.start, data.choose.stop)
    flat = np.asarray(hidden).reshape(len(hidden), -1)[part]
    found = probes.code_length(jax.random.key(3), flat, np.asarray(labels)[part], PENALTIES[:3], tolerance=1e-4)
    return found.uniform / found.total


# What is used


class Used(NamedTuple):
    """What interventions on one layer do, each beside its control; one number for each concept where there are two."""

    is_read: dict[str, float]  # accuracy of the probes of digit and mark
    flips: dict[str, np.ndarray]  # [num_test] share of directions that change the answer: of digit, mark, random
    rises: dict[str, np.ndarray]  # [num_directions] mean rise of the probability of the digit that is moved towards
    erased: dict[str, np.ndarray]  # [num_test] whether the answer is right: as it is, less digit, mark, random labels
    left: dict[str, float]  # accuracy of new probes of digit and mark after each is erased


def interventions(model: Trained, data: Data, layer: int, num_random: int) -> Used:
    """Move the values of a layer of a perceptron along probes, and erase what they read."""
    hidden = model.layers(model.last, data.images)[layer]
    labels, tests = data.labels[data.test], hidden[data.test]
    after = taps.split(model.net.apply, model.sites[layer - 1])[1]
    tail = lambda values: after(values, model.last, data.images[data.test])  # noqa: E731
    digit, mark = read(hidden, data.labels, data), read(hidden, data.tags, data)
    spread = hidden[data.fit] - jnp.mean(hidden[data.fit], axis=0, keepdims=True)
    length = 0.5 * jnp.sqrt(jnp.mean(jnp.sum(spread**2, axis=1)))
    noise = jax.random.normal(jax.random.key(5), (num_random, len(spread)))
    directions = {
        "digit": jnp.asarray(digit.probe.weights[0].T, jnp.float32),
        "mark": jnp.asarray((mark.probe.weights[0] * [-1, 1]).T, jnp.float32) * jnp.array([[-1.0], [1.0]]),
        "random": noise @ spread,
    }
    plain = jax.nn.softmax(tail(tests))
    flips, rises = {}, {}
    for name, each in directions.items():
        moved = jax.nn.softmax(probes.intervene(tail, tests, each, length)[:, 0])
        changed = jnp.argmax(moved, axis=-1) != jnp.argmax(plain, axis=-1)[None]
        flips[name] = np.asarray(jnp.mean(changed.astype(jnp.float32), axis=0))
        if name != "mark":
            towards = jnp.arange(len(each)) % NUM_CLASSES
            rise = jnp.take_along_axis(moved - plain[None], towards[:, None, None], axis=-1)
            rises[name] = np.asarray(jnp.mean(rise[..., 0], axis=1))
    random_labels = np.random.default_rng(0).permutation(data.labels)
    targets = {
        "digit": np.eye(NUM_CLASSES)[data.labels],
        "mark": data.tags[:, None],
        "random labels": np.eye(NUM_CLASSES)[random_labels],
    }
    erased, left = {"nothing": np.asarray(jnp.argmax(plain, axis=-1)) == labels}, {}
    for name, target in targets.items():
        eraser = probes.concept_eraser(hidden[data.fit], target[data.fit])
        erased[name] = np.asarray(jnp.argmax(tail(probes.erase(eraser, tests)), axis=-1)) == labels
        if name != "random labels":
            known = data.labels if name == "digit" else data.tags
            left[name] = read(probes.erase(eraser, hidden), known, data).accuracy
    return Used({"digit": digit.accuracy, "mark": mark.accuracy}, flips, rises, erased, left)
