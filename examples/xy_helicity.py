# %% [markdown]
# # The jump of the helicity modulus at the Kosterlitz-Thouless transition
# Planar spins on tori of several sizes: clusters of reflected spins, over-relaxation and heat bath. In the infinite
# system the helicity modulus falls from 2/π (in units of kT) to zero at the transition; on a torus it obeys
# Υ(L) = Υ* + A/(ln L + C), whose Υ* and A are those of a free field with windings and are computed here, so that a size
# says what the double size must have, at the transition and only there.

# %%
import math
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from jaxrg import lattice, models, samplers, stats
from jaxrg.stats import scaling

COUPLING = 1.11996  # of the transition, with an error of 6e-5: Komura & Okabe, J. Phys. Soc. Jpn. 81, 113001 (2012)


class Scale(NamedTuple):
    """How much is sampled."""

    sizes: tuple[int, ...] = (8, 16, 32, 64)
    near: tuple[float, ...] = (1.06, 1.09, COUPLING, 1.15, 1.18)
    far: tuple[float, ...] = tuple(1 / t for t in np.linspace(0.4, 1.5, 12))
    num_steps: int = 12_000
    num_far: int = 1_500
    num_chains: int = 4


SMOKE = Scale(sizes=(4, 8), near=(1.0, COUPLING, 1.25), far=(2.0, 0.7), num_steps=300, num_far=100, num_chains=2)


class Point(NamedTuple):
    """What is measured at one coupling, each with its error."""

    helicity: Any
    vortices: Any
    magnetization: Any  # <m^2>
    specific_heat: Any
    correlation_length: Any


# %%
def winding_helicity(stiffness: jax.Array | float) -> jax.Array:
    """Helicity modulus of a free field of this stiffness on a square torus: windings make it less."""
    n = jnp.arange(-3, 4)
    weights = jnp.exp(-2 * jnp.pi**2 * stiffness * n**2)
    return stiffness - (2 * jnp.pi * stiffness) ** 2 * jnp.sum(weights * n**2) / jnp.sum(weights)


FIXED = float(winding_helicity(2 / math.pi))  # Υ*
SLOPE = float(jax.grad(winding_helicity)(2 / math.pi)) / math.pi  # A: the stiffness is 2/π + 1/(π (ln L + C))


def doubled(helicity: Any) -> Any:
    """Helicity modulus of the double size at the transition."""
    above = helicity - FIXED
    return FIXED + above / (1 + above * math.log(2) / SLOPE)


def constant_of(helicity: float, side: int) -> float:
    """C of one size."""
    return SLOPE / (helicity - FIXED) - math.log(side)


def measured(mean: dict[str, jax.Array], num_sites: float, coupling: jax.Array) -> Point:
    """Functions of means."""
    heat = num_sites * coupling**2 * (mean["e2"] - mean["e"] ** 2)
    zero, smallest = mean["structure"]  # at k = 0 and at the smallest wave vector: the second-moment length
    length = jnp.sqrt(zero / smallest - 1) / (2 * jnp.sin(jnp.pi / jnp.sqrt(num_sites)))
    return Point(mean["helicity"], mean["vortices"], mean["m2"], heat, length)


def sample(key: jax.Array, side: int, coupling: float, num_steps: int, num_chains: int) -> Point:
    """Chains at one coupling, from anywhere, a tenth of them left out."""
    xy = models.XY(lattice.hypercubic((side, side)), coupling)
    moves = samplers.swendsen_wang_embedding(xy), samplers.over_relaxation(xy), samplers.heat_bath(xy)
    # Replicas inside, so that a step computes only the move that it has drawn.
    sampler = samplers.thin(samplers.mixture([samplers.replicas(move, num_chains) for move in moves], [1 / 3] * 3), 3)
    start_key, key = jax.random.split(key)
    start = samplers.warm_up(start_key, sampler, sampler.init(key), num_steps // 10)

    def observe(angles: jax.Array) -> dict[str, jax.Array]:
        seen = xy.observables(angles)
        vectors = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
        structure = stats.correlations.structure_factor(vectors, num_axes=2)[:2, 0]
        return {
            "helicity": seen.helicity_modulus,
            "vortices": seen.vortex_density,
            "m2": jnp.sum(seen.magnetization**2),
            "e": seen.energy,
            "structure": structure,
        }

    trace = samplers.run(key, sampler, start, num_steps, observe=observe).trace
    energy = trace["e"] - jnp.mean(trace["e"])
    series = trace | {"e": energy, "e2": energy**2}
    return stats.gamma_method(jax.tree_util.Partial(measured, num_sites=float(side**2), coupling=xy.coupling), series)


def curves(couplings: tuple[float, ...], sizes: tuple[int, ...], num_steps: int, num_chains: int, seed: int) -> dict:
    """Points of every size at all couplings."""
    found = {}
    for number, side in enumerate(sizes):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), len(couplings))
        pairs = zip(keys, couplings, strict=True)
        found[side] = [sample(key, side, float(coupling), num_steps, num_chains) for key, coupling in pairs]
        print(
            f"L = {side}: Υ = {found[side][len(couplings) // 2].helicity} at K = {couplings[len(couplings) // 2]:.3f}"
        )
    return found


