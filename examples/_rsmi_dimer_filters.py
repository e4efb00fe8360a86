"""Filters of dimers between which there is noise: relevant information, a Boltzmann machine, a published run."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _rsmi_dimers import (
    Windows,
    all_coverings,
    bond_picture,
    bonds,
    coverings,
    energies,
    is_noise,
    staggered_fields,
    strip_table,
    windows,
)
from _rsmi_published import LARGE, OPTIMIZER, SMALL, Published, gaussian_limit, published_training
from _rsmi_scale import FULL, Scale
from _study import Claim, mean_and_error, show

from jaxrg import nets, rbm, training
from jaxrg.rg import information

BETA = 1 / 15
SIDE = 32  # sites; a picture has twice as many entries a side, the published L = 64
BLOCK, BUFFER, RING, CORNER = 8, 4, 4, 10  # entries of a picture
NORM = 4.0  # of the units of dimers


def dimer_sampler_claim(scale: Scale) -> Claim:
    """Every covering of a 4 x 4 torus, at a temperature that tells them apart."""
    states, beta = all_coverings((4, 4)), 1.0
    weights = np.exp(-beta * energies(states))
    weights /= weights.sum()
    number = 100 if scale == FULL else 20
    drawn = coverings(jax.random.key(0), (4, 4), beta, num_chains=256, num_samples=number, num_visits=20, num_burn=5)
    place = {state.tobytes(): number for number, state in enumerate(states)}
    counts = np.bincount([place[state.tobytes()] for state in drawn.reshape(-1, 4, 4)], minlength=len(states))
    expected = weights * counts.sum()
    chi = float(((counts - expected) ** 2 / expected).sum())
    mean, error = mean_and_error(energies(drawn).mean(axis=0))
    return Claim(
        f"worm on 4 x 4, T = 1: χ² of {len(states)} coverings; energy",
        f"{len(states) - 1} ± {np.sqrt(2 * (len(states) - 1)):.0f}; {weights @ energies(states):.3f}",
        f"{chi:.0f}; {show(mean, error, 3)}",
        f"{counts.sum()} draws",
    )


def dimer_strip_claim(scale: Scale) -> Claim:
    """Two columns of a strip, one column of buffer."""
    with jax.enable_x64(True):
        exactly, features = strip_table(4, BETA, 2, 1)
        optimum = information.optimal_filter(jax.random.key(0), exactly, 2, features=features, norm=NORM)
    drawn = coverings(
        jax.random.key(3), (4, 64), BETA, num_chains=128, num_samples=scale.num_coverings, num_visits=20, num_burn=10
    ).reshape(-1, 4, 64)
    columns = np.moveaxis(drawn, 2, 1)  # [coverings, columns, width]
    starts = np.arange(0, 64, 4)[:, None]
    visible = bonds(columns[:, (starts + np.array([2, 3])) % 64]).reshape(len(starts) * len(columns), -1)
    outer = columns[:, (starts + np.array([0, 5])) % 64]
    around = (2 * (outer[..., None] == np.arange(4)) - 1).astype(np.int8).reshape(len(visible), -1)
    runs = [
        information.learn_filter(
            jax.random.key(seed), visible, around, 2, norm=NORM, num_epochs=scale.num_epochs // 2 + 1, batch_size=256
        )
        for seed in range(4 if scale == FULL else 1)
    ]
    found = max(runs, key=lambda run: float(run.training[-1]))  # there are several optima
    ends = ", ".join(f"{float(run.information):.3f}" for run in runs)
    return Claim(
        f"dimers on a strip, W = 4, 2 units: nats, exact {float(optimum.information):.4f}",
        "no exact value",
        show(found.information, found.error, 4),
        f"ends of all starts {ends}; of the block {float(optimum.bound):.4f}",
    )


class Dimers(NamedTuple):
    """Filters of dimers with noise ``[entries, units]``, and what they tell."""

    learned: information.LearnedFilter
    machine: np.ndarray  # the units of a Boltzmann machine that are most and least on noise


def dimer_windows(scale: Scale) -> tuple[Windows, Windows]:
    """Many windows of every covering, and one of each as published."""
    drawn = coverings(
        jax.random.key(4),
        (SIDE, SIDE),
        BETA,
        num_chains=128,
        num_samples=scale.num_coverings,
        num_visits=40,
        num_burn=12 if scale == FULL else 1,
    ).reshape(-1, SIDE, SIDE)
    pictures = bond_picture(np.random.default_rng(0), drawn)
    shape = {"corner": CORNER, "block": BLOCK, "buffer": BUFFER, "environment": RING}
    return windows(pictures, spacing=scale.spacing, **shape), windows(pictures, spacing=2 * SIDE, **shape)


def dimer_filter(seen: Windows, scale: Scale, *, is_shuffled: bool = False) -> information.LearnedFilter:
    """Two units learned with a wide network."""
    around = np.random.default_rng(1).permutation(seen.environment) if is_shuffled else seen.environment
    num_epochs = 3 if scale == FULL else 1
    steps = num_epochs * (3 * len(around) // 4 // 500)
    return information.learn_filter(
        jax.random.key(3),
        seen.visible,
        around,
        2,
        norm=NORM,
        net=nets.mlp((128, 128, 4)),
        optimizer=optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=0.1),
        num_epochs=num_epochs,
    )


def machine_filter(blocks: np.ndarray, num_hidden: int, scale: Scale) -> np.ndarray:
    """Weights of a Boltzmann machine trained by contrastive divergence."""
    machine = rbm.init(jax.random.key(0), blocks.shape[1], num_hidden)
    run = training.fit(
        jax.random.key(1),
        rbm.contrastive_divergence_gradient(num_steps=1),
        optax.sgd(0.1),
        machine,
        jnp.asarray(blocks),
        num_epochs=4 * scale.num_epochs,
        batch_size=100,
    )
    return np.asarray(run.params.weights)


def told_by(seen: Windows, weights: np.ndarray, scale: Scale) -> information.LearnedFilter:
    """What one unit with these weights tells of the environment."""
    norm = float(np.linalg.norm(weights))
    field = (seen.visible @ (weights / norm)).astype(np.float32)[:, None]
    return information.learn_filter(
        jax.random.key(5), field, seen.environment, 1, norm=norm, net=nets.mlp((32, 2)), num_epochs=scale.num_epochs
    )


def share(weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Of the squared weights of every unit, what is on the chosen entries."""
    return (weights[chosen] ** 2).sum(axis=0) / (weights**2).sum(axis=0)


