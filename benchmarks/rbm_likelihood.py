"""How often stated intervals of ln Z cover the exact value, and what their estimators cost, on small machines.

Half of the machines are trained by persistent chains on the Ising model near its critical point, half are random with
strong weights and many phases. The smaller layer has at most 20 units, so ln Z is exact, in float64; every estimate is
in float32. Beside the two-sided estimators stand two that look from one end only, on the same particles and chains:
the mean of the log-weights of annealing, and products of one-sided averages along the ladder.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import exact, lattice, models, rbm, samplers, stats, training
from jaxrg.rbm import likelihood, tempering

SHAPES = (((4, 4), 20), ((6, 6), 12), ((8, 8), 16))  # lattice of the visible units, hidden units
COUPLINGS = (0.95, 1.0, 1.05)  # over the critical one
STRENGTHS = (1.5, 2.0, 2.5, 3.0, 3.5)  # of random weights, over what the first order appears at
NUM_EPOCHS, BATCH_SIZE = 30, 50
NUM_SAMPLES = 1500  # of the data
ACCEPTANCES = (0.3, 0.1)  # least mean probability of a swap of neighbours on the ladders

Record = dict[str, Any]


class Found(NamedTuple):
    """Estimates of one machine: deviations from the exact ln Z and whether the stated 95 % cover it.

    A machine that training has frozen into one state has no error but the rounding of ln Z in float32.
    """

    deviation: float
    error: float
    is_covered: bool
    is_converged: bool


def random_machine(seed: int, shape: tuple[int, ...], num_hidden: int) -> rbm.RBM:
    """Normal weights, strong beside the scale 1 / (N M)^(1/4) at which phases appear, and biases of 0.3."""
    generator, num_visible = np.random.default_rng(seed), int(np.prod(shape))
    scale = STRENGTHS[seed % len(STRENGTHS)] / (num_visible * num_hidden) ** 0.25
    sizes = (num_visible, num_hidden), (num_visible,), (num_hidden,)
    arrays = [factor * generator.normal(size=size) for factor, size in zip((scale, 0.3, 0.3), sizes, strict=True)]
    return rbm.RBM(*(jnp.asarray(array, jnp.float32) for array in arrays))


_persistent = rbm.persistent_contrastive_divergence_gradient()
_descent = optax.sgd(0.05)


def trained_machine(seed: int, shape: tuple[int, ...], num_hidden: int) -> rbm.RBM:
    """Trained by persistent chains on configurations of Wolff's algorithm near the critical point."""
    coupling = jnp.float32(exact.critical_coupling * COUPLINGS[seed % len(COUPLINGS)])
    sampler = samplers.thin(samplers.wolff(models.Ising(lattice.hypercubic(shape), coupling)), 5)
    keys = jax.random.split(jax.random.key(seed), 5)
    start = samplers.run(keys[0], sampler, sampler.init(keys[1]), 50).state
    spins = samplers.run(keys[0], sampler, start, NUM_SAMPLES, observe=lambda spins: spins).trace
    machine = rbm.init(keys[2], int(np.prod(shape)), num_hidden, scale=0.05)
    chains = rbm.persistent_chains(keys[3], machine, 50)
    data = spins.reshape(NUM_SAMPLES, -1)
    run = training.fit(
        keys[4], _persistent, _descent, machine, data, aux=chains, num_epochs=NUM_EPOCHS, batch_size=BATCH_SIZE
    )
    return run.params


def exact_log_partition(machine: rbm.RBM) -> float:
    with jax.enable_x64(True):
        return float(rbm.log_partition(jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), machine)))


