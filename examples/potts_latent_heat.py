# %% [markdown]
# # Latent heat of the ten-state Potts model
# At its transition of first order a canonical chain stays in the phase it starts in. Chains with the multicanonical
# weights of Wang and Landau walk from one phase to the other, and one run gives the distribution of the energy at every
# temperature: two peaks, whose distance becomes Baxter's latent heat in large systems, and between them a valley that
# holds the price of the interface. The control is the canonical chain.

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
INTERFACE = 0.0473505  # sigma = 1 / (2 xi_d), Borgs & Janke, J. Physique I 2, 2011 (1992), in units of kT


class Scale(NamedTuple):
    """How much is sampled."""

    sizes: tuple[int, ...] = (8, 12, 16, 20)
    num_chains: int = 64
    num_building: int = 25  # sweeps of Wang and Landau, times L^2, the price of a walk across the energies
    num_steps: int = 6_000  # sweeps of the measurement
    num_canonical: int = 1_000


SMOKE = Scale(sizes=(4, 6), num_chains=16, num_building=25, num_steps=200, num_canonical=50)


class Size(NamedTuple):
    """What one size has shown; estimates with errors."""

    energies: Any  # [num_levels] in units of J, a site
    log_probability: Any  # [num_levels] ln P(E) where both peaks have one height
    phases: Any  # mean energies a site of both halves at Tc, ordered and disordered
    tension: Any  # ln(P of the peaks / P of the valley) / (2 L)
    crossings: float  # from one peak to the other and back, of all chains
    canonical: tuple[float, float]  # mean energies of canonical chains that start ordered and disordered


# %%
def model_of(side: int, coupling: float) -> models.Potts:
    return models.Potts(lattice.hypercubic((side, side)), NUM_STATES, coupling)


