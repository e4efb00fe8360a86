# %% [markdown]
# # Critical point and exponents of the Ising model by finite-size scaling
# Swendsen-Wang chains on tori of several sizes around the critical point. Binder cumulants of L and 2 L cross near Kc;
# at Kc their slope grows as L^(1/ν) and the susceptibility as L^(2 - η); a collapse finds Kc and 1/ν together. Nothing
# but the sizes and the couplings is put in, the exact Kc only for the two power laws.

# %%
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.stats import scaling


class Scale(NamedTuple):
    """How much is sampled."""

    sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    num_couplings: int = 7
    width: float = 1.2  # of the couplings around Kc, times 1 / L
    num_steps: int = 5_000
    num_chains: int = 4


SMOKE = Scale(sizes=(4, 8), num_couplings=3, num_steps=200, num_chains=2)


class Point(NamedTuple):
    """What is measured at one coupling, each with its error."""

    binder: Any
    slope: Any  # dU/dK
    susceptibility: Any  # N <m^2>
    correlation_length: Any


# %%
def measured(mean: dict[str, jax.Array], num_sites: float) -> Point:
    """Functions of means: derivatives by K are covariances with the energy, which is centred.

    A covariance wants powers of m of the very configuration whose energy it is; the improved ones are means over signs.
    """
    ratio = mean["m4"] / mean["m2"] ** 2
    m2_slope = -num_sites * (mean["m2 e"] - mean["m2"] * mean["e"])
    m4_slope = -num_sites * (mean["m4 e"] - mean["m4"] * mean["e"])
    slope = -(m4_slope / mean["m2"] ** 2 - 2 * ratio * m2_slope / mean["m2"]) / 3
    length = stats.correlations.second_moment_correlation_length(mean["structure"])
    binder = stats.binder_cumulant(mean["improved m2"], mean["improved m4"])
    return Point(binder, slope, num_sites * mean["improved m2"], length)


def sample(key: jax.Array, side: int, coupling: float, scale: Scale) -> Point:
    """Chains at one coupling, from order, a tenth of them left out."""
    ising = models.Ising(lattice.hypercubic((side, side)), coupling)
    sampler = samplers.replicas(samplers.swendsen_wang(ising), scale.num_chains)
    start_key, key = jax.random.split(key)
    start = samplers.warm_up(start_key, sampler, sampler.init(key), scale.num_steps // 10)

    def observe(spins: jax.Array) -> tuple:
        return ising.observables(spins), stats.correlations.structure_factor(spins)[:, 0]

    run = samplers.run(key, sampler, start, scale.num_steps, observe=observe)
    (energy, magnetization), structure = run.trace
    energy, m2 = energy - jnp.mean(energy), magnetization**2
    series = {"m2": m2, "m4": m2**2, "e": energy, "m2 e": m2 * energy, "m4 e": m2**2 * energy, "structure": structure}
    series |= {"improved m2": run.info.magnetization_squared, "improved m4": run.info.magnetization_fourth}
    return stats.gamma_method(jax.tree_util.Partial(measured, num_sites=float(side**2)), series)


def curves(scale: Scale) -> dict[int, tuple[np.ndarray, list[Point]]]:
    """Couplings and points of every size; the middle coupling is the exact Kc."""
    found = {}
    for number, side in enumerate(scale.sizes):
        reach = scale.width / side / 2
        couplings = exact.critical_coupling + reach * np.linspace(-1, 1, scale.num_couplings)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), number), scale.num_couplings)
        points = [sample(key, side, float(coupling), scale) for key, coupling in zip(keys, couplings, strict=True)]
        found[side] = couplings, points
        print(f"L = {side}: U = {points[scale.num_couplings // 2].binder} at Kc", flush=True)
    return found