def column(points: list[Point], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors of one quantity."""
    chosen = [getattr(point, name) for point in points]
    return np.array([float(one.value) for one in chosen]), np.array([float(one.error) for one in chosen])


# %%
def transition(data: dict, couplings: np.ndarray, small: int) -> scaling.Crossing:
    """Where the double size has what the small size says it must have at the transition."""
    values, errors = column(data[small], "helicity")
    others, other_errors = column(data[2 * small], "helicity")
    slopes = np.abs((doubled(values + 1e-4) - doubled(values - 1e-4)) / 2e-4)
    return scaling.crossing(couplings, doubled(values), others, slopes * errors, other_errors)


def naive(data: dict, couplings: np.ndarray, side: int) -> scaling.Crossing:
    """Where a size reaches 2/π, as if it were infinite."""
    values, errors = column(data[side], "helicity")
    level = np.full_like(values, 2 / math.pi)
    return scaling.crossing(couplings, values, level, errors, np.full_like(values, 1e-9))


def eta(data: dict, small: int, middle: int) -> tuple[float, float, float]:
    """η from the magnetisation of two sizes, without and with its logarithm, and the error of both."""
    (first, second), (one, other) = column([data[small][middle], data[2 * small][middle]], "magnetization")
    plain = -math.log(second / first) / math.log(2)
    constant = constant_of(float(data[2 * small][middle].helicity.value), 2 * small)
    logarithms = (math.log(2 * small) + constant) / (math.log(small) + constant)
    error = math.hypot(one / first, other / second) / math.log(2)
    return plain, plain + math.log(logarithms) / 8 / math.log(2), error


# %%
def figure(data: dict, near: np.ndarray, far_data: dict, far: np.ndarray) -> Figure:
    """The helicity modulus and its jump, the two sides of the crossing, and what else a temperature does."""
    drawn, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    temperatures = 1 / far
    for side, points in far_data.items():
        value, error = column(points, "helicity")
        # The model gives it in units of kT; the line of the jump is straight in units of J.
        axes[0].errorbar(temperatures, value / far, error / far, marker="o", markersize=3, label=f"$L = {side}$")
    grid = np.linspace(temperatures.min(), temperatures.max(), 50)
    axes[0].plot(grid, 2 * grid / math.pi, color="0.3", linestyle="--", linewidth=1, label="$2T/\\pi$")
    axes[0].axvline(1 / COUPLING, color="0.6", linewidth=1)
    axes[0].set(xlabel="temperature $T$ / $J$", ylabel="helicity modulus $\\Upsilon$ / $J$")
    axes[0].legend()
    for side in list(data)[:-1]:
        value, error = column(data[2 * side], "helicity")
        line = axes[1].errorbar(near, value, error, marker="o", markersize=3, label=f"$L = {2 * side}$")
        value, error = column(data[side], "helicity")
        label = f"from $L = {side}$, if critical"
        axes[1].plot(near, doubled(value), color=line[0].get_color(), linestyle=":", label=label)
    axes[1].axvline(COUPLING, color="0.6", linewidth=1)
    axes[1].set(xlabel="coupling $K = J/kT$", ylabel="helicity modulus / $kT$")
    axes[1].legend(fontsize="small")
    largest = max(far_data)
    value, error = column(far_data[largest], "specific_heat")
    axes[2].errorbar(temperatures, value, error, marker="o", markersize=3, label="specific heat / $k$ per site")
    value, error = column(far_data[largest], "vortices")
    axes[2].errorbar(
        temperatures, 10 * value, 10 * error, marker="s", markersize=3, label="10 × vortices per plaquette"
    )
    axes[2].axvline(1 / COUPLING, color="0.6", linewidth=1)
    axes[2].set(xlabel="temperature $T$ / $J$", title=f"$L = {largest}$")
    axes[2].legend()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/xy_helicity") -> None:
    scale = SMOKE if smoke else Scale()
    near, far = np.array(scale.near), np.array(scale.far)
    data = curves(scale.near, scale.sizes, scale.num_steps, scale.num_chains, 1)
    far_data = curves(scale.far, scale.sizes[:: len(scale.sizes) - 1][:2], scale.num_far, scale.num_chains, 2)
    middle, pairs = len(near) // 2, list(data)[:-1]
    rows = [study.HEADER]

    def row(claim: str, published: str, of: str, against: str) -> None:
        rows.append(study.Claim(claim, published, of, against))

    for small in pairs:
        found, control = transition(data, near, small), naive(data, near, 2 * small)
        row(
            f"K at which Υ of L = {small} and {2 * small} flow as at the transition",
            "1.11996(6)",
            study.show(found.location, found.error, 4),
            f"Υ = 2/π at {study.show(control.location, control.error, 4)}",
        )
    constants = []
    for side in data:
        one = data[side][middle].helicity
        change = SLOPE / (float(one.value) - FIXED) ** 2 * float(one.error)
        constants.append(f"{study.show(constant_of(float(one.value), side), change, 2)}")
    row(
        "C of all sizes is one number, at the published K",
        "one",
        ", ".join(constants),
        f"L = {', '.join(map(str, data))}",
    )
    for small in pairs:
        plain, corrected, error = eta(data, small, middle)
        claim = f"η at the published K, L = {small} and {2 * small}, with its logarithm"
        row(claim, "0.25", study.show(corrected, error, 4), f"a bare power: {study.show(plain, error, 4)}")
    largest = max(data)
    point = data[largest][middle]
    length, error = float(point.correlation_length.value) / largest, float(point.correlation_length.error) / largest
    expected = 0.7507 + 0.2124 / (math.log(largest) + constant_of(float(point.helicity.value), largest))
    length_row = study.show(length, error, 4)
    row(f"ξ/L at the published K, L = {largest}", f"{expected:.4f} of C", length_row, "0.7507 without C")
    heats, _ = column(far_data[max(far_data)], "specific_heat")
    peak = 1 / far[int(np.argmax(heats))]
    row(
        "the specific heat has its peak above the transition, T/J",
        "1.04",
        f"near {peak:.1f}",
        f"T_KT = {1 / COUPLING:.4f}",
    )
    study.print_claims(rows)
    drawn = figure(data, near, far_data, far)
    study.save({"xy_helicity": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "The jump of the helicity modulus at the Kosterlitz-Thouless transition.")
