"""What two matched lattices say of the critical coupling, many times over: errors, and what is left at a level."""

from typing import Any, NamedTuple

import jax
import numpy as np
from _mcrg import EVEN, basis, first, majority_ladder, report

from jaxrg import exact, models, samplers
from jaxrg.rg import monte_carlo


class MatchingScale(NamedTuple):
    """Size of the study."""

    sides: tuple[int, ...] = (16, 32, 64)  # of the large lattices, blocked to sides of four at most
    num_operators: int = 5  # pairs, independent on sides of four
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
    start = samplers.run(start_key, sampler, sampler.init(start_key), scale.warmup * side**2).state
    steps, thinned = majority_ladder(operators, 2, num_levels), samplers.thin(sampler, scale.num_sweeps)
    return monte_carlo.measure(run_key, thinned, start, scale.num_samples, steps, num_bins=scale.num_bins).moments


def matching(scale: MatchingScale) -> list[dict[str, Any]]:
    """By the side of the large lattice and the level: the mean of K_c - K, and the scatter over the error stated."""
    rows = []
    for side in scale.sides:
        num_levels = side.bit_length() - 2  # the last one has sides of four
        watch, found = report(f"L = {side}"), []
        for run in range(scale.num_runs):
            large = moments(2 * run, side, num_levels, scale)
            small = moments(2 * run + 1, side // 2, num_levels - 1, scale)
            found.append([monte_carlo.match_lattices(large, small, level=level)[2:] for level in range(2, num_levels)])
            watch(run + 1, scale.num_runs, "runs")
        for place, part in enumerate(np.array(found).transpose(1, 0, 2)):  # [level, run, shift and error]
            shifts, errors = part.T
            scatter = float(shifts.std(ddof=1))
            rows.append(
                {
                    "side": side,
                    "level": place + 2,
                    "shift": float(shifts.mean()),
                    "error": scatter / np.sqrt(len(shifts)),
                    "scatter_over_error": scatter / float(np.sqrt(np.mean(errors**2))),
                }
            )
    return rows
