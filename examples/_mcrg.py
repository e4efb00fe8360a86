"""Runs of the Monte Carlo renormalisation study: operators, blocks, and what each part measures."""

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.rg import monte_carlo

# Wu and Car's, in the order of their supplement: seven pairs, six of four spins; the field and four of three spins.
EVEN = {
    "1,0": [(0, 0), (1, 0)],
    "1,1": [(0, 0), (1, 1)],
    "2,0": [(0, 0), (2, 0)],
    "2,1": [(0, 0), (2, 1)],
    "2,2": [(0, 0), (2, 2)],
    "3,0": [(0, 0), (3, 0)],
    "3,1": [(0, 0), (3, 1)],
    "square": [(0, 0), (1, 0), (0, 1), (1, 1)],
    "diamond": [(0, 0), (1, 1), (2, 0), (1, -1)],
    "T": [(0, 0), (-1, 0), (1, 0), (0, 1)],
    "L": [(0, 0), (-1, 0), (1, 0), (-1, 1)],
    "Z": [(0, 0), (0, 1), (1, 0), (-1, 1)],
    "Y": [(0, 0), (0, 1), (1, 0), (-1, -1)],
}
ODD = {
    "field": [(0, 0)],
    "corner": [(0, 0), (0, -1), (-1, 0)],
    "line": [(0, 0), (-1, 0), (1, 0)],
    "bent": [(0, 0), (1, -1), (-1, 0)],
    "wide": [(0, 0), (1, -1), (-1, -1)],
}


def basis(side: int, even: dict, odd: dict) -> lattice.Operators:
    """Both sectors, even ones first."""
    ndim = len(next(iter(even.values()))[0])
    return lattice.operators(lattice.hypercubic((side,) * ndim), even | odd)


def first(sets: dict, count: int) -> dict:
    """The first operators of a sector."""
    return dict(list(sets.items())[:count])


def majority(block: int, ndim: int, key: Any, spins: Any) -> Any:
    return rg.majority(key if block % 2 == 0 else None, spins, (block,) * ndim)


@functools.cache
def majority_ladder(operators: lattice.Operators, block: int, num_levels: int) -> monte_carlo.Ladder:
    """One object, so that other couplings compile nothing."""
    return monte_carlo.ladder(operators, functools.partial(majority, block, operators.lattice.ndim), num_levels)


class Sector(NamedTuple):
    """The leading eigenvalue of one sector, with its error, and the exponent that it stands for."""

    value: float
    error: float
    exponent: float
    exponent_error: float
    condition: float
    num_complex: int  # eigenvalues with an imaginary part


def sector(moments: monte_carlo.Moments, rescaling: int, which: Any, is_odd: bool, level: int = 1) -> Sector:
    found = monte_carlo.linearise(moments, rescaling, level=level, which=which, is_odd=is_odd)
    values = found.scaling.eigenvalues
    return Sector(
        float(values[0].real),
        float(found.eigenvalue_errors[0]),
        float(found.scaling.exponents[0].real),
        float(found.exponent_errors[0]),
        found.jacobian.condition_number,
        int(np.sum(np.abs(values.imag) > 1e-6 * np.abs(values))),
    )


def sectors(moments: monte_carlo.Moments, rescaling: int, num_even: int, level: int = 1) -> dict[str, Sector]:
    """Both, of operators of which the first ones are even."""
    which = np.arange(moments.means.shape[2])
    even = sector(moments, rescaling, which[:num_even], False, level)
    return {"even": even, "odd": sector(moments, rescaling, which[num_even:], True, level)}


class TableScale(NamedTuple):
    """Size of the study of Wu and Car's table."""

    side: int = 45
    num_operators: tuple[int, int] = (13, 5)  # even and odd
    num_chains: int = 128
    num_iterations: int = 200
    num_couplings: int = 8_192  # sweeps under the frozen bias of the first step, for its couplings
    num_unbiased: int = 196_608
    num_biased: int = 16_384
    num_slopes: int = 8_192
    num_bins: int = 64


COUPLING, BLOCK = 0.436, 3


