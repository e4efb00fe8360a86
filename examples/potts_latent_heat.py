# %% [markdown]
# # Latent heat of the ten-state Potts model
# At its transition of first order a canonical chain stays in the phase it starts in. Chains with the multicanonical
# weights of Wang and Landau walk from one phase to the other, and one run gives the distribution of the energy at every
# temperature: two peaks, whose distance becomes Baxter's latent heat in large systems, and between them a valley that
# holds the price of the interface. The correlation length is 10.6 sites, so that 20 are not many: the p-values say
# where a term in 1/N, or 1/L for the interface, is not all that is left. What canonical chains do instead shows on a
# torus of twelve correlation lengths: each stays in the phase it starts in, and the two have Baxter's energies. On a
# small torus they cross over and have neither.

# %%
import math
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.tree_util import Partial
from matplotlib.figure import Figure

from jaxrg import lattice, models, samplers, stats
from jaxrg.samplers import ensembles
from jaxrg.stats import scaling

NUM_STATES = 10
CRITICAL = math.log(1 + math.sqrt(NUM_STATES))  # the reduced coupling 1 / Tc
ORDERED, DISORDERED = -1.6642525, -0.9682031  # Baxter, J. Phys. C 6, L445 (1973), in units of J
INTERFACE = 0.0473506  # sigma = 1 / (2 xi_d), Borgs & Janke, J. Physique I 2, 2011 (1992), in units of kT
DROP = 0.35  # below its top, in ln P, a peak is a parabola


class Scale(NamedTuple):
    """How much is sampled."""

    sizes: tuple[int, ...] = (8, 12, 16, 20)
    num_chains: int = 64
    num_building: int = 25  # sweeps of Wang and Landau, times L^2, the price of a walk across the energies
    num_steps: int = 6_000  # sweeps of the measurement
    num_canonical: int = 1_000
    large: int = 128  # side of the torus where canonical chains stay in their phase
    num_large: int = 20_000  # sweeps there
    num_large_chains: int = 8


SMOKE = Scale(
    sizes=(6, 8),
    num_chains=16,
    num_building=25,
    num_steps=400,
    num_canonical=50,
    large=16,
    num_large=200,
    num_large_chains=2,
)


class Size(NamedTuple):
    """What one size has shown, with errors from the scatter of its chains."""

    energies: Any  # [num_levels] in units of J, a site
    log_probability: Any  # [num_levels] ln P(E) where both peaks have one height
    values: Any  # [3] energies a site of the ordered and of the disordered peak, ln(peaks / valley) / (2 L)
    errors: Any  # [3]
    trips: int  # from one peak to the other and back, of all chains
    canonical: tuple[float, float]  # mean energies of canonical chains that start ordered and disordered


# %%
def model_of(side: int, coupling: float) -> models.Potts:
    return models.Potts(lattice.hypercubic((side, side)), NUM_STATES, coupling)


