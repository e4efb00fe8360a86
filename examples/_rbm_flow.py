"""The flow v -> h -> v -> ... of machines that learned Ising configurations: where it ends, and what it is.

A step samples p(h|v) and p(v|h), so that the flow is block Gibbs sampling: it ends in the distribution of the machine,
which is the one of its data as far as it was learned. Data of many temperatures are a mixture of them, no ensemble of
one temperature, and thermometers of it disagree. Three are read here, each the inverse of a mean that is known along
equilibrium: the energy by the exact curve of the torus, m² and a trained classifier by held-out samples. On twelve
sites the end of the flow is exact, for machines that learned by the exact gradient and by contrastive divergence.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import exact, stats
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _rbm_flow_machines import (
    ALL,
    BRIEF,
    CRITICAL,
    ENERGY,
    HOT,
    HOTTEST,
    SMOKE,
    SQUARE,
    THERMOMETERS,
    Flow,
    Scale,
    Study,
    study,
)
from _study import HEADER, Claim, print_claims, run_main, save, show


def over_machines(statistic: Any, *samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A statistic of machines with its bootstrap error over them."""
    groups = [jnp.asarray(each, jnp.float32) for each in samples]
    found = stats.bootstrap(jax.random.key(5), statistic, *groups, num_resamples=400)
    return np.asarray(found.value), np.asarray(found.error)


def _mean(values: Array) -> Array:
    return jnp.mean(values, axis=0)


