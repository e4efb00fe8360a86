"""What the studies of transfer are trained on: halves of the classes of images, and temperatures of spins."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _transfer_driver import Tasks

from jaxrg import datasets, exact, lattice, models, samplers

FASHION, DIGITS, SMALL = "fashion", "digits", "small digits"
NUM_SAMPLES = 6  # configurations of a chain, as many before them being left out
LEVELS = (0.8, 0.9, 1.0, 1.1, 1.2)  # couplings to be told apart, in units of the critical one
HOT, COLD = (0.3, 0.4, 0.5, 0.6, 0.7), (1.3, 1.45, 1.6, 1.75, 1.9)
XY_LEVELS = (0.5, 0.75, 1.0, 1.25, 1.5)  # further apart, as a network sees one component of the spins
TRIANGULAR_COUPLING = np.log(3) / 4
XY_COUPLING = 1.12  # Komura & Okabe, 2012


def installed(folder: str) -> str:
    """The better one of the data sets that are there."""
    return FASHION if Path(folder or datasets.FASHION_MNIST_FOLDER).is_dir() else DIGITS


@functools.cache
def images(name: str, folder: str) -> tuple[datasets.Dataset, datasets.Dataset]:
    """To train on and to test with, with mean zero and variance one; of digits half of the samples each."""
    if name == FASHION:
        where = folder or datasets.FASHION_MNIST_FOLDER
        train, test = (datasets.fashion_mnist(where, is_train=is_train) for is_train in (True, False))
    else:
        both = datasets.mnist_5k() if name == DIGITS else datasets.digits()
        order = np.random.default_rng(0).permutation(len(both.labels))
        train, test = (chosen(both, rows) for rows in np.array_split(order, 2))
    mean, spread = np.mean(train.inputs), np.std(train.inputs)
    train, test = (part._replace(inputs=(part.inputs - mean) / spread) for part in (train, test))
    return train, test


def chosen(data: datasets.Dataset, rows: np.ndarray) -> datasets.Dataset:
    """Some samples, on the host, where no shape is compiled for."""
    return data._replace(
        inputs=jnp.asarray(np.asarray(data.inputs)[rows]), labels=jnp.asarray(np.asarray(data.labels)[rows])
    )


def halves(seed: int, name: str, folder: str, num_train: int, num_test: int) -> Tasks:
    """Two random halves of the classes, A and B, with so many random images of each."""
    random, parts = np.random.default_rng(seed), []
    for classes in random.permutation(10).reshape(2, 5):
        sets = [datasets.select_classes(part, classes.tolist()) for part in images(name, folder)]
        rows = [
            random.permutation(len(part.labels))[:size] for part, size in zip(sets, (num_train, num_test), strict=True)
        ]
        train, test = (chosen(part, some) for part, some in zip(sets, rows, strict=True))
        parts.append((train, test))
    return Tasks({"other classes": parts[0]}, parts[1])


class Physics(NamedTuple):
    """A model, its couplings and size, and what a network sees of a configuration."""

    model_of: Callable[[lattice.Lattice, Any], Any]
    couplings: tuple[float, ...]
    side: int
    geometry: Callable[..., lattice.Lattice] = lattice.hypercubic
    sampler_of: Callable[[Any], Any] = samplers.swendsen_wang
    seen: Callable[[jax.Array], jax.Array] = lambda spins: spins.astype(jnp.float32)


def times(levels: tuple[float, ...], coupling: float) -> tuple[float, ...]:
    return tuple(level * float(coupling) for level in levels)


SOURCES = ("antiferromagnet", "hotter", "colder", "half the size", "triangular", "XY")


def physics(side: int) -> tuple[Physics, dict[str, Physics]]:
    """Task B, the square Ising model around its critical point, and those that networks come from."""
    target = Physics(models.Ising, times(LEVELS, exact.critical_coupling), side)
    triangular = times(LEVELS, TRIANGULAR_COUPLING)
    return target, {
        "antiferromagnet": target._replace(couplings=times(LEVELS, -exact.critical_coupling)),
        "hotter": target._replace(couplings=times(HOT, exact.critical_coupling)),
        "colder": target._replace(couplings=times(COLD, exact.critical_coupling)),
        "half the size": target._replace(side=side // 2),
        "triangular": target._replace(couplings=triangular, geometry=lattice.triangular),
        "XY": Physics(
            models.XY,
            times(XY_LEVELS, XY_COUPLING),
            side,
            sampler_of=samplers.swendsen_wang_embedding,
            seen=lambda angles: np.float32(np.sqrt(2)) * jnp.cos(angles),
        ),
    }


def configurations(key: jax.Array, task: Physics, num_train: int, num_test: int):
    """Configurations of chains of their own to train on and to test with, labelled by their coupling."""
    square = task.geometry((task.side, task.side))
    chains = [count // (NUM_SAMPLES * len(task.couplings)) for count in (num_train, num_test)]
    found = []
    for level_key, coupling in zip(jax.random.split(key, len(task.couplings)), task.couplings, strict=True):
        sampler = samplers.thin(task.sampler_of(task.model_of(square, coupling)), 10)
        many = samplers.replicas(sampler, sum(chains))
        start_key, run_key = jax.random.split(level_key)
        run = samplers.run(run_key, many, many.init(start_key), 2 * NUM_SAMPLES, observe=task.seen)
        found.append(run.trace[:, NUM_SAMPLES:])
    names = tuple(f"K = {coupling:.3f}" for coupling in task.couplings)
    parts = []
    for some in (slice(chains[0]), slice(chains[0], None)):
        inputs = jnp.concatenate([part[some].reshape(-1, *square.shape) for part in found])
        labels = jnp.repeat(jnp.arange(len(names)), len(inputs) // len(names))
        parts.append(datasets.Dataset(inputs, labels, names))
    return parts[0], parts[1]


def lattices(seed: int, sources: Sequence[str], side: int, num_train: int, num_test: int) -> Tasks:
    """Couplings to be told apart, by networks that come from other temperatures, sizes and models."""
    target, others = physics(side)
    tasks = (target, *(others[source] for source in sources))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(11), seed), len(tasks))
    drawn = [configurations(key, task, num_train, num_test) for key, task in zip(keys, tasks, strict=True)]
    return Tasks(dict(zip(sources, drawn[1:], strict=True)), drawn[0])


def ceiling(side: int) -> float:
    """Accuracy of the best classifier of the couplings, to which the energy tells all that there is, exact."""
    target, _ = physics(side)
    couplings = jnp.asarray(target.couplings)
    table = jax.vmap(lambda coupling: exact.torus_energy_distribution(coupling, (side, side)))(couplings)
    return float(exact.optimal_classifier(table, np.arange(len(table)), num_classes=len(table)).accuracy)
