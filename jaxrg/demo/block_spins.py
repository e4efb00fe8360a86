"""Chapter 4: majority-rule block spins of the same samples and of critical ones: couplings before and after each step,
and exponents by Monte Carlo renormalisation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.base import Progress
from jaxrg.rg import monte_carlo

OPERATORS = ("nearest_neighbour", "next_nearest_neighbour", "third_neighbour", "plaquette")
ODD = ("field", "corner")
NUM_CHAINS = 64  # of Swendsen and Wang's at the critical point
WARMUP, THINNING = 50, 4  # steps


def chapter(key, samples: np.ndarray, coupling: float, *, progress: Progress) -> dict[str, Any]:
    """Block ``samples`` ``[num_samples, L, L]`` by 2x2 as often as the side is even, and measure at every level.

    Returns:
        One entry in ``levels`` for every lattice: couplings with errors, the true ones where they are known, and the
        mean products per term; one in ``exponents`` for every step between them; and both of as many samples at the
        critical point in ``critical``.
    """
    num_samples, side, _ = samples.shape
    num_levels = _num_halvings(side) + 1
    num_done, total = 0, 2 * num_levels

    def report(text: str) -> None:
        nonlocal num_done
        num_done += 1
        progress(num_done, total, text)

    level_key, exponent_key, sample_key, critical_level_key, critical_exponent_key = jax.random.split(key, 5)
    ladder = _ladder(side, num_levels)
    levels, picture = _levels(level_key, samples, coupling, num_levels, report)
    critical = _critical_samples(sample_key, side, num_samples)
    critical_levels, _ = _levels(critical_level_key, critical, exact.critical_coupling, num_levels, report)
    return {
        "coupling": coupling,
        "num_samples": num_samples,
        "levels": levels,
        "picture": picture,
        "exponents": _exponents(exponent_key, samples, ladder),
        "critical": {"levels": critical_levels, "exponents": _exponents(critical_exponent_key, critical, ladder)},
    }


def _levels(key, samples: np.ndarray, coupling: float, num_levels: int, report) -> tuple[list[dict[str, Any]], list]:
    """Couplings of every level, and its first configuration."""
    levels = []
    current = jnp.asarray(samples)
    picture = [np.asarray(samples[0])]
    for level in range(num_levels):
        square = lattice.hypercubic(current.shape[1:])
        basis = lattice.standard_operators(square, OPERATORS)
        measured = rg.pseudo_likelihood_couplings(current, basis)
        means = jnp.mean(
            jax.vmap(lambda s, basis=basis: lattice.evaluate(basis, s))(current).astype(jnp.float32), axis=0
        )
        entry: dict[str, Any] = {
            "side": current.shape[1],
            "couplings": dict(zip(OPERATORS, np.asarray(measured.couplings), strict=True)),
            "errors": dict(zip(OPERATORS, np.asarray(measured.errors), strict=True)),
            "mean_products": dict(zip(OPERATORS, np.asarray(means) / basis.num_terms, strict=True)),
            "gradient_norm": float(measured.gradient_norm),
        }
        if level == 0:
            truth = dict.fromkeys(OPERATORS, 0.0) | {"nearest_neighbour": coupling}
            entry["exact"] = truth
            entry["z"] = {name: (entry["couplings"][name] - truth[name]) / entry["errors"][name] for name in OPERATORS}
        levels.append(entry)
        report(f"side {entry['side']}")
        if level + 1 < num_levels:
            keys = jax.random.split(jax.random.fold_in(key, level), len(current))
            current = jax.vmap(rg.majority)(keys, current)
            picture.append(np.asarray(current[0]))
    return levels, picture


def _critical_samples(key, side: int, num_samples: int) -> np.ndarray:
    """``[num_samples, side, side]`` of independent chains, one after the other, at the critical point."""
    ising = models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)
    num_chains = min(NUM_CHAINS, num_samples)
    start_key, warmup_key, run_key = jax.random.split(key, 3)
    sampler = samplers.replicas(samplers.swendsen_wang(ising), num_chains)
    state = samplers.warm_up(warmup_key, sampler, sampler.init(start_key), WARMUP)
    thinned = samplers.thin(sampler, THINNING)
    num_draws = -(-num_samples // num_chains)
    spins = samplers.run(run_key, thinned, state, num_draws, observe=lambda spins: spins).trace
    return np.asarray(spins).reshape(-1, side, side)[:num_samples]


def _ladder(side: int, num_levels: int) -> monte_carlo.Ladder:
    basis = lattice.standard_operators(lattice.hypercubic((side, side)), (*OPERATORS, *ODD))
    return monte_carlo.ladder(basis, rg.majority, num_levels)


def _exponents(key, samples: np.ndarray, ladder: monte_carlo.Ladder) -> list[dict[str, Any]]:
    """y_T and y_h of every step."""
    moments = monte_carlo.moments(key, samples, ladder)
    even, odd = np.split(np.arange(len(OPERATORS) + len(ODD)), [len(OPERATORS)])
    steps = []
    for level in range(1, ladder.depth):
        entry: dict[str, Any] = {"side": ladder.bases[level].lattice.shape[0]}
        for name, which in (("thermal", even), ("magnetic", odd)):
            found = monte_carlo.linearise(moments, 2, level=level, which=which, is_odd=name == "magnetic")
            entry[name] = float(found.scaling.exponents[0].real)
            entry[f"{name}_error"] = float(found.exponent_errors[0])
        steps.append(entry)
    return steps


def _num_halvings(side: int) -> int:
    """How often a side can be halved before fewer than five sites are left for third neighbours."""
    count = 0
    while side % 2 == 0 and side // 2 >= 5:
        side, count = side // 2, count + 1
    return count
