"""Chapter 7 as tables, answers and a section of the page."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import SIGMAS, Table, Verdict, combined, is_beyond, listed, value_with_error
from jaxrg.demo.workspace import Workspace
from jaxrg.plot import style

TITLE = "7. What can be read along a stack"
NAMES = {"temperature": "T", "energy": "E", "modulus": "|m|", "magnetization": "m"}
NUM_COLUMNS = 5  # of pictures


def _accuracy(level: dict[str, Any]) -> str:
    return value_with_error(level["accuracy"], level["accuracy_error"])


def _r_squared(level: dict[str, Any], name: str) -> str:
    return value_with_error(level["r_squared"][name], level["r_squared_error"][name])


def _stage(number: int) -> str:
    return "spins" if number == 0 else f"machine {number}"


def tables(chapter: dict[str, Any]) -> list[Table]:
    """What linear readers come to at every level, of the stack and of its control."""
    rows = []
    for kind, name in (("trained", "levels"), ("shuffled", "control_levels")):
        for number, level in enumerate(chapter[name]):
            if number or kind == "trained":  # of the spins there is one row
                values = [_r_squared(level, target) for target in NAMES]
                rows.append((_stage(number), kind if number else "", _accuracy(level), *values))
    ceiling = chapter["ceiling"]
    rows.append(("exact", "ceiling", f"{ceiling['accuracy']:.4f}", f"{ceiling['temperature']:.4f}", "", "", ""))
    return [Table(TITLE, ("level", "weights", "T < Tc right", *(f"R² of {name}" for name in NAMES.values())), rows)]


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """What is readable where, beside the ceiling and the control, and whether prototypes stand for the samples."""
    levels, control, ceiling = chapter["levels"], chapter["control_levels"], chapter["ceiling"]
    examples = chapter["examples"]
    above = [level["accuracy"] - ceiling["accuracy"] - SIGMAS * level["accuracy_error"] for level in levels]
    spins, best = levels[0], max(levels[1:], key=lambda level: level["accuracy"])
    rises = best["accuracy"] - spins["accuracy"], combined(best["accuracy_error"], spins["accuracy_error"])
    top, random = levels[-1], control[-1]
    kept = [(level["r_squared"]["modulus"], level["r_squared_error"]["modulus"]) for level in (top, random)]
    is_known = np.isfinite([level["accuracy"] for level in levels]).all()
    return [
        Verdict(
            "Does every reader of the phase stay below the exact ceiling?",
            bool(max(above) <= 0) if is_known else None,
            f"accuracy {listed([_accuracy(level) for level in levels])} by level, at most {ceiling['accuracy']:.4f}",
        ),
        Verdict(
            "Is temperature readable from the machines and not from the spins?",
            is_beyond(*rises) if is_known else None,
            f"accuracy {_accuracy(best)}, of the spins {_accuracy(spins)}; with shuffled weights "
            f"{listed([_accuracy(level) for level in control[1:]])}",
        ),
        Verdict(
            "Does training keep |m| readable at the top?",
            is_beyond(kept[0][0] - kept[1][0], combined(kept[0][1], kept[1][1])) if np.isfinite(kept).all() else None,
            f"R² {value_with_error(*kept[0])}, with shuffled weights {value_with_error(*kept[1])}",
        ),
        Verdict(
            "Do prototypes stand for the samples better than random ones?",
            bool(examples["mmd_squared"] < examples["smallest_random_mmd_squared"]),
            f"MMD² {examples['mmd_squared']:.4f}; of {examples['num_random']} random choices "
            f"{examples['random_mmd_squared']:.4f} on average, {examples['smallest_random_mmd_squared']:.4f} at best",
        ),
    ]


def _readable(chapter: dict[str, Any]) -> Figure:
    """Accuracy of the phase, and shares of the variance that are read, by level."""
    figure, grid = style.new_figure(1, 2, size=(11, 3.8))
    left, right = grid[0]
    places = np.arange(len(chapter["levels"]))
    for name, label, colour in (("levels", "trained", style.BLUE), ("control_levels", "weights shuffled", style.GREY)):
        points = [(level["accuracy"], level["accuracy_error"]) for level in chapter[name]]
        values, errors = style.drawable(name, points, shape="[levels, 2]").T
        style.error_points(left, places, values, errors, color=colour, marker="o", linestyle="-", label=label)
    left.axhline(chapter["ceiling"]["accuracy"], color=style.RED, linestyle="--", label="exact ceiling")
    left.set_ylabel("share of phases told right")
    left.legend(fontsize=8)
    for (name, label), colour in zip(NAMES.items(), style.series_colours(len(NAMES)), strict=True):
        values = style.drawable(name, [level["r_squared"][name] for level in chapter["levels"]])
        others = style.drawable(name, [level["r_squared"][name] for level in chapter["control_levels"]])
        right.plot(places, values, color=colour, marker="o", label=label)
        right.plot(places, others, color=colour, linestyle=":", marker=".")
    right.axhline(chapter["ceiling"]["temperature"], color=style.series_colours(len(NAMES))[0], linestyle="--")
    right.set_ylabel("$R^2$ of linear readers")
    right.set_ylim(min(-0.05, right.get_ylim()[0]), 1.05)
    right.set_title("dotted: weights shuffled; dashed: exact ceiling of T", fontsize=9)
    right.legend(fontsize=8, loc="lower right")
    for axes in (left, right):
        axes.set_xticks(places, [_stage(number) for number in range(len(places))])
        axes.set_xlim(-0.2, len(places) - 0.8)
    return figure


def _pictures(examples: dict[str, Any]) -> Figure:
    """Prototypes by their temperatures, and criticisms below them."""
    rows = []
    for kind in ("prototypes", "criticisms"):
        shown = examples[kind]
        rows += [(kind[:-1], shown[start : start + NUM_COLUMNS]) for start in range(0, len(shown), NUM_COLUMNS)]
    figure, grid = style.new_figure(len(rows), NUM_COLUMNS, size=(1.9 * NUM_COLUMNS, 2.15 * len(rows)))
    for axes, (kind, shown) in zip(grid, rows, strict=True):
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        for axis, one in zip(axes, shown, strict=False):
            title = f"T = {one['temperature']:.2f}, m = {one['magnetization']:+.2f}"
            style.show_image(axis, np.asarray(one["picture"], np.float64), title=title)
        axes[0].set_ylabel(kind)
    return figure


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 7."""
    figures = {"7_readable": _readable(chapter), "7_prototypes": _pictures(chapter["examples"])}
    names = [workspace.figure(name, figure) for name, figure in figures.items()]
    text = (
        f"<p>A stack of Boltzmann machines has learned {chapter['num_train']:,} samples of a {chapter['side']} &times; "
        f"{chapter['side']} torus at {chapter['num_temperatures']} temperatures, all together. What can a linear "
        "reader tell of a sample from the values at each level? Of a machine it is given the means tanh x and the "
        "terms ln cosh x of the free energy. The means turn with the spins, and what does not turn, such as the "
        "temperature, cannot be read from them by symmetry: nor from the spins. The energy is all that a sample tells "
        "of its temperature, and its exact distribution gives the ceiling of any reader, linear or not.</p>"
    )
    small = (
        f"<p class='small'>Readers are logistic regressions (T &lt; Tc) and ridge regressions, fitted to two chains of "
        f"a temperature, their penalties chosen on a third and tested on a fourth, {chapter['num_test']:,} samples. "
        "The control has the weights of each machine in other places. Prototypes make the maximum mean discrepancy to "
        f"{chapter['examples']['num_points']:,} samples small, under a Gaussian kernel, improved by swaps; "
        "criticisms are where the samples' density and theirs differ most.</p>"
    )
    (table,) = tables(chapter)
    body = (
        text
        + table.as_html()
        + figure_html(names[0], "What linear readers tell at every level; bars are standard errors over samples.")
        + figure_html(names[1], "Samples that stand for all temperatures, in their order, and those that they miss.")
        + small
    )
    return section_html("readable", TITLE, verdicts(chapter), body)
