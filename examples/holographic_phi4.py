# %% [markdown]
# # A holographic mapping of the complex phi^4 field
# A hierarchical flow turns independent noise of a bulk, scale by scale, into a field on its boundary. Trained on the
# action of a complex field around its Kosterlitz-Thouless transition, it should tell the two phases apart by the decay
# of correlations, carry the Goldstone mode in its topmost latents, and leave between the latents a little information
# that measures distances in the bulk: of a hyperbolic space, where they grow with the logarithm of the distance on the
# boundary. Here each claim stands beside cluster Monte Carlo, and beside the same flow before it has learned anything,
# whose latents are sites of the field itself: what that one shows too is a fact of critical fields, not of the mapping.
#
# The hopping kappa is scanned upwards, and each flow begins with the weights of the one before. Blocks follow the phase
# of their frozen sites, so that the flow is U(1) symmetric exactly; it learns by maximum likelihood from fields of
# cluster chains, moved and reflected at random. Weights would correct it; here too few draws count for that, so that
# all figures are those of the flow as it is, beside the chains'. `python examples/holographic_phi4.py
# --minutes 60` trains six times as long; checkpoints are kept, and the same command goes on where it stopped.

# %%
import argparse
import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from jaxrg import flows, lattice, models, samplers, stats, training
from jaxrg.base import Bijector, Density
from jaxrg.flows import bijectors

sys.path.insert(0, str(Path(__file__).parent))
from _holography import (
    FIRST,
    Bulk,
    Decay,
    Geometry,
    Goldstone,
    bulk_information,
    correlations,
    decay_of,
    geometry_of,
    goldstone,
    on_fields,
    p_value,
    spin_wave,
    verdict,
)
from _holography_figures import bulk_figure, decays_figure, phases_figure
from _study import HEADER, Claim, print_claims, save, show, write_results

QUARTIC = 1.0  # the transition is at kappa = 0.48 or so
KT_STIFFNESS = 0.636508  # of the infinite lattice, in units of kT
BLOCK = 4
NUM_EPOCHS = 5
MINUTES = 10.0  # of the default steps on two cores


class Scale(NamedTuple):
    """Size of the study."""

    side: int
    couplings: tuple[float, ...]
    num_steps: int  # at each coupling, and twice at the first; a multiple of the epochs
    batch_size: int
    num_layers: int  # of a block, even
    num_features: int
    num_draws: int
    num_chains: int
    num_samples: int  # kept of each chain


FULL = Scale(16, (0.42, 0.46, 0.48, 0.50, 0.54, 0.60), 800, 128, 6, 64, 16_384, 64, 256)
SMOKE = Scale(8, (0.42, 0.54), 10, 16, 2, 8, 256, 16, 16)


# %% [markdown]
# ## The flow and its training


# %%
def block_layers(num_layers: int, num_features: int) -> Bijector:
    """Real couplings of the sites of a checkerboard, in the frame of the others' phase, then both change places."""
    event, sites = (BLOCK, BLOCK, 2), np.indices((BLOCK, BLOCK)).sum(axis=0) % 2 == 0
    both = np.repeat(sites[..., None], 2, axis=-1)
    coupled = bijectors.affine_coupling(event, both, bijectors.perceptron((num_features,)))
    neighbours = np.arange(BLOCK) ^ 1  # rows change places in pairs, so twice is as before
    swap = bijectors.permutation(event, np.arange(both.size).reshape(event)[neighbours])
    return bijectors.repeat(bijectors.chain([flows.phase_equivariant(coupled, sites), swap]), num_layers)


def flow_of(scale: Scale) -> tuple[Bijector, Density]:
    layers = block_layers(scale.num_layers, scale.num_features)
    flow = flows.rg_flow((scale.side, scale.side), block=BLOCK, disentangler=layers, decimator=layers, channels=2)
    return flow, flows.density(flow, flows.gaussian(flows.geometry(flow).latent_shapes))


def model_of(scale: Scale, kappa: float) -> models.ComplexPhi4:
    return models.kappa_complex_phi4(lattice.hypercubic((scale.side, scale.side)), kappa, QUARTIC)


def train(gradient_fn: Any, optimizer: optax.GradientTransformation, params: Any, scale: Scale, folder: Path) -> Any:
    """Parameters averaged along a run with a cosine, kept in a folder from which it goes on."""
    run = training.fit(
        jax.random.key(1),
        gradient_fn,
        optimizer,
        params,
        num_epochs=NUM_EPOCHS,
        steps_per_epoch=scale.num_steps // NUM_EPOCHS,
        checkpoint_dir=folder,
        progress=lambda done, total, text: print(f"    {done}/{total} {text}", flush=True),
    )
    return training.averaged_params(run.optimizer_state)


