# %% [markdown]
# # Decimation run backwards for a real field: lattice phi^4
# A few coarse sites first, then those in between, level by level. The action tells half of all sites and another eighth
# exactly; each of the others feels a potential of a few terms, which a small network tells of what is known around it.
# The levels are fitted by maximum likelihood to fields of cluster flips and Hamiltonian trajectories, made on the fly;
# then all of them are refined together on the log-weights of their own draws. The density of every draw is known, so
# that the partition function comes with it, and weights make all answers exact.
#
# The couplings are the published ones, m^2 = -4 with a correlation length of about a quarter of the side.
#
# `python examples/phi4_decimation.py --sizes 12 20 --steps 6000 --json FILE` trains for longer, or each size for steps
# of its own, and keeps the figures; checkpoints are kept under `--out`, and the same command goes on where it stopped.
# A side that is twice the one before, as in `--sizes 16 32 64`, begins with its weights and learns the coarse levels.

# %%
import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from matplotlib.figure import Figure

from jaxrg import flows, lattice, models, samplers, stats
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import (
    HEADER,
    Claim,
    fitted,
    of_size,
    print_claims,
    save,
    show,
    sizes_parser,
    spent,
    with_given,
    write_results,
)

QUARTIC = {  # of 16 between its neighbours
    6: 6.975,
    8: 6.008,
    10: 5.55,
    12: 5.276,
    14: 5.113,
    16: 4.96,
    20: 4.807,
    32: 4.572,
    64: 4.398,
}
PUBLISHED = {32: "ESS 0.66 of a continuous flow, 0.01 of couplings"}  # arXiv:2110.02673
OUT = "out/phi4_decimation"
KEPT = 2  # finest levels that a lattice twice as large takes over as they are


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, ...]
    num_steps: tuple[int, ...]  # for each size, the last for those beyond
    num_sites: int  # of every pass in a training step
    num_chains: int
    refine_steps: tuple[int, ...]  # in the same way
    num_draws: tuple[int, ...]  # of the figures
    num_sweeps: int  # of the classical run


FULL = Scale((12, 20), (4_000,), 2_048, 256, (2_000,), (100_000,), 1_000)
SMOKE = Scale((8,), (20,), 64, 16, (0,), (200,), 40)


class Result(NamedTuple):
    """What one sampler comes to."""

    side: int
    estimate: stats.ImportanceEstimate
    acceptance: float
    weighted: dict[str, stats.WeightedMean]
    classical: dict[str, stats.Summary]
    levels: list[float]  # KL of all that is finer than each level
    seconds: float  # of training, earlier calls included
    draws_per_second: float
    field: np.ndarray


# %% [markdown]
# ## Fields to learn from


# %%
def phi4(side: int) -> models.Phi4:
    return models.Phi4(lattice.hypercubic((side, side)), -4.0, QUARTIC[side])


def classical(model: models.Phi4) -> tuple[Any, Any]:
    """Cluster flips, and trajectories of the lengths of the field."""
    return samplers.swendsen_wang_embedding(model), samplers.hmc(model, 0.36 / model.shape[0] ** 0.5, 8)


def sweep(clusters: Any, trajectories: Any, key: Any, state: Any) -> Any:
    """Both once; each makes its own key of the number of its step."""
    return trajectories.step(key, clusters.step(key, state)[0])[0]


def observe(field: Any) -> dict[str, Any]:
    mean = jnp.mean(field)
    return {"|M|": jnp.abs(mean), "chi": mean**2 * float(field.size)}


