# %% [markdown]
# # Decimation run backwards: a hierarchical sampler of Ising spins
# Decimation keeps every second spin. Run backwards it is a sampler: a few coarse spins first, then those in between,
# level by level, each from a small network that sees what is there already. The probability of every draw is known, so
# the partition function comes with it, and weights make all answers exact. The levels are fitted by maximum likelihood
# to configurations of Swendsen-Wang, made on the fly. As the finest levels are the same physics on every lattice, each
# lattice takes over the weights of the one before and learns the new coarse level; then all of them are refined
# together on the log-weights of their own draws.
#
# Beside the networks stand controls of physicist's size: three couplings a pass, the published claim of what inverse
# renormalisation needs, and thirty. The susceptibility of their draws as they are stands beside the exact one.
#
# At last one set of weights takes the coupling as an input, beside weights trained at each coupling alone.
#
# `python examples/inverse_decimation.py --sizes 16 32 64 --steps 20000` trains for longer, or each size for steps of
# its own; `--json FILE` keeps the figures; checkpoints are kept under `--out`, and the same command goes on where it
# stopped.

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
from matplotlib.figure import Figure

from jaxrg import exact, flows, lattice, models, samplers, stats
from jaxrg.flows import spins
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

COUPLING = 0.44  # of the published figures; the critical one is 0.4407
PUBLISHED = {8: (0.0014, 0.996), 16: (0.0111, 0.978), 32: (0.0374, 0.926), 64: (0.392, 0.438), 128: (7.1, None)}
COUPLINGS = (0.3, 0.36, exact.critical_coupling, 0.485, 0.5)  # that one set of weights is measured at
LEARNED = (0.3, 0.34, 0.38, 0.41, 0.44, 0.47, 0.5)  # and those it learns at
CONTROL_STEPS = 2_000  # at most: three couplings a pass need no more
LARGEST_CONTROL = 64  # side
OUT = "out/inverse_decimation"
FIELDS = {
    "network": spins.odd_network(),
    "3 couplings": spins.local_operators(3),
    "30 couplings": spins.local_operators(30),
}


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, ...]
    num_steps: tuple[int, ...]  # for each size, the last for those beyond
    num_sites: int
    num_chains: int
    refine_steps: tuple[int, ...]  # in the same way
    num_draws: tuple[int, ...]  # of the figures
    shared_steps: int  # of the weights for many couplings, on the first size
    couplings: tuple[float, ...]  # that these are measured at


FULL = Scale((8, 16), (1_500,), 2_048, 256, (300,), (20_000,), 1_000, COUPLINGS)
SMOKE = Scale((8,), (40,), 64, 16, (0,), (400,), 40, COUPLINGS[:1])


class Result(NamedTuple):
    """What one sampler comes to."""

    side: int
    fields: str  # what the local fields are
    estimate: stats.ImportanceEstimate
    log_partition: float  # exact
    seconds: float  # of training, earlier calls included
    draws_per_second: float
    susceptibility: tuple[stats.Summary, stats.WeightedMean]  # sites times m^2, of the draws as they are and weighted
    chain_time: Any  # integrated autocorrelation time of the energy in independence Metropolis, in draws
    independent_per_second: float  # of Swendsen-Wang
    params: Any
    density: spins.InverseDecimation


# %% [markdown]
# ## Training


# %%
def ising(side: int, coupling: float = COUPLING) -> models.Ising:
    return models.Ising(lattice.hypercubic((side, side)), coupling)


