"""Figures of the study of generalisation: transfer by order, and training with penalties."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _study import band, order_axis
from matplotlib.figure import Figure

from jaxrg.plot.style import BLUE, GREY, literal, new_figure, series_colours


def transfer_by_order(panels: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Jaccard similarity of training and test interactions by order, with the random split that bounds it.

    Args:
        panels: title to ``measured``, ``measured_error``, ``ceiling`` and ``ceiling_error``, each ``[n + 1]``.
    """
    figure, grid = new_figure(1, len(panels), size=(4.2 * len(panels), 3.6), sharey=True)
    for axes, (title, panel) in zip(grid[0], panels.items(), strict=True):
        orders = order_axis(axes, len(panel["measured"]) - 1)
        band(axes, orders, panel["ceiling"][1:], panel["ceiling_error"][1:], GREY, label="random split")
        band(axes, orders, panel["measured"][1:], panel["measured_error"][1:], BLUE, label="train against test")
        axes.set_title(literal(title), fontsize=9)
        axes.set_ylim(0, 1)
    grid[0, 0].set_ylabel("Jaccard similarity")
    grid[0, 0].legend(fontsize=8)
    return figure


def penalty_paths(
    epochs: Sequence[int], paths: Mapping[str, Mapping[str, np.ndarray]], *, quantities: Mapping[str, str]
) -> Figure:
    """What training with penalties does, one panel a quantity.

    Args:
        epochs: ``[times]``.
        paths: name of the penalty to quantities ``[seeds, times]``.
        quantities: key in a path to the label of its axis.
    """
    figure, grid = new_figure(1, len(quantities), size=(4.2 * len(quantities), 4.0))
    later = np.asarray(epochs) > 0
    for axes, (key, label) in zip(grid[0], quantities.items(), strict=True):
        for (name, path), colour in zip(paths.items(), series_colours(len(paths)), strict=True):
            values = np.asarray(path[key])[:, later]
            error = values.std(0, ddof=1) / np.sqrt(len(values))
            band(axes, np.asarray(epochs)[later], values.mean(0), error, colour, label=literal(name))
        axes.set_xscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure
