"""Chapter 1: the Ising model across temperatures, by Wolff and by heat bath, against every exact value there is."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.base import Progress

CRITICAL_TEMPERATURE = 1 / exact.critical_coupling
QUANTITIES = ("energy", "specific_heat", "abs_magnetization", "binder")


class Scale(NamedTuple):
    """How much is sampled."""

    side: int  # of the scanned torus
    temperatures: tuple[float, ...]  # J / k_B
    wolff_steps: int  # per temperature, after a tenth of it for equilibration
    heat_bath_sweeps: int  # of each of 32 chains, after a tenth of it for equilibration


FULL = Scale(32, (1.8, 2.0, 2.1, 2.2, 2.25, CRITICAL_TEMPERATURE, 2.3, 2.4, 2.5, 2.7, 3.0), 40_000, 10_000)
SMOKE = Scale(8, (2.0, CRITICAL_TEMPERATURE), 2_000, 500)
SMALL_SIDE = 4  # every state can be enumerated


def _measure(key, ising: models.Ising, scale: Scale, method: str) -> dict[str, dict[str, float]]:
    """Every quantity with its error and autocorrelation time, in steps of the chain."""
    init_key, run_key = jax.random.split(key)
    if method == "wolff":
        sampler, num_steps = samplers.wolff(ising), scale.wolff_steps
    else:
        sampler, num_steps = samplers.multispin_heat_bath(ising, num_chains=32), scale.heat_bath_sweeps
    start = sampler.init(init_key, jnp.ones(ising.shape, jnp.int8))
    state = samplers.warm_up(run_key, sampler, start, num_steps // 10)
    trace = samplers.run(run_key, sampler, state, num_steps, observe=ising.observables).trace
    found = stats.thermodynamics(trace, coupling=ising.coupling, num_sites=ising.lattice.num_sites)
    fields = ("value", "error", "tau_int", "tau_int_error", "is_converged")
    return {
        name: {field: getattr(estimate, field).item() for field in fields}
        for name, estimate in jax.device_get(found)._asdict().items()
        if name in QUANTITIES
    }


def _with_scores(found: dict[str, dict[str, float]], truth: dict[str, float]) -> dict[str, dict[str, float]]:
    """Exact values and z-scores beside what was measured; a score is NaN where the error is not known."""
    for name, exact_value in truth.items():
        found[name]["exact"] = exact_value
        error = found[name]["error"]
        is_known = np.isfinite(error) and error > 0
        found[name]["z"] = (found[name]["value"] - exact_value) / error if is_known else np.nan
    return found


def _torus_truth(temperature: float, side: int) -> dict[str, float]:
    """Kaufman's energy and specific heat of the finite torus, by automatic differentiation in float64."""
    with jax.enable_x64(True):
        coupling = jnp.float64(1 / temperature)
        energy = exact.torus_energy(coupling, (side, side))
        heat = exact.torus_specific_heat(coupling, (side, side))
        return {"energy": float(energy), "specific_heat": float(heat)}


def _enumerated_truth(temperature: float, side: int) -> dict[str, float]:
    """Every quantity of a small torus, from all of its states in float64."""
    with jax.enable_x64(True):
        coupling = jnp.float64(1 / temperature)
        ising = models.Ising(lattice.hypercubic((side, side)), coupling)

        def observe(spins):
            energy, magnetization = ising.observables(spins)
            return energy, energy**2, jnp.abs(magnetization), magnetization**2, magnetization**4

        energy, square, modulus, m2, m4 = exact.expectation(ising.hamiltonian, observe, ising.shape)
        return {
            "energy": float(energy),
            "specific_heat": float(stats.specific_heat(energy, square, coupling=coupling, num_sites=side**2)),
            "abs_magnetization": float(modulus),
            "binder": float(stats.binder_cumulant(m2, m4)),
        }


def chapter(key, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Scan the temperatures on a large torus and on one that can be enumerated.

    Returns:
        ``rows``, one for each size, temperature and method, and the largest |z| with the number of scores.
    """
    scale = SMOKE if is_smoke else FULL
    small_temperatures = (CRITICAL_TEMPERATURE,) if is_smoke else (2.0, CRITICAL_TEMPERATURE, 3.0)
    plan = [(scale.side, t, _torus_truth) for t in scale.temperatures]
    plan += [(SMALL_SIDE, t, _enumerated_truth) for t in small_temperatures]
    rows = []
    for index, (side, temperature, truth_of) in enumerate(plan):
        ising = models.Ising(lattice.hypercubic((side, side)), 1 / temperature)
        truth = truth_of(temperature, side)
        for offset, method in enumerate(("wolff", "heat_bath")):
            found = _measure(jax.random.fold_in(key, 2 * index + offset), ising, scale, method)
            rows.append(
                {
                    "side": side,
                    "temperature": temperature,
                    "method": method,
                    "infinite_lattice_magnetization": float(exact.yang_magnetization(1 / temperature)),
                    "quantities": _with_scores(found, truth),
                }
            )
            progress(2 * index + offset + 1, 2 * len(plan), f"L = {side}, T = {temperature:.3f}, {method}")
    scores = [q["z"] for row in rows for q in row["quantities"].values() if np.isfinite(q.get("z", np.nan))]
    return {
        "rows": rows,
        "scale": scale._asdict(),
        "num_scores": len(scores),
        "largest_score": float(np.max(np.abs(scores), initial=0)),
        "mean_square_score": float(np.mean(np.square(scores))) if scores else np.nan,
    }
