"""Chapter 3: the Mehta-Schwab stack on Ising samples, beside the same stack on samples whose sites were shuffled."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import lattice, models, rbm, samplers
from jaxrg.base import Progress


class Scale(NamedTuple):
    """Size of the samples and of the stack."""

    side: int
    layer_sizes: tuple[int, ...]
    num_chains: int
    samples_per_chain: int
    sweeps_between: int
    num_epochs: int


COUPLING = 0.408  # of the paper: the paramagnet, with a correlation length of about eight sites
# The paper's 2e-4 for 0/1 units is 8e-4 for ±1 units, whose weights are a quarter, and works over 200 epochs. This is
# the strength that brings out the blocks in a quarter of them; learning rates ten times larger never do, because the
# noise of the steps then hides what L1 would remove.
L1_STRENGTH = 3e-3
BATCH_SIZE = 100
LEARNING_RATE = 0.005
MOMENTUM = 0.9
FULL = Scale(40, (400, 100, 25), 1024, 20, 200, 50)
SMOKE = Scale(16, (32, 16, 8), 128, 8, 50, 2)
NUM_PICTURES = 3
NUM_ARRANGEMENTS = 20  # of the sites of the control, whose scatter is known to a sixth then


def sample(key, *, is_smoke: bool) -> np.ndarray:
    """``[num_samples, side, side]`` int8 equilibrium configurations from independent multispin chains."""
    scale = SMOKE if is_smoke else FULL
    ising = models.Ising(lattice.hypercubic((scale.side, scale.side)), COUPLING)
    sampler = samplers.multispin_heat_bath(ising, num_chains=scale.num_chains)
    init_key, run_key = jax.random.split(key)
    state = samplers.warm_up(run_key, sampler, sampler.init(init_key), 10 * scale.sweeps_between)
    sampler = samplers.thin(sampler, scale.sweeps_between)
    # Chain by chain, so that groups of consecutive samples are independent of each other.
    configurations = samplers.run(run_key, sampler, state, scale.samples_per_chain, observe=lambda spins: spins).trace
    return np.asarray(configurations).reshape(-1, scale.side, scale.side)


def shuffled_sites(key, num_sites: int) -> np.ndarray:
    """The permutation of the control: every statistic of the samples but the geometry stays."""
    return np.asarray(jax.random.permutation(key, num_sites))


def _at(order: np.ndarray, samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1)[:, order].reshape(samples.shape)


def optimizer() -> optax.GradientTransformation:
    """Momentum with a true L1 term on the weights."""
    return optax.chain(rbm.l1_penalty(L1_STRENGTH), optax.sgd(LEARNING_RATE, momentum=MOMENTUM))


def train(key, samples: np.ndarray, folder: Path, *, is_smoke: bool, progress: Progress) -> tuple[rbm.RBM, ...]:
    """Train the stack with checkpoints in ``folder``; a call after an interruption goes on where it stopped."""
    scale = SMOKE if is_smoke else FULL
    stack, _ = rbm.train_stack(
        key,
        jnp.asarray(samples.reshape(len(samples), -1)),
        scale.layer_sizes,
        num_epochs=scale.num_epochs,
        batch_size=BATCH_SIZE,
        optimizer=optimizer(),
        checkpoint_dir=folder,
        progress=progress,
    )
    return stack


def _error_of_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Standard error of a weighted mean over units; NaN for fewer than two that count."""
    is_live = weights > 0
    count = int(is_live.sum())
    if count < 2:
        return float("nan")
    values, weights = values[is_live].astype(np.float64), weights[is_live].astype(np.float64)
    weights = weights / weights.sum()
    squares = np.sum(weights**2 * (values - weights @ values) ** 2)
    return float(np.sqrt(squares * count / (count - 1)))


def _spread_of_arrangements(fields: np.ndarray, side: int) -> float:
    """Standard deviation of a level's radius over random arrangements of the sites."""
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(fields)) for _ in range(NUM_ARRANGEMENTS)]
    return float(
        np.std([float(rbm.locality(jnp.asarray(fields[order]), (side, side)).mean_radius) for order in orders])
    )