def optimizer_of(num_steps: int) -> optax.GradientTransformation:
    """Adam with a cosine and a clipped gradient; one for all couplings, which is compiled once."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, num_steps // 10, num_steps)
    adam = optax.adam(schedule, b2=0.99)
    return optax.chain(optax.clip_by_global_norm(20.0), adam, training.moving_average(0.98))


# %% [markdown]
# ## What is measured of the flow, and of the field


# %%
class Seen(NamedTuple):
    """Of one configuration."""

    correlations: jax.Array  # [L/2 + 1]
    mean_field: jax.Array  # [2]
    helicity: jax.Array  # []


def seen_by(model: models.ComplexPhi4) -> Any:
    return Partial(_seen, model)


def _seen(model: models.ComplexPhi4, field: jax.Array) -> Seen:
    values = model.observables(field)
    return Seen(correlations(field), values.magnetization, values.helicity_modulus)


class Reference(NamedTuple):
    """Fields of the target itself, chains after each other, and what is seen of them."""

    fields: jax.Array  # [chains, samples, L, L, 2]
    seen: Seen  # [chains, samples, ...]
    seconds: float


def simulate(scale: Scale, model: models.ComplexPhi4, seed: int) -> Reference:
    """Clusters of reflections, and trajectories of HMC that change lengths; every eighth step is kept."""
    start, keys = time.time(), jax.random.split(jax.random.key(seed), 3)
    both = samplers.mixture([samplers.swendsen_wang_embedding(model), samplers.hmc(model, 0.15, 6)], [0.5, 0.5])
    chains = samplers.replicas(samplers.thin(both, 8), scale.num_chains)
    burnt = samplers.run(keys[0], chains, chains.init(keys[1]), 16, observe=_itself)
    fields = samplers.run(keys[2], chains, burnt.state, scale.num_samples, observe=_itself).trace
    return Reference(fields, _all_seen(model, fields), time.time() - start)


def _itself(field: jax.Array) -> jax.Array:
    return field


@jax.jit
def _all_seen(model: models.ComplexPhi4, fields: jax.Array) -> Seen:
    return jax.lax.map(lambda chain: jax.vmap(seen_by(model))(chain), fields)


class Point(NamedTuple):
    """All of one coupling."""

    kappa: float
    weights: stats.ImportanceEstimate
    stiffness: stats.WeightedMean  # of the flow, weighted
    true_stiffness: stats.Summary
    decay: Decay  # of the flow, weighted
    bare_decay: Decay  # of the flow as it is
    true_decay: Decay
    top: Goldstone
    untrained_top: Goldstone
    bulk: Bulk  # latents of the finest level
    untrained_bulk: Bulk
    geometry: Geometry
    untrained_geometry: Geometry
    nearest: tuple[stats.Information, stats.Information]  # by neighbours: of two adjacent cells, and shuffled
    seconds: tuple[float, float]  # of training, and of the chains


def measure(
    scale: Scale, flow: Bijector, density: Density, start: Any, params: Any, kappa: float, seconds: float
) -> Point:
    model = model_of(scale, kappa)
    found = samplers.weighted_draws(
        jax.random.key(5), density, params, model.action, scale.num_draws, batch_size=256, observe=seen_by(model)
    )
    by_groups = found.values.correlations.reshape(64 if scale.num_draws >= 4096 else 16, -1, scale.side // 2 + 1)
    weights = np.exp(np.asarray(found.log_weights, np.float64) - float(jnp.max(found.log_weights)))
    true = simulate(scale, model, 2)
    latents, tops, bulks = {}, {}, {}
    order = np.random.default_rng(0).permutation(scale.num_chains * scale.num_samples)
    for name, own in (("trained", params), ("untrained", start)):
        parts = [flows.encode(flow, own.flow, chain)[0] for chain in true.fields]
        latents[name] = {level: np.concatenate([part[level] for part in parts]) for level in parts[0]}
        # Halves of all chains: the linear functions are tried on other chains than those they are made of.
        tops[name] = goldstone(latents[name], true.seen.mean_field.reshape(-1, 2))
        bulks[name] = bulk_information(jax.random.key(6), latents[name][0], 2, min(32, scale.num_chains))
    few = latents["trained"][0][order[:1024], 0, 0]  # [samples, columns, 2] of a row of cells
    nearest = tuple(stats.mutual_information(few[:, 0], other) for other in (few[:, 1], np.roll(few[:, 1], 1, axis=0)))
    return Point(
        kappa,
        stats.importance(found.log_weights),
        stats.reweighted(found.log_weights, found.values.helicity),
        stats.summary(true.seen.helicity),
        decay_of(by_groups, weights.reshape(by_groups.shape[:2])),
        decay_of(by_groups),
        decay_of(true.seen.correlations),
        tops["trained"],
        tops["untrained"],
        bulks["trained"],
        bulks["untrained"],
        geometry_of(bulks["trained"]),
        geometry_of(bulks["untrained"]),
        (nearest[0], nearest[1]),
        (seconds, true.seconds),
    )


# %% [markdown]
# ## What is said of it


# %%
def claims_of(point: Point) -> list[Claim]:
    weights, kappa, true, top = point.weights, point.kappa, point.true_decay, point.top
    length = true.correlation_length
    flag = "" if bool(weights.is_converged) else ", tail too heavy"
    # Errors of weights that a few draws dominate are too small, down to zero for a single draw.
    doubt = "" if bool(weights.is_converged) else "(no answer) "
    rho, rho_error = float(point.true_stiffness.mean), float(point.true_stiffness.error)
    of_rho = "-" if rho < 5 * rho_error else "1/(2 pi rho) = " + show(*spin_wave(rho, rho_error), 4)
    phase = "algebraic" if rho > KT_STIFFNESS else "disordered"
    explained, before = ([f"{part:.3f}" for part in one.explained.values()] for one in (top, point.untrained_top))
    geometry, control = point.geometry, point.untrained_geometry
    shuffled = point.bulk.shuffled
    rest = shuffled.mean(axis=0) / (shuffled.std(axis=0, ddof=1) / np.sqrt(len(shuffled)))
    near, far = point.bulk.information.mean(axis=0)[[0, -1]]
    return [
        Claim(
            f"kappa = {kappa:.2f}: ESS | KL / nats",
            "-",
            f"{float(weights.ess):.4f} | {show(weights.kl, weights.kl_error, 2)}{flag}",
            f"{int(weights.num_samples)} draws, {point.seconds[0]:.0f} s; chains {point.seconds[1]:.0f} s",
        ),
        Claim(
            "  stiffness: flow, weighted | clusters",
            "> 0.6365: algebraic",
            f"{doubt}{show(point.stiffness.mean, point.stiffness.error, 3)} | {show(rho, rho_error, 4)}",
            of_rho,
        ),
        Claim(
            "  eta: flow, weighted | clusters",
            "1/4 at KT",
            f"{doubt}{show(point.decay.eta, point.decay.eta_error, 4)} | {show(true.eta, true.eta_error, 4)}",
            f"flow as it is {show(point.bare_decay.eta, point.bare_decay.eta_error, 4)}",
        ),
        Claim(
            "  chi2 of clusters: power law, exponential",
            "-",
            f"{true.chi_squared[0]:.1f}, {true.chi_squared[1]:.1f} / {true.freedom}",
            f"xi {length:.1f}",
        ),
        Claim(
            "  phase by chi2(exp) - chi2(power): flow | clusters",
            f"{phase} by stiffness",
            f"{doubt}{verdict(point.decay)} {point.decay.preference:+.1f} | {verdict(true)} {true.preference:+.1f}",
            f"flow as it is {verdict(point.bare_decay)} {point.bare_decay.preference:+.1f}",
        ),
        Claim(
            "  mean phase in the top latents: coherence",
            "Goldstone mode on top",
            f"{top.coherence:.4f}",
            f"untrained {point.untrained_top.coherence:.4f}",
        ),
        Claim("  R2 of the mean field by level, top last", "-", ", ".join(explained), f"untrained {', '.join(before)}"),
        Claim(
            "  chi2(flat) - chi2(hyperbolic) of the bulk",
            "> 0: hyperbolic" if phase == "algebraic" else "-",
            f"{show(geometry.preference, geometry.preference_error, 1, '+')} of {geometry.chi_squared[0]:.1f}, "
            f"{geometry.chi_squared[1]:.1f} / {len(point.bulk.distances) - 2}",
            f"untrained {show(control.preference, control.preference_error, 1, '+')}",
        ),
        Claim(
            "  I at the nearest | farthest cells / nats",
            "-",
            f"{near:.2e} | {far:.2e}, I ~ r^-{geometry.exponent:.2f} or exp(-r/{geometry.length:.1f})",
            f"shuffled: chi2 {np.sum(rest**2):.1f} / {len(rest)} of zero",
        ),
        Claim(
            "  same, nearest, by neighbours (any dependence)",
            "-",
            show(point.nearest[0].value, point.nearest[0].error, 4),
            f"shuffled {show(point.nearest[1].value, point.nearest[1].error, 4)}",
        ),
    ]


def record_of(point: Point) -> dict[str, Any]:
    """The figures of one coupling."""
    estimate = {
        name: float(getattr(point.weights, name)) for name in ("ess", "kl", "kl_error", "log_partition", "error")
    }

    def of_decay(decay: Decay) -> dict[str, Any]:
        names = ("eta", "eta_error", "correlation_length", "chi_squared", "freedom", "preference")
        return {name: getattr(decay, name) for name in names} | {"phase": verdict(decay)}

    def of_geometry(geometry: Geometry) -> dict[str, Any]:
        return {name: getattr(geometry, name) for name in Geometry._fields if name != "curves"}

    return {
        "kappa": point.kappa,
        **estimate,
        "is_converged": bool(point.weights.is_converged),
        "stiffness": [float(point.stiffness.mean), float(point.stiffness.error)],
        "stiffness_of_clusters": [float(point.true_stiffness.mean), float(point.true_stiffness.error)],
        "decay": of_decay(point.decay),
        "decay_unweighted": of_decay(point.bare_decay),
        "decay_of_clusters": of_decay(point.true_decay),
        "top_coherence": [point.top.coherence, point.untrained_top.coherence],
        "mean_field_explained": [list(one.explained.values()) for one in (point.top, point.untrained_top)],
        "geometry": of_geometry(point.geometry),
        "geometry_untrained": of_geometry(point.untrained_geometry),
        "training_seconds": point.seconds[0],
    }


# %%
def main(
    smoke: bool = False,
    out: str = "out/holographic_phi4",
    size: int | None = None,
    minutes: float = MINUTES,
    couplings: Sequence[float] = (),
    json_file: str = "",
) -> None:
    scale = SMOKE if smoke else FULL
    scale = scale._replace(
        side=size or scale.side,
        couplings=tuple(sorted(couplings)) or scale.couplings,
        num_steps=NUM_EPOCHS * max(2, round(scale.num_steps * minutes / MINUTES / NUM_EPOCHS)),
    )
    (flow, density), optimizer = flow_of(scale), optimizer_of(scale.num_steps)
    start = params = jax.jit(density.init)(jax.random.key(0))
    points: list[Point] = []
    print_claims([HEADER], widths=(48, 20, 34))
    for number, kappa in enumerate(scale.couplings):
        begin = time.time()
        known = simulate(scale, model_of(scale, kappa), 3).fields.reshape(-1, scale.side, scale.side, 2)
        gradient_fn = Partial(functools.partial(on_fields, scale.batch_size), flows.forward_kl(density), known)
        for part in range(1 if number else 2):
            folder = Path(out) / f"L{scale.side}_kappa_{kappa:.3f}_{part}"
            params = train(gradient_fn, optimizer, params, scale, folder)
        points.append(measure(scale, flow, density, start, params, kappa, time.time() - begin))
        print_claims(claims_of(points[-1]), widths=(48, 20, 34))
    phases = ["algebraic" if point.true_stiffness.mean > KT_STIFFNESS else "disordered" for point in points]
    for name, decays in (
        ("weighted flow", [point.decay for point in points]),
        ("flow as it is", [point.bare_decay for point in points]),
        ("clusters", [point.true_decay for point in points]),
    ):
        agree = sum(verdict(decay) == phase for decay, phase in zip(decays, phases, strict=True))
        print(f"phase by the decay, {name}, as the stiffness of clusters has it: {agree} of {len(points)}")
    worst = min(p_value(point.true_decay.chi_squared[0], point.true_decay.freedom) for point in points)
    print(f"distances from {FIRST} sites; smallest p-value of a power law among the couplings {worst:.1e}")
    save({"decays": decays_figure(points), "phases": phases_figure(points), "bulk": bulk_figure(points)}, out)
    write_results(json_file, "examples/holographic_phi4.py", scale, {"points": [record_of(point) for point in points]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Holographic mapping of the complex phi^4 field.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/holographic_phi4", help="folder of the figures and of the checkpoints")
    parser.add_argument("--size", type=int, help="side of the lattice")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="about so long on two cores at 16 x 16")
    parser.add_argument("--couplings", type=float, nargs="*", default=(), help="values of kappa")
    parser.add_argument("--json", default="", dest="json_file", help="file for the figures")
    main(**vars(parser.parse_args()))
