"""Chapter 5 as tables, answers and a section of the page."""

from typing import Any

import numpy as np

from jaxrg import plot
from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict, combined, is_beyond, value_with_error
from jaxrg.demo.workspace import Workspace

TITLE = "5. A classifier's interactions, and couplings by the same transform"
HEADER = ("epoch", "mean order", "control's order", "test - train loss", "control's loss", "test accuracy")
NUM_ROWS = 8
# Couplings of order one in float64, each from a sum over 2^16 states.
ALLOWED = 1e-11


def tables(chapter: dict[str, Any]) -> list[Table]:
    """Some epochs with the control's, and the couplings of the blocks in spins and in occupations."""
    digits, control = chapter["digits"], chapter["shuffled_labels"]
    chosen = np.unique(np.linspace(0, len(chapter["epochs"]) - 1, NUM_ROWS).round().astype(int))
    rows = [
        (
            str(chapter["epochs"][i]),
            *(value_with_error(run["mean_order"][i], run["mean_order_error"][i]) for run in (digits, control)),
            *(f"{run['test_loss'][i] - run['train_loss'][i]:.3f}" for run in (digits, control)),
            f"{digits['test_accuracy'][i]:.3f}",
        )
        for i in chosen
    ]
    blocks = chapter["blocks"]
    couplings = [
        (name, f"{blocks['ising'][name]:.6f}", f"{blocks['lattice_gas'][name]:.6f}") for name in blocks["ising"]
    ]
    header = ("set of block spins", "Ising coupling (Walsh)", "lattice gas (Harsanyi)")
    return [
        Table("5. Interactions by order through training", HEADER, rows),
        Table("Couplings of block spins by the same transform", header, couplings),
    ]


def _lowest(values: list[float]) -> int | None:
    """Index of the lowest number there is."""
    known = np.flatnonzero(np.isfinite(values))
    return int(known[np.argmin(np.asarray(values)[known])]) if len(known) else None


def _order(run: dict[str, Any], index: int) -> str:
    return value_with_error(run["mean_order"][index], run["mean_order_error"][index])


def rises(run: dict[str, Any]) -> bool | None:
    """Whether the mean order ends above its lowest point by more than its error; None if either is unknown."""
    turn = _lowest(run["mean_order"])
    if turn is None or not np.isfinite([run["mean_order"][-1], run["mean_order_error"][-1]]).all():
        return None
    rise = run["mean_order"][-1] - run["mean_order"][turn]
    return is_beyond(rise, combined(run["mean_order_error"][-1], run["mean_order_error"][turn]))


def _path(chapter: dict[str, Any], run: dict[str, Any]) -> str:
    """The mean order before, at its lowest and at the end, in words."""
    epochs, turn = chapter["epochs"], _lowest(run["mean_order"])
    if turn is None:
        return "unknown"
    return (
        f"{_order(run, 0)} untrained, lowest {_order(run, turn)} at epoch {epochs[turn]}, {_order(run, -1)} at the end"
    )


def _differences(chapter: dict[str, Any]) -> float:
    blocks = chapter["blocks"]
    return max(blocks[key] for key in ("dividend_difference", "translated_difference", "projection_difference"))


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether orders fall and rise, whether the control's do, and whether three languages say one thing."""
    digits, control = chapter["digits"], chapter["shuffled_labels"]
    turn, turn_control = _lowest(digits["mean_order"]), _lowest(control["mean_order"])
    is_lower = lower = None
    if turn is not None and turn_control is not None:
        gap = control["mean_order"][turn_control] - digits["mean_order"][turn]
        error = combined(digits["mean_order_error"][turn], control["mean_order_error"][turn_control])
        is_lower = is_beyond(gap, error) if np.isfinite([gap, error]).all() else None
        lower = f"lowest {_order(digits, turn)}, control {_order(control, turn_control)}"
    difference = _differences(chapter)
    return [
        Verdict(
            "Does learning use interactions of lower order than memorising shuffled labels?",
            is_lower,
            lower or "unknown",
        ),
        Verdict("Does their mean order rise after its lowest point?", rises(digits), _path(chapter, digits)),
        Verdict("Does that of the control?", rises(control), _path(chapter, control)),
        Verdict(
            "Do the engine for networks, the translation of couplings and the operator basis give the same couplings?",
            difference <= ALLOWED if np.isfinite(difference) else None,
            f"largest difference {difference:.0e}",
        ),
    ]


def _dynamics(chapter: dict[str, Any]) -> str:
    """What the mean order and the test loss do, as sentences."""
    epochs, digits = chapter["epochs"], chapter["digits"]
    turn, best = _lowest(digits["mean_order"]), _lowest(digits["test_loss"])
    if turn is None or best is None:
        return "The training diverged."
    last = len(epochs) - 1
    does_rise = rises(digits)
    if turn == last:
        order = f"The mean order is lowest at the end of training, at epoch {epochs[turn]}"
    elif does_rise:
        order = f"The mean order is lowest at epoch {epochs[turn]} and rises again"
    elif does_rise is None:
        order = f"The mean order is lowest at epoch {epochs[turn]}; how it ends is not known"
    else:
        order = f"The mean order is lowest at epoch {epochs[turn]} and ends above that by no more than its error"
    loss = "still falling at the end" if best == last else f"lowest at epoch {epochs[best]}"
    return f"{order}; the test loss is {loss}."


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figure and text of chapter 5."""
    digits, control = chapter["digits"], chapter["shuffled_labels"]
    figure = plot.interactions_through_training(chapter["epochs"], digits, control, spindle=chapter["spindle"])
    name = workspace.figure("5_interactions", figure)
    through_training, couplings = tables(chapter)
    text = (
        f"<p>A perceptron learns {chapter['num_train']} handwritten digits. Every unseen digit is cut into "
        f"{chapter['num_players']} patches, and the log odds of its class are evaluated with every subset of them "
        "present (the mean image elsewhere); their M&ouml;bius transform holds the exact interactions of all "
        f"2<sup>{chapter['num_players']}</sup> subsets, averaged here over {chapter['num_explained']} digits. "
        f"{_dynamics(chapter)} The control is the same network on shuffled labels, which it can only memorise.</p>"
    )
    blocks = (
        "<p>The same transform reads Hamiltonians. Of the 2 &times; 2 majority blocks of the critical 4 &times; 4 "
        "torus, summed exactly, its Walsh form gives the Ising couplings and its Harsanyi form those of the lattice "
        "gas (on this small torus two bonds join each pair of neighbours, four each diagonal). Largest difference "
        "between the engine that explains networks, the translation between both languages and the operator basis of "
        f"chapter 4: {_differences(chapter):.0e}.</p>"
    )
    caption = "Order spectra, mean order (band: one standard error over digits) and losses."
    shown = text + figure_html(name, caption) + through_training.as_html() + blocks + couplings.as_html()
    return section_html("interactions", TITLE, verdicts(chapter), shown)