def measured(key: jax.Array, side: int, scale: Scale) -> Size:
    """Weights, a run in them, and what it says of the transition."""
    num_sites = side**2
    # From the ground states to where a random configuration is drawn in.
    levels = np.arange(-2 * num_sites, -round(0.5 * num_sites) + 1, dtype=np.float32)
    keys = jax.random.split(key, 5)
    model, grid = model_of(side, 1.0), jnp.asarray(levels)
    built = ensembles.wang_landau(keys[0], model, grid, scale.num_building * num_sites, num_chains=scale.num_chains)
    sampler = ensembles.multicanonical(model, grid, built.log_weights, num_chains=scale.num_chains)
    start = sampler.init(keys[1], built.configurations)
    start = samplers.warm_up(keys[1], sampler, start, scale.num_steps // 10)
    energy = np.asarray(samplers.run(keys[2], sampler, start, scale.num_steps).info.energy, float)

    counts = np.stack([np.bincount((chain - levels[0]).astype(int), minlength=len(levels)) for chain in energy])
    log_weights = np.asarray(built.log_weights, float)
    log_probability, values = peaks_of(counts.sum(axis=0), log_weights, levels, side)
    groups = np.array_split(np.arange(scale.num_chains), min(scale.num_chains, 16))
    left_out = [peaks_of(np.delete(counts, group, 0).sum(axis=0), log_weights, levels, side)[1] for group in groups]
    errors = np.std(left_out, axis=0) * math.sqrt(len(groups) - 1)  # jackknife
    ordered, disordered, _ = values * num_sites
    trips = sum(round_trips(chain, ordered, disordered) for chain in energy)
    return Size(levels / num_sites, log_probability, values, errors, trips, canonical(keys[3], side, scale))


def peaks_of(counts: np.ndarray, log_weights: np.ndarray, levels: np.ndarray, side: int) -> tuple[np.ndarray, Any]:
    """ln P(E) at the coupling where both peaks are as high; their places, and ln(peaks / valley) / (2 L)."""
    log_density = np.where(counts > 0, np.log(np.maximum(counts, 1)), -np.inf) - log_weights
    window = np.ones(2 * max(side // 4, 1) + 1)
    is_low = levels < (ORDERED + DISORDERED) / 2 * side**2

    def at(coupling: float) -> np.ndarray:
        found = log_density - coupling * levels
        smooth = np.convolve(np.exp(found - found.max()), window, "same")
        return np.log(np.maximum(smooth, 1e-300)) - math.log(smooth.max())

    low, high = CRITICAL - 0.2, CRITICAL + 0.2
    for _ in range(40):
        found = at((low + high) / 2)
        is_hot = found[is_low].max() < found[~is_low].max()
        low, high = ((low + high) / 2, high) if is_hot else (low, (low + high) / 2)
    places = [int(np.argmax(np.where(part, found, -np.inf))) for part in (is_low, ~is_low)]
    vertices = []
    for place in places:  # of a parabola through what is near the top
        near = (found > found[place] - DROP) & (abs(np.arange(len(levels)) - place) < (places[1] - places[0]) / 2)
        curvature, slope, _ = np.polyfit(levels[near] - levels[place], found[near], 2, w=np.sqrt(counts[near]))
        vertices.append((levels[place] - slope / (2 * curvature)) / side**2)
    depth = -found[places[0] : places[1] + 1].min() / (2 * side)
    return found, np.array([*vertices, depth])


def round_trips(energy: np.ndarray, ordered: float, disordered: float) -> int:
    """Trips of one chain from the ordered peak to the disordered one and back."""
    places = np.where(energy <= ordered, 1, np.where(energy >= disordered, -1, 0))
    visits = places[places != 0]
    return int(np.sum(np.diff(visits) != 0) // 2)


def canonical(key: jax.Array, side: int, scale: Scale) -> tuple[float, float]:
    """Mean energies at Tc of heat bath from an ordered and from a random start: equal, if chains crossed over."""
    sampler = samplers.heat_bath(model_of(side, CRITICAL))
    found = []
    for start in (jnp.zeros((side, side), jnp.int8), None):
        state = samplers.warm_up(key, sampler, sampler.init(key, start), scale.num_canonical // 4 + 1)
        observe = model_of(side, CRITICAL).observables
        trace = samplers.run(key, sampler, state, scale.num_canonical, observe=observe).trace
        found.append(float(jnp.mean(trace.energy)))
    return found[0], found[1]


class Phase(NamedTuple):
    """Canonical chains of a large torus at Tc."""

    energy: float
    error: float
    farthest: float  # of any chain at any time, towards the other phase


def phase(key: jax.Array, is_ordered: bool, scale: Scale) -> Phase:
    """From an ordered or from a random start, after a tenth of the sweeps."""
    side = scale.large
    model = model_of(side, CRITICAL)
    sampler = samplers.replicas(samplers.heat_bath(model), scale.num_large_chains)
    start_key, key = jax.random.split(key)
    state = sampler.init(start_key, jnp.zeros((side, side), jnp.int8) if is_ordered else None)
    state = samplers.warm_up(key, sampler, state, scale.num_large // 10)
    energy = samplers.run(key, sampler, state, scale.num_large, observe=model.observables).trace.energy
    summary = stats.summary(energy)
    farthest = jnp.max(energy) if is_ordered else jnp.min(energy)
    return Phase(float(summary.mean), float(summary.error), float(farthest))


# %%
def limit(sides: list[int], values: list[float], errors: list[float], *, power: int) -> scaling.Fit:
    """A constant and one term in 1 / L^power."""
    x = jnp.asarray(np.array(sides, float) ** -power)

    def residuals(x: jax.Array, y: jax.Array, errors: jax.Array, terms: jax.Array) -> jax.Array:
        return (y - terms[0] - terms[1] * x) / errors

    y, sigma = jnp.asarray(values, jnp.float32), jnp.asarray(errors, jnp.float32)
    return scaling.least_squares(Partial(residuals, x.astype(jnp.float32), y, sigma), jnp.zeros(2))


def figure(found: dict[int, Size]) -> Figure:
    """Distributions with two peaks, and both energies against 1 / N."""
    drawn, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for side, size in found.items():
        axes[0].plot(size.energies, size.log_probability, linewidth=1, label=f"$L = {side}$")
    places = 1 / np.array(list(found)) ** 2
    values, errors = (np.array([getattr(size, part) for size in found.values()]) for part in ("values", "errors"))
    phases = ("ordered", "C0", ORDERED), ("disordered", "C3", DISORDERED)
    for number, (name, colour, energy) in enumerate(phases):
        axes[1].errorbar(places, values[:, number], errors[:, number], fmt="o", markersize=4, color=colour, label=name)
        baxter = {"color": "0.6", "linewidth": 1, "label": "Baxter" if number else None}
        axes[0].axvline(energy, **baxter)
        axes[1].axhline(energy, **baxter)
    lowest = min(
        size.log_probability[(size.energies > ORDERED) & (size.energies < DISORDERED)].min() for size in found.values()
    )
    axes[0].set(xlabel="energy / (J N)", ylabel="ln P, peaks as high", ylim=(lowest - 1, 0.5))
    axes[0].legend()
    axes[1].set(xlim=(0, 1.05 * places.max()), xlabel="1 / N", ylabel="energy of each peak / (J N)")
    axes[1].legend()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/potts_latent_heat") -> None:
    scale = SMOKE if smoke else Scale()
    found = {}
    for number, side in enumerate(scale.sizes):
        found[side] = measured(jax.random.fold_in(jax.random.key(0), number), side, scale)
        size = found[side]
        shown = [study.show(value, error, 4) for value, error in zip(size.values, size.errors, strict=True)]
        print(f"L = {side}: peaks {shown[0]}, {shown[1]}, tension {shown[2]}, {size.trips} round trips", flush=True)
    sides = list(scale.sizes)
    last, rows = found[sides[-1]], [study.HEADER]
    values, errors = (np.array([getattr(found[side], part) for side in sides]) for part in ("values", "errors"))
    gap, gap_error = values[:, 1] - values[:, 0], np.hypot(errors[:, 0], errors[:, 1])
    cold, hot = last.canonical
    for name, exact, value, error, power, control in (
        ("e_o, ordered phase", ORDERED, values[:, 0], errors[:, 0], 2, ""),
        ("e_d, disordered phase", DISORDERED, values[:, 1], errors[:, 1], 2, ""),
        ("latent heat", DISORDERED - ORDERED, gap, gap_error, 2, f"; canonical starts differ by {hot - cold:.4f}"),
        ("interface tension", INTERFACE, values[:, 2], errors[:, 2], 1, ""),
    ):
        fit = limit(sides, value.tolist(), error.tolist(), power=power)
        chance = f" (p = {float(fit.p_value):.2f})" if len(sides) > 2 else ""
        measured_limit = study.show(fit.params[0], math.sqrt(float(fit.covariance[0, 0])), 4) + chance
        at_last = f"L = {sides[-1]}: {study.show(value[-1], error[-1], 4)}{control}"
        rows.append(study.Claim(name, f"{exact:.5f}", measured_limit, at_last))
    ordered, disordered = (phase(jax.random.fold_in(jax.random.key(1), n), n == 0, scale) for n in range(2))
    gap = disordered.energy - ordered.energy, math.hypot(ordered.error, disordered.error)
    where = f"canonical, L = {scale.large}"
    rows += [
        study.Claim(
            f"{name}, {where}", f"{exact:.5f}", study.show(one.energy, one.error, 4), f"goes to {one.farthest:.3f}"
        )
        for name, exact, one in (("e_o", ORDERED, ordered), ("e_d", DISORDERED, disordered))
    ]
    rows.append(study.Claim(f"latent heat, {where}", f"{DISORDERED - ORDERED:.5f}", study.show(*gap, 4), ""))
    study.print_claims(rows)
    drawn = figure(found)
    study.save({"potts_latent_heat": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "Latent heat of the ten-state Potts model by multicanonical chains.")