def machines(count: int, shapes: Sequence[tuple[tuple[int, ...], int]] = SHAPES) -> Iterator[rbm.RBM]:
    """Random and trained ones in turn, of all shapes."""
    for number in range(count):
        make = trained_machine if number % 2 else random_machine
        yield make(number, *shapes[(number // 2) % len(shapes)])


def _found(estimate: stats.GammaEstimate, truth: float) -> Found:
    low, high = (float(end) for end in likelihood.interval(estimate))
    rounding = _rounding(truth)
    is_covered = low - rounding <= truth <= high + rounding
    error = math.hypot(float(estimate.error), rounding)
    return Found(float(estimate.value) - truth, error, is_covered, bool(estimate.is_converged))


def _rounding(truth: float) -> float:
    return float(np.spacing(np.float32(abs(truth))))


def _log_of_products(means: Array) -> Array:
    return jnp.sum(jnp.log(means))


def one_sided(found: likelihood.TemperedLogPartition, truth: float, *, is_down: bool) -> Found:
    """ln Z from averages over one machine of every pair, the same chains: those of the lower one, or of the upper."""
    known = found.log_partition.value + found.free_energies.total.value
    work, sign = (found.reverse_work, -1.0) if is_down else (found.work, 1.0)
    offsets = jnp.max(-work, axis=(0, 1))
    averages = stats.gamma_method(_log_of_products, jnp.exp(-work - offsets[None, None]))
    return _found(averages._replace(value=known + sign * (averages.value + jnp.sum(offsets))), truth)


class Costs:
    """Block Gibbs steps of a whole machine, and seconds."""

    def __init__(self) -> None:
        self.steps, self.seconds = {}, {}

    def timed(self, name: str, work: Callable[[], Any], steps: Callable[[Any], int]) -> Any:
        start = time.perf_counter()
        found = jax.block_until_ready(work())
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        self.steps.setdefault(name, []).append(steps(found))
        return found


def estimates_of(machine: rbm.RBM, key: Array, costs: Costs) -> dict[str, Found]:
    """Every estimator on one machine."""
    truth, keys = exact_log_partition(machine), jax.random.split(key, 4)
    many = tempering.tempered(machine, tempering.independent_units(machine), jnp.linspace(0, 1, 128))
    rows, visible = {}, []
    for acceptance in ACCEPTANCES:
        ladder = tempering.choose_machines(keys[0], many, target_acceptance=acceptance).machines
        num_steps = 12_000 // ladder.weights.shape[0]  # the same cost on every ladder

        def temper(ladder=ladder, num_steps=num_steps):
            return likelihood.tempered_log_partition(keys[1], ladder, num_steps=num_steps)

        found = costs.timed("tempered", temper, lambda found: 8 * 200 * len(found.work[0, 0]) + found.work.size)
        rows[f"tempered {acceptance}"] = _found(found.log_partition, truth)
        for way, is_down in (("up", False), ("down", True)):
            rows[f"{way} {acceptance}"] = one_sided(found, truth, is_down=is_down)
        visible.append(found.visible)
    samples = visible[0][:, 15::16]
    both = costs.timed(
        "annealed",
        lambda: likelihood.bracket(keys[2], machine, samples=samples),
        lambda both: int(both.forward.num_stages) * (both.forward.log_weights.size + both.reverse.log_weights.size),
    )
    rows["annealed both ways"] = _found(both.log_partition, truth)
    forward = costs.timed(
        "annealed forward",
        lambda: likelihood.annealed_importance(
            keys[3], machine, num_particles=2000, inverse_temperatures=both.forward.inverse_temperatures
        ),
        lambda forward: int(forward.num_stages) * forward.log_weights.size,
    )
    rows["annealed forward"] = _found(forward.log_partition, truth)
    rows["mean of log-weights"] = _found(both.lower, truth)
    low, high = likelihood.interval(both.lower)[0], likelihood.interval(both.upper)[1]
    middle, half = float(low + high) / 2 - truth, float(high - low) / 2 + _rounding(truth)
    rows["bracket"] = Found(middle, half, abs(middle) <= half, bool(both.is_converged))
    return rows


def measure(count: int, shapes: Sequence[tuple[tuple[int, ...], int]] = SHAPES) -> tuple[dict[str, list[Found]], Costs]:
    """All estimates of so many machines."""
    table: dict[str, list[Found]] = {}
    costs = Costs()
    for number, machine in enumerate(machines(count, shapes)):
        for name, found in estimates_of(machine, jax.random.key(1000 + number), costs).items():
            table.setdefault(name, []).append(found)
    return table, costs


def coverage(rows: list[Found]) -> float:
    return float(np.mean([row.is_covered for row in rows]))


def root_mean_square(rows: list[Found], scales: list[Found]) -> float:
    """Of the deviations, in units of the errors another estimator states for the same machines."""
    return float(
        np.sqrt(np.mean([(row.deviation / scale.error) ** 2 for row, scale in zip(rows, scales, strict=True)]))
    )


def _record(name: str, value: float, unit: str, peer: str | None, peer_value: float | None, ratio) -> Record:
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def likelihood_records(quick: bool) -> list[Record]:
    """Coverage against the stated 0.95, errors against those of one-sided averages, and costs."""
    count = 2 if quick else 50
    table, costs = measure(count)
    covers = {
        "ais_coverage": "annealed both ways",
        "ais_bracket_holds": "bracket",
        "tempered_bar_coverage": "tempered 0.3",
        "tempered_bar_coverage_few_rungs": "tempered 0.1",
        "ais_one_direction_coverage": "annealed forward",
        "mean_log_weight_coverage": "mean of log-weights",
        "one_sided_up_coverage": "up 0.3",
        "one_sided_down_coverage": "down 0.3",
        "one_sided_up_coverage_few_rungs": "up 0.1",
        "one_sided_down_coverage_few_rungs": "down 0.1",
    }
    records = []
    for name, row in covers.items():
        value = coverage(table[row])
        records.append(_record(name, value, f"of {count} machines", "stated", 0.95, value / 0.95))
    for acceptance in ACCEPTANCES:
        scale = table[f"tempered {acceptance}"]
        value = root_mean_square(scale, scale)
        for way in ("up", "down"):
            peer = root_mean_square(table[f"{way} {acceptance}"], scale)
            name = f"tempered_bar_error_vs_{way}_{acceptance}"
            records.append(_record(name, value, "stated errors", f"one-sided {way}", peer, peer / value))
    scale = table["tempered 0.3"]
    value = root_mean_square(scale, scale)
    for name, row in (("mean_log", "mean of log-weights"), ("ais", "annealed forward")):
        peer = root_mean_square(table[row], scale)
        records.append(_record(f"tempered_bar_error_vs_{name}", value, "stated errors", row, peer, peer / value))
    value, peer = (
        float(np.median([row.error for row in table[name]])) for name in ("tempered 0.3", "annealed forward")
    )
    records.append(_record("tempered_bar_stated_error_vs_ais", value, "nats", "annealed forward", peer, peer / value))
    unconverged = sum(not row.is_converged for row in table["tempered 0.3"])
    records.append(_record("tempered_bar_unconverged", unconverged, f"of {count} machines", None, None, None))
    for name in costs.steps:
        records.append(
            _record(
                f"{name.replace(' ', '_')}_gibbs_steps", float(np.mean(costs.steps[name])), "steps", None, None, None
            )
        )
        seconds = float(np.median(costs.seconds[name]))
        records.append(_record(f"{name.replace(' ', '_')}_seconds", seconds, "s, some compile", None, None, None))
    return records


def run(*, quick: bool) -> list[Record]:
    """The records of this file alone."""
    return likelihood_records(quick)
