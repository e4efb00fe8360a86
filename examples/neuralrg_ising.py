# %% [markdown]
# # Neural renormalisation of the Ising model at its critical point
# The Ising model has an exact twin of continuous fields, whose partition function is known. Flows learn to draw from
# it, and as they know their own density, how far off they are is a number: the Kullback-Leibler divergence, in nats.
# Two architectures stand side by side: the published one, disentanglers and decimators of real couplings on blocks of
# 2 x 2 sites, trained by the reverse divergence on its own draws; and decimation run backwards, which draws sites from
# coarse to fine and learns by maximum likelihood from fields of Swendsen-Wang spins. Weights then make both exact.
#
# `python examples/neuralrg_ising.py --sizes 16 --steps 9000` trains one lattice for longer; checkpoints are kept, and
# the same command goes on where it stopped.

# %%
import argparse
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import exact, flows, lattice, models, samplers, stats, training
from jaxrg.base import Density
from jaxrg.flows import bijectors
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, print_claims, save, show, write_results

PUBLISHED = {16: 3.02}  # nats, at L = 16
MOST_TRAJECTORIES = 400  # of a chain; their energies are independent after one or two
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
BACKWARDS, BLOCKS = "decimation backwards", "published blocks"


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, ...]
    num_spins: int  # configurations of Swendsen-Wang
    batch_size: int
    num_steps: int
    block_steps: int  # of the published architecture
    block_sizes: tuple[int, ...]
    num_features: int
    num_draws: int


FULL = Scale((4, 8), 65_536, 256, 3_000, 1_000, (4, 8), 24, 131_072)
SMOKE = Scale((4,), 512, 64, 8, 2, (4,), 4, 256)


# %%
class Target(NamedTuple):
    """The dual, and what is known of it."""

    model: models.IsingDual
    spins: models.Ising
    log_partition: float  # ln of the integral of exp(-S), exact


def target_of(side: int) -> Target:
    square, coupling = lattice.hypercubic((side, side)), exact.critical_coupling
    with jax.enable_x64(True):
        model = models.IsingDual(square, jnp.float64(coupling), jnp.float64(0.1))
        known = exact.torus_log_partition(jnp.float64(coupling), (side, side)) + model.log_offset()
    return Target(models.IsingDual(square, coupling), models.Ising(square, coupling), float(known))


