"""Chapter 4 as a table, answers and a section of the page."""

import itertools
from typing import Any

import numpy as np

from jaxrg import plot
from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict, chance_of_largest, combined, is_beyond, listed, value_with_error
from jaxrg.demo.workspace import Workspace

TITLE = "4. Block spins and their couplings"
LEAST_CHANCE = 0.01  # of the largest deviation among the couplings of the finest lattice
FIRST = "nearest_neighbour"
EXACT = {"thermal": 1.0, "magnetic": 1.875}  # exponents of the square lattice at its critical point


EXPONENTS = (
    "<p>How a blocking changes small differences of couplings follows from how the operators of both lattices vary "
    "together. The largest eigenvalues of that matrix, of even and of odd operators, are 2 to the powers y_T and y_h. "
    "Only at the critical point do they stay from step to step, which as many samples taken there show.</p>"
)


def tables(chapter: dict[str, Any]) -> list[Table]:
    """The measured couplings by level, and how far those of the finest are from the truth."""
    names = list(chapter["levels"][0]["couplings"])
    rows = []
    for level in chapter["levels"]:
        cells = [value_with_error(level["couplings"][name], level["errors"][name]) for name in names]
        rows.append((f"{level['side']} x {level['side']}", *cells))
    first = chapter["levels"][0]
    rows.append(("z, finest", *(f"{first['z'][name]:+.1f}" for name in names)))
    header = ("lattice", *(name.replace("_", " ") for name in names))
    return [Table("4. Couplings measured before and after blocking", header, rows), _exponents(chapter)]


def _exponents(chapter: dict[str, Any]) -> Table:
    """y_T and y_h of every step, of these samples and of critical ones, above the exact ones."""
    runs = ((f"K = {chapter['coupling']:g}", chapter["exponents"]), ("critical", chapter["critical"]["exponents"]))
    rows = [
        (name, f"{2 * step['side']} to {step['side']}", *(_of_step(step, kind) for kind in EXACT))
        for name, steps in runs
        for step in steps
    ]
    exact = ("exact", "", *(f"{value:g}" for value in EXACT.values()))
    return Table("4. Exponents by Monte Carlo renormalisation", ("samples", "step", "y_T", "y_h"), [*rows, exact], 1)


def _of_step(step: dict[str, Any], kind: str) -> str:
    return value_with_error(step[kind], step[f"{kind}_error"])


def _measured(level: dict[str, Any], name: str) -> str:
    return value_with_error(level["couplings"][name], level["errors"][name])


def generated(chapter: dict[str, Any]) -> list[str]:
    """Couplings of the first blocked lattice that were not there before and are not zero within their errors."""
    if len(chapter["levels"]) < 2:
        return []
    level, truth = chapter["levels"][1], chapter["levels"][0]["exact"]
    return [
        name
        for name, value in level["couplings"].items()
        if truth[name] == 0 and is_beyond(abs(value), level["errors"][name])
    ]


def _falling(chapter: dict[str, Any]) -> Verdict:
    levels = chapter["levels"]
    falls = []
    for fine, coarse in itertools.pairwise(levels):
        change = fine["couplings"][FIRST] - coarse["couplings"][FIRST]
        error = combined(fine["errors"][FIRST], coarse["errors"][FIRST])
        falls.append(is_beyond(change, error) if np.isfinite([change, error]).all() else None)
    is_yes = None if None in falls or not falls else all(falls)
    values = ", ".join(_measured(level, FIRST) for level in levels)
    sides = ", ".join(str(level["side"]) for level in levels)
    return Verdict("Does every blocking lower the nearest-neighbour coupling?", is_yes, f"{values} at L = {sides}")


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether the true couplings are found, and what blocking does to them."""
    finest = chapter["levels"][0]
    scores = list(finest["z"].values())
    is_known = bool(np.isfinite(scores).all())
    chance = chance_of_largest(scores) if is_known else np.nan
    found = Verdict(
        "Do the samples alone give back the couplings they were drawn with?",
        chance >= LEAST_CHANCE if is_known else None,
        f"K = {_measured(finest, FIRST)} where it is {finest['exact'][FIRST]:g}, others zero; largest |z| of "
        f"{len(scores)}: {np.max(np.abs(scores)):.1f}",
    )
    others = generated(chapter)
    if len(chapter["levels"]) < 2:
        return [found]
    level = chapter["levels"][1]
    named = [f"{name.replace('_', ' ')} {_measured(level, name)}" for name in others]
    new = Verdict(
        "Does blocking generate couplings that were not there?",
        bool(others) if np.isfinite(list(level["couplings"].values())).all() else None,
        f"at L = {level['side']}: {listed(named) or 'none beyond its error'}",
    )
    return [found, _falling(chapter), new, *_critical(chapter)]


def _critical(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether the last step of critical samples has the exact exponents, and whether that of the others has not."""
    found = []
    runs = (
        ("Has the last blocking of critical samples the exact exponents?", chapter["critical"]["exponents"], True),
        (f"Has that of the samples at K = {chapter['coupling']:g} others?", chapter["exponents"], False),
    )
    for question, steps, is_exact in runs:
        last = steps[-1]
        numbers = [last[kind] for kind in EXACT] + [last[f"{kind}_error"] for kind in EXACT]
        differ = any(is_beyond(abs(last[kind] - EXACT[kind]), last[f"{kind}_error"]) for kind in EXACT)
        is_yes = (differ != is_exact) if np.isfinite(numbers).all() else None
        values = f"y_T = {_of_step(last, 'thermal')}, y_h = {_of_step(last, 'magnetic')}; exact 1 and 15/8"
        found.append(Verdict(question, is_yes, values))
    return found


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 4."""
    ladder = workspace.figure("4_block_spins", plot.block_ladder(chapter["picture"]))
    bars = workspace.figure("4_couplings", plot.couplings_by_level(chapter["levels"]))
    flows = {f"K = {chapter['coupling']:g}": chapter["levels"], "critical": chapter["critical"]["levels"]}
    flow = workspace.figure("4_flow", plot.coupling_flow(flows, *list(chapter["levels"][0]["couplings"])[:2]))
    text = (
        f"<p>The same {chapter['num_samples']} samples, blocked by the 2 &times; 2 majority rule with random ties. "
        "Couplings are measured from the samples alone, by maximum pseudo-likelihood in one operator basis for all "
        f"levels. On the finest lattice they should return K = {chapter['coupling']} and zeros.</p>"
    )
    shown = (
        text
        + figure_html(ladder, "One sample and its block spins.")
        + figure_html(
            bars, "Measured couplings before and after blocking, and those of the finest lattice less the true ones."
        )
        + tables(chapter)[0].as_html()
        + EXPONENTS
        + figure_html(flow, "Where blocking takes the couplings, from critical samples and from these.")
        + tables(chapter)[1].as_html()
    )
    return section_html("block_spins", TITLE, verdicts(chapter), shown)
