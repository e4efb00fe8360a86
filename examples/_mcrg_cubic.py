"""Monte Carlo renormalisation of the cubic Ising model: the weight of block spins from one run, exponents from another.

Block spins of eight sites are drawn with a weight between chance and majority. The rule, fixed beforehand: the weight
is the one for which the last two steps of a pilot run agree, of each sector apart. At that weight a larger lattice with
keys of its own gives the exponent, the mean of its last two steps weighted by their errors; how much those two differ
is what is left of the drift with the level.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _mcrg import basis, first, report
from jax.tree_util import Partial

from jaxrg import lattice, models, rg, samplers
from jaxrg.base import Sampler
from jaxrg.rg import monte_carlo

# The shortest of two and of four spins, and of one and of three.
EVEN = {
    "1,0,0": [(0, 0, 0), (1, 0, 0)],
    "1,1,0": [(0, 0, 0), (1, 1, 0)],
    "1,1,1": [(0, 0, 0), (1, 1, 1)],
    "2,0,0": [(0, 0, 0), (2, 0, 0)],
    "2,1,0": [(0, 0, 0), (2, 1, 0)],
    "square": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)],
    "tetrahedron": [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)],
    "rectangle": [(0, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1)],
}
ODD = {
    "field": [(0, 0, 0)],
    "corner": [(0, 0, 0), (1, 0, 0), (0, 1, 0)],
    "line": [(0, 0, 0), (1, 0, 0), (-1, 0, 0)],
}
SECTORS = ("even", "odd")
MAJORITY = 1e9  # weights from here on leave no chance but that of ties
CRITICAL = 0.221654626  # Ferrenberg, Xu & Landau, Phys. Rev. E 97, 043301 (2018)


class Ensemble(NamedTuple):
    """A run: chains of one lattice, and how often its block spins are blocked again."""

    side: int
    num_steps: int  # of renormalisation after the first, which is not measured
    num_chains: int
    num_sweeps: int  # between samples
    num_samples: int  # of each chain
    warmup: int


class CubicScale(NamedTuple):
    """Size of the study."""

    pilot: Ensemble = Ensemble(32, 2, 128, 32, 768, 8_000)
    fresh: Ensemble = Ensemble(64, 3, 64, 32, 1_536, 24_000)
    weights: tuple[float, ...] = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, MAJORITY)  # of the pilot, majority for control
    num_operators: tuple[int, int] = (8, 3)  # even and odd
    num_fewer: tuple[int, int] = (5, 2)  # the first of them, to see what truncation does
    num_bins: int = 64


def weighted(weight: Any, key: Any, spins: Any) -> Any:
    """Block spins of eight sites drawn with the probability e^{w h S} / (2 cosh w S)."""
    return rg.kadanoff(key, spins, weight, (2, 2, 2))


def blocked_once(sampler: Sampler, key: Any, weight: Any) -> Sampler:
    """The same chains, seen after one step: counting the finest lattice is most of the time, and its step far off."""
    return sampler._replace(measure=Partial(_measure_blocks, sampler.measure, key, weight))


def _measure_blocks(measure: Any, key: Any, weight: Any, fn: Any, state: Any) -> Any:
    spins = measure(lambda configuration: configuration, state)
    keys = jax.random.split(jax.random.fold_in(key, state.step), len(spins))
    return jax.vmap(lambda key, configuration: fn(weighted(weight, key, configuration)))(keys, spins)


def moments_by_weight(seed: int, size: Ensemble, weights: Any, scale: CubicScale) -> dict[float, monte_carlo.Moments]:
    """Of the block spins of every weight, all of the same chains started alike."""
    start_key, run_key, block_key = jax.random.split(jax.random.key(seed), 3)
    ising = models.Ising(lattice.hypercubic((size.side,) * 3), CRITICAL)
    sampler = samplers.multispin_heat_bath(ising, num_chains=size.num_chains)
    start = samplers.warm_up(start_key, sampler, sampler.init(start_key), size.warmup)
    num_even, num_odd = scale.num_operators
    operators = basis(size.side // 2, first(EVEN, num_even), first(ODD, num_odd))
    found = {}
    for weight in weights:
        strength, watch = jnp.float32(weight), report(f"L = {size.side}, weight {weight:.4g}")
        steps = monte_carlo.ladder(operators, Partial(weighted, strength), size.num_steps + 1)
        thinned = samplers.thin(blocked_once(sampler, block_key, strength), size.num_sweeps)
        options = {"num_bins": scale.num_bins, "progress": watch}
        found[weight] = monte_carlo.measure(run_key, thinned, start, size.num_samples, steps, **options).moments
    return found


class Steps(NamedTuple):
    """The leading exponent of a sector, step by step."""

    exponents: np.ndarray  # [num_steps]
    changes: np.ndarray  # [num_bins, num_steps] without each bin
    conditions: list[float]
    num_complex: list[int]

    @property
    def errors(self) -> np.ndarray:
        return error_of(self.changes)


def error_of(changes: Any) -> Any:
    """One standard deviation from a jackknife, bins first."""
    return np.sqrt((len(changes) - 1) * np.mean((changes - np.mean(changes, axis=0)) ** 2, axis=0))


def steps_of(moments: monte_carlo.Moments, which: Any, is_odd: bool) -> Steps:
    """Exponents with their changes to first order in those of the matrix."""
    exponents, changes, conditions, num_complex = [], [], [], []
    for level in range(1, moments.means.shape[1]):
        found = monte_carlo.linearise(moments, 2, level=level, which=which, is_odd=is_odd)
        field, operator = np.asarray(found.scaling.fields)[0], np.asarray(found.scaling.operators)[0]
        values, matrix = np.asarray(found.scaling.eigenvalues, complex), found.jacobian
        moved = np.einsum("a,bac,c->b", field, matrix.replicates - matrix.matrix, operator).real
        exponents.append(float(found.scaling.exponents[0].real))
        changes.append(moved / np.real(values[0]) / np.log(2))
        conditions.append(float(matrix.condition_number))
        num_complex.append(int(np.sum(np.abs(np.imag(values)) > 1e-6 * np.abs(values))))
    return Steps(np.array(exponents), np.stack(changes, axis=1), conditions, num_complex)


def both_sectors(moments: monte_carlo.Moments, scale: CubicScale) -> dict[str, Steps]:
    num_even, num_odd = scale.num_operators
    odd = num_even + np.arange(num_odd)
    return {"even": steps_of(moments, np.arange(num_even), False), "odd": steps_of(moments, odd, True)}


def entries(weight: float, side: int, found: dict[str, Steps]) -> list[dict[str, Any]]:
    """A row for each step, by the side of the lattice that it ends with."""
    rows = []
    for place in range(len(found["even"].exponents)):
        row: dict[str, Any] = {"weight": float(weight), "side": side >> (place + 2)}
        for name, steps in found.items():
            row[name] = {
                "exponent": float(steps.exponents[place]),
                "exponent_error": float(steps.errors[place]),
                "condition": steps.conditions[place],
                "num_complex": steps.num_complex[place],
            }
        rows.append(row)
    return rows


def agreeing_weight(found: dict[float, Steps]) -> tuple[float, float]:
    """The weight for which the last two steps agree, linear between neighbours, and its error.

    Where no neighbours differ in sign it is the one that drifts least, with an error of NaN.
    """
    weights = sorted(weight for weight in found if weight < MAJORITY)
    drifts = [np.diff(found[weight].exponents)[-1] for weight in weights]
    moved = [drift + np.diff(found[weight].changes)[:, -1] for weight, drift in zip(weights, drifts, strict=True)]
    for place in range(len(weights) - 1):
        if drifts[place] * drifts[place + 1] < 0:
            pair = np.stack([np.append(drifts[i], moved[i]) for i in (place, place + 1)])
            share = pair[0] / (pair[0] - pair[1])
            chosen = weights[place] + share * (weights[place + 1] - weights[place])
            return float(chosen[0]), float(error_of(chosen[1:]))
    return weights[int(np.argmin(np.abs(drifts)))], float("nan")


def last_two(steps: Steps) -> dict[str, float]:
    """The mean of the last two steps weighted by their errors, and by how much they differ."""
    shares = steps.errors[-2:] ** -2.0
    shares = shares / shares.sum()
    drift = np.diff(steps.changes[:, -2:])[:, 0]
    return {
        "exponent": float(shares @ steps.exponents[-2:]),
        "error": float(error_of(steps.changes[:, -2:] @ shares)),
        "drift": float(steps.exponents[-1] - steps.exponents[-2]),
        "drift_error": float(error_of(drift)),
    }


def cubic(scale: CubicScale) -> dict[str, Any]:
    """Weights from the pilot, and exponents at those weights from a run of its own."""
    started = time.time()
    pilot = {
        weight: both_sectors(moments, scale)
        for weight, moments in moments_by_weight(11, scale.pilot, scale.weights, scale).items()
    }
    chosen = {name: agreeing_weight({weight: found[name] for weight, found in pilot.items()}) for name in SECTORS}
    seconds = time.time() - started
    fresh = moments_by_weight(1_011, scale.fresh, [chosen[name][0] for name in SECTORS], scale)
    result: dict[str, Any] = {
        "pilot": [row for weight, found in pilot.items() for row in entries(weight, scale.pilot.side, found)],
        "fresh": [],
        "exponents": {},
    }
    firsts = {"even": 0, "odd": scale.num_operators[0]}
    for (name, (weight, error)), count in zip(chosen.items(), scale.num_fewer, strict=True):
        found = both_sectors(fresh[weight], scale)
        result["fresh"] += entries(weight, scale.fresh.side, found)
        fewer = firsts[name] + np.arange(count)
        result["exponents"][name] = {
            "weight": weight,
            "weight_error": error,
            **last_two(found[name]),
            "with_fewer_operators": last_two(steps_of(fresh[weight], fewer, name == "odd")),
        }
    return result | {"seconds_of_pilot": seconds, "seconds_of_fresh": time.time() - started - seconds}
