"""Do stated errors hold? How often intervals of one and two sigma hold the exact value of processes that know it.

Every row is a process and an estimator, many times over with fresh numbers: the share of series that are called
converged, and among those the share of intervals that hold the exact value (68.3 % and 95.4 % expected) and the mean
squared deviation in units of the stated error (1 expected, a few per cent more as the error is itself uncertain). A row
counts where most of its series are called converged; elsewhere the estimator has said that it cannot know.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import lfilter

from jaxrg import exact, lattice, models, samplers, stats

BURN_IN = 3000  # steps of a process before its series starts
BATCH = 2**23  # numbers at a time
ONE, TWO = 0.6827, 0.9545  # of a Gaussian
LONGEST_STREAM = 20_000  # samples, for the estimators that take one after another


class Row(NamedTuple):
    """What a process and an estimator came to."""

    process: str
    estimator: str
    num_taus: float  # length of the series over the exact or mean tau_int
    called: float  # share called converged
    one_sigma: float  # among those
    two_sigma: float
    mean_square: float


class Process(NamedTuple):
    """Series with a known mean."""

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]  # [number, chains, samples]
    shape: tuple[int, int]
    mean: float
    square: float  # mean of the squares


def autoregression(*coefficients: float, chains: int, samples: int) -> Callable:
    """``x_t = a_1 x_(t-1) + a_2 x_(t-2) + noise``, of variance 1."""
    poles = [1.0, *(-a for a in coefficients)]
    impulse = np.asarray(lfilter([1.0], poles, np.eye(1, 20_000)[0]))

    def draw(rng: np.random.Generator, number: int) -> np.ndarray:
        noise = rng.standard_normal((number, chains, BURN_IN + samples), np.float32)
        return np.asarray(lfilter([1.0], poles, noise))[..., BURN_IN:] / np.sqrt(impulse @ impulse)

    return draw


def process(name: str, *parts: tuple, chains: int = 1, samples: int) -> Process:
    """A weighted sum of independent autoregressions, of variance 1; each part is (share of variance, a_1, a_2, ...)."""
    draws = [(share, autoregression(*coefficients, chains=chains, samples=samples)) for share, *coefficients in parts]

    def draw(rng: np.random.Generator, number: int) -> np.ndarray:
        return np.asarray(sum(np.sqrt(share) * one(rng, number) for share, one in draws), np.float32)

    return Process(f"{name}, {chains} x {samples}", draw, (chains, samples), 0.0, 1.0)


def swinging(radius: float, degrees: float) -> tuple[float, float, float]:
    """A part that oscillates: poles at this radius and angle."""
    return 1.0, 2 * radius * float(np.cos(np.deg2rad(degrees))), -(radius**2)


TWO_SCALES = ((0.9, 0.6), (0.1, 0.99))  # slow time 100
MILD_SCALES = ((0.7, 0.3), (0.3, 0.97))  # slow time 33


def processes(quick: bool) -> list[Process]:
    """All of them, or those that one look needs."""
    few = [
        process("AR(1) 0.8", (1.0, 0.8), samples=900),
        process("AR(1) -0.8", (1.0, -0.8), samples=4000),
        process("AR(2) 0.95, 120 degrees", swinging(0.95, 120), samples=8192),
        process("two scales", *TWO_SCALES, samples=20_000),
        process("AR(1) 0.9", (1.0, 0.9), chains=4, samples=2000),
    ]
    if quick:
        return few
    return [
        *few,
        process("independent", (1.0, 0.0), samples=200),
        process("independent", (1.0, 0.0), samples=10_000),
        process("AR(1) 0.8", (1.0, 0.8), samples=200),
        process("AR(1) 0.9", (1.0, 0.9), samples=8000),
        process("AR(1) 0.99", (1.0, 0.99), samples=40_000),
        process("AR(1) -0.3", (1.0, -0.3), samples=1000),
        process("AR(1) -0.9", (1.0, -0.9), samples=16_384),
        process("AR(2) 0.9, 45 degrees", swinging(0.9, 45), samples=8192),
        process("AR(2) 0.85, 90 degrees", swinging(0.85, 90), samples=1000),
        process("AR(2) 0.8, 120 degrees", swinging(0.8, 120), samples=16_384),
        process("two scales", *TWO_SCALES, samples=2000),
        process("two scales", *TWO_SCALES, samples=5000),
        process("two scales", *TWO_SCALES, samples=100_000),
        process("two scales", *TWO_SCALES, chains=8, samples=5000),
        process("two milder scales", *MILD_SCALES, samples=2000),
        process("two milder scales", *MILD_SCALES, samples=20_000),
        process("AR(1) 0.9", (1.0, 0.9), chains=16, samples=500),
        process("AR(1) 0.9", (1.0, 0.9), chains=64, samples=60),
        process("AR(1) -0.8", (1.0, -0.8), chains=64, samples=64),
    ]


def variance(mean: dict[str, jax.Array]) -> jax.Array:
    return mean["square"] - mean["x"] ** 2


def streamed(accumulator, values: Any) -> Any:
    """Every chain ``[chains, samples]`` through the accumulator."""

    def stream(chain):
        start = accumulator.init(jax.tree.map(lambda leaf: leaf[0], chain))
        return jax.lax.scan(lambda state, value: (accumulator.update(state, value), None), start, chain)[0]

    return jax.vmap(stream)(values)


def moments(x: jax.Array) -> dict[str, jax.Array]:
    return {"x": x, "square": x**2}


def of_mean(x: jax.Array) -> tuple:
    found = stats.summary(x)
    return found.mean, found.error, found.is_converged, found.tau_int


def of_variance(x: jax.Array) -> tuple:
    found = stats.gamma_method(variance, moments(x))
    return found.value, found.error, found.is_converged, found.tau_int


def of_jackknife(x: jax.Array) -> tuple:
    found = stats.jackknife(variance, moments(x))
    return found.bias_corrected, found.error, found.is_converged, jnp.nan


def of_blocks(x: jax.Array) -> tuple:
    found = stats.jackknife(variance, moments(x), 32 * x.shape[0])
    return found.bias_corrected, found.error, found.is_converged, jnp.nan


def of_binning(x: jax.Array) -> tuple:
    bins = stats.binning()
    found = bins.summary(stats.merge_chains(bins, streamed(bins, x)))
    return found.mean, found.error, found.is_converged, found.tau_int


def of_bin_means(x: jax.Array) -> tuple:
    found = stats.gamma_method(variance, stats.bin_means(streamed(stats.binning(), moments(x))))
    return found.value, found.error, found.is_converged, jnp.nan


def of_bootstrap(x: jax.Array) -> tuple:
    rows = x.reshape(-1)
    found = stats.bootstrap(jax.random.key(0), jnp.mean, rows, num_resamples=50, block_length=max(1, rows.size // 40))
    return found.value, found.error, found.is_converged, jnp.nan


# The estimators, and whether they estimate the mean or the variance.
ESTIMATORS = {
    "summary": (of_mean, "mean"),
    "gamma_method": (of_variance, "variance"),
    "jackknife": (of_jackknife, "variance"),
    "jackknife, 32 blocks": (of_blocks, "variance"),
    "binning": (of_binning, "mean"),
    "bin_means": (of_bin_means, "variance"),
    "bootstrap": (of_bootstrap, "mean"),
}


def judge(process: str, estimator: str, samples: int, exact_value: float, found: list[np.ndarray]) -> Row:
    """Coverage among what is called converged."""
    value, error, is_converged, tau_int = found
    with np.errstate(all="ignore"):
        deviations = ((value - exact_value) / error)[is_converged]
    one, two, square = np.nan, np.nan, np.nan
    if len(deviations):
        one, two = np.mean(np.abs(deviations) < 1), np.mean(np.abs(deviations) < 2)
        square = np.mean(deviations**2)
    called, num_taus = float(np.mean(is_converged)), float(samples / np.mean(tau_int))
    return Row(process, estimator, num_taus, called, float(one), float(two), float(square))


def coverage_of_processes(quick: bool, repeats: int, names: tuple[str, ...] = tuple(ESTIMATORS)) -> Iterator[Row]:
    """Every process through every estimator."""
    compiled = {name: jax.jit(jax.vmap(ESTIMATORS[name][0])) for name in names}
    everything = names
    for index, one in enumerate(processes(quick)):
        total = one.shape[0] * one.shape[1]
        names = tuple(name for name in everything if "bin" not in name or one.shape[1] <= LONGEST_STREAM)
        batch = max(1, min(repeats, BATCH // total))
        found: dict[str, list] = {name: [] for name in names}
        rng = np.random.default_rng(index)
        for _ in range(-(-repeats // batch)):
            series = jnp.asarray(one.draw(rng, batch))
            for name in names:
                found[name].append(jax.tree.map(np.asarray, compiled[name](series)))
        for name in names:
            known = one.mean if ESTIMATORS[name][1] == "mean" else one.square - one.mean**2
            yield judge(one.name, name, total, known, [np.concatenate(part) for part in zip(*found[name], strict=True)])


# Samplers of spins, and how many steps one of their chains takes between independent samples at worst.
SAMPLERS: dict[str, Callable] = {
    "heat_bath": samplers.heat_bath,
    "metropolis": samplers.metropolis,
    "random_scan_metropolis": samplers.random_scan_metropolis,
    "swendsen_wang": samplers.swendsen_wang,
    "wolff": samplers.wolff,
    "multispin_heat_bath": functools.partial(samplers.multispin_heat_bath, num_chains=32),
    "multispin_metropolis": functools.partial(samplers.multispin_metropolis, num_chains=32),
}
SIDE = 4
COUPLINGS = {"above Tc": 0.25, "at Tc": float(exact.critical_coupling), "below Tc": 0.55}
THERMODYNAMIC = ("energy", "specific_heat", "abs_magnetization", "susceptibility", "binder")


def exact_thermodynamics(coupling: float) -> dict[str, float]:
    """By enumeration of the 2^16 states."""
    states = np.arange(2 ** (SIDE * SIDE))
    spins = np.asarray(1 - 2 * ((states[:, None] >> np.arange(SIDE * SIDE)) & 1), np.int8).reshape(-1, SIDE, SIDE)
    energy = np.asarray(-sum((spins * np.roll(spins, 1, axis)).sum((1, 2)) for axis in (1, 2)), float)
    weights = np.exp(-coupling * (energy - energy.min()))
    weights /= weights.sum()
    e, m, n = energy / SIDE**2, spins.mean((1, 2), dtype=np.float64), SIDE**2
    m2, m4 = weights @ m**2, weights @ m**4
    return {
        "energy": weights @ e,
        "specific_heat": coupling**2 * n * (weights @ e**2 - (weights @ e) ** 2),
        "abs_magnetization": weights @ np.abs(m),
        "susceptibility": n * m2,
        "binder": 1 - m4 / (3 * m2**2),
    }


def coverage_of_samplers(quick: bool, repeats: int) -> Iterator[Row]:
    """Real chains of every sampler against enumeration, from traces and from bins."""
    chosen = ("heat_bath", "swendsen_wang") if quick else tuple(SAMPLERS)
    for name in chosen:
        for where, coupling in list(COUPLINGS.items())[1:2] if quick else COUPLINGS.items():
            yield from coverage_of_sampler(name, where, coupling, repeats)


@functools.partial(jax.jit, static_argnames=("name", "num_steps"))
def _observed(key: jax.Array, coupling: jax.Array, name: str, num_steps: int) -> tuple:
    """Thermodynamics of one run from its trace and from bins of its moments."""
    ising = models.Ising(lattice.hypercubic((SIDE, SIDE)), coupling)
    sampler = SAMPLERS[name](ising)
    start, warm_up, main = jax.random.split(key, 3)
    state = samplers.run(warm_up, sampler, sampler.init(start), num_steps // 10).state
    trace = samplers.run(main, sampler, state, num_steps, observe=ising.observables).trace
    options = {"coupling": coupling, "num_sites": SIDE * SIDE}
    from_trace = stats.thermodynamics(trace, **options)
    powers = stats.thermodynamic_moments(trace.energy, trace.magnetization, around=-1.2)
    from_bins = stats.thermodynamics(stats.bin_means(streamed(stats.binning(), powers)), around=-1.2, **options)
    return from_trace, from_bins


def coverage_of_sampler(name: str, where: str, coupling: float, repeats: int) -> Iterator[Row]:
    """One sampler at one coupling."""
    num_steps = 100 if name.startswith("multispin") else 40_000 if name == "random_scan_metropolis" else 3000
    keys = jax.random.split(jax.random.key(list(SAMPLERS).index(name) * 10 + list(COUPLINGS).index(where)), repeats)
    run = jax.jit(jax.vmap(functools.partial(_observed, name=name, num_steps=num_steps), in_axes=(0, None)))
    parts = [run(part, jnp.float32(coupling)) for part in np.array_split(keys, max(1, repeats // 500))]
    found = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *parts)
    known = exact_thermodynamics(coupling)
    samples = num_steps * (32 if name.startswith("multispin") else 1)
    for kind, result in zip(("", ", bins"), found, strict=True):
        for quantity in THERMODYNAMIC:
            one: stats.GammaEstimate = getattr(result, quantity)
            tau = one.tau_int if not kind else np.nan
            parts_of_one = [one.value, one.error, one.is_converged, tau]
            yield judge(f"{name} {where}", f"{quantity}{kind}", samples, known[quantity], parts_of_one)


def show(row: Row) -> None:
    print(
        f"{row.process:<42} {row.estimator:<26} {row.num_taus:>9.0f} {100 * row.called:>6.0f} "
        f"{100 * row.one_sigma:>6.1f} {100 * row.two_sigma:>6.1f} {row.mean_square:>6.2f}",
        flush=True,
    )


def worst(shares: list[float], expected: float) -> float:
    return max(shares, key=lambda share: abs(share - expected), default=np.nan)


def show_summary(rows: list[Row]) -> None:
    """By estimator: rows, those mostly called converged, and the mean and worst coverage of these."""
    print(f"\n{'estimator':<22} {'rows':>5} {'called':>6} {'1 sig':>6} {'worst':>6} {'2 sig':>6} {'worst':>6}")
    kinds = {row: row.estimator if row.estimator in ESTIMATORS else "thermodynamics" for row in rows}
    kinds |= {row: "thermodynamics, bins" for row in rows if row.estimator.endswith(", bins")}
    for kind in dict.fromkeys(kinds.values()):
        of_kind = [row for row in rows if kinds[row] == kind]
        called = [row for row in of_kind if row.called > 0.5]
        ones, twos = [row.one_sigma for row in called], [row.two_sigma for row in called]
        if called:
            shares = (np.mean(ones), worst(ones, ONE), np.mean(twos), worst(twos, TWO))
            print(f"{kind:<22} {len(of_kind):>5} {len(called):>6} " + " ".join(f"{100 * s:>6.1f}" for s in shares))
    print()


def run(*, quick: bool) -> list[dict]:
    """Print the table; the worst coverages as records."""
    repeats = 100 if quick else 1000
    print(f"{'process':<42} {'estimator':<26} {'N / tau':>9} {'called':>6} {'1 sig':>6} {'2 sig':>6} {'<z^2>':>6}")
    rows = []
    for row in coverage_of_processes(quick, repeats):
        show(row)
        rows.append(row)
    for row in coverage_of_samplers(quick, repeats):
        show(row)
        rows.append(row)
    show_summary(rows)
    called = [row for row in rows if row.called > 0.5]
    long = [row for row in rows if row.num_taus > 200]
    worst_one, worst_two = worst([row.one_sigma for row in called], ONE), worst([row.two_sigma for row in called], TWO)

    def record(name: str, value: float, unit: str = "%") -> dict:
        return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}

    return [
        record("coverage_one_sigma_worst", 100 * worst_one),
        record("coverage_two_sigma_worst", 100 * worst_two),
        record("coverage_one_sigma_mean", 100 * float(np.mean([row.one_sigma for row in called]))),
        record("coverage_two_sigma_mean", 100 * float(np.mean([row.two_sigma for row in called]))),
        record("rows_called_converged", len(called), f"of {len(rows)}"),
        record("rows_beyond_200_tau_called", 100 * float(np.mean([row.called > 0.5 for row in long]))),
    ]
