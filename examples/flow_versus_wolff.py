# %% [markdown]
# # What a trained sampler costs beside cluster Monte Carlo, HMC and tempered SMC
# A sampler that learns pays before it draws. Here its training, on data that it makes for itself, stands on the clock,
# beside the chains that need none: at the critical point of the Ising model, as spins and as the continuous fields of
# its dual. The price of an independent configuration is one number for all methods: seconds times the squared error
# that they bought, over the variance of the observable. From it follow the seconds to a wanted error, and how many
# independent configurations it takes until a trained sampler with its training is the cheaper one: a break-even, or
# never. Compilation is on a clock of its own, since it is the same whatever the error.
#
# `python examples/flow_versus_wolff.py --sizes 32 --steps 6000` trains on a larger lattice for longer.

# %%
import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, flows, lattice, models, samplers, stats, training
from jaxrg.base import Density, Sampler
from jaxrg.flows import spins

sys.path.insert(0, str(Path(__file__).parent))
from _prices import Bought, figure_of, report
from _study import averaged_adam, save, write_results

NUM_EPOCHS = 5
NUM_TIMINGS = 3  # whose median counts


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, ...]
    num_steps: int  # of training
    batch_size: int  # of fields
    num_fields: int  # training set of fields
    num_sites: int  # of the spin sampler, for every pass of a step
    num_features: int  # of the networks of fields
    num_draws: int
    num_chains: int
    num_sweeps: int  # of chains, each of the timed runs
    num_particles: int
    num_repeats: int  # of tempered SMC


FULL = Scale((8, 16), 1_000, 256, 32_768, 1_024, 24, 16_384, 32, 400, 256, 16)
SMOKE = Scale((4,), 10, 32, 64, 32, 2, 256, 4, 40, 16, 4)


# %% [markdown]
# ## Both forms of the model, and what it costs to see them


# %%
class Target(NamedTuple):
    """Spins at the critical point, and the fields of their dual."""

    ising: models.Ising
    dual: models.IsingDual
    log_partition: dict[str, float]  # exact, by form


def target_of(side: int) -> Target:
    square, coupling = lattice.hypercubic((side, side)), exact.critical_coupling
    with jax.enable_x64(True):
        precise = models.IsingDual(square, jnp.float64(coupling), jnp.float64(0.1))
        of_spins = exact.torus_log_partition(jnp.float64(coupling), (side, side))
        known = {"spins": float(of_spins), "fields": float(of_spins + precise.log_offset())}
    return Target(models.Ising(square, coupling), models.IsingDual(square, coupling), known)


def timed(fn: Callable[[jax.Array], Any]) -> tuple[Any, float, float]:
    """What a function of a key returns, the median of its seconds, and those of compilation."""
    seconds = []
    for number in range(NUM_TIMINGS + 1):
        start = time.perf_counter()
        found = jax.block_until_ready(fn(jax.random.fold_in(jax.random.key(10), number)))
        seconds.append(time.perf_counter() - start)
    median = float(np.median(seconds[1:]))
    return found, median, max(seconds[0] - median, 0.0)


def seen(observe: Callable) -> Callable:
    """``[2]`` energy and absolute magnetisation of one configuration, each a site."""
    return jax.tree_util.Partial(_seen, jax.tree_util.Partial(observe))


def _seen(observe: Callable, configuration: jax.Array) -> jax.Array:
    values = observe(configuration)
    return jnp.stack([values.energy, jnp.abs(values.magnetization)])


def observables_of(model: Any) -> Callable:
    return seen(jax.tree_util.Partial(_observables, model))


def _observables(model: Any, configuration: jax.Array) -> Any:
    return model.observables(configuration)


# %% [markdown]
# ## Chains