def readings(found: Study, flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Temperature ``[3]`` of the end of a flow with its bootstrap error over machines."""
    return over_machines(_mean, found.reader.read(flow.ends.T).T)


def crossing(found: Study, flow: Flow, mark: int) -> tuple[np.ndarray, np.ndarray]:
    """Temperature at which the energy stands still from the start up to a mark, with its error over machines."""
    temperatures = found.temperatures

    def of(drift: np.ndarray) -> float:
        place = np.flatnonzero((drift[:-1] > 0) & (drift[1:] <= 0))
        if not len(place):
            return float("nan")
        left = place[0]
        share = drift[left] / (drift[left] - drift[left + 1])
        return float(temperatures[left] + share * (temperatures[left + 1] - temperatures[left]))

    drifts = flow.values[:, mark, 0] - flow.values[:, 0, 0]
    crossings = np.array([of(drift) for drift in drifts])
    return np.array(crossings.mean()), over_machines(_mean, crossings)[1]


def texts(values: np.ndarray, errors: np.ndarray | None = None) -> str:
    shown = [f"{value:.2f}" for value in values] if errors is None else map(show, values, errors)
    return ", ".join(f"{name} {text}" for name, text in zip(THERMOMETERS, shown, strict=True))


def torus_peak(side: int) -> float:
    """Temperature of the largest specific heat of the torus."""
    grid = np.linspace(2.1, 2.8, 141)
    heats = [float(exact.torus_specific_heat(jnp.float32(1 / each), (side, side))) for each in grid]
    return float(grid[int(np.argmax(heats))])


def canonical_spread(temperature: float, side: int) -> float:
    """Standard deviation of the energy per site in equilibrium; the specific heat is K² of its variance times N."""
    heat = float(exact.torus_specific_heat(jnp.float32(1 / temperature), (side, side)))
    return float(np.sqrt(heat) * temperature / side)


def warming(flow: Flow) -> np.ndarray:
    """``[starts]`` whether the energy of a start is higher at the end, in most machines."""
    return (flow.values[:, -1, 0] > flow.values[:, 0, 0]).mean(axis=0) > 0.5


def end_claims(found: Study) -> list[Claim]:
    """Where flows end, and how far from the data of their machines."""
    rows = []
    for name, flow in found.flows.items():
        published = "2.27" if name.startswith(ALL) else "not 2.27" if name.startswith(HOT) else "-"
        rows.append(Claim(f"flow ends at T: {name}", published, texts(*readings(found, flow)),
                          f"its data read {texts(found.reader.read(flow.target))}"))  # fmt: skip
    for name, flow in found.flows.items():
        energy, square = (over_machines(_mean, flow.ends[:, part] - flow.target[part]) for part in (0, 1))
        rows.append(Claim(f"end less its data: {name}", "-",
                          f"energy per site {show(*energy, 3, '+')}, m² {show(-square[0], square[1], 3, '+')}",
                          f"data {flow.target[0]:.3f}, {-flow.target[1]:.3f}"))  # fmt: skip
    small = found.small
    for name, ends in (("exact gradient", small.by_gradient), ("CD-1", small.by_divergence)):
        energy, square, divergence = (over_machines(_mean, ends[:, part]) for part in range(3))
        data = f"data {small.data[0]:.3f}, {small.data[1]:.3f}; KL {show(*divergence, 4)} nats"
        rows.append(Claim(f"exact end less its data, 12 sites: {name}", "-",
                          f"energy per site {show(*energy, 3, '+')}, m² {show(*square, 3, '+')}", data))  # fmt: skip
    return rows


def way_claims(found: Study) -> list[Claim]:
    """How the flow of the machine of all temperatures goes there."""
    side, main = found.scale.side, found.flows[f"{ALL}, {found.scale.size} hidden"]
    critical = f"Tc {CRITICAL:.3f}; largest specific heat of the {side} x {side} torus at {torus_peak(side):.2f}"
    at = float(found.reader.read(main.ends.T)[0].mean())
    is_below = found.temperatures < at
    hot = found.flows[f"{HOT}, {found.scale.size} hidden"]
    hot_end = float(found.reader.read(hot.ends.T)[0].mean())
    last = main.values[:, -1, 0][:, [0, -1]]
    forgotten = over_machines(_mean, last[:, 1] - last[:, 0])
    peaks = ", ".join(f"{value:g}" for value in sorted(main.peak))
    return [
        Claim("flow goes", "toward 2.27, opposite to RG",
              f"toward T = {at:.2f} from {int((warming(main) == is_below).sum())} of {len(is_below)} starts",
              f"{HOT}: toward {hot_end:.2f} from {int((warming(hot) == (found.temperatures < hot_end)).sum())}"),
        Claim("energy stands still at T", "2.27", f"one step {show(*crossing(found, main, 1))}, all "
              f"{show(*crossing(found, main, -1))}", critical),
        Claim("most likely T of the classifier", "2.27", f"{peaks} by machine", "of its mean chances, as published"),
        Claim("the start is forgotten", "yes", f"energy per site from T = 6 less from T = 0 {show(*forgotten, 3, '+')}",
              f"after {found.scale.marks[-1]} steps"),
        Claim("the end has one temperature", "yes",
              f"energy per site scatters by {show(*over_machines(_mean, main.spread), 3)}",
              f"in equilibrium at T = {at:.2f} by {canonical_spread(at, side):.3f}, of the data by "
              f"{found.data_spread:.3f}"),
    ]  # fmt: skip


def draw_flow(axes: Any, found: Study) -> None:
    """Three axes: the flow by its energy, the ends by three thermometers, and the plane of energy and m²."""
    reader, marks = found.reader, np.array(found.scale.marks)
    main = found.flows[f"{ALL}, {found.scale.size} hidden"]
    way = reader.read(np.moveaxis(main.values.mean(axis=0), 1, 0))  # [3, marks, starts]
    colours = style.series_colours(20)
    places = np.linspace(0, way.shape[2] - 1, 13).astype(int)
    for place, colour in zip(places, colours[3:], strict=False):
        axes[0].plot(marks, way[0, :, place], "o-", color=colour, markersize=3, linewidth=1)
    axes[0].axhline(CRITICAL, color="black", linestyle=":", label="$T_c$")
    axes[0].axhline(reader.read(main.target)[0], color=style.GREY, linestyle="--", label="energy of the data")
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(-0.1, 1.2 * marks[-1])
    axes[0].set(xlabel="steps v → h → v", ylabel="temperature by the energy / J", ylim=(-0.1, HOTTEST + 0.2))
    axes[0].set_title(f"flow of a machine of {ALL}, {found.scale.size} hidden", fontsize=9)
    axes[0].legend(fontsize=8)
    names = list(found.flows)
    for part, (label, marker) in enumerate(zip(THERMOMETERS, ("o", "s", "^"), strict=True)):
        pairs = [readings(found, flow) for flow in found.flows.values()]
        heights = np.arange(len(names)) + 0.2 * (part - 1)
        axes[1].errorbar([value[part] for value, _ in pairs], heights, xerr=[error[part] for _, error in pairs],
                         fmt=marker, color=style.SERIES[part], markersize=4, capsize=2, label=label)  # fmt: skip
        targets = [reader.read(flow.target)[part] for flow in found.flows.values()]
        axes[1].scatter(targets, heights, marker="|", s=90, color=style.SERIES[part])
    axes[1].axvline(CRITICAL, color="black", linestyle=":")
    axes[1].set_yticks(range(len(names)), names, fontsize=8)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="temperature at the end of the flow / J", xlim=(-0.2, HOTTEST + 0.2))
    axes[1].set_title("by thermometer; bars: their data", fontsize=9)
    axes[1].legend(fontsize=8)
    fine = np.interp(reader.temperatures[SQUARE], reader.temperatures[ENERGY], reader.curves[ENERGY])
    axes[2].plot(fine, -reader.curves[SQUARE], "-", color="black", label="equilibrium")
    mean = main.values.mean(axis=0)
    for place, colour in zip(places, colours[3:], strict=False):
        axes[2].plot(mean[:, 0, place], -mean[:, 1, place], ".-", color=colour, markersize=3, linewidth=0.8)
    for name, marker in ((f"{ALL}, {found.scale.size} hidden", "*"), (BRIEF, "P")):
        end = found.flows[name].ends.mean(axis=0)
        axes[2].scatter(end[0], -end[1], marker=marker, s=90, color=style.RED, zorder=3, label=f"end: {name}")
    axes[2].scatter(main.target[0], -main.target[1], marker="X", s=70, color="black", zorder=3, label="data")
    axes[2].set(xlabel="energy per site / J", ylabel="$m^2$")
    axes[2].set_title("the flow leaves equilibrium", fontsize=9)
    axes[2].legend(fontsize=8)


def flow(smoke: bool) -> tuple[list[Claim], Study]:
    """Claims, and what `draw_flow` draws."""
    found = study(SMOKE if smoke else Scale())
    return [*end_claims(found), *way_claims(found)], found


def main(smoke: bool = False, out: str = "out/rbm_flow") -> None:
    rows, found = flow(smoke)
    print_claims([HEADER, *rows])
    figure, grid = style.new_figure(1, 3, size=(15, 4.6))
    draw_flow(grid[0], found)
    save({"rbm_flow": figure}, out)


if __name__ == "__main__":
    run_main(main, "The flow of a Boltzmann machine that learned Ising configurations.")