def train(
    density: spins.InverseDecimation,
    params: Any,
    scale: Scale,
    num_steps: int,
    folder: Path,
    *,
    couplings: Sequence[float] = (COUPLING,),
    num_kept: int = 0,
) -> Any:
    """Maximum likelihood: every level by itself, from many sites at once; the finest may be kept as they are."""
    num_chains = max(16, min(scale.num_chains, scale.num_chains * 32**2 // density.shape[0] ** 2))
    chains = spins.start_chains(jax.random.key(3), density, num_chains, couplings=jnp.array(couplings))
    gradient_fn = spins.maximum_likelihood(density, num_sites=scale.num_sites)
    return fitted(gradient_fn, params, num_steps, 1e-2, folder, aux=chains, num_kept=num_kept)


def refine(density: spins.InverseDecimation, params: Any, num_steps: int, folder: Path) -> Any:
    """Half the variance of the log-weights (VarGrad), whose gradient loses its noise as the sampler becomes exact."""
    side = density.shape[0]
    num_draws = max(64 if side <= 128 else 32, min(1024, 2**19 // side**2))
    gradient_fn = flows.log_variance(density, ising(side).hamiltonian, num_draws)
    return fitted(gradient_fn, params, num_steps, 1e-3 * min(1.0, 32 / side), folder)


# %% [markdown]
# ## Figures of a sampler


# %%
def batch_of(side: int, num_draws: int) -> int:
    """Draws at a time."""
    return max(16, min(num_draws, 2_000_000 // side**2))


def measure(density: spins.InverseDecimation, params: Any, fields: str, seconds: float, num_draws: int) -> Result:
    model, side = ising(density.shape[0]), density.shape[0]
    with jax.enable_x64(True):
        log_partition = float(exact.torus_log_partition(jnp.float64(np.float32(COUPLING)), (side, side)))
    batch = batch_of(side, num_draws)
    draw = functools.partial(samplers.weighted_draws, density=density, params=params, action=model.hamiltonian)
    options: dict[str, Any] = {"batch_size": batch, "observe": model.observables}
    draw(jax.random.key(4), num_samples=batch, **options)  # compiles
    start = time.time()
    draws = draw(jax.random.key(5), num_samples=num_draws, **options)
    rate = num_draws / (time.time() - start)
    chain = samplers.independence_chain(jax.random.key(6), draws.log_weights)
    energy = stats.summary(draws.values.energy[chain.indices][None])
    squares = side**2 * jnp.square(draws.values.magnetization)
    return Result(
        side,
        fields,
        stats.importance(draws.log_weights),
        log_partition,
        seconds,
        rate,
        (stats.summary(squares[None]), stats.reweighted(draws.log_weights, squares)),
        energy.tau_int,
        swendsen_wang_rate(model),
        params,
        density,
    )


def swendsen_wang_rate(model: models.Ising) -> float:
    """Independent configurations a second of chains side by side, two autocorrelation times of the energy apart."""
    chains = samplers.replicas(samplers.swendsen_wang(model), 16)
    state = samplers.warm_up(jax.random.key(7), chains, chains.init(jax.random.key(8)), 50)
    samplers.run(jax.random.key(9), chains, state, 1, observe=model.observables)  # compiles
    start = time.time()
    run = jax.block_until_ready(samplers.run(jax.random.key(9), chains, state, 400, observe=model.observables))
    seconds = time.time() - start
    return 16 * 400 / (2 * float(stats.summary(run.trace.energy).tau_int)) / seconds


def claim_of(result: Result, control: Result | None) -> Claim:
    found = result.estimate
    kl, ess = PUBLISHED.get(result.side, (None, None))
    published = "-" if kl is None else f"{kl} nats" + ("" if ess is None else f", ESS {ess}")
    off = (float(found.log_partition) - result.log_partition) / float(found.error)
    measured = f"KL {show(found.kl, found.kl_error, 4)} nats, ESS {float(found.ess):.3f}, ln Z off by {off:+.1f} sigma"
    other = "" if control is None else f"{show(control.estimate.kl, control.estimate.kl_error, 3)} nats"
    return Claim(f"KL(q || p), L = {result.side}, K = {COUPLING}", published, measured, other)


def records_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What `benchmarks.flows` reads of a file."""
    records = []
    for result in results:
        found, side = result.estimate, result.side
        kl, error = float(found.kl), float(found.kl_error)
        records.append({"name": f"spins{side}_kl_nats", "value": kl, "unit": "nats", "error": error})
        records.append({"name": f"spins{side}_ess", "value": float(found.ess), "unit": f"of {int(found.num_samples)}"})
    return records


def details(result: Result) -> dict[str, Any]:
    """All figures of a sampler."""
    found = result.estimate
    names = ("kl", "kl_error", "ess", "log_partition", "error", "tail_index")
    numbers = {name: float(getattr(found, name)) for name in names}
    return {
        "side": result.side,
        "coupling": COUPLING,
        "fields": result.fields,
        **numbers,
        "exact_log_partition": result.log_partition,
        "num_draws": int(found.num_samples),
        "training_seconds": result.seconds,
        "draws_per_second": result.draws_per_second,
        "susceptibility_as_drawn": [float(result.susceptibility[0].mean), float(result.susceptibility[0].error)],
        "susceptibility_weighted": [float(result.susceptibility[1].mean), float(result.susceptibility[1].error)],
        "tau_energy": float(result.chain_time),
        "swendsen_wang_independent_per_second": result.independent_per_second,
    }


def keep(file: str, scale: Scale, results: Sequence[Result], shared: list) -> None:
    """Write what is known so far, if a file was given."""
    networks = [result for result in results if result.fields == "network"]
    figures = {
        "records": records_of(networks),
        "results": list(map(details, results)),
        "one set of weights": shared,
    }
    write_results(file, "examples/inverse_decimation.py", scale, figures)


# %% [markdown]
# ## One set of weights for many couplings
# All weights are polynomials of K. A step costs as many times what it costs at one coupling as there are couplings to
# learn from.


# %%
def over_couplings(side: int, scale: Scale, out: Path) -> list[dict[str, Any]]:
    """KL of one set of weights, and of weights trained at each coupling alone for as many steps."""
    shared = spins.inverse_decimation(ising(side), degree=4, interval=(LEARNED[0], LEARNED[-1]))
    print(f"L = {side}, one set of weights at {len(LEARNED)} couplings:", flush=True)
    start = shared.init(jax.random.key(1))
    params = train(shared, start, scale, scale.shared_steps, out / f"L{side}_shared", couplings=LEARNED)
    found, batch = [], batch_of(side, scale.num_draws[0])
    for coupling in scale.couplings:
        own = spins.inverse_decimation(ising(side, coupling))
        print(f"L = {side}, K = {coupling:.4f} alone:", flush=True)
        folder = out / f"L{side}_K{coupling:.4f}"
        own_params = train(own, own.init(jax.random.key(1)), scale, scale.shared_steps, folder, couplings=[coupling])
        moved = spins.inverse_decimation(ising(side, coupling), degree=4, interval=(LEARNED[0], LEARNED[-1]))
        row: dict[str, Any] = {"side": side, "coupling": coupling}
        for name, density, weights in (("shared", moved, params), ("own", own, own_params)):
            draws = samplers.weighted_draws(
                jax.random.key(5),
                density,
                weights,
                ising(side, coupling).hamiltonian,
                scale.num_draws[0],
                batch_size=batch,
            )
            estimate = stats.importance(draws.log_weights)
            row |= {name: float(estimate.kl), f"{name}_error": float(estimate.kl_error)}
        found.append(row)
    return found


# %% [markdown]
# ## Pictures: a configuration by levels, and what each level is worth


# %%
def draw_levels(result: Result) -> Figure:
    """One configuration as it came to be: the spins of each level are all that the next finer one is drawn from."""
    density = result.density
    configuration, _ = density.sample(jax.random.key(11), result.params, 1)
    levels = list(reversed(range(density.num_levels + 1)))
    figure, axes = style.new_figure(1, len(levels), size=(3 * len(levels), 3.6))
    for place, level in zip(axes.flat, levels, strict=True):
        step = 2**level
        part = np.asarray(configuration[0, ::step, ::step])
        place.imshow(part, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        place.set_title(f"level {level}: {part.shape[0]} × {part.shape[1]}")
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(True)
    return figure


def main(smoke: bool = False, out: str = OUT, json_file: str = "", **given: Any) -> None:
    scale = with_given(SMOKE if smoke else FULL, given)
    results, claims, params = [], [HEADER], {}
    for number, side in enumerate(scale.sizes):
        found = {}
        steps, refinements, draws = (
            of_size(counts, number) for counts in (scale.num_steps, scale.refine_steps, scale.num_draws)
        )
        for fields, conditional in FIELDS.items():
            if fields != "network" and side > LARGEST_CONTROL:
                continue
            density = spins.inverse_decimation(ising(side), conditional=conditional)
            start, num_kept, is_control = density.init(jax.random.key(1)), 0, fields != "network"
            if fields in params and len(params[fields]["levels"]) <= density.num_levels:
                start, num_kept = spins.extend(density, start, params[fields]), len(params[fields]["levels"])
            print(f"L = {side}, {fields}:", flush=True)
            folder = Path(out) / f"L{side}_{fields.replace(' ', '_')}"
            folders = folder, folder.with_name(folder.name + "_refined")
            count = min(steps, CONTROL_STEPS) if is_control else steps
            learned = train(density, start, scale, count, folder, num_kept=num_kept)
            if refinements and not is_control:
                learned = refine(density, learned, refinements, folders[1])
            params[fields] = learned
            found[fields] = measure(density, learned, fields, spent(*folders), draws)
        results += found.values()
        claims.append(claim_of(found["network"], found.get("3 couplings")))
        keep(json_file, scale, results, [])
    print_claims([claims[0]._replace(control="three couplings a pass"), *claims[1:]])
    for result in results:
        print(
            f"L = {result.side}, {result.fields}: {result.seconds:.0f} s of training, {result.draws_per_second:.0f} "
            f"draws a second, of which one in {2 * float(result.chain_time):.2f} is independent, against "
            f"{result.independent_per_second:.0f} independent ones of Swendsen-Wang; KL "
            f"{show(result.estimate.kl, result.estimate.kl_error, 4)} nats, chi {result.susceptibility[0]} as drawn, "
            f"{result.susceptibility[1]} weighted"
        )
    couplings = params["3 couplings"]["levels"]
    for level, passes in enumerate(couplings):
        means = ", ".join(f"{value:.3f}" for value in np.asarray(passes)[0].mean(axis=0))
        print(f"level {level}: couplings of the local field, shortest reach first, mean of all passes: {means}")
    shared = over_couplings(scale.sizes[0], scale, Path(out))
    keep(json_file, scale, results, shared)
    for row in shared:
        own, both = (show(row[name], row[f"{name}_error"], 4) for name in ("own", "shared"))
        print(f"L = {row['side']}, K = {row['coupling']:.4f}: KL {both} nats of the shared weights, {own} of its own")
    networks = [result for result in results if result.fields == "network"]
    save({f"levels_L{result.side}": draw_levels(result) for result in networks}, out)


if __name__ == "__main__":
    parser = sizes_parser("hierarchical sampling of Ising spins", OUT)
    parser.add_argument("--shared-steps", type=int, help="training steps of the weights for many couplings")
    main(**vars(parser.parse_args()))
