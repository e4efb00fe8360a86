"""Figures of the study of two phases: spindles, dynamics by order, turns, and the noise that explains them."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from _study import STRENGTH, band, order_axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jaxrg.plot.style import BLUE, GREY, ORANGE, RED, literal, new_figure, series_colours

STYLES = ("--", ":", "-.")


def spindles(cases: Mapping[str, Mapping[str, Any]], closed_forms: Mapping[str, np.ndarray]) -> Figure:
    """Order spectra of networks before training beside the closed forms, all with mean one.

    Args:
        cases: name to ``value`` and ``error``, each ``[n + 1]``; order 0 is left out.
        closed_forms: name to ``[n + 1]``.
    """
    figure, grid = new_figure(1, 1, size=(6.4, 4.2))
    axes = grid[0, 0]
    for index, (name, form) in enumerate(closed_forms.items()):
        axes.plot(order_axis(axes, len(form) - 1), form[1:], STYLES[index % len(STYLES)], color=GREY, label=name)
    for (name, case), colour in zip(cases.items(), series_colours(len(cases)), strict=True):
        value, error = np.asarray(case["value"])[1:], np.asarray(case["error"])[1:]
        band(axes, order_axis(axes, len(value)), value, error, colour, marker="o", markersize=4, label=literal(name))
    axes.set_ylabel(STRENGTH)
    axes.set_ylim(bottom=0)
    axes.set_title("before training; bands: standard deviation over initialisations", fontsize=9)
    axes.legend(fontsize=8)
    return figure


def order_dynamics(runs: Mapping[str, Mapping[str, Any]], *, num_lines: int = 6) -> Figure:
    """A row for every run: spectra through training, and mean order beside the gap of test and training loss.

    Args:
        runs: name to ``epochs [times]``, ``spectra [times, n + 1]``, ``mean_order``, ``mean_order_error``, ``gap``,
            ``gap_error`` (all ``[times]``; errors over seeds), ``order_turn`` and ``gap_turn`` (low, centre, high).
        num_lines: spectra drawn, evenly spaced over the checkpoints.
    """
    figure, grid = new_figure(len(runs), 2, size=(10.5, 2.9 * len(runs)), width_ratios=(1, 1.35))
    for row, (name, run) in zip(grid, runs.items(), strict=True):
        epochs, spectra = np.asarray(run["epochs"]), np.asarray(run["spectra"])
        chosen = np.linspace(0, len(epochs) - 1, num_lines).round().astype(int)
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.92, num_lines))
        for index, colour in zip(chosen, colours, strict=True):
            line = spectra[index, 1:]
            row[0].plot(order_axis(row[0], len(line)), line, color=colour, label=f"epoch {epochs[index]}")
        row[0].set_ylabel(STRENGTH, fontsize=9)
        row[0].set_ylim(bottom=0)
        row[0].set_title(name, loc="left", fontsize=10)
        row[0].legend(fontsize=7)

        later = epochs > 0
        band(row[1], epochs[later], run["mean_order"][later], run["mean_order_error"][later], BLUE)
        row[1].set_xscale("log")
        row[1].set_xlabel("epoch")
        row[1].set_ylabel("mean order / players", color=BLUE)
        twin = row[1].twinx()
        band(twin, epochs[later], run["gap"][later], run["gap_error"][later], RED)
        twin.set_ylabel("test - training loss / nats", color=RED)
        twin.grid(False)
        for key, colour, style in (("order_turn", BLUE, "-"), ("gap_turn", RED, "--")):
            low, centre, high = run[key]
            row[1].axvspan(low, high, color=colour, alpha=0.12, linewidth=0)
            row[1].axvline(centre, color=colour, linestyle=style, linewidth=1)
    grid[0, 1].set_title("turns: vertical lines with 68% intervals; bands: seeds", fontsize=9)
    return figure


def turn_scatter(turns: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The turn of the order against the turn of the loss gap, run by run, with their intervals.

    Args:
        turns: name to ``order`` and ``gap``, each ``[3, runs]``: low, centre and high epochs.
    """
    figure, grid = new_figure(1, 1, size=(5.6, 5.0))
    axes = grid[0, 0]
    for (name, turn), colour in zip(turns.items(), series_colours(len(turns)), strict=True):
        order, gap = np.asarray(turn["order"]), np.asarray(turn["gap"])
        bars = [np.abs(np.stack([ends[1] - ends[0], ends[2] - ends[1]])) for ends in (gap, order)]
        options = {"fmt": "o", "markersize": 4, "capsize": 2, "elinewidth": 0.8}
        axes.errorbar(gap[1], order[1], xerr=bars[0], yerr=bars[1], color=colour, label=literal(name), **options)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = np.array([min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])])
    axes.plot(ends, ends, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlabel("epoch at which the loss gap turns")
    axes.set_ylabel("epoch at which the mean order turns")
    axes.set_title("one point a seed; bars: 68% intervals over samples", fontsize=9)
    axes.legend(fontsize=8)
    return figure


def noise_fit(fits: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Measured spectra of the second phase with the theory's, and the noise that was fitted to them.

    Args:
        fits: name to ``epochs [times]``, ``measured``, ``errors``, ``predicted`` (``[times, n + 1]``),
            ``noise_variance [times]``, ``log_error [times]``, ``chosen`` (indices of the spectra to draw) and
            ``turn`` (epoch).
    """
    figure, grid = new_figure(len(fits), 2, size=(10.0, 2.9 * len(fits)))
    for row, (name, fit) in zip(grid, fits.items(), strict=True):
        for index, colour in zip(fit["chosen"], series_colours(len(fit["chosen"])), strict=True):
            measured, errors = np.asarray(fit["measured"])[index, 1:], np.asarray(fit["errors"])[index, 1:]
            orders = order_axis(row[0], len(measured))
            label = f"epoch {fit['epochs'][index]}"
            row[0].errorbar(orders, measured, errors, fmt="o", markersize=3, color=colour, label=label)
            row[0].plot(orders, np.asarray(fit["predicted"])[index, 1:], color=colour, linewidth=1)
        row[0].set_ylabel(STRENGTH, fontsize=9)
        row[0].set_title(f"{name}: points measured, lines theory", loc="left", fontsize=9)
        row[0].legend(fontsize=7)
        epochs, noise, error = (np.asarray(fit[key]) for key in ("epochs", "noise_variance", "log_error"))
        # An error of many e-folds says that the spectrum does not tell the noise from zero.
        spread = np.exp(np.clip(error, 0, 7))
        bars = np.stack([noise - noise / spread, noise * spread - noise])
        row[1].errorbar(epochs, noise, bars, fmt=".", color=BLUE, elinewidth=0.8)
        row[1].axvline(fit["turn"], color=ORANGE, linewidth=1, label="turn of the mean order")
        row[1].set_xscale("log")
        row[1].set_yscale("log")
        row[1].xaxis.set_minor_formatter(NullFormatter())
        row[1].set_ylim(1e-12, 1e3)
        row[1].set_xlabel("epoch")
        row[1].set_ylabel(r"fitted noise $\sigma^2$")
        row[1].legend(fontsize=8)
    return figure
