# %% [markdown]
# # Critical slowing down: dynamic exponents of heat bath, Swendsen-Wang and Wolff
# Autocorrelation times of the two-dimensional Ising model at its critical point grow as L^z. Single-spin dynamics has
# z = 2.17, clusters so small an exponent that a logarithm is hard to tell from it: both are fitted. The time of one
# Wolff cluster is counted as the share of the lattice that it flips, so that all times are in sweeps.

# %%
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.tree_util import Partial
from matplotlib.figure import Figure

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.stats import scaling


class Scale(NamedTuple):
    """How much is sampled."""

    heat_bath_sizes: tuple[int, ...] = (8, 12, 16, 24, 32, 48, 64)
    cluster_sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    num_measured: int = 4_000  # values of m^2 a chain
    spacing: float = 40.0  # L^2 over the sweeps between two of them, about a sixth of the time to be found
    site_updates: float = 5e8  # of every run of clusters
    most_steps: int = 100_000


SMOKE = Scale((4, 8), (4, 8), num_measured=200, spacing=16.0, site_updates=1e6, most_steps=1_000)


class Time(NamedTuple):
    """An autocorrelation time in sweeps, with its error."""

    value: float
    error: float


def ising(side: int) -> models.Ising:
    return models.Ising(lattice.hypercubic((side, side)), exact.critical_coupling)