def wu_car(scale: TableScale) -> dict[str, Any]:
    """Couplings after one step from K = 0.436, and the eigenvalues of the step that follows, unbiased and biased."""
    started = time.time()
    shape = (scale.side, scale.side)
    num_even, num_odd = scale.num_operators
    chosen = first(EVEN, num_even)
    operators = basis(scale.side, chosen, first(ODD, num_odd))
    even = lattice.operators(lattice.hypercubic(shape), chosen)
    nearest = models.OperatorModel(
        lattice.operators(lattice.hypercubic(shape), {"1,0": EVEN["1,0"]}), jnp.array([COUPLING])
    )
    options = {"which": np.arange(num_even), "num_chains": scale.num_chains, "num_bins": scale.num_bins}
    options |= {"num_iterations": scale.num_iterations, "progress": report("variational")}
    one = monte_carlo.renormalise(jax.random.key(1), nearest, operators, num_steps=scale.num_couplings, **options)
    couplings = jnp.asarray(one.couplings, jnp.float32)
    model = models.OperatorModel(even, couplings)

    moments, state = unbiased(2, model, operators, scale, scale.num_unbiased)
    free = sectors(moments, BLOCK, num_even)
    seconds = time.time() - started
    second = monte_carlo.renormalise(jax.random.key(3), model, operators, num_steps=scale.num_biased, **options)
    held = sectors(second.moments, BLOCK, num_even)

    # How much of the eigenvalues' uncertainty is that of the couplings they are taken at: along the relevant direction.
    relevant = monte_carlo.linearise(moments, BLOCK, which=np.arange(num_even)).scaling
    direction, field = np.asarray(relevant.operators[0].real), np.asarray(relevant.fields[0].real)
    covariance = coupling_covariance(one.moments, num_even)
    spread = float(np.sqrt(field @ covariance @ field))
    step = 0.004
    moved = []
    for sign in (1, -1):
        beside = shifted(model, sign * step * direction)
        moved.append(sectors(unbiased(4, beside, operators, scale, scale.num_slopes, state)[0], BLOCK, num_even))
    slopes = {name: (moved[0][name].value - moved[1][name].value) / (2 * step) for name in free}
    control = sectors(unbiased(5, nearest, operators, scale, scale.num_slopes, state)[0], BLOCK, num_even)
    return {
        "couplings": dict(zip(chosen, one.couplings.tolist(), strict=True)),
        "coupling_errors": dict(zip(chosen, one.errors.tolist(), strict=True)),
        "next_couplings": dict(zip(chosen, second.couplings.tolist(), strict=True)),
        "next_coupling_errors": dict(zip(chosen, second.errors.tolist(), strict=True)),
        "unbiased": {name: found._asdict() for name, found in free.items()},
        "biased": {name: found._asdict() for name, found in held.items()},
        "relevant_spread": spread,
        "errors_from_couplings": {name: abs(slope) * spread for name, slope in slopes.items()},
        "slopes": slopes,
        "nearest_neighbour_only": {name: found._asdict() for name, found in control.items()},
        "trajectory": one.trajectory.tolist(),
        "seconds_to_unbiased": seconds,
        "seconds": time.time() - started,
    }


def shifted(model: models.OperatorModel, change: np.ndarray) -> models.OperatorModel:
    return models.OperatorModel(model.operators, jnp.asarray(model.couplings) + jnp.asarray(change, jnp.float32))


def coupling_covariance(moments: monte_carlo.Moments, num_even: int) -> np.ndarray:
    """Of the couplings that a run under a frozen bias gives, from their jackknife."""
    chosen = np.arange(num_even)
    weights = moments.counts / moments.counts.sum()
    means = moments.means[:, 1][:, chosen]
    deviations = means - weights @ means
    second = np.tensordot(weights, moments.covariances[:, 1][:, :, 1][:, :num_even, :num_even], 1)
    scatter = (deviations.T * weights) @ deviations / (len(weights) - 1)
    inverse = np.linalg.inv(second)
    return inverse @ scatter @ inverse


def unbiased(
    seed: int,
    model: models.OperatorModel,
    operators: lattice.Operators,
    scale: TableScale,
    num_steps: int,
    state: monte_carlo.BiasedState | None = None,
) -> tuple[monte_carlo.Moments, monte_carlo.BiasedState]:
    """Moments of a model of any operators and of its blocks, from a state of a model beside it or from chance."""
    sampler = monte_carlo.biased_heat_bath(model, num_chains=scale.num_chains)
    steps = majority_ladder(operators, BLOCK, 2)
    warmup = min(2 * scale.side**2, num_steps)
    start = sampler.init(jax.random.key(seed)) if state is None else state
    key, watch = jax.random.key(seed), report("unbiased")
    start = samplers.warm_up(key, sampler, start, warmup)
    run = monte_carlo.measure(key, sampler, start, num_steps, steps, num_bins=scale.num_bins, progress=watch)
    return run.moments, run.state