# %%
def chain(form: str, name: str, scale: Scale, sampler: Sampler, observe: Callable, note: str = "") -> Bought:
    """Chains side by side: the price of a step times 2 tau, and an equilibration of a tenth of a timed run."""
    chains = samplers.replicas(sampler, scale.num_chains)
    burn = max(10, scale.num_sweeps // 10)
    start = chains.init(jax.random.key(0))
    ends = [time.perf_counter()]
    for _ in range(2):  # the first compiles
        state = jax.block_until_ready(samplers.run(jax.random.key(1), chains, start, burn, observe=observe).state)
        ends.append(time.perf_counter())
    first, setup = np.diff(ends)
    compilation = float(max(first - setup, 0.0))
    run, seconds, _ = timed(lambda key: samplers.run(key, chains, state, scale.num_sweeps, observe=observe))
    found = stats.summary(run.trace)
    variance = np.var(np.asarray(run.trace, np.float64), axis=(0, 1))
    taus = ", ".join(f"{float(tau):.1f}" for tau in found.tau_int)
    return Bought(
        form, name, float(setup), compilation, seconds, np.asarray(found.mean), np.asarray(found.error), variance, None,
        f"tau {taus}{note}",
    )  # fmt: skip


def fields_by_clusters(target: Target) -> Sampler:
    """Fields and spins in turn: spins given the field, a sweep of Swendsen-Wang, the field given the spins."""

    def start(dual: models.IsingDual, key: jax.Array, field: Any = None) -> samplers.FieldState:
        drawn = dual.field_given_spins(key, jnp.ones(dual.shape, jnp.int8)) if field is None else field
        return samplers.FieldState(drawn, jnp.zeros((), jnp.uint32))

    def step(target: tuple, key: jax.Array, state: samplers.FieldState) -> tuple:
        (ising, dual), keys = target, jax.random.split(key, 3)
        before = samplers.SpinState(dual.spins_given_field(keys[0], state.field), state.step)
        after, info = samplers.swendsen_wang(ising).step(keys[1], before)
        own = jax.tree.map(lambda leaf: leaf[0], info)
        return state._replace(field=dual.field_given_spins(keys[2], after.spins)), own

    both = (target.ising, target.dual)
    return samplers.from_kernel(
        functools.partial(start, target.dual), jax.tree_util.Partial(step, both), lambda fn, state: fn(state.field)
    )


def hamiltonian(scale: Scale, target: Target) -> Bought:
    """HMC of the fields, ten leapfrog steps a trajectory, at the step size that a warm-up finds."""
    dual, key = target.dual, jax.random.key(12)

    def make(step_size: jax.Array) -> Sampler:
        return samplers.replicas(samplers.hmc(dual, step_size, 10), scale.num_chains)

    tuned = samplers.tune_step_size(key, make, make(jnp.float32(0.1)).init(key), 0.1, max(20, scale.num_sweeps // 4))
    note = f", step {float(tuned.step_size):.2f}"
    return chain("fields", "HMC", scale, samplers.hmc(dual, tuned.step_size, 10), observables_of(dual), note)


def tempered(scale: Scale, target: Target) -> Bought:
    """Tempered SMC of the fields from independent normal numbers; its populations weigh as their Z."""
    dual, repeats = target.dual, scale.num_repeats

    def populations(key: jax.Array) -> Any:
        return samplers.ensembles.tempered_smc(key, dual, scale.num_particles, num_repeats=repeats)

    found, seconds, compilation = timed(populations)
    values = np.asarray(jax.jit(jax.vmap(jax.vmap(observables_of(dual))))(found.configurations), np.float64)
    logs, means = np.asarray(found.log_partitions, np.float64), values.mean(axis=1)
    shares = np.exp(logs - np.logaddexp.reduce(logs))[:, None]
    mean = (shares * means).sum(axis=0)
    error = np.sqrt((shares**2 * (means - mean) ** 2).sum(axis=0) * repeats / (repeats - 1))
    is_converged = bool(logs.std(ddof=1) < 0.5)  # else the populations are too small for their scatter to be an error
    return Bought(
        "fields", "tempered SMC", 0.0, compilation, seconds, mean, error, values.var(axis=(0, 1)),
        (float(found.log_partition), float(found.error)), f"{int(found.num_stages)} stages", is_converged,
    )  # fmt: skip


# %% [markdown]
# ## Samplers that learn


# %%
class Clock:
    """Seconds of the epochs of a training; the first one compiles, and counts as long as the median of the others."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def __call__(self, run: training.Fit) -> None:
        self.ends.append(time.perf_counter())

    def split(self) -> tuple[float, float]:
        """Seconds of training, and of compilation."""
        epochs = np.diff(self.ends)
        usual = float(np.median(epochs[1:])) if len(epochs) > 1 else float(epochs[0])
        return float(usual + epochs[1:].sum()), float(max(epochs[0] - usual, 0.0))


def weighted(
    form: str, name: str, scale: Scale, density: Density | Any, params: Any, action: Callable, observe: Callable,
    setup: float, compilation: float,
) -> Bought:  # fmt: skip
    """Draws of a density with weights, by which all answers are exact."""
    draw = functools.partial(
        samplers.weighted_draws, density=density, params=params, action=action, num_samples=scale.num_draws,
        batch_size=min(2048, scale.num_draws), observe=observe,
    )  # fmt: skip
    draws, seconds, more = timed(draw)
    means = stats.reweighted(draws.log_weights, draws.values)
    squares = stats.reweighted(draws.log_weights, (draws.values - means.mean[None]) ** 2)
    found = stats.importance(draws.log_weights)
    flag = "" if bool(found.is_converged) else ", tail too heavy"
    return Bought(
        form, name, setup, compilation + more, seconds,
        np.asarray(means.mean), np.asarray(means.error), np.asarray(squares.mean),
        (float(found.log_partition), float(found.error)), f"ESS {float(found.ess):.3f}{flag}", bool(found.is_converged),
    )  # fmt: skip


def learned_spins(scale: Scale, target: Target) -> Bought:
    """Decimation of spins run backwards, fitted to chains of Swendsen-Wang that run beside."""
    density, clock = spins.inverse_decimation(target.ising), Clock()
    steps = max(1, scale.num_steps // NUM_EPOCHS)
    run = training.fit(
        jax.random.key(2),
        spins.maximum_likelihood(density, num_sites=scale.num_sites),
        averaged_adam(steps * NUM_EPOCHS, 1e-2, warmup=min(50, steps)),
        density.init(jax.random.key(1)),
        aux=spins.start_chains(jax.random.key(3), density, 8 * scale.num_chains),
        num_epochs=NUM_EPOCHS,
        steps_per_epoch=steps,
        on_epoch=clock,
    )
    params = training.averaged_params(run.optimizer_state)
    observe = observables_of(target.ising)
    return weighted(
        "spins", "decimation", scale, density, params, target.ising.hamiltonian, observe, *clock.split()
    )  # fmt: skip


def learned_fields(scale: Scale, target: Target) -> Bought:
    """Decimation of fields run backwards, fitted to fields drawn anew at each step from spins of Swendsen-Wang."""
    side, dual = target.dual.shape[0], target.dual
    chains = samplers.replicas(samplers.thin(samplers.swendsen_wang(target.ising), 2), scale.num_chains)
    start, length = chains.init(jax.random.key(4)), max(2, scale.num_fields // scale.num_chains)

    def data(key: jax.Array) -> jax.Array:
        return samplers.run(key, chains, start, length, observe=lambda configuration: configuration).trace

    trace, seconds, compiling = timed(data)
    density = flows.decimation_density((side, side), scale=4.0, num_features=scale.num_features)
    likelihood, clock = flows.forward_kl(density), Clock()

    def gradient(key: jax.Array, params: Any, aux: Any, batch: jax.Array) -> Any:
        field_key, move_key = jax.random.split(key)
        fields = jax.vmap(dual.field_given_spins)(jax.random.split(field_key, len(batch)), batch)
        return likelihood(key, params, aux, lattice.random_symmetry(move_key, lattice.hypercubic(dual.shape), fields))

    steps_per_epoch = len(trace.reshape(-1, side, side)) // scale.batch_size
    epochs = max(2, scale.num_steps // steps_per_epoch)
    run = training.fit(
        jax.random.key(5),
        gradient,
        averaged_adam(steps_per_epoch * epochs, 5e-3, warmup=min(50, steps_per_epoch)),
        density.init(jax.random.key(6)),
        trace.reshape(-1, side, side),
        num_epochs=epochs,
        batch_size=scale.batch_size,
        on_epoch=clock,
    )
    params = training.averaged_params(run.optimizer_state)
    learning, compilation = clock.split()
    return weighted(
        "fields", "decimation", scale, density, params, dual.action, observables_of(dual),
        learning + seconds, compilation + compiling,
    )  # fmt: skip


# %%
def all_methods(scale: Scale, target: Target) -> Iterator[Bought]:
    of_spins, of_fields = observables_of(target.ising), observables_of(target.dual)
    yield learned_spins(scale, target)
    yield chain("spins", "Swendsen-Wang", scale, samplers.swendsen_wang(target.ising), of_spins)
    yield chain("spins", "Wolff", scale, samplers.wolff(target.ising), of_spins)
    yield learned_fields(scale, target)
    yield chain("fields", "clusters", scale, fields_by_clusters(target), of_fields)
    yield hamiltonian(scale, target)
    yield tempered(scale, target)


def main(
    smoke: bool = False,
    out: str = "out/flow_versus_wolff",
    sizes: Sequence[int] = (),
    steps: int = 0,
    json_file: str = "",
) -> None:
    scale = SMOKE if smoke else FULL
    scale = scale._replace(sizes=tuple(sizes) or scale.sizes, num_steps=steps or scale.num_steps)
    results: dict[int, list[Bought]] = {}
    for side in scale.sizes:
        target = target_of(side)
        results[side], begin = [], time.perf_counter()
        for one in all_methods(scale, target):
            results[side].append(one)
            print(f"    {one.form}, {one.name}: {time.perf_counter() - begin:.0f} s so far", flush=True)
        report(side, target.log_partition, results[side])
    save({"error_against_seconds": figure_of(results)}, out)
    lines = [
        {"side": side}
        | {name: np.asarray(value).tolist() for name, value in one._asdict().items() if value is not None}
        | {"seconds_an_independent": one.price.tolist()}
        for side, bought in results.items()
        for one in bought
    ]
    write_results(json_file, "examples/flow_versus_wolff.py", scale, {"results": lines})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prices of trained samplers beside clusters, HMC and SMC.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/flow_versus_wolff", help="folder of the figure")
    parser.add_argument("--sizes", type=int, nargs="*", default=(), help="sides of the lattices")
    parser.add_argument("--steps", type=int, default=0, help="of training")
    parser.add_argument("--json", default="", dest="json_file", help="file for the figures")
    main(**vars(parser.parse_args()))
