# %% [markdown]
# # Decimation run backwards: a hierarchical sampler of Ising spins
# Decimation keeps every second spin. Run backwards it is a sampler: a few coarse spins first, then those in between,
# level by level, each from a small network that sees what is there already. The probability of every draw is known, so
# the partition function comes with it, and weights make all answers exact. Nothing is learned from the sampler's own
# draws: the levels are fitted by maximum likelihood to configurations of Swendsen-Wang, made on the fly. As the finest
# levels are the same physics on every lattice, each lattice begins with the weights of the one before.
#
# Beside the networks stands a control of physicist's size: three couplings a pass, the published claim of what inverse
# renormalisation needs.
#
# `python examples/inverse_decimation.py --sizes 16 32 64 --steps 20000` trains for longer, `--json FILE` keeps the
# figures; checkpoints are kept under `--out`, and the same command goes on where it stopped.

# %%
import argparse
import functools
import json
import platform
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

from jaxrg import exact, lattice, models, samplers, stats, training
from jaxrg.flows import spins
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, print_claims, save, show

COUPLING = 0.44  # of the published figures; the critical one is 0.4407
PUBLISHED = {8: (0.0014, 0.996), 16: (0.0111, 0.978), 32: (0.0374, 0.926), 64: (0.392, 0.438), 128: (7.1, None)}
NUM_EPOCHS = 20


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, ...]
    num_steps: int
    num_sites: int
    num_chains: int
    num_draws: int


FULL = Scale((8, 16), 1_500, 2_048, 256, 20_000)
SMOKE = Scale((8,), 40, 64, 16, 400)


class Result(NamedTuple):
    """What one sampler comes to."""

    side: int
    fields: str  # what the local fields are
    estimate: stats.ImportanceEstimate
    log_partition: float  # exact
    seconds: float  # of training in this run
    draws_per_second: float
    chain_time: Any  # integrated autocorrelation time of the energy in independence Metropolis, in draws
    independent_per_second: float  # of Swendsen-Wang
    params: Any
    density: spins.InverseDecimation


# %% [markdown]
# ## Training


# %%
def ising(side: int) -> models.Ising:
    return models.Ising(lattice.hypercubic((side, side)), COUPLING)


def train(density: spins.InverseDecimation, params: Any, scale: Scale, folder: Path) -> tuple[Any, float]:
    """Adam with a cosine and averaged parameters, kept in a folder from which it goes on; and the seconds it took."""
    steps_per_epoch = max(1, scale.num_steps // NUM_EPOCHS)
    num_chains = max(16, min(scale.num_chains, scale.num_chains * 32**2 // density.shape[0] ** 2))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-2, min(50, steps_per_epoch), steps_per_epoch * NUM_EPOCHS)
    optimizer = optax.chain(
        optax.clip_by_global_norm(20.0), optax.adam(schedule, b2=0.99), training.moving_average(0.99)
    )
    start = time.time()
    run = training.fit(
        jax.random.key(2),
        spins.maximum_likelihood(density, num_sites=scale.num_sites),
        optimizer,
        params,
        aux=spins.start_chains(jax.random.key(3), density, num_chains),
        num_epochs=NUM_EPOCHS,
        steps_per_epoch=steps_per_epoch,
        checkpoint_dir=folder,
        progress=lambda done, total, text: print(f"    {done}/{total} {text}", flush=True),
    )
    return training.averaged_params(run.optimizer_state), time.time() - start


# %% [markdown]
# ## Figures of a sampler


# %%
def measure(density: spins.InverseDecimation, params: Any, fields: str, seconds: float, num_draws: int) -> Result:
    model, side = ising(density.shape[0]), density.shape[0]
    with jax.enable_x64(True):
        log_partition = float(exact.torus_log_partition(jnp.float64(np.float32(COUPLING)), (side, side)))
    batch = max(16, min(num_draws, 2_000_000 // side**2))
    draw = functools.partial(samplers.weighted_draws, density=density, params=params, action=model.hamiltonian)
    options: dict[str, Any] = {"batch_size": batch, "observe": model.observables}
    draw(jax.random.key(4), num_samples=batch, **options)  # compiles
    start = time.time()
    draws = draw(jax.random.key(5), num_samples=num_draws, **options)
    rate = num_draws / (time.time() - start)
    chain = samplers.independence_chain(jax.random.key(6), draws.log_weights)
    energy = stats.summary(draws.values.energy[chain.indices][None])
    return Result(
        side,
        fields,
        stats.importance(draws.log_weights),
        log_partition,
        seconds,
        rate,
        energy.tau_int,
        swendsen_wang_rate(model),
        params,
        density,
    )


def swendsen_wang_rate(model: models.Ising) -> float:
    """Independent configurations a second of chains side by side, two autocorrelation times of the energy apart."""
    chains = samplers.replicas(samplers.swendsen_wang(model), 16)
    state = samplers.run(jax.random.key(7), chains, chains.init(jax.random.key(8)), 50).state
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
        "tau_energy": float(result.chain_time),
        "swendsen_wang_independent_per_second": result.independent_per_second,
    }


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


def main(
    smoke: bool = False,
    out: str = "out/inverse_decimation",
    sizes: Sequence[int] = (),
    num_steps: int = 0,
    num_draws: int = 0,
    json_file: str = "",
) -> None:
    scale = SMOKE if smoke else FULL
    scale = scale._replace(
        sizes=tuple(sizes) or scale.sizes,
        num_steps=num_steps or scale.num_steps,
        num_draws=num_draws or scale.num_draws,
    )
    results, claims, params = [], [HEADER], {}
    for side in scale.sizes:
        found = {}
        for fields, conditional in (("network", spins.odd_network()), ("3 couplings", spins.local_operators(3))):
            density = spins.inverse_decimation(ising(side), conditional=conditional)
            start = density.init(jax.random.key(1))
            if fields in params and len(params[fields]["levels"]) <= density.num_levels:
                start = spins.extend(density, start, params[fields])
            print(f"L = {side}, {fields}:", flush=True)
            folder = Path(out) / f"L{side}_{fields.replace(' ', '_')}"
            params[fields], seconds = train(density, start, scale, folder)
            found[fields] = measure(density, params[fields], fields, seconds, scale.num_draws)
        results += found.values()
        claims.append(claim_of(found["network"], found["3 couplings"]))
    print_claims([claims[0]._replace(control="three couplings a pass"), *claims[1:]])
    for result in results:
        print(
            f"L = {result.side}, {result.fields}: {result.seconds:.0f} s of training, {result.draws_per_second:.0f} "
            f"draws a second, of which one in {2 * float(result.chain_time):.2f} is independent, against "
            f"{result.independent_per_second:.0f} independent ones of Swendsen-Wang"
        )
    networks = [result for result in results if result.fields == "network"]
    save({f"levels_L{result.side}": draw_levels(result) for result in networks}, out)
    if json_file:
        machine = {"machine": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d")}
        settings = scale._asdict() | machine | {"command": "examples/inverse_decimation.py"}
        content = {"settings": settings, "records": records_of(networks), "results": list(map(details, results))}
        Path(json_file).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="hierarchical sampling of Ising spins")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/inverse_decimation", help="folder of figures and checkpoints")
    parser.add_argument("--sizes", type=int, nargs="*", default=(), help="sides, in order")
    parser.add_argument("--steps", type=int, default=0, help="training steps of each")
    parser.add_argument("--draws", type=int, default=0, help="draws the figures are from")
    parser.add_argument("--json", default="", help="file for the figures")
    given = parser.parse_args()
    main(given.smoke, given.out, given.sizes, given.steps, given.draws, given.json)