def spins_of(target: Target, num_spins: int) -> jax.Array:
    """Spins ``[num_spins, side, side]`` of chains that cross the critical point in a few steps, every fourth kept."""
    num_chains = min(64, num_spins // 8)
    chains = samplers.replicas(samplers.thin(samplers.swendsen_wang(target.spins), 4), num_chains)
    state = samplers.warm_up(jax.random.key(0), chains, chains.init(jax.random.key(1)), 50)
    trace = samplers.run(jax.random.key(2), chains, state, num_spins // num_chains, observe=lambda spins: spins).trace
    return trace.reshape(-1, *target.model.shape)


# %% [markdown]
# ## Training
# The likelihood sees every configuration of spins with fields drawn anew, and moved and turned at random, as the target
# knows no place and no direction.


# %%
def likelihood(target: Target, density: Density) -> Any:
    """Gradient of the cross entropy of fields that belong to a batch of spins."""
    gradient_fn = flows.forward_kl(density)

    def gradient(key, params, aux, spins):
        field_key, move_key = jax.random.split(key)
        fields = jax.vmap(target.model.field_given_spins)(jax.random.split(field_key, len(spins)), spins)
        fields = lattice.random_symmetry(move_key, lattice.hypercubic(target.model.shape), fields)
        return gradient_fn(key, params, aux, fields)

    return gradient


class Trained(NamedTuple):
    """A density that has learned, and how long it took."""

    flow: Any  # its flow before the average over signs, or None

    density: Density
    params: Any
    minutes: np.ndarray  # since the start, compilation included, after each epoch
    kl: np.ndarray  # from 1,024 draws, after each epoch


def train(
    key: jax.Array, target: Target, density: Density, gradient: Any, num_epochs: int, folder: Path, **data: Any
) -> Trained:
    """Adam with a cosine, a clipped gradient and averaged parameters, kept in a folder from which it goes on."""
    num_steps = num_epochs * data.get("steps_per_epoch", len(data.get("data", ())) // data.get("batch_size", 1))
    schedule = optax.warmup_cosine_decay_schedule(0.0, data.pop("rate"), min(100, num_steps // 4), num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(20.0), optax.adam(schedule), training.moving_average(0.99))

    def divergence(params, aux):
        draws, log_prob = density.sample(jax.random.key(17), params, 1024)
        return {"kl": target.log_partition + jnp.mean(log_prob + jax.vmap(target.model.action)(draws))}

    minutes_file, start = folder / "minutes.json", time.time()
    minutes = json.loads(minutes_file.read_text()) if minutes_file.exists() else []
    before = minutes[-1] if minutes else 0.0

    def keep_time(run: training.Fit) -> None:
        if run.epoch > len(minutes):
            minutes.append(before + (time.time() - start) / 60)
            minutes_file.write_text(json.dumps(minutes))

    run = training.fit(
        key,
        gradient,
        optimizer,
        density.init(jax.random.key(3)),
        num_epochs=num_epochs,
        validation_fn=divergence,
        on_epoch=keep_time,
        checkpoint_dir=folder,
        progress=lambda done, total, text: print(f"    {done}/{total} {text}", flush=True),
        **data,
    )
    params = training.averaged_params(run.optimizer_state)
    return Trained(None, density, params, np.asarray(minutes[: run.epoch]), np.asarray(run.validation["kl"]))


def backwards(target: Target, spins: jax.Array, scale: Scale, folder: Path) -> Trained:
    side = target.model.shape[0]
    density = flows.decimation_density((side, side), scale=4.0, num_features=scale.num_features)
    num_epochs = max(2, scale.num_steps * scale.batch_size // len(spins))
    arguments = {"data": spins, "batch_size": scale.batch_size, "rate": 5e-3}
    return train(jax.random.key(4), target, density, likelihood(target, density), num_epochs, folder, **arguments)


def published_blocks(target: Target, scale: Scale, folder: Path) -> Trained:
    """Ten real couplings on blocks of 2 x 2 sites, each with nets of three layers of ten for scales and shifts.

    Halves change from coupling to coupling; published are random ones. The sign is averaged over exactly.
    """
    side = target.model.shape[0]
    nets = bijectors.parallel_perceptrons(2, (10, 10, 10), activation=bijectors.elu)
    coupling = bijectors.affine_coupling((2, 2), [[True, True], [False, False]], nets)
    block = bijectors.repeat(bijectors.chain([coupling, bijectors.permutation((2, 2), [[2, 0], [3, 1]])]), 10)
    flow = flows.rg_flow((side, side), disentangler=block, decimator=block, offsets=(0, 1))
    density = flows.symmetrized(flows.density(flow, flows.gaussian(flows.geometry(flow).latent_shapes)))
    gradient = flows.path_gradient(density, target.model.action, scale.batch_size)
    arguments = {"steps_per_epoch": max(1, scale.block_steps // 10), "rate": 3e-3}
    num_epochs = min(10, scale.block_steps)
    trained = train(jax.random.key(5), target, density, gradient, num_epochs, folder, **arguments)
    return trained._replace(flow=flow)


# %% [markdown]
# ## What a flow is good for beside its draws
# In the latents of a flow the target is nearly Gaussian, so Hamiltonian chains forget faster there. And the gradient
# along the path of a draw loses its noise as the flow becomes exact, which the plain one does not.


# %%
class InLatents(NamedTuple):
    """Hamiltonian chains in the latents and in the field; and what noise gradients have."""

    tau: stats.Summary  # of the energy, in trajectories
    plain_tau: stats.Summary
    noise_ratio: float  # variance of the plain gradient over that of the path gradient


def in_latents(target: Target, trained: Trained, num_steps: int) -> InLatents:
    model, flow = target.model, trained.flow
    num_chains = max(2, num_steps // 8)
    fields, _ = trained.density.sample(jax.random.key(9), trained.params, num_chains)
    latents = jax.vmap(lambda field: flow.inverse(trained.params.flow, field)[0])(fields)
    action = flows.latent_action(flow, trained.params.flow, model.action)

    def energy_of_latents(latents):
        return model.observables(flow.forward(trained.params.flow, latents)[0]).energy

    found = []
    for space, start, observe in (
        (action, latents, energy_of_latents),
        (model, fields, lambda field: model.observables(field).energy),
    ):
        one = jax.tree.map(lambda leaf: leaf[0], start)

        def chains(step_size, space=space, one=one):
            return samplers.replicas(samplers.hmc(space, step_size, 8, start=one), num_chains)

        state = chains(0.1).init(jax.random.key(10), start)
        tuned = samplers.tune_step_size(jax.random.key(11), chains, state, 0.1, num_steps // 2)
        run = samplers.run(jax.random.key(12), chains(tuned.step_size), tuned.state, num_steps, observe=observe)
        found.append(stats.summary(run.trace))
    return InLatents(found[0], found[1], gradient_noise(target, trained))


def claims_in_latents(found: InLatents) -> list[Claim]:
    tau, plain = (show(summary.tau_int, summary.tau_int_error, 1) for summary in (found.tau, found.plain_tau))
    return [
        Claim("  tau of latent HMC | HMC of the field", "shorter", f"{tau} | {plain}", "8 leapfrogs"),
        Claim("  variance of the gradient, plain : path", "> 1", f"{found.noise_ratio:.1f}", "64 draws"),
    ]


def gradient_noise(target: Target, trained: Trained) -> float:
    """Variance of the plain gradient over that of the path gradient, summed over the parameters."""

    def variance(objective: Any) -> float:
        gradient_fn = objective(trained.density, target.model.action, 64)
        one = jax.jit(lambda key: gradient_fn(key, trained.params, (), ())[0])
        gradients = [one(jax.random.key(number)) for number in range(16)]
        columns = zip(*map(jax.tree.leaves, gradients), strict=True)
        return sum(float(np.var(np.stack(column), axis=0, ddof=1).sum()) for column in columns)

    return variance(flows.reverse_kl) / variance(flows.path_gradient)


# %% [markdown]
# ## Corrected to exact answers


# %%
class Corrected(NamedTuple):
    """What weights say of a density."""

    reverse: stats.ImportanceEstimate  # of its draws
    forward: stats.ImportanceEstimate  # of fields of the target
    acceptance: float  # of independence Metropolis
    tau: float  # of the energy along its chain
    energy: stats.Summary
    overlap: float  # of the shares of both signs with a half each
    draws_per_second: float
    log_weights: np.ndarray


def correct(target: Target, trained: Trained, spins: jax.Array, num_draws: int) -> Corrected:
    density, params, model = trained.density, trained.params, target.model
    draw = functools.partial(samplers.weighted_draws, jax.random.key(6), density, params, model.action)
    draw(1024, observe=model.observables)
    start = time.time()
    found = draw(num_draws, observe=model.observables)
    seconds = time.time() - start
    chain = samplers.independence_chain(jax.random.key(7), found.log_weights)
    energy = stats.summary(found.values.energy[chain.indices][None])
    fields = jax.vmap(model.field_given_spins)(jax.random.split(jax.random.key(8), len(spins)), spins)
    weigh = jax.jit(lambda part: -jax.vmap(model.action)(part) - density.log_prob(params, part))
    parts = [weigh(part) for part in jnp.split(fields, 4)]
    signs = (found.values.magnetization > 0).astype(jnp.int32)
    return Corrected(
        stats.importance(found.log_weights),
        stats.importance_from_target(jnp.concatenate(parts)),
        float(chain.acceptance),
        float(energy.tau_int),
        energy,
        float(stats.mode_coverage(signs, jnp.array([0.5, 0.5])).overlap),
        num_draws / seconds,
        np.asarray(found.log_weights),
    )


def kl_of(target: Target, found: Corrected) -> tuple[float, float]:
    """KL(q || p) against the exact partition function, and its error."""
    return target.log_partition - float(found.reverse.bound), float(found.reverse.bound_error)


def report(side: int, name: str, target: Target, trained: Trained, found: Corrected) -> list[Claim]:
    kl, kl_error = kl_of(target, found)
    reverse, forward = found.reverse, found.forward
    deviation = (float(reverse.log_partition) - target.log_partition) / float(reverse.error)
    published = f"{PUBLISHED[side]:.2f} nats" if side in PUBLISHED else "-"
    flag = "" if bool(reverse.is_converged) else " (tail too heavy)"
    return [
        Claim(f"{side} x {side}, {name}: KL(q||p)", published, show(kl, kl_error, 4), f"{trained.minutes[-1]:.1f} min"),
        Claim("  KL(p||q)", "-", show(target_gap(target, forward), forward.bound_error, 4), ""),
        Claim(
            "  ESS of draws | of the target", "-", f"{reverse.ess:.3f} | {forward.ess:.3f}", f"N {reverse.num_samples}"
        ),
        Claim(
            "  ln Z - exact", "0", show(deviation * reverse.error, reverse.error, 5), f"{deviation:+.1f} sigma{flag}"
        ),
        Claim("  Metropolis acceptance | tau", "-", f"{found.acceptance:.3f} | {found.tau:.2f}", "1/2 at best"),
        Claim("  signs covered | draws/s", "-", f"{found.overlap:.3f} | {found.draws_per_second:.0f}", ""),
    ]


def target_gap(target: Target, forward: stats.ImportanceEstimate) -> float:
    """KL(p || q) with the exact partition function."""
    return float(forward.bound) - target.log_partition


def records(side: int, target: Target, trained: Trained, found: Corrected) -> dict[str, Any]:
    """What benchmarks read."""
    kl, error = kl_of(target, found)
    reached = trained.minutes[trained.kl <= PUBLISHED.get(side, -np.inf)]
    lines = [{"name": f"ising{side}_kl_nats", "value": kl, "error": error, "unit": "nats"}]
    if reached.size:
        lines.append({"name": f"ising{side}_minutes_to_published_kl", "value": float(reached[0]), "unit": "minutes"})
    measured = {
        "kl_forward": target_gap(target, found.forward),
        "ess": float(found.reverse.ess),
        "ess_of_target": float(found.forward.ess),
        "num_draws": int(found.reverse.num_samples),
        "log_partition": float(found.reverse.log_partition),
        "log_partition_error": float(found.reverse.error),
        "log_partition_exact": target.log_partition,
        "is_converged": bool(found.reverse.is_converged),
        "acceptance": found.acceptance,
        "tau": found.tau,
        "draws_per_second": found.draws_per_second,
        "minutes": float(trained.minutes[-1]),
        "curve": {"minutes": trained.minutes.tolist(), "kl": trained.kl.tolist()},
    }
    return {"records": lines, "measured": measured}


# %%
def figure_of(curves: dict[str, Trained], weights: dict[str, np.ndarray]) -> Figure:
    """KL against the time of training, and how the log-weights spread at its end."""
    figure, grid = style.new_figure(1, 2, size=(11, 4.2))
    left, right = grid[0]
    for (name, trained), colour in zip(curves.items(), style.SERIES, strict=False):
        left.loglog(trained.minutes, np.maximum(trained.kl, 1e-3), marker=".", color=colour, label=name)
        right.hist(weights[name], bins=80, range=(-6, 6), density=True, histtype="step", color=colour, label=name)
    left.axhline(PUBLISHED[16], color=style.GREY, linestyle=":", label="published, $L = 16$")
    left.set(xlabel="minutes of training", ylabel="KL$(q \\| p)$ / nats")
    right.set(xlabel="$\\ln w - \\ln Z$", ylabel="share of draws", yscale="log")
    left.legend(fontsize=8)
    return figure


def main(
    smoke: bool = False, out: str = "out/neuralrg_ising", sizes: Sequence[int] = (), steps: int | None = None
) -> None:
    scale = SMOKE if smoke else FULL
    scale = scale._replace(sizes=tuple(sizes) or scale.sizes, num_steps=steps or scale.num_steps)
    curves, weights = {}, {}
    print_claims([HEADER])
    for side in scale.sizes:
        target, place = target_of(side), Path(out) / f"{side}"
        spins = spins_of(target, scale.num_spins)
        held_out = scale.num_spins // 8
        flows_of_size = {BACKWARDS: lambda folder: backwards(target, spins[held_out:], scale, folder)}  # noqa: B023
        if side in scale.block_sizes:
            flows_of_size[BLOCKS] = lambda folder: published_blocks(target, scale, folder)  # noqa: B023
        for name, learn in flows_of_size.items():
            folder = place / name.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            trained = learn(folder)
            found = correct(target, trained, spins[:held_out], scale.num_draws)
            print_claims(report(side, name, target, trained, found), widths=(44, 12, 22))
            if trained.flow is not None:
                print_claims(
                    claims_in_latents(in_latents(target, trained, min(scale.num_steps, MOST_TRAJECTORIES))),
                    widths=(44, 12, 22),
                )
            curves[f"{name}, $L = {side}$"] = trained
            weights[f"{name}, $L = {side}$"] = found.log_weights - target.log_partition
            if name == BACKWARDS and not smoke:
                figures = records(side, target, trained, found)
                write_results(
                    str(RESULTS / f"flows_neuralrg_{side}.json"), f"examples/{Path(__file__).name}", scale, figures
                )
    save({"kl_and_weights": figure_of(curves, weights)}, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Flows of the Ising dual at its critical point.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/neuralrg_ising", help="folder of checkpoints and figures")
    parser.add_argument("--sizes", type=int, nargs="*", default=(), help="sides of the lattices, 4 to 32")
    parser.add_argument("--steps", type=int, default=None, help="steps of the likelihood")
    arguments = parser.parse_args()
    main(arguments.smoke, arguments.out, arguments.sizes, arguments.steps)
