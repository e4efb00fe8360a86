"""Chapter 6: renormalisation run backwards, as samplers of the critical Ising model and of its dual field."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from jaxrg import exact, flows, lattice, models, rbm, samplers, stats, training
from jaxrg.base import Bijector, Progress
from jaxrg.flows import spins


class Scale(NamedTuple):
    """Sizes of both lattices, and how long is trained on each."""

    side: int  # of the spins
    num_steps: int
    num_sites: int  # of every pass in a step
    num_chains: int  # of Swendsen-Wang, and the exact fields that the flow is measured on
    field_side: int
    num_features: int  # of the networks of the flow
    num_field_chains: int
    num_field_steps: int
    num_draws: int
    num_epochs: int  # after each of which training can be interrupted


FULL = Scale(16, 1_000, 1_024, 256, 8, 16, 4_096, 1_200, 20_000, 20)
SMOKE = Scale(4, 40, 64, 64, 4, 4, 64, 40, 1_000, 2)
COUPLING = exact.critical_coupling
BATCH_SIZE = 256  # fields in a step
FIELD_SCALE = 4.0  # about the standard deviation of a site of the field
NUM_PICTURES = 2
NUM_FIELDS = 8  # latents of a level whose receptive fields are measured, at most


def _optimizer(rate: float, num_steps: int) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, num_steps // 20, num_steps)
    return optax.chain(optax.clip_by_global_norm(20.0), optax.adam(schedule, b2=0.99), training.moving_average(0.99))


def _train(
    key: jax.Array, gradient_fn: Callable, params: Any, rate: float, sizes: tuple[int, int], **options: Any
) -> Any:
    """The averaged parameters after training, which goes on where an interrupted one stopped."""
    num_steps, num_epochs = sizes
    run = training.fit(
        key,
        gradient_fn,
        _optimizer(rate, num_steps),
        params,
        num_epochs=num_epochs,
        steps_per_epoch=num_steps // num_epochs,
        **options,
    )
    return training.averaged_params(run.optimizer_state)


def _estimates(log_weights: jax.Array, log_partition: float) -> dict[str, Any]:
    """What weights of draws say, beside the exact partition function."""
    found = stats.importance(log_weights)
    numbers = {name: float(getattr(found, name)) for name in ("log_partition", "error", "ess", "tail_index")}
    counts, edges = np.histogram(np.asarray(log_weights, np.float64) - log_partition, bins=60)
    return numbers | {
        "exact_log_partition": log_partition,
        "z": (numbers["log_partition"] - log_partition) / numbers["error"],
        "is_converged": bool(found.is_converged),
        "num_draws": int(found.num_samples),
        # Against the exact ln Z: the one that the weights give would hide what no draw has seen.
        "kl": log_partition - float(found.bound),
        "kl_error": float(found.bound_error),
        "log_weight_histogram": {"counts": counts / counts.sum(), "edges": edges},
    }


def _sampler_of_spins(key: jax.Array, scale: Scale, folder: Path, progress: Progress) -> dict[str, Any]:
    """Inverse decimation, trained on Swendsen-Wang samples and then asked for ln Z and the energy."""
    init_key, chain_key, train_key, draw_key = jax.random.split(key, 4)
    shape = (scale.side, scale.side)
    ising = models.Ising(lattice.hypercubic(shape), COUPLING)
    density = spins.inverse_decimation(ising)
    params = _train(
        train_key,
        spins.maximum_likelihood(density, num_sites=scale.num_sites),
        density.init(init_key),
        1e-2,
        (scale.num_steps, scale.num_epochs),
        aux=spins.start_chains(chain_key, density, scale.num_chains),
        checkpoint_dir=folder,
        progress=progress,
    )
    draws = samplers.weighted_draws(
        draw_key,
        density,
        params,
        ising.hamiltonian,
        scale.num_draws,
        batch_size=1000,
        observe=lambda configuration: (configuration, ising.observables(configuration).energy),
    )
    configurations, energies = draws.values
    energy = stats.reweighted(draws.log_weights, energies)
    with jax.enable_x64(True):
        coupling = jnp.float64(np.float32(COUPLING))
        log_partition = float(exact.torus_log_partition(coupling, shape))
        exact_energy = float(exact.torus_energy(coupling, shape))
    return _estimates(draws.log_weights, log_partition) | {
        "side": scale.side,
        "num_levels": density.num_levels,
        "energy": float(energy.mean),
        "energy_error": float(energy.error),
        "exact_energy": exact_energy,
        "energy_z": (float(energy.mean) - exact_energy) / float(energy.error),
        "pictures": np.asarray(configurations[:NUM_PICTURES]),
    }


def _on_fields_of_spins(
    likelihood: Partial, model: models.IsingDual, drawn: jax.Array, key: Any, params: Any, aux: Any, _: Any
) -> Any:
    """Gradient of the cross entropy of fields that belong to some of the spins, drawn anew at every step."""
    row_key, field_key, move_key, key = jax.random.split(key, 4)
    some = drawn[jax.random.randint(row_key, (BATCH_SIZE,), 0, drawn.shape[0])]
    fields = jax.vmap(model.field_given_spins)(jax.random.split(field_key, BATCH_SIZE), some)
    return likelihood(key, params, aux, lattice.random_symmetry(move_key, lattice.hypercubic(model.shape), fields))


class _Reach(NamedTuple):
    """Of some latents of a level."""

    chosen: np.ndarray  # [count] where they are in the flattened level
    moved: np.ndarray  # [count, side, side] how far they move the field
    radius: np.ndarray  # [count] of that region


def _reaches(flow: Bijector, params: Any, latents: dict[int, jax.Array]) -> list[_Reach]:
    """How far latents of each level reach."""
    found = []
    for level, one in latents.items():
        shape = one.shape[1:]
        chosen = np.unique(np.linspace(0, np.prod(shape) - 1, NUM_FIELDS).round().astype(int))
        indices = [tuple(map(int, np.unravel_index(place, shape))) for place in chosen]
        moved = np.stack([flows.sensitivity(flow, params, latents, level, index) for index in indices])
        sides = moved.shape[1:]
        radius = np.asarray(rbm.locality(jnp.asarray(moved.reshape(len(moved), -1).T), sides).radius)
        found.append(_Reach(chosen, moved, radius))
    return found


def _levels(flow: Bijector, params: Any, untrained: Any, latents: dict[int, jax.Array]) -> list[dict[str, Any]]:
    """Statistics of the latents by level, and how far they reach."""
    found, statistics = [], flows.level_statistics(latents)
    side = 2 * latents[0].shape[-1]
    sites = flows.latent_sites((side, side), len(latents))
    reaches = zip(_reaches(flow, params, latents), _reaches(flow, untrained, latents), strict=True)
    for (level, one), (reach, before) in zip(statistics.items(), reaches, strict=True):
        flat, radius, middle = sites[level].ravel(), reach.radius, len(reach.chosen) // 2
        found.append(
            {
                "num_latents": int(flat.size),
                "mean": one.mean,
                "variance": one.variance,
                "excess_kurtosis": one.excess_kurtosis,
                "radius": float(radius.mean()),
                "radius_error": float(radius.std(ddof=1) / np.sqrt(len(radius))),
                "untrained_radius": float(before.radius.mean()),
                "field": reach.moved[middle],
                "site": int(flat[reach.chosen[middle]]),
            }
        )
    return found


def _flow_of_fields(key: jax.Array, scale: Scale, folder: Path, progress: Progress) -> dict[str, Any]:
    """Decimation of the dual field run backwards, trained on fields of Swendsen-Wang, and its latents by level."""
    init_key, chain_key, test_key, field_key, train_key, draw_key = jax.random.split(key, 6)
    side = scale.field_side
    square = lattice.hypercubic((side, side))
    model = models.IsingDual(square, COUPLING)
    sizes = {"scale": FIELD_SCALE, "num_pairs": 2, "num_features": scale.num_features}
    density, flow = flows.decimation_density((side, side), **sizes), flows.decimation_flow((side, side), **sizes)
    of_spins = spins.inverse_decimation(models.Ising(square, COUPLING))
    drawn = spins.start_chains(chain_key, of_spins, scale.num_field_chains).states.spins[0]
    start = density.init(init_key)
    params = _train(
        train_key,
        Partial(_on_fields_of_spins, flows.forward_kl(density), model, drawn),
        start,
        1e-2,
        (scale.num_field_steps, scale.num_epochs),
        checkpoint_dir=folder,
        progress=progress,
    )
    draws = samplers.weighted_draws(draw_key, density, params, model.action, scale.num_draws, batch_size=1000)
    with jax.enable_x64(True):
        coupling, margin = (jnp.float64(np.float32(value)) for value in (model.coupling, model.margin))
        offset = models.IsingDual(square, coupling, margin).log_offset()
        log_partition = float(exact.torus_log_partition(coupling, square.shape) + offset)
    # Independent fields of the target, exactly: those that belong to spins of other chains.
    others = spins.start_chains(test_key, of_spins, scale.num_chains).states.spins[0]
    fields = jax.jit(jax.vmap(model.field_given_spins))(jax.random.split(field_key, len(others)), others)
    latents, _ = flows.encode(flow, params, fields)
    actions = np.asarray(jax.jit(jax.vmap(model.action))(fields), np.float64)
    gaps = log_partition + actions + np.asarray(density.log_prob(params, fields), np.float64)  # ln q / p of p's samples
    return _estimates(draws.log_weights, log_partition) | {
        "side": side,
        "num_fields": len(others),
        "forward_kl": float(-gaps.mean()),
        "forward_kl_error": float(gaps.std(ddof=1) / np.sqrt(len(gaps))),
        "levels": _levels(flow, params, start, latents),
    }


def chapter(key: jax.Array, folder: Path, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Train a sampler of spins and a flow of fields at the critical point, and hold both against exact answers.

    Args:
        key: typed key.
        folder: of checkpoints, from which an interrupted training goes on.
        is_smoke: tiny sizes.
        progress: called after every epoch.

    Returns:
        ``spins`` and ``fields``: of each ln Z with its error and the exact one, KL, effective sample size and a
        histogram of log-weights; configurations of the spins, and latents of the fields by level.
    """
    scale = SMOKE if is_smoke else FULL
    spin_key, field_key = jax.random.split(key)

    def part(index: int, name: str, done: int, total: int, text: str) -> None:
        progress(index * total + done, 2 * total, f"{name}: {text}")

    return {
        "coupling": COUPLING,
        "spins": _sampler_of_spins(spin_key, scale, folder / "spins", functools.partial(part, 0, "spins")),
        "fields": _flow_of_fields(field_key, scale, folder / "fields", functools.partial(part, 1, "fields")),
    }