def run(key: jax.Array, sampler: Any, side: int, num_steps: int) -> samplers.Run:
    """So many steps from equilibrium, which a tenth as many before them come to."""
    start_key, burn_key, key = jax.random.split(key, 3)
    observe = ising(side).observables
    start = samplers.run(burn_key, sampler, sampler.init(start_key), num_steps // 10, observe=observe).state
    return samplers.run(key, sampler, start, num_steps, observe=observe)


# %%
WINDOW = 6  # autocorrelation times that are summed: an exponential tail loses e^-6


def integrated_time(series: jax.Array, unit: float) -> Time:
    r"""The autocorrelation time of ``[chains, samples]`` in units of sweeps, summed up to a window of six such times.

    .. math:: \tau = \tfrac12 + \sum_{t=1}^W \rho(t), \quad W \ge 6 \tau, \qquad
        \sigma_\tau = \tau \sqrt{\frac{2 (2 W + 1)}{N}}

    `jaxrg.stats.summary` does not trust a window, and pays with an error of tau three times as large; here all chains
    are long and of one kind (Madras & Sokal, J. Stat. Phys. 50, 109 (1988)).
    """
    num_lags = min(series.shape[1] // 4, 1_000)
    tau = np.cumsum(np.asarray(stats.autocorrelation_function(series, num_lags=num_lags), float)) - 0.5
    is_wide = np.arange(num_lags) >= WINDOW * tau
    if not is_wide.any():
        raise ValueError(f"series: expected {WINDOW} autocorrelation times within {num_lags} steps, got fewer")
    window = int(is_wide.argmax())
    error = tau[window] * np.sqrt(2 * (2 * window + 1) / series.size)
    return Time(float(tau[window]) * unit, float(error) * unit)


def heat_bath_time(key: jax.Array, side: int, scale: Scale) -> Time:
    """Of m^2, in 32 chains of one word."""
    spacing = max(1, round(side**2 / scale.spacing))
    sampler = samplers.thin(samplers.multispin_heat_bath(ising(side), num_chains=32), spacing)
    return integrated_time(run(key, sampler, side, scale.num_measured).trace.magnetization ** 2, spacing)


def num_cluster_steps(side: int, share: float, scale: Scale) -> int:
    """Steps of a run, each of which updates this share of the lattice."""
    return int(min(scale.most_steps, scale.site_updates / (share * side**2)))


def swendsen_wang_time(key: jax.Array, side: int, scale: Scale) -> Time:
    """Of the energy, in steps, each of which is a sweep."""
    num_steps = num_cluster_steps(side, 1.0, scale)
    return integrated_time(run(key, samplers.swendsen_wang(ising(side)), side, num_steps).trace.energy, 1.0)


def wolff_time(key: jax.Array, side: int, scale: Scale) -> Time:
    """Of the energy; a step is as much of a sweep as the mean share of the lattice in its cluster."""
    num_steps = num_cluster_steps(side, side**-0.25, scale)
    _, trace, info = run(key, samplers.wolff(ising(side)), side, num_steps)
    return integrated_time(trace.energy, float(np.mean(info.cluster_size)) / side**2)


TIMES = {"heat bath": heat_bath_time, "Swendsen-Wang": swendsen_wang_time, "Wolff": wolff_time}


def measured(scale: Scale) -> dict[str, dict[int, Time]]:
    """Times of all samplers and sizes."""
    found: dict[str, dict[int, Time]] = {}
    for number, (name, time_of) in enumerate(TIMES.items()):
        sizes = scale.heat_bath_sizes if name == "heat bath" else scale.cluster_sizes
        found[name] = {}
        for side in sizes:
            key = jax.random.fold_in(jax.random.key(number), side)
            found[name][side] = time_of(key, side, scale)
            print(f"{name}, L = {side}: tau = {study.show(*found[name][side], 3)} sweeps", flush=True)
    return found


# %%
def columns(times: dict[int, Time]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, times and their errors."""
    values, errors = (np.array([time[part] for time in times.values()]) for part in (0, 1))
    return np.array(list(times), float), values, errors


def log_residuals(sides: jax.Array, tau: jax.Array, errors: jax.Array, terms: dict[str, jax.Array]) -> jax.Array:
    return (tau - terms["constant"] - terms["slope"] * jnp.log(sides)) / errors


def logarithm(times: dict[int, Time]) -> scaling.Fit:
    r"""The other form, :math:`\tau = a + b \ln L`."""
    data = (jnp.asarray(column, jnp.float32) for column in columns(times))
    return scaling.least_squares(Partial(log_residuals, *data), {"constant": 0.0, "slope": 1.0})


def largest(times: dict[int, Time]) -> dict[int, Time]:
    """All but the two smallest sizes, where corrections to scaling show."""
    return dict(list(times.items())[-max(2, len(times) - 2) :])


def claims(found: dict[str, dict[int, Time]]) -> list[study.Claim]:
    """A line for every exponent, and for the logarithm of clusters."""
    published = {"heat bath": "2.1676(1)", "Swendsen-Wang": "0.25, or log L", "Wolff": "0.25, or log L"}
    rows = [study.HEADER]
    for name, times in found.items():
        chosen = largest(times)
        fit, control = scaling.power_law(*columns(chosen)), scaling.power_law(*columns(times))
        texts = [study.show(one.params["exponent"], one.errors["exponent"], 3) for one in (fit, control)]
        what = "m²" if name == "heat bath" else "energy"
        rows.append(
            study.Claim(
                f"z of {name}, {what}, L = {min(chosen)} to {max(chosen)}",
                published[name],
                f"{texts[0]} (p = {float(fit.p_value):.2f})",
                f"from L = {min(times)} on: {texts[1]} (p = {float(control.p_value):.2f})",
            )
        )
        if name != "heat bath":
            other = logarithm(chosen)
            terms = (study.show(other.params[term], other.errors[term], 2) for term in ("constant", "slope"))
            rows.append(
                study.Claim(
                    "the same as a + b ln L: a; b",
                    "none",
                    f"{'; '.join(terms)} (p = {float(other.p_value):.2f})",
                    f"power law: p = {float(fit.p_value):.2f}",
                )
            )
    return rows


def figure(found: dict[str, dict[int, Time]]) -> Figure:
    """All times with their power laws; those of clusters again, with the logarithm."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for colour, (name, times) in zip(("C0", "C1", "C2"), found.items(), strict=True):
        sides, tau, errors = columns(times)
        chosen = largest(times)
        law = scaling.power_law(*columns(chosen))
        exponent, amplitude = float(law.params["exponent"]), np.exp(float(law.params["log_amplitude"]))
        grid = np.geomspace(sides.min(), sides.max(), 60)
        label = f"{name}, $z = {exponent:.3f}$"
        for axes in (left,) if name == "heat bath" else (left, right):
            axes.errorbar(sides, tau, errors, color=colour, marker="o", markersize=4, linestyle="", label=label)
            axes.plot(grid, amplitude * grid**exponent, color=colour, linewidth=1)
            if axes is right:
                other = logarithm(chosen).params
                curve = float(other["constant"]) + float(other["slope"]) * np.log(grid)
                axes.plot(grid, curve, color=colour, linewidth=1, linestyle=":")
    left.set(xscale="log", yscale="log")
    right.set(xscale="log")
    for axes in (left, right):
        axes.set(xlabel="side $L$ / lattice spacings", ylabel="$\\tau_\\mathrm{int}$ / sweeps")
        axes.legend()
    right.plot([], [], color="0.4", linestyle=":", label="$a + b\\,\\ln L$")
    right.legend()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/dynamic_exponents") -> None:
    scale = SMOKE if smoke else Scale()
    found = measured(scale)
    study.print_claims(claims(found))
    drawn = figure(found)
    study.save({"dynamic_exponents": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "Dynamic exponents of heat bath, Swendsen-Wang and Wolff.")