def describe(stack: tuple[rbm.RBM, ...], side: int, *, is_shuffled: bool = False) -> list[dict[str, Any]]:
    """Locality of the receptive fields at every level, in lattice spacings.

    Errors are over units; those of a control hold its arrangement of the sites too, which is one of many.
    """
    levels = []
    for fields in rbm.receptive_fields(stack):
        found = rbm.locality(fields, (side, side))
        radius, participation = np.asarray(found.radius), np.asarray(found.participation)
        is_live = np.isfinite(radius)
        arrangement = _spread_of_arrangements(np.asarray(fields), side) if is_shuffled else 0.0
        weights = np.where(is_live, np.sum(np.asarray(fields, np.float64) ** 2, axis=0), 0)
        levels.append(
            {
                "num_units": fields.shape[1],
                "num_live_units": int(is_live.sum()),
                "radius": float(found.mean_radius),
                "radius_error": float(np.hypot(_error_of_mean(radius, weights), arrangement)),
                "participation": float(found.mean_participation),
                "participation_error": _error_of_mean(participation, weights),
                "uniform_radius": float(found.uniform_radius),
                "median_radius": float(np.median(radius[is_live])) if is_live.any() else np.nan,
            }
        )
    return levels


def reconstructions(key, stack: tuple[rbm.RBM, ...], samples: np.ndarray) -> dict[str, Any]:
    """How much of a sample comes back from the top of the stack: overlap per site, and of the magnetisation."""
    count = min(1000, len(samples))
    flat = jnp.asarray(samples[:count].reshape(count, -1))
    keys = jax.random.split(key, count)
    means = jax.jit(jax.vmap(rbm.reconstruct, (0, None, 0)))(keys, stack, flat)
    signs = np.where(np.asarray(means) >= 0, 1, -1)
    flat = np.asarray(flat)
    overlap = (signs * flat).mean(axis=1)
    magnetization, kept = flat.mean(axis=1), np.asarray(means).mean(axis=1)
    # A dead stack gives everything the same mean, which correlates with nothing.
    is_moving = min(magnetization.std(), kept.std()) > 0
    correlation = np.corrcoef(magnetization, kept)[0, 1] if is_moving else np.nan
    shape = (NUM_PICTURES, *samples.shape[1:])
    return {
        "num_samples": count,
        "overlap": float(overlap.mean()),
        "overlap_error": float(overlap.std(ddof=1) / np.sqrt(count)),
        "magnetization_correlation": float(correlation),
        "originals": flat[:NUM_PICTURES].reshape(shape),
        "means": np.asarray(means)[:NUM_PICTURES].reshape(shape),
    }


def fields_to_draw(stack: tuple[rbm.RBM, ...], side: int, *, count: int = 8) -> list[np.ndarray]:
    """The fields with the largest norm at every level, ``[count, side, side]``, each scaled to its largest entry."""
    chosen = []
    for fields in rbm.receptive_fields(stack):
        fields = np.asarray(fields)
        strongest = np.argsort(-np.sum(fields**2, axis=0))[:count]
        peak = np.maximum(np.abs(fields[:, strongest]).max(axis=0), np.finfo(np.float32).tiny)
        chosen.append((fields[:, strongest] / peak[None]).T.reshape(-1, side, side))
    return chosen


def chapter(key, samples: np.ndarray, folder: Path, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Train the stack and its shuffled control, and measure both.

    Returns:
        Locality by level of both, reconstruction of samples, and what the figures show.
    """
    shuffle_key, train_key, reconstruct_key = jax.random.split(key, 3)
    side = samples.shape[1]

    def part(index: int, done: int, total: int, text: str) -> None:
        progress(index * total + done, 2 * total, text)

    stack = train(train_key, samples, folder / "stack", is_smoke=is_smoke, progress=partial(part, 0))
    order = shuffled_sites(shuffle_key, side * side)
    shuffled = _at(order, samples)
    control = train(train_key, shuffled, folder / "control", is_smoke=is_smoke, progress=partial(part, 1))
    control_back = reconstructions(reconstruct_key, control, shuffled)
    return {
        "coupling": COUPLING,
        "side": side,
        "layer_sizes": [side * side, *(machine.hidden_bias.shape[0] for machine in stack)],
        "num_samples": len(samples),
        "num_epochs": (SMOKE if is_smoke else FULL).num_epochs,
        "l1_strength": L1_STRENGTH,
        "levels": describe(stack, side),
        "control_levels": describe(control, side, is_shuffled=True),
        "reconstruction": reconstructions(reconstruct_key, stack, samples),
        "control_reconstruction_overlap": control_back["overlap"],
        "control_reconstruction_overlap_error": control_back["overlap_error"],
        "control_magnetization_correlation": control_back["magnetization_correlation"],
        # Each site back in its place, to be seen beside the samples.
        "control_means": _at(np.argsort(order), control_back["means"]),
        "fields": fields_to_draw(stack, side),
        "control_fields": fields_to_draw(control, side),
    }