def report(name: str) -> Any:
    """A line on the way, sixteen times a run."""
    start = time.time()

    def show(done: int, total: int, text: str) -> None:
        if done % max(1, total // 8) == 0 or done == total:
            print(f"    {name} {text} {done}/{total}, {time.time() - start:.0f} s", flush=True)

    return show


class SquareScale(NamedTuple):
    """Size of the study of exponents at the exact critical point."""

    side: int = 64
    num_operators: tuple[int, int] = (13, 5)
    num_levels: int = 4
    num_chains: int = 256
    num_sweeps: int = 8  # between samples
    num_samples: int = 3_072  # of each chain
    warmup: int = 20_000
    num_bins: int = 64


def ising_moments(seed: int, side: int, coupling: float, steps: Any, scale: SquareScale) -> monte_carlo.Moments:
    """Of many packed chains, in equilibrium from a random start."""
    ising = models.Ising(lattice.hypercubic((side, side)), coupling)
    sampler = samplers.multispin_heat_bath(ising, num_chains=scale.num_chains)
    start = samplers.warm_up(jax.random.key(seed), sampler, sampler.init(jax.random.key(seed)), scale.warmup)
    thinned = samplers.thin(sampler, scale.num_sweeps)
    key, watch = jax.random.key(seed + 1), report(f"L = {side}")
    count = scale.num_samples
    return monte_carlo.measure(key, thinned, start, count, steps, num_bins=scale.num_bins, progress=watch).moments


def square(scale: SquareScale, coupling: float = exact.critical_coupling) -> dict[str, Any]:
    """y_T and y_h level by level, and the critical coupling by matching with a lattice of half the side."""
    num_even, num_odd = scale.num_operators
    even, odd = first(EVEN, num_even), first(ODD, num_odd)
    moments = {}
    for side, num_levels in ((scale.side, scale.num_levels), (scale.side // 2, scale.num_levels - 1)):
        ladder = majority_ladder(basis(side, even, odd), 2, num_levels)
        moments[side] = ising_moments(side, side, coupling, ladder, scale)
    levels = []
    for level in range(1, scale.num_levels):
        found = sectors(moments[scale.side], 2, num_even, level)
        levels.append({"side": scale.side >> level} | {name: part._asdict() for name, part in found.items()})
    matched = []
    for level in range(2, scale.num_levels):
        which = np.arange(num_even)
        large, small = moments[scale.side], moments[scale.side // 2]
        found = monte_carlo.match_lattices(large, small, level=level, which=which)
        matched.append({"level": level, "coupling": coupling + found.shift, "error": found.shift_error})
    return {
        "coupling": coupling,
        "levels": levels,
        "matched": matched,
        "normals": [normal(moments[scale.side], level, num_even) for level in range(1, scale.num_levels)],
    }


def normal(moments: monte_carlo.Moments, level: int, num_even: int) -> dict[str, float]:
    """The normal of the critical manifold from so many steps: its second component by its first."""
    steps = monte_carlo.jacobian(moments, fine=0, coarse=level, which=np.arange(num_even))
    found = monte_carlo.critical_manifold(steps)
    ratio = found.normal[1] / found.normal[0]
    error = abs(ratio) * np.hypot(*(found.errors[:2] / found.normal[:2]))
    parallel = found.singular_values[1] / found.singular_values[0]
    return {"level": level, "ratio": float(ratio), "error": float(error), "second_direction": float(parallel)}


def manifold(scale: TableScale) -> dict[str, Any]:
    """The normal of the critical manifold at the nearest-neighbour critical point, from one step under the bias."""
    num_even, num_odd = scale.num_operators
    operators = basis(scale.side, first(EVEN, num_even), first(ODD, num_odd))
    nearest = lattice.operators(operators.lattice, {"1,0": EVEN["1,0"]})
    model = models.OperatorModel(nearest, jnp.array([exact.critical_coupling]))
    which, watch = np.arange(num_even), report("manifold")
    counts = {"num_chains": scale.num_chains, "num_iterations": scale.num_iterations, "num_bins": scale.num_bins}
    counts["num_steps"] = scale.num_couplings
    found = monte_carlo.renormalise(jax.random.key(6), model, operators, which=which, progress=watch, **counts)
    step = monte_carlo.jacobian(found.moments, which=which)
    # The row of the nearest neighbours; all rows are parallel after many steps.
    rows = step.replicates[:, 0] / step.replicates[:, 0, :1]
    errors = np.sqrt((len(rows) - 1) * np.mean((rows - rows.mean(axis=0)) ** 2, axis=0))
    together = monte_carlo.critical_manifold(step)
    return {
        "first_row": (step.matrix[0] / step.matrix[0, 0]).tolist(),
        "first_row_errors": errors.tolist(),
        "normal": (together.normal / together.normal[0]).tolist(),
        "singular_values": together.singular_values.tolist(),
        "condition": step.condition_number,
    }