def dimer_claims(scale: Scale) -> tuple[list[Claim], Dimers]:
    many, single = dimer_windows(scale)
    noise, fields = is_noise(BLOCK), staggered_fields(BLOCK)
    found, control = dimer_filter(many, scale), dimer_filter(many, scale, is_shuffled=True)
    weights = np.asarray(found.weights)
    machine = machine_filter(single.visible, 16, scale)
    noisy = share(machine, noise)
    part = Windows(*(entry[: 4 * len(single.visible)] for entry in many))
    some = np.argsort(noisy)[: 4 if scale == FULL else 1]  # units on noise alone tell nothing
    told = max((told_by(part, unit, scale) for unit in machine.T[some]), key=lambda one: float(one.information))
    span = ((fields.T @ weights) ** 2).sum(axis=0) / (weights**2).sum(axis=0)
    ones = [(entry + 1) // 2 for entry in single]
    cut = 28_800 if scale == FULL else len(ones[0]) // 2
    runs = [
        published_training(
            jax.random.key(seed),
            (ones[0][:cut], ones[1][:cut]),
            new_windows(many, len(single.visible)),
            scale.published_epochs,
        )
        for seed in range(scale.num_published)
    ]
    claims = [
        Claim(
            "dimers with noise: squared weights on noise, of 0.5",
            "RSMI none, CD learns it",
            f"RSMI {share(weights, noise).max():.4f}",
            f"CD {(machine[noise] ** 2).sum() / (machine**2).sum():.2f}; {(noisy > 0.99).sum()} of 16 units all noise",
        ),
        Claim(
            "RSMI learns the electric fields: share of its weights",
            "staggered fields",
            f"{span.min():.2f} to {span.max():.2f}",
            f"by chance {2 / len(fields):.2f}; CD {((fields.T @ machine) ** 2).sum() / (machine**2).sum():.3f}",
        ),
        Claim(
            "what units tell of the environment, held out: nats",
            "-",
            f"RSMI, 2 units {show(found.information, found.error, 4)}",
            f"CD's best {show(told.information, told.error, 4)}; "
            f"shuffled {show(control.information, control.error, 4)}",
        ),
        *published_claims(runs, relaxed_training(found, many, scale), found, many, fields),
    ]
    shown = np.stack([machine[:, np.argmax(noisy)], machine[:, np.argmin(noisy)]], axis=1)
    return claims, Dimers(found, shown)


def new_windows(many: Windows, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As many from the end, of zeros and ones."""
    return (many.visible[-count:] + 1) // 2, (many.environment[-count:] + 1) // 2


def relaxed_training(found: information.LearnedFilter, many: Windows, scale: Scale) -> Published:
    """Relaxed units from the learned filter on, with many more samples and a larger network."""
    num_epochs, critic = (3, LARGE) if scale == FULL else (1, SMALL)
    cut = 3 * len(many.visible) // 4
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, num_epochs * (cut // 500))) if scale == FULL else OPTIMIZER
    return published_training(
        jax.random.key(6),
        (many.visible[:cut], many.environment[:cut]),
        (many.visible[cut:], many.environment[cut:]),
        num_epochs,
        start=2 * np.asarray(found.weights),
        critic=critic,
        optimizer=optimizer,
    )


def published_claims(
    runs: list[Published], relaxed: Published, found: information.LearnedFilter, seen: Windows, fields: np.ndarray
) -> list[Claim]:
    some = slice(0, min(len(seen.visible), 400_000))
    real = seen.visible[some] @ fields.astype(np.float32)
    trained = mean_and_error([run.trained for run in runs])
    held = mean_and_error([run.held_out for run in runs])
    return [
        Claim(
            "interacting dimers, T = 15: InfoNCE of 2 relaxed units, trained as published",
            "0.2567, on its own samples",
            f"{show(*trained, 3)} on its own samples",
            f"the same networks on new ones: {show(*held, 3)}",
        ),
        Claim(
            f"the same from {3 * len(seen.visible) // 4:,} windows, on new ones: nats",
            "0.26(1)",
            show(relaxed.held_out, relaxed.error, 3),
            f"hard units {show(found.information, found.error, 3)}; fields themselves, by least squares "
            f"{gaussian_limit(real, seen.environment[some]):.3f}",
        ),
    ]