def classical_run(model: models.Phi4, scale: Scale) -> samplers.Run:
    """Chains of both moves, a quarter of which is for forgetting the start."""
    num_chains = max(16, min(scale.num_chains, scale.num_chains * 20**2 // model.shape[0] ** 2))
    chains = samplers.replicas(samplers.mixture(list(classical(model)), [0.5, 0.5]), num_chains)
    start = samplers.run(
        jax.random.key(9), chains, chains.init(jax.random.key(10)), scale.num_sweeps // 4, observe=observe
    )
    return samplers.run(jax.random.key(11), chains, start.state, scale.num_sweeps, observe=observe)


def learn(counts: Any, density: Any, moves: Any, key: Any, params: Any, states: Any, _: Any) -> tuple[Any, Any, Any]:
    """Gradient of the mean -ln q of the learned sites, after one more sweep of the chains that the data come from.

    Every level sees so many of their fields, moved, mirrored and turned at random.
    """
    place = lattice.hypercubic(density.shape)
    sweep_key, field_key = jax.random.split(key)
    keys = jax.random.split(sweep_key, len(states.field))
    states = jax.vmap(functools.partial(sweep, *moves))(keys, states)

    def loss_fn(params: Any) -> Any:
        parts = []
        for level, count in enumerate(counts):
            row_key, move_key = jax.random.split(jax.random.fold_in(field_key, level))
            first = jax.random.randint(row_key, (), 0, len(states.field), dtype=jnp.int32)
            some = states.field[(first + np.arange(count, dtype=np.int32)) % len(states.field)]
            moved = lattice.random_symmetry(move_key, place, some)
            fields = moved[:, :: 2**level, :: 2**level]
            parts.append(-jnp.mean(density.level_log_prob(params, fields, level)))
        return jnp.sum(jnp.stack(parts)), jnp.stack(parts)

    (loss, parts), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return gradients, states, {"loss": loss, "parts": parts}


def fields_per_level(sides: Sequence[int], num_sites: int) -> tuple[int, ...]:
    """So many that each pass learns from ``num_sites`` sites, of which a pass has many but on small lattices."""
    per_pass = [side**2 // 16 if side % 4 == 0 else side // 2 if side > 6 else 1 for side in sides[:-1]]
    return (*(max(1, num_sites // count) for count in per_pass), num_sites)


def train(
    density: Any,
    model: models.Phi4,
    params: Any,
    fields: Any,
    scale: Scale,
    num_steps: int,
    folder: Path,
    num_kept: int,
) -> Any:
    """Maximum likelihood, every level by itself."""
    counts = fields_per_level(density.level_sides, scale.num_sites)
    gradient_fn = Partial(functools.partial(learn, counts), density, classical(model))
    states = samplers.FieldState(fields, jnp.zeros(len(fields), jnp.uint32))
    return fitted(gradient_fn, params, num_steps, 1e-2, folder, aux=states, num_kept=num_kept)


def refine(density: Any, model: models.Phi4, params: Any, num_steps: int, folder: Path) -> Any:
    """Half the variance of the log-weights (VarGrad), whose gradient loses its noise as the sampler becomes exact."""
    side = density.shape[0]
    num_draws = max(64, min(512, 2**17 // side**2))
    return fitted(flows.log_variance(density, model.action, num_draws), params, num_steps, 0.064 / side, folder)


# %% [markdown]
# ## Figures of a sampler


# %%
def divergence_by_level(density: Any, params: Any, model: models.Phi4, draws: Any) -> list[float]:
    """About KL(q || p) of all that is finer than each level, half the variance of ln w on the same coarse sites."""
    found = []
    for level in range(1, len(density.level_sides)):
        coarse = jnp.repeat(draws[:, :: 2**level, :: 2**level], 16, axis=0)
        fields, log_prob = density.refine(jax.random.key(6), params, coarse, level)
        weights = (-jax.vmap(model.action)(fields) - log_prob).reshape(-1, 16)
        found.append(float(np.mean(np.var(np.asarray(weights, np.float64), axis=1, ddof=1)) / 2))
    return found


def measure(density: Any, model: models.Phi4, params: Any, run: samplers.Run, seconds: float, num_draws: int) -> Result:
    side = density.shape[0]
    batch = max(16, min(num_draws, 400_000 // side**2))
    draw = functools.partial(samplers.weighted_draws, density=density, params=params, action=model.action)
    options: dict[str, Any] = {"batch_size": batch, "observe": observe}
    draw(jax.random.key(7), num_samples=batch, **options)  # compiles
    start = time.time()
    draws = draw(jax.random.key(8), num_samples=num_draws, **options)
    rate = num_draws / (time.time() - start)
    fields, _ = density.sample(jax.random.key(13), params, 64)
    return Result(
        side,
        stats.importance(draws.log_weights),
        float(samplers.independence_chain(jax.random.key(12), draws.log_weights).acceptance),
        stats.reweighted(draws.log_weights, draws.values),
        stats.summary(run.trace),
        divergence_by_level(density, params, model, fields) if num_draws >= 1000 else [],
        seconds,
        rate,
        np.asarray(fields[0]),
    )


def claim_of(result: Result) -> Claim:
    found = result.estimate
    measured = (
        f"ESS {float(found.ess):.4f} of {int(found.num_samples)}, KL {show(found.kl, found.kl_error, 4)} nats, ln Z "
        f"{show(found.log_partition, found.error, 4)}, acceptance {result.acceptance:.3f}"
    )
    pairs = [f"{name} {result.weighted[name]} / {result.classical[name]}" for name in result.weighted]
    return Claim(f"phi^4, L = {result.side}", PUBLISHED.get(result.side, "-"), measured, ", ".join(pairs))


def records_of(result: Result) -> list[dict[str, Any]]:
    """What `benchmarks.flows` reads of a file."""
    found = result.estimate
    name, size = f"phi4_{result.side}", f"of {int(found.num_samples)}"
    return [
        {"name": f"{name}_ess", "value": float(found.ess), "unit": size, "seconds": result.seconds},
        {"name": f"{name}_kl_nats", "value": float(found.kl), "unit": "nats", "error": float(found.kl_error)},
    ]


def details(result: Result) -> dict[str, Any]:
    """All figures of a sampler."""
    names = ("kl", "kl_error", "ess", "log_partition", "error", "tail_index")
    means = {
        name: [
            float(part) for part in (mean.mean, mean.error, result.classical[name].mean, result.classical[name].error)
        ]
        for name, mean in result.weighted.items()
    }
    return {
        "side": result.side,
        "quartic": QUARTIC[result.side],
        **{name: float(getattr(result.estimate, name)) for name in names},
        "num_draws": int(result.estimate.num_samples),
        "acceptance": result.acceptance,
        "weighted_then_classical": means,
        "kl_finer_than_each_level": result.levels,
        "training_seconds": result.seconds,
        "draws_per_second": result.draws_per_second,
    }


# %% [markdown]
# ## Picture: a field by levels


# %%
def draw_levels(result: Result) -> Figure:
    """A field as it came to be: the sites of each level are all that the next finer one is drawn from."""
    steps = [2**level for level in reversed(range(4)) if result.side % 2**level == 0 and result.side > 2**level]
    figure, axes = style.new_figure(1, len(steps), size=(3 * len(steps), 3.6))
    for place, step in zip(axes.flat, steps, strict=True):
        part = result.field[::step, ::step]
        place.imshow(part, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        place.set_title(f"{part.shape[0]} × {part.shape[1]}")
        place.set(xticks=[], yticks=[])
        place.grid(visible=False)
        place.spines[:].set_visible(True)
    figure.colorbar(axes.flat[-1].images[0], ax=list(axes.flat), label=r"$\phi$")
    return figure


def main(smoke: bool = False, out: str = OUT, json_file: str = "", **given: Any) -> None:
    scale = with_given(SMOKE if smoke else FULL, given)
    results: list[Result] = []
    claims, params, before = [HEADER._replace(control="weighted / classical")], None, 0
    for number, side in enumerate(scale.sizes):
        steps, refinements, draws = (
            of_size(counts, number) for counts in (scale.num_steps, scale.refine_steps, scale.num_draws)
        )
        model = phi4(side)
        density = flows.field_decimation(model)
        can_extend = side == 2 * before and side % 32 == 0
        params, before = flows.extended_decimation(params) if can_extend else density.init(jax.random.key(1)), side
        print(f"L = {side}:", flush=True)
        run = classical_run(model, scale)
        folder, num_kept = Path(out) / f"L{side}", KEPT if can_extend else 0
        folders = folder, folder.with_name(f"L{side}_refined")
        params = train(density, model, params, run.state.field, scale, steps, folder, num_kept)
        if refinements:
            params = refine(density, model, params, refinements, folders[1])
        results.append(measure(density, model, params, run, spent(*folders), draws))
        claims.append(claim_of(results[-1]))
        records = [record for result in results for record in records_of(result)]
        figures = {"records": records, "results": list(map(details, results))}
        write_results(json_file, "examples/phi4_decimation.py", scale, figures)
    print_claims(claims)
    for result in results:
        split = ", ".join(f"{kl:.4f}" for kl in result.levels) or "-"
        print(
            f"L = {result.side}: {result.seconds:.0f} s of training, {result.draws_per_second:.0f} draws a second; "
            f"KL of all that is finer than each level: {split} nats"
        )
    save({f"levels_L{result.side}": draw_levels(result) for result in results}, out)


if __name__ == "__main__":
    parser = sizes_parser("hierarchical sampling of lattice phi^4", OUT)
    main(**vars(parser.parse_args()))
