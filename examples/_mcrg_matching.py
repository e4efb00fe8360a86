"""What two matched lattices say of the critical coupling, many times over: errors, and what is left at a level."""

from typing import Any, NamedTuple

import jax
import numpy as np
from _mcrg import EVEN, basis, first, majority_ladder, report

from jaxrg import exact, models, samplers
from jaxrg.rg import monte_carlo


class MatchingScale(NamedTuple):
    """Size of the study."""

    sides: tuple[int, ...] = (32, 64)  # of the large lattices, blocked to sides of eight
    num_operators: int = 13  # even ones
    num_first: int = 5  # of these, to be matched alone as well
    num_runs: int = 16
    num_chains: int = 256
    num_sweeps: int = 16  # between samples
    num_samples: int = 256  # of each chain
    warmup: int = 4  # sweeps, times the number of sites along both axes
    num_bins: int = 64


def moments(seed: int, side: int, num_levels: int, scale: MatchingScale) -> monte_carlo.Moments:
    """Of block spins at the exact critical coupling."""
    operators = basis(side, first(EVEN, scale.num_operators), {})
    ising = models.Ising(operators.lattice, exact.critical_coupling)
    sampler = samplers.multispin_heat_bath(ising, num_chains=scale.num_chains)
    start_key, run_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), side))
    start = samplers.warm_up(start_key, sampler, sampler.init(start_key), scale.warmup * side**2)
    steps, thinned = majority_ladder(operators, 2, num_levels), samplers.thin(sampler, scale.num_sweeps)
    return monte_carlo.measure(run_key, thinned, start, scale.num_samples, steps, num_bins=scale.num_bins).moments


def matching(scale: MatchingScale) -> list[dict[str, Any]]:
    """By the side of the large lattice, level and operators: the mean of K_c - K, its scatter over the error stated."""
    rows = []
    for side in scale.sides:
        num_levels = side.bit_length() - 3  # the last one has sides of eight
        cases = [(level, count) for level in range(2, num_levels) for count in (scale.num_first, scale.num_operators)]
        watch, found = report(f"L = {side}"), []
        for run in range(scale.num_runs):
            large = moments(2 * run, side, num_levels, scale)
            small = moments(2 * run + 1, side // 2, num_levels - 1, scale)
            matches = [
                monte_carlo.match_lattices(large, small, level=level, which=np.arange(count)) for level, count in cases
            ]
            found.append([(match.shift, match.shift_error) for match in matches])
            watch(run + 1, scale.num_runs, "runs")
        for (level, count), part in zip(cases, np.array(found).transpose(1, 2, 0), strict=True):
            shifts, errors = part  # [num_runs]
            scatter = float(shifts.std(ddof=1))
            rows.append(
                {
                    "side": side,
                    "level": level,
                    "num_operators": count,
                    "shift": float(shifts.mean()),
                    "error": float(scatter / np.sqrt(len(shifts))),
                    "scatter_over_error": scatter / float(np.sqrt(np.mean(errors**2))),
                }
            )
    return rows
