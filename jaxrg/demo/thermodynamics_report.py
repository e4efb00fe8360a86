"""Chapter 1 as a table, an answer and a section of the page."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import exact, plot
from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict, chance_of_largest, mean_square, value_with_error
from jaxrg.demo.thermodynamics import CRITICAL_TEMPERATURE, QUANTITIES, SMALL_SIDE
from jaxrg.demo.workspace import Workspace

TITLE = "1. The Ising model across temperatures"
HEADER = ("L", "T", "quantity", "exact", "method", "value", "z", "tau_int")
LEAST_CHANCE = 0.01  # of the largest score among so many, below which something is wrong
MOST_STRAY = 3.0  # errors of the mean square of all scores
_LABELS = {"energy": "energy", "specific_heat": "specific heat", "abs_magnetization": "|m|", "binder": "Binder"}
_METHODS = {"wolff": "Wolff", "heat_bath": "heat bath"}


def scores(chapter: dict[str, Any]) -> list[float]:
    """All known z-scores."""
    found = [q["z"] for row in chapter["rows"] for q in row["quantities"].values() if "z" in q]
    return [score for score in found if np.isfinite(score)]


def tables(chapter: dict[str, Any]) -> list[Table]:
    """One row for each lattice, temperature, quantity and method."""
    rows = []
    for wolff, heat_bath in zip(chapter["rows"][::2], chapter["rows"][1::2], strict=True):
        for name in QUANTITIES:
            for row in (wolff, heat_bath):
                found = row["quantities"][name]
                rows.append(
                    (
                        str(row["side"]),
                        f"{row['temperature']:.4f}",
                        _LABELS[name],
                        f"{found['exact']:.6f}" if "exact" in found else "",
                        _METHODS[row["method"]],
                        value_with_error(found["value"], found["error"]) + ("" if found["is_converged"] else "?"),
                        f"{found['z']:+.1f}" if "z" in found else "",
                        value_with_error(found["tau_int"], found["tau_int_error"]),
                    )
                )
    return [Table(TITLE, HEADER, rows, num_shared=4)]


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether the scores are those of right values with right errors."""
    found = scores(chapter)
    estimates = [quantity for row in chapter["rows"] for quantity in row["quantities"].values()]
    num_unsure = sum(not estimate["is_converged"] for estimate in estimates)
    unsure = f"; {num_unsure} of {len(estimates)} errors are not to be trusted" if num_unsure else ""
    question = "Do Wolff and heat bath give the exact values, within their errors?"
    if not found:
        return [Verdict(question, None, f"no z-score is known{unsure}")]
    square, stray = mean_square(found)
    chance = chance_of_largest(found)
    is_right = abs(square - 1) <= MOST_STRAY * stray and chance >= LEAST_CHANCE
    largest = max(map(abs, found))
    numbers = (
        f"{len(found)} z-scores against exact values: largest {largest:.1f} (chance alone gives so large a one to "
        f"{chance:.1%} of such sets), mean square {square:.2f} ({value_with_error(1, stray)} expected){unsure}"
    )
    return [Verdict(question, is_right, numbers)]


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 1."""
    figure = plot.temperature_scan(chapter["rows"], curves(chapter), critical_temperature=CRITICAL_TEMPERATURE)
    name = workspace.figure("1_thermodynamics", figure)
    side = chapter["scale"]["side"]
    text = (
        f"<p>Wolff clusters and a multispin heat bath (32 independent chains) on a {side} &times; {side} torus. Energy "
        "and specific heat are compared with Kaufman's exact solution of the same finite torus; on the "
        f"{SMALL_SIDE} &times; {SMALL_SIDE} torus every quantity is compared with the sum over all 65,536 states. "
        f"There is no closed form of |m| and of the Binder cumulant at L = {side}: Yang's curve is that of the "
        "infinite lattice, which a finite one leaves near the critical temperature. Errors are one standard deviation, "
        "from the autocorrelation of the chains, with &tau;<sub>int</sub> = &frac12; + &Sigma;&rho; in steps of the "
        "chain (clusters for Wolff, sweeps for heat bath); a question mark behind a value says that its error is not "
        "to be trusted.</p>"
    )
    caption = "Observables over exact curves, autocorrelation times and z-scores; dotted: critical temperature."
    shown = text + figure_html(name, caption) + tables(chapter)[0].as_html(is_folded=True)
    return section_html("thermodynamics", TITLE, verdicts(chapter), shown)


def curves(chapter: dict[str, Any]) -> dict[str, list[tuple[np.ndarray, np.ndarray, str]]]:
    """The exact curves there are, by quantity."""
    side = chapter["scale"]["side"]
    ends = [row["temperature"] for row in chapter["rows"]]
    temperatures = np.linspace(min(ends) - 0.05, max(ends) + 0.05, 120)
    with jax.enable_x64(True):
        device = jnp.asarray(temperatures)
        energy = jax.vmap(lambda t: exact.torus_energy(1 / t, (side, side)))(device)
        heat = jax.vmap(lambda t: exact.torus_specific_heat(1 / t, (side, side)))(device)
        magnetization = jax.vmap(lambda t: exact.yang_magnetization(1 / t))(device)
    large, small = (f"exact, {length} x {length} torus" for length in (side, SMALL_SIDE))
    found = {name: [(temperatures, values, small)] for name, values in small_torus(SMALL_SIDE, temperatures).items()}
    found["energy"].insert(0, (temperatures, np.asarray(energy), large))
    found["specific_heat"].insert(0, (temperatures, np.asarray(heat), large))
    found["abs_magnetization"].append((temperatures, np.asarray(magnetization), "Yang, infinite lattice"))
    return found


def small_torus(side: int, temperatures: Sequence[float] | np.ndarray) -> dict[str, np.ndarray]:
    """Every quantity of a torus at many temperatures, from its numbers of states by energy and magnetization."""
    num_sites = side * side
    bits = (np.arange(2**num_sites)[:, None] >> np.arange(num_sites)) & 1
    spins = (2 * bits - 1).astype(np.int8).reshape(-1, side, side)
    energies = -sum((spins * np.roll(spins, 1, axis)).sum(axis=(1, 2), dtype=np.int64) for axis in (1, 2))
    pairs, counts = np.unique(np.stack([energies, spins.sum(axis=(1, 2), dtype=np.int64)]), axis=1, return_counts=True)
    energy, magnetization = pairs.astype(np.float64)
    beta = 1 / np.asarray(temperatures, np.float64)[:, None]
    # The ground state's energy is taken off, so that no weight overflows.
    weights = counts * np.exp(-beta * (energy - energy.min()))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ energy
    second, fourth = (weights @ (magnetization / num_sites) ** power for power in (2, 4))
    return {
        "energy": mean / num_sites,
        "specific_heat": beta[:, 0] ** 2 * (weights @ energy**2 - mean**2) / num_sites,
        "abs_magnetization": weights @ np.abs(magnetization) / num_sites,
        "binder": 1 - fourth / (3 * second**2),
    }
