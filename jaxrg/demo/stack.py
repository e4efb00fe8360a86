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


def sample(key, *, is_smoke: bool) -> np.ndarray:
    """``[num_samples, side, side]`` int8 equilibrium configurations from independent multispin chains."""
    scale = SMOKE if is_smoke else FULL
    ising = models.Ising(lattice.hypercubic((scale.side, scale.side)), COUPLING)
    sampler = samplers.multispin_heat_bath(ising, num_chains=scale.num_chains)
    init_key, run_key = jax.random.split(key)
    state = samplers.run(run_key, sampler, sampler.init(init_key), 10 * scale.sweeps_between).state
    sampler = samplers.thin(sampler, scale.sweeps_between)
    # Chain by chain, so that groups of consecutive samples are independent of each other.
    configurations = samplers.run(run_key, sampler, state, scale.samples_per_chain, observe=lambda spins: spins).trace
    return np.asarray(configurations).reshape(-1, scale.side, scale.side)


def shuffle_sites(key, samples: np.ndarray) -> np.ndarray:
    """The same samples with one permutation of the sites: every statistic but the geometry stays."""
    flat = samples.reshape(len(samples), -1)
    order = np.asarray(jax.random.permutation(key, flat.shape[1]))
    return flat[:, order].reshape(samples.shape)


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


def describe(stack: tuple[rbm.RBM, ...], side: int) -> list[dict[str, Any]]:
    """Locality of the receptive fields at every level, in lattice spacings."""
    levels = []
    for fields in rbm.receptive_fields(stack):
        found = rbm.locality(fields, (side, side))
        levels.append(
            {
                "num_units": fields.shape[1],
                "num_live_units": int(np.isfinite(np.asarray(found.radius)).sum()),
                "radius": float(found.mean_radius),
                "participation": float(found.mean_participation),
                "uniform_radius": float(found.uniform_radius),
                "median_radius": float(np.nanmedian(np.asarray(found.radius))),
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
    magnetizations = np.corrcoef(flat.mean(axis=1), np.asarray(means).mean(axis=1))[0, 1]
    shape = (NUM_PICTURES, *samples.shape[1:])
    return {
        "num_samples": count,
        "overlap": float(overlap.mean()),
        "overlap_error": float(overlap.std(ddof=1) / np.sqrt(count)),
        "magnetization_correlation": float(magnetizations),
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
    shuffled = shuffle_sites(shuffle_key, samples)
    control = train(train_key, shuffled, folder / "control", is_smoke=is_smoke, progress=partial(part, 1))
    return {
        "coupling": COUPLING,
        "side": side,
        "layer_sizes": [side * side, *(machine.hidden_bias.shape[0] for machine in stack)],
        "num_samples": len(samples),
        "num_epochs": (SMOKE if is_smoke else FULL).num_epochs,
        "l1_strength": L1_STRENGTH,
        "levels": describe(stack, side),
        "control_levels": describe(control, side),
        "reconstruction": reconstructions(reconstruct_key, stack, samples),
        "control_reconstruction_overlap": reconstructions(reconstruct_key, control, shuffled)["overlap"],
        "fields": fields_to_draw(stack, side),
        "control_fields": fields_to_draw(control, side),
    }
