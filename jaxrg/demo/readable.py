"""Chapter 7: where along a stack of Boltzmann machines temperature, energy and magnetisation become readable."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import exact, lattice, models, rbm, samplers
from jaxrg.base import Progress
from jaxrg.explain import probes, prototypes


class Scale(NamedTuple):
    """Sizes of the lattice, the samples, the stack and the choice of examples."""

    side: int
    num_temperatures: int
    num_samples: int  # of each of four chains at each temperature
    layer_sizes: tuple[int, ...]
    num_epochs: int
    num_prototypes: int
    num_criticisms: int


FULL = Scale(16, 101, 20, (128, 64, 32), 30, 10, 5)
SMOKE = Scale(4, 11, 8, (8,), 2, 3, 2)
COLDEST, HOTTEST = 1.0, 3.5  # T in units of J/k, as in the literature on learning phases
NUM_SWEEPS = 8  # of Swendsen-Wang between samples
NUM_CHAINS = 4  # two to train on, one to choose penalties with, one to test
TARGETS = ("temperature", "energy", "modulus", "magnetization")
CLASS_PENALTIES, PENALTIES = np.logspace(-1, -5, 5), np.logspace(1, -5, 7)
BATCH_SIZE = 100
NUM_RANDOM = 50  # random choices that prototypes are held against


def _temperatures(scale: Scale) -> np.ndarray:
    return np.linspace(COLDEST, HOTTEST, scale.num_temperatures)


def _samples(key: jax.Array, scale: Scale) -> np.ndarray:
    """``[temperatures, chains, samples, side, side]`` int8, in equilibrium."""
    square = lattice.hypercubic((scale.side, scale.side))

    def one(key: jax.Array, coupling: jax.Array) -> jax.Array:
        sampler = samplers.thin(samplers.swendsen_wang(models.Ising(square, coupling)), NUM_SWEEPS)
        start_key, run_key = jax.random.split(key)
        num_steps = scale.num_samples + 10  # the first ten are given to equilibrium
        run = samplers.run(run_key, sampler, sampler.init(start_key), num_steps, observe=lambda spins: spins)
        return run.trace[0, 10:]

    couplings = np.repeat(1 / _temperatures(scale), NUM_CHAINS).astype(np.float32)
    keys = jax.random.split(key, len(couplings))
    drawn = np.asarray(jax.jit(jax.vmap(one))(keys, couplings))
    return drawn.reshape(scale.num_temperatures, NUM_CHAINS, scale.num_samples, scale.side, scale.side)


def _levels(stack: tuple[rbm.RBM, ...], configurations: np.ndarray) -> list[jax.Array]:
    """The spins, and of every machine's field x = b + W'v the means tanh x and the terms ln cosh x of the free energy.

    Means turn with the spins, and by this symmetry no linear reader finds in them what does not, as temperature.
    """
    means = jnp.asarray(configurations.reshape(len(configurations), -1), jnp.float32)
    values = [means]
    for machine in stack:
        field = means @ machine.weights + machine.hidden_bias[None]
        means = jnp.tanh(field)
        values.append(jnp.concatenate([means, jnp.logaddexp(field, -field) - np.float32(np.log(2))], axis=1))
    return values


def _shuffled(key: jax.Array, stack: tuple[rbm.RBM, ...]) -> tuple[rbm.RBM, ...]:
    """The control: the weights of each machine in other places."""
    keys = jax.random.split(key, len(stack))
    return tuple(
        machine._replace(weights=jax.random.permutation(key, machine.weights.ravel()).reshape(machine.weights.shape))
        for key, machine in zip(keys, stack, strict=True)
    )


def _targets(configurations: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """``[samples, targets]``."""
    spins = configurations.astype(np.float64)
    neighbours = np.roll(spins, 1, -1) + np.roll(spins, 1, -2)
    magnetization = spins.mean((-2, -1))
    energy = -(spins * neighbours).mean((-2, -1))
    return np.stack([temperatures, energy, np.abs(magnetization), magnetization], axis=1)


class _Parts(NamedTuple):
    """Of one kind of chain: configurations, their temperatures, whether these are high, and what is to be read."""

    configurations: np.ndarray
    temperatures: np.ndarray
    is_hot: np.ndarray
    targets: np.ndarray


def _part(drawn: np.ndarray, chains: slice, scale: Scale) -> _Parts:
    chosen = drawn[:, chains]
    temperatures = np.repeat(_temperatures(scale), chosen.shape[1] * chosen.shape[2])
    configurations = chosen.reshape(-1, scale.side, scale.side)
    is_hot = (temperatures > 1 / exact.critical_coupling).astype(np.int32)
    return _Parts(configurations, temperatures, is_hot, _targets(configurations, temperatures))


def _read(levels: dict[str, jax.Array], parts: dict[str, _Parts]) -> dict[str, Any]:
    """What linear probes of one level come to on the test chains, their penalties chosen on others."""
    classifiers = probes.logistic_probes(levels["train"], parts["train"].is_hot, CLASS_PENALTIES, tolerance=1e-6)
    chosen = int(np.argmin(probes.classification_scores(classifiers, levels["choose"], parts["choose"].is_hot)[2]))
    scores = probes.classification_scores(classifiers, levels["test"], parts["test"].is_hot)
    readers = probes.ridge_probes(levels["train"], parts["train"].targets.astype(np.float32), PENALTIES)
    places = np.argmax(
        probes.regression_scores(readers, levels["choose"], parts["choose"].targets.astype(np.float32)).r_squared,
        axis=0,
    )
    found = probes.regression_scores(readers, levels["test"], parts["test"].targets.astype(np.float32))
    columns = np.arange(len(TARGETS))
    return {
        "num_features": int(levels["test"].shape[1]),
        "accuracy": float(scores.accuracy[chosen]),
        "accuracy_error": float(scores.accuracy_error[chosen]),
        "r_squared": dict(zip(TARGETS, np.asarray(found.r_squared)[places, columns].tolist(), strict=True)),
        "r_squared_error": dict(zip(TARGETS, np.asarray(found.r_squared_error)[places, columns].tolist(), strict=True)),
    }


def _ceiling(scale: Scale) -> dict[str, float]:
    """The best accuracy and the best R² of T that any reader can have, from the exact distribution of the energy."""
    temperatures = jnp.asarray(_temperatures(scale), jnp.float32)
    shape = (scale.side, scale.side)
    table = jax.jit(jax.vmap(lambda t: exact.torus_energy_distribution(1 / t, shape)))(temperatures)
    is_hot = (temperatures > 1 / exact.critical_coupling).astype(jnp.int32)
    predictor = exact.optimal_predictor(table, temperatures)
    return {
        "accuracy": float(exact.optimal_classifier(table, is_hot).accuracy),
        "temperature": 1 - float(predictor.mean_square_error / jnp.var(temperatures)),
    }


def _examples(key: jax.Array, part: _Parts, scale: Scale) -> dict[str, Any]:
    """Prototypes of samples of all temperatures, criticisms, and random choices to hold them against."""
    gamma_key, random_key = jax.random.split(key)
    points = part.configurations.reshape(len(part.configurations), -1).astype(np.float32)
    embedding = prototypes.mean_embedding(points, prototypes.rbf(prototypes.median_gamma(gamma_key, points)))
    found = prototypes.swap(embedding, prototypes.mmd_critic(embedding, scale.num_prototypes).indices)
    critics = prototypes.criticisms(embedding, found.indices, scale.num_criticisms)
    order = np.argsort(part.temperatures[np.asarray(found.indices)])
    chosen = np.asarray(found.indices)[order]
    random = [
        float(prototypes.mmd_squared(embedding, jax.random.choice(one, len(points), chosen.shape, replace=False)))
        for one in jax.random.split(random_key, NUM_RANDOM)
    ]

    def shown(indices: np.ndarray) -> list[dict[str, Any]]:
        return [
            {
                "picture": part.configurations[place],
                "temperature": float(part.temperatures[place]),
                "energy": float(part.targets[place, 1]),
                "magnetization": float(part.targets[place, 3]),
            }
            for place in indices
        ]

    return {
        "num_points": len(points),
        "mmd_squared": float(prototypes.mmd_squared(embedding, chosen)),
        "random_mmd_squared": float(np.mean(random)),
        "random_mmd_squared_error": float(np.std(random, ddof=1)),
        "smallest_random_mmd_squared": float(np.min(random)),
        "num_random": len(random),
        "prototypes": shown(chosen),
        "criticisms": shown(np.asarray(critics.indices)),
    }


def chapter(key: jax.Array, folder: Path, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Train a stack on samples of all temperatures, probe its levels, and choose prototypes of the samples.

    Args:
        key: typed key.
        folder: of checkpoints, from which an interrupted training goes on.
        is_smoke: tiny sizes.
        progress: called after every epoch of a machine.

    Returns:
        ``levels`` of the stack and ``control_levels`` of one with its weights shuffled: what linear probes come to;
        the exact ``ceiling``; and ``examples``.
    """
    scale = SMOKE if is_smoke else FULL
    sample_key, train_key, shuffle_key, example_key = jax.random.split(key, 4)
    drawn = _samples(sample_key, scale)
    parts = {
        "train": _part(drawn, slice(0, 2), scale),
        "choose": _part(drawn, slice(2, 3), scale),
        "test": _part(drawn, slice(3, 4), scale),
    }
    train = parts["train"].configurations
    stack, _ = rbm.train_stack(
        train_key,
        jnp.asarray(train.reshape(len(train), -1)),
        scale.layer_sizes,
        num_epochs=scale.num_epochs,
        batch_size=min(BATCH_SIZE, len(train)),
        optimizer=optax.sgd(0.01, momentum=0.9),
        checkpoint_dir=folder,
        progress=progress,
    )
    levels = {}
    for name, machines in (("levels", stack), ("control_levels", _shuffled(shuffle_key, stack))):
        values = {kind: _levels(machines, part.configurations) for kind, part in parts.items()}
        each = [{kind: level[number] for kind, level in values.items()} for number in range(len(stack) + 1)]
        levels[name] = [_read(level, parts) for level in each]
    return levels | {
        "side": scale.side,
        "num_temperatures": scale.num_temperatures,
        "num_train": len(train),
        "num_test": len(parts["test"].configurations),
        "num_epochs": scale.num_epochs,
        "ceiling": _ceiling(scale),
        "examples": _examples(example_key, parts["train"], scale),
    }
