"""Chapter 3 as a table, answers and a section of the page."""

from typing import Any

import numpy as np

from jaxrg import plot
from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict, combined, is_beyond, listed, value_with_error
from jaxrg.demo.workspace import Workspace

TITLE = "3. A stack of machines on Ising samples, and its control"
HEADER = ("level", "units", "radius", "control's radius", "uniform", "sites", "control's sites")
NUM_FIELDS = 4  # drawn of each level, of those with the largest norm


def tables(chapter: dict[str, Any]) -> list[Table]:
    """Level, units, radius and participation with the control's."""
    rows = []
    for index, (level, control) in enumerate(zip(chapter["levels"], chapter["control_levels"], strict=True)):
        rows.append(
            (
                str(index + 1),
                f"{level['num_live_units']}/{level['num_units']}",
                *(value_with_error(stack["radius"], stack["radius_error"]) for stack in (level, control)),
                f"{level['uniform_radius']:.2f}",
                *(value_with_error(stack["participation"], stack["participation_error"]) for stack in (level, control)),
            )
        )
    return [Table("3. Receptive fields by level (lattice spacings, sites)", HEADER, rows)]


def smaller_levels(chapter: dict[str, Any]) -> list[int]:
    """Levels whose radius is below the control's by more than its error."""
    pairs = zip(chapter["levels"], chapter["control_levels"], strict=True)
    return [
        index + 1
        for index, (level, control) in enumerate(pairs)
        if is_beyond(control["radius"] - level["radius"], combined(level["radius_error"], control["radius_error"]))
    ]


def _radii(levels: list[dict[str, Any]]) -> str:
    return ", ".join(value_with_error(level["radius"], level["radius_error"]) for level in levels)


def _overlaps(chapter: dict[str, Any]) -> tuple[float, float, str]:
    """Difference of the overlaps, its error, and both in words."""
    back = chapter["reconstruction"]
    mine, mine_error = back["overlap"], back["overlap_error"]
    other, other_error = chapter["control_reconstruction_overlap"], chapter["control_reconstruction_overlap_error"]
    words = f"{value_with_error(mine, mine_error)}, control {value_with_error(other, other_error)}"
    return mine - other, combined(mine_error, other_error), words


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether the fields are smaller than the control's, and whether more comes back from the top."""
    smaller, num_levels = smaller_levels(chapter), len(chapter["levels"])
    radii = [level["radius"] for stack in ("levels", "control_levels") for level in chapter[stack]]
    where = "every level" if len(smaller) == num_levels else f"level {listed(smaller)}" if smaller else "no level"
    difference, error, words = _overlaps(chapter)
    is_more = is_beyond(difference, error)
    return [
        Verdict(
            "Are the receptive fields smaller than those of the control, at every level?",
            len(smaller) == num_levels if np.isfinite(radii).all() else None,
            f"radius {_radii(chapter['levels'])} by level, control {_radii(chapter['control_levels'])}, uniform field "
            f"{chapter['levels'][0]['uniform_radius']:.2f}: smaller by more than the error at {where}",
        ),
        Verdict(
            "Does more of a sample come back from the top of the stack than from the control's?",
            is_more if np.isfinite([difference, error]).all() else None,
            f"overlap per site {words}",
        ),
    ]


def conclusion(chapter: dict[str, Any]) -> str:
    """What both answers say about block spins, as a sentence."""
    has_blocks, gives_more = (verdict.is_yes for verdict in verdicts(chapter))
    difference, error, words = _overlaps(chapter)
    if has_blocks and gives_more:
        return f"The stack finds block spins: its fields are local and its reconstruction is better ({words})."
    if has_blocks:
        worse = "is worse than" if is_beyond(-difference, error) else "cannot be told from"
        pairs = zip(chapter["levels"], chapter["control_levels"], strict=True)
        least = min(1 - level["radius"] / control["radius"] for level, control in pairs)
        return (
            f"At every level the fields are smaller than the control's, by {least:.0%} at least; but what comes back "
            f"of a sample {worse} what comes back from the control (overlap {words}), so that smaller fields are all "
            "that is shown here."
        )
    return (
        "The radius does not tell this stack from its control at every level: nothing here is evidence of block spins."
    )


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 3."""
    side = chapter["side"]
    stacks = [
        [np.asarray(level[:NUM_FIELDS], np.float64).reshape(-1, side * side).T for level in chapter[name]]
        for name in ("fields", "control_fields")
    ]
    fields = plot.receptive_fields(stacks[0], (side, side), control=stacks[1], count=NUM_FIELDS)
    locality = plot.locality_by_level(chapter["levels"], chapter["control_levels"], num_sites=side**2)
    back = chapter["reconstruction"]
    images = plot.reconstructions(back["originals"], back["means"], chapter["control_means"])
    names = [
        workspace.figure(name, figure)
        for name, figure in (("3_fields", fields), ("3_locality", locality), ("3_reconstructions", images))
    ]
    sizes = "-".join(map(str, chapter["layer_sizes"]))
    text = (
        f"<p>Mehta and Schwab's stack {sizes} on {chapter['num_samples']} samples at K = {chapter['coupling']}, "
        f"contrastive divergence layer by layer for {chapter['num_epochs']} epochs with an L1 penalty of "
        f"{chapter['l1_strength']}, beside the same training on samples whose sites were shuffled by one fixed "
        "permutation. A small radius is evidence of block spins only by comparison: the control has the same sparsity "
        f"without geometry. {conclusion(chapter)}</p>"
    )
    small = (
        f"<p class='small'>Overlap per site of {back['num_samples']} samples with the sign of their reconstruction: "
        f"{_overlaps(chapter)[2]}. Correlation of the magnetisations: {back['magnetization_correlation']:.3f}, control "
        f"{chapter['control_magnetization_correlation']:.3f}. Errors of radii are over the units of a stack, the "
        "control's also over arrangements of the sites.</p>"
    )
    shown = (
        text
        + figure_html(names[0], "The strongest receptive fields of every level, each scaled to its peak.")
        + figure_html(names[1], "Spread of the receptive fields by level, mean over units weighted by squared norm.")
        + tables(chapter)[0].as_html()
        + figure_html(names[2], "Samples, what the top layer still knows of them, and what the control's does.")
        + small
    )
    return section_html("stack", TITLE, verdicts(chapter), shown)