def column(points: list[Point], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors of one quantity."""
    chosen = [getattr(point, name) for point in points]
    return np.array([float(one.value) for one in chosen]), np.array([float(one.error) for one in chosen])


# %%
def crossing(data: dict, small: int, large: int) -> scaling.Crossing:
    """Of the Binder cumulants of two sizes, the small one's interpolated to the couplings of the large one."""
    couplings, points = data[large]
    u, errors = column(points, "binder")
    fitted = small_curve(data, small, couplings)
    return scaling.crossing(couplings, fitted[0], u, fitted[1], errors)


def small_curve(data: dict, side: int, couplings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Binder cumulant of a size at other couplings, by a parabola through its own."""
    own, points = data[side]
    u, errors = column(points, "binder")
    reach = np.ptp(own) / 2
    x = jnp.asarray((own - exact.critical_coupling) / reach)

    def residuals(x: jax.Array, u: jax.Array, errors: jax.Array, terms: jax.Array) -> jax.Array:
        return (u - jnp.vander(x, 3) @ terms) / errors

    fit = scaling.least_squares(jax.tree_util.Partial(residuals, x, jnp.asarray(u), jnp.asarray(errors)), jnp.zeros(3))
    powers = np.vander((couplings - exact.critical_coupling) / reach, 3)
    variance = np.einsum("ni,ij,nj->n", powers, np.asarray(fit.covariance), powers)
    return powers @ np.asarray(fit.params), np.sqrt(variance)


def power(data: dict, name: str, sizes: list[int]) -> scaling.Fit:
    """Of the sizes, at Kc."""
    middle = [data[side][1][len(data[side][1]) // 2] for side in sizes]
    values, errors = column(middle, name)
    return scaling.power_law(np.array(sizes, float), values, errors)


def collapsed(data: dict, sizes: list[int]) -> scaling.Fit:
    """Binder cumulants of the sizes on one curve."""
    x = np.concatenate([data[side][0] for side in sizes])
    pairs = [column(data[side][1], "binder") for side in sizes]
    u, errors = (np.concatenate([pair[part] for pair in pairs]) for part in (0, 1))
    side_of_point = np.repeat(np.array(sizes, float), len(data[sizes[0]][0]))
    # Single precision keeps more digits of the distance from a nearby number than of K.
    return scaling.collapse(side_of_point, x - exact.critical_coupling, u, errors, critical=0.0, thermal=0.9, degree=3)


# %%
def figure(data: dict, fit: scaling.Fit, sizes: list[int]) -> Figure:
    """Curves that cross, the same collapsed, and the two power laws."""
    drawn, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for side, (couplings, points) in data.items():
        u, errors = column(points, "binder")
        axes[0].errorbar(couplings, u, errors, marker="o", markersize=3, linewidth=1, label=f"$L = {side}$")
        away = couplings - exact.critical_coupling - float(fit.params["critical"])
        axes[1].errorbar(away * side ** float(fit.params["thermal"]), u, errors, marker="o", markersize=3, linestyle="")
    axes[0].axvline(exact.critical_coupling, color="0.6", linewidth=1)
    axes[0].set(xlabel="coupling $K$", ylabel="Binder cumulant $U$")
    axes[0].legend()
    axes[1].set(xlabel="$(K - K_c)\\, L^{1/\\nu}$, both fitted", ylabel="Binder cumulant $U$")
    for name, label in (("slope", "$dU/dK$"), ("susceptibility", "$N \\langle m^2 \\rangle$")):
        values, errors = column([data[side][1][len(data[side][1]) // 2] for side in data], name)
        line = axes[2].errorbar(list(data), values, errors, marker="o", markersize=4, linestyle="", label=label)
        law = power(data, name, sizes)
        grid = np.geomspace(min(data), max(data), 50)
        expected = np.exp(float(law.params["log_amplitude"])) * grid ** float(law.params["exponent"])
        axes[2].plot(grid, expected, color=line[0].get_color(), linewidth=1)
    axes[2].set(xscale="log", yscale="log", xlabel="side $L$ / lattice spacings", ylabel="at $K_c$")
    axes[2].legend()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/ising_exponents") -> None:
    scale = SMOKE if smoke else Scale()
    data = curves(scale)
    sizes = list(scale.sizes)
    small, large = sizes[:2], (sizes if smoke else sizes[1:])
    fit, control = collapsed(data, large[-3:]), collapsed(data, small)
    kc = exact.critical_coupling
    first, last = crossing(data, *small), crossing(data, *sizes[-2:])
    rows = [study.HEADER]

    def row(claim: str, published: str, of: Any, against: Any) -> None:
        rows.append(study.Claim(claim, published, of, against))

    row(
        f"Kc, U of L = {sizes[-2]} and {sizes[-1]} cross",
        f"{kc:.6f}",
        study.show(last.location, last.error, 6),
        f"L = {small[0]} and {small[1]}: {study.show(first.location, first.error, 6)}",
    )
    for name, claim, published, shift in (
        ("slope", "1/ν, dU/dK at Kc", "1", 0.0),
        ("susceptibility", "η, N<m²> at Kc", "0.25", 2.0),
    ):
        law, other = power(data, name, large), power(data, name, small)
        texts = []
        for one in (law, other):
            value = float(one.params["exponent"])
            texts.append(study.show(shift - value if shift else value, one.errors["exponent"], 4))
        row(claim, published, f"{texts[0]} (p = {float(law.p_value):.2f})", f"L = {small[0]}, {small[1]}: {texts[1]}")
    for name, claim, published, shift in (
        ("critical", "Kc, collapse", f"{kc:.6f}", kc),
        ("thermal", "1/ν, collapse", "1", 0),
    ):
        digits = 6 if name == "critical" else 3
        row(
            claim,
            published,
            f"{study.show(float(fit.params[name]) + shift, fit.errors[name], digits)} (p = {float(fit.p_value):.2f})",
            f"L = {small[0]}, {small[1]}: "
            f"{study.show(float(control.params[name]) + shift, control.errors[name], digits)}",
        )
    at_kc = data[sizes[-1]][1][scale.num_couplings // 2]
    early = data[sizes[0]][1][scale.num_couplings // 2]
    row(f"U at Kc, L = {sizes[-1]}", "0.61069", str(at_kc.binder), f"L = {sizes[0]}: {early.binder}")
    ratio, other = (float(p.correlation_length.value) / n for p, n in ((at_kc, sizes[-1]), (early, sizes[0])))
    error = float(at_kc.correlation_length.error) / sizes[-1]
    row(f"ξ/L at Kc, L = {sizes[-1]}", "0.9050", study.show(ratio, error, 4), f"L = {sizes[0]}: {other:.4f}")
    study.print_claims(rows)
    drawn = figure(data, fit, large)
    study.save({"ising_exponents": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "Critical point and exponents of the Ising model by finite-size scaling.")