def halves(middle: float, num_sites: float, mean: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Mean energies a site of what is below and above the middle, ratios of means."""
    return mean["w e below"] / mean["w below"] / num_sites, mean["w e above"] / mean["w above"] / num_sites


def depth(mean: dict[str, jax.Array]) -> jax.Array:
    """ln of the peaks over the valley, where one coupling makes both peaks as high as they are on average."""
    return (jnp.log(mean["ordered"]) + jnp.log(mean["disordered"])) / 2 - jnp.log(mean["valley"])


def measured(key: jax.Array, side: int, scale: Scale) -> Size:
    """Weights, a run in them, and what it says of Tc."""
    num_sites = side**2
    # From deep in the ordered phase to where the random configuration is drawn in.
    levels = np.arange(-round(1.95 * num_sites), -round(0.5 * num_sites) + 1, dtype=np.float32)
    keys = jax.random.split(key, 5)
    model = model_of(side, 1.0)
    grid = jnp.asarray(levels)
    built = ensembles.wang_landau(keys[0], model, grid, scale.num_building * num_sites, num_chains=scale.num_chains)
    sampler = ensembles.multicanonical(model, grid, built.log_weights, num_chains=scale.num_chains)
    start = sampler.init(keys[1], built.configurations)
    start = samplers.warm_up(keys[1], sampler, start, scale.num_steps // 10)
    info = samplers.run(keys[2], sampler, start, scale.num_steps).info
    energy, log_weight = np.asarray(info.energy, float), np.asarray(info.log_weight, float)

    weights = -CRITICAL * energy - log_weight
    weights = np.exp(weights - weights.max())
    middle = (ORDERED + DISORDERED) / 2 * num_sites
    below = energy < middle
    parts = {"below": below, "above": ~below}
    series = {f"w {name}": weights * part for name, part in parts.items()}
    series |= {f"w e {name}": weights * part * energy for name, part in parts.items()}
    single = {name: jnp.asarray(values, jnp.float32) for name, values in series.items()}
    phases = stats.gamma_method(Partial(Partial(halves, middle), float(num_sites)), single)

    log_probability, coupling = equal_heights(energy, log_weight, levels, middle)
    peaks = [levels[np.argmax(np.where(side, log_probability, -np.inf))] for side in (levels < middle, levels > middle)]
    between = (levels > peaks[0]) & (levels < peaks[1])
    valley = levels[np.argmin(np.where(between, log_probability, np.inf))]
    tilted = -coupling * energy - log_weight
    tilted = np.exp(tilted - tilted.max())
    width = max(side / 4, 2)  # levels on either side that count as one place
    names = {"ordered": peaks[0], "disordered": peaks[1], "valley": valley}
    near = {name: jnp.asarray(tilted * (abs(energy - place) <= width), jnp.float32) for name, place in names.items()}
    fall = stats.gamma_method(Partial(depth), near)
    trips = sum(round_trips(chain, *peaks) for chain in energy)
    tension = fall._replace(value=fall.value / (2 * side), error=fall.error / (2 * side))
    return Size(levels / num_sites, log_probability, phases, tension, trips, canonical(keys[3], side, scale))


def equal_heights(energy: np.ndarray, log_weight: np.ndarray, levels: np.ndarray, middle: float) -> tuple:
    """ln P(E) at the coupling where both peaks of the smoothed histogram are as high, and that coupling."""
    counts = np.bincount((energy - levels[0]).ravel().astype(int), minlength=len(levels))[: len(levels)]
    total = np.zeros(len(levels))
    np.add.at(total, (energy - levels[0]).ravel().astype(int), np.exp(-(log_weight - log_weight.mean())).ravel())
    log_density = np.where(counts > 0, np.log(np.maximum(total, 1e-300)), -np.inf)
    reach = max(int(math.sqrt(len(levels)) / 4), 1)

    def at(coupling: float) -> np.ndarray:
        found = log_density - coupling * levels
        found = found - found.max()
        smooth = np.convolve(np.exp(found), np.ones(2 * reach + 1), "same")
        return np.log(np.maximum(smooth, 1e-300)) - math.log(smooth.max())

    low, high = CRITICAL - 0.2, CRITICAL + 0.2
    for _ in range(40):
        coupling = (low + high) / 2
        found = at(coupling)
        is_hot = found[levels < middle].max() < found[levels > middle].max()
        low, high = (coupling, high) if is_hot else (low, coupling)
    return at(coupling), coupling


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
        for number, colour in ((0, "C0"), (1, "C3")):
            one = size.phases[number]
            axes[1].errorbar(1 / side**2, float(one.value), float(one.error), marker="o", markersize=4, color=colour)
    for energy in (ORDERED, DISORDERED):
        axes[0].axvline(energy, color="0.6", linewidth=1)
        axes[1].axhline(energy, color="0.6", linewidth=1)
    lowest = min(
        size.log_probability[(size.energies > ORDERED) & (size.energies < DISORDERED)].min() for size in found.values()
    )
    axes[0].set(xlabel="energy / (J N)", ylabel="ln P, peaks as high", ylim=(lowest - 1, 0.5))
    axes[0].legend()
    axes[1].set(xlabel="1 / N", ylabel="energy of each phase at $T_c$ / (J N)")
    return drawn


def main(smoke: bool = False, out: str | Path = "out/potts_latent_heat") -> None:
    scale = SMOKE if smoke else Scale()
    found = {}
    for number, side in enumerate(scale.sizes):
        found[side] = measured(jax.random.fold_in(jax.random.key(0), number), side, scale)
        size = found[side]
        print(f"L = {side}: {size.phases[0]}, {size.phases[1]}, {size.crossings} round trips", flush=True)
    sides = list(scale.sizes)[-4:]
    last, rows = found[sides[-1]], [study.HEADER]
    for number, name, exact in ((0, "e_o, ordered phase", ORDERED), (1, "e_d, disordered phase", DISORDERED)):
        phase = [found[side].phases[number] for side in sides]
        fit = limit(sides, [float(one.value) for one in phase], [float(one.error) for one in phase], power=2)
        chance = f" (p = {float(fit.p_value):.2f})" if len(sides) > 2 else ""
        error = math.sqrt(float(fit.covariance[0, 0]))
        rows.append(
            study.Claim(
                name, f"{exact:.5f}", study.show(fit.params[0], error, 4) + chance, f"L = {sides[-1]}: {phase[-1]}"
            )
        )
    gaps = [float(found[side].phases[1].value - found[side].phases[0].value) for side in sides]
    errors = [math.hypot(*(float(one.error) for one in found[side].phases)) for side in sides]
    fit = limit(sides, gaps, errors, power=2)
    cold, hot = last.canonical
    error = math.sqrt(float(fit.covariance[0, 0]))
    rows.append(
        study.Claim(
            "latent heat",
            f"{DISORDERED - ORDERED:.5f}",
            study.show(fit.params[0], error, 4),
            f"L = {sides[-1]}: {gaps[-1]:.4f}; canonical starts differ by {hot - cold:.4f}",
        )
    )
    tensions = [found[side].tension for side in sides]
    fit = limit(sides, [float(one.value) for one in tensions], [float(one.error) for one in tensions], power=1)
    error = math.sqrt(float(fit.covariance[0, 0]))
    rows.append(
        study.Claim(
            "interface tension",
            f"{INTERFACE:.5f}",
            study.show(fit.params[0], error, 4),
            f"L = {sides[-1]}: {tensions[-1]}",
        )
    )
    study.print_claims(rows)
    drawn = figure(found)
    study.save({"potts_latent_heat": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "Latent heat of the ten-state Potts model by multicanonical chains.")
