"""Figures of lattice models: observables across temperatures, block spins, couplings by level."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrg.plot.style import (
    GREY,
    MAX_PANELS,
    check_drawn,
    drawable,
    error_points,
    item,
    largest,
    literal,
    log_axis,
    markers,
    new_figure,
    series_colours,
    show_image,
)

_LABELS = {
    "energy": "energy per site / J",
    "specific_heat": "specific heat per site / $k_B$",
    "abs_magnetization": r"$\langle|m|\rangle$ per site",
    "binder": "Binder cumulant $U_4$",
}
_METHODS = {"wolff": "Wolff", "heat_bath": "heat bath"}
_STYLES = ("-", "--", ":", "-.")
Series = list[tuple[str, list[Mapping[str, Any]], dict[str, Any]]]  # label, rows, how they are drawn


def _series(rows: Sequence[Mapping[str, Any]]) -> Series:
    """Rows by method and side; a colour and a marker for each method, full for the largest lattice."""
    methods = list(dict.fromkeys(str(item("rows", row, "method")) for row in rows))
    sides: list[Any] = sorted({row["side"] for row in rows if row.get("side") is not None}, reverse=True) or [None]
    found = []
    # Methods agree, so that the first would be hidden by the next at the same size.
    sizes = np.linspace(6.5, 3, len(methods))
    for side in sides:
        look = zip(methods, series_colours(len(methods)), markers(len(methods)), sizes, strict=True)
        for method, colour, marker, size in look:
            chosen = [row for row in rows if row["method"] == method and row.get("side") == side]
            label = literal(_METHODS.get(method, method)) + ("" if side is None else f", L = {side}")
            fill = "full" if side == sides[0] else "none"
            look_of = {"color": colour, "marker": marker, "markersize": size, "fillstyle": fill}
            found.append((label, chosen, look_of))
    return found


def _points(rows: Sequence[Mapping[str, Any]], quantity: str, *fields: str) -> list[np.ndarray]:
    """Temperatures and fields of a quantity, of the rows that have them all."""
    known = [row for row in rows if all(field in row["quantities"].get(quantity, {}) for field in fields)]
    columns = [[row["quantities"][quantity][field] for row in known] for field in fields]
    temperatures = [item("rows", row, "temperature") for row in known]
    return [drawable("rows", column, shape="[rows]") for column in (temperatures, *columns)]


def temperature_scan(
    rows: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[tuple[Any, Any, str]]],
    *,
    critical_temperature: float,
) -> Figure:
    """Measured observables with error bars over exact curves, their autocorrelation times, and z-scores.

    Args:
        rows: dictionaries with ``temperature`` (J / k_B), ``method``, ``quantities`` (name -> ``value`` and ``error``,
            and where they are known ``tau_int``, ``tau_int_error`` and ``z``), and ``side`` where lattices differ.
        curves: for each quantity, any number of (temperatures, exact values, label).
        critical_temperature: drawn as a vertical line.

    Raises:
        ValueError: no rows, or rows without these entries.
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in item("rows", row, "quantities")))
    check_drawn("rows: quantities", len(names), maximum=MAX_PANELS - 2)
    series = _series(rows)
    num_rows = -(-(len(names) + 2) // 3)
    figure, grid = new_figure(num_rows, 3, size=(12, 3.2 * num_rows + 0.5))
    panels = grid.ravel()
    titles = list(dict.fromkeys(title for name in names for *_, title in curves.get(name, ())))
    styles = {title: _STYLES[index % len(_STYLES)] for index, title in enumerate(titles)}
    for axes, name in zip(panels, names, strict=False):
        for temperatures, values, title in curves.get(name, ()):
            x, y = drawable("curves", temperatures, shape="[points]"), drawable("curves", values, shape="[points]")
            axes.plot(x, y, styles[title], color=GREY, linewidth=1, label=literal(title))
        for label, chosen, look in series:
            error_points(axes, *_points(chosen, name, "value", "error"), label=label, **look)
        axes.set_ylabel(_LABELS.get(name, literal(name)))
    times, scores, *unused = panels[len(names) :]
    _draw_times(times, series, names[0])
    _draw_scores(scores, series, names)
    for axes in unused:
        axes.set_axis_off()
    for axes in panels[: len(names) + 2]:
        axes.set_xlabel("temperature $T$ / ($J/k_B$)")
        axes.axvline(critical_temperature, color=GREY, linestyle=":", linewidth=1)
    # The curves differ from panel to panel; methods do not.
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _draw_times(axes: Axes, series: Series, quantity: str) -> None:
    drawn = []
    for _, chosen, look in series:
        points = _points(chosen, quantity, "tau_int", "tau_int_error")
        error_points(axes, *points, **look)
        drawn.append(points[1])
    log_axis(axes, np.concatenate(drawn))
    axes.set_ylabel(rf"$\tau_{{int}}$ of the {literal(quantity)} / steps")
    axes.set_title("a step: one cluster of Wolff, one sweep of others", fontsize=8)


def _draw_scores(axes: Axes, series: Series, quantities: Sequence[str]) -> None:
    reach = 3.0
    shapes = dict(zip(quantities, markers(len(quantities)), strict=True))
    for _, chosen, look in series:
        for quantity, marker in shapes.items():
            temperatures, scores = _points(chosen, quantity, "z")
            axes.plot(temperatures, scores, linestyle="none", **{**look, "marker": marker})
            reach = max(reach, 1.1 * largest(scores))
    for quantity, marker in shapes.items():
        name = literal(quantity.replace("_", " "))
        axes.plot([], [], linestyle="none", marker=marker, color=GREY, label=f"z of {name}")
    axes.axhspan(-2, 2, color=GREY, alpha=0.12, linewidth=0)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("z = (measured - exact) / error")
    axes.set_title("band: $|z|<2$", fontsize=8)


def block_ladder(configurations: Sequence[np.ndarray]) -> Figure:
    """One configuration and its successive block spins, drawn at one size.

    Args:
        configurations: ``[rows, columns]`` each, of spins or of block means from -1 to 1.
    """
    check_drawn("configurations", len(configurations), maximum=MAX_PANELS)
    figure, grid = new_figure(1, len(configurations), size=(3.2 * len(configurations), 3.4))
    for axes, configuration in zip(grid[0], configurations, strict=True):
        spins = drawable("configurations", configuration, shape="[rows, columns]")
        if 0 in spins.shape or largest(spins) > 1:
            raise ValueError(f"configurations: expected spins -1 to 1, got {largest(spins):.4g}, shape {spins.shape}")
        show_image(axes, spins, title=f"{spins.shape[0]} x {spins.shape[1]} spins")
    return figure


def couplings_by_level(levels: Sequence[Mapping[str, Any]]) -> Figure:
    """Measured couplings of every level of a block-spin ladder, operator by operator; the finest against the truth.

    Args:
        levels: dictionaries with ``side``, ``couplings`` and ``errors`` (name -> value), finest first; ``exact`` where
            the true ones are known.

    Raises:
        ValueError: no levels, or levels without these entries.
    """
    check_drawn("levels", len(levels))
    names = list(item("levels", levels[0], "couplings"))
    check_drawn("levels: couplings", len(names))
    is_known = "exact" in levels[0]
    size = (7.5 + 3.5 * is_known, 4)
    figure, grid = new_figure(1, 1 + is_known, size=size, width_ratios=[2, 1][: 1 + is_known])
    axes = grid[0, 0]
    places = np.arange(len(names))
    offsets = 0.7 * (np.arange(len(levels)) + 1) / (len(levels) + 1) - 0.35
    columns = zip(levels, offsets, series_colours(len(levels)), markers(len(levels)), strict=True)
    for level, offset, colour, marker in columns:
        values, errors = (_by_name(level, entry, names) for entry in ("couplings", "errors"))
        label = f"{item('levels', level, 'side')} x {level['side']}"
        error_points(axes, places + offset, values, errors, color=colour, marker=marker, label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("coupling $K_a$ (dimensionless)")
    if is_known:
        truth = _by_name(levels[0], "exact", names)
        # Beside the points: error bars would cover it.
        look: dict[str, Any] = {
            "linestyle": "none",
            "marker": "_",
            "markersize": 14,
            "markeredgewidth": 2,
            "color": "black",
        }
        axes.plot(places - 0.42, truth, **look, label=f"true, {levels[0]['side']} x {levels[0]['side']}")
        values, errors = (_by_name(levels[0], entry, names) for entry in ("couplings", "errors"))
        deviation = grid[0, 1]
        error_points(deviation, places, values - truth, errors, color=series_colours(1)[0], marker="o")
        deviation.axhline(0, color="black", linewidth=1.5, zorder=1)
        deviation.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        deviation.set_ylabel("measured - true")
        deviation.set_title(f"{levels[0]['side']} x {levels[0]['side']}, with one standard error", fontsize=9)
    for panel in grid[0]:
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_xticks(places, [literal(name.replace("_", "\n")) for name in names], fontsize=8)
        panel.grid(axis="x", visible=False)
    axes.legend(fontsize=8)
    return figure


def coupling_flow(flows: Mapping[str, Sequence[Mapping[str, Any]]], x: str, y: str) -> Figure:
    """Flows of renormalised couplings in the plane of two of them, an arrow for every step.

    Args:
        flows: for each label the levels of a ladder as for `couplings_by_level`, finest first.
        x: name of the coupling along the horizontal axis.
        y: name of that along the vertical one.

    Raises:
        ValueError: no flows, or levels without these couplings.
    """
    check_drawn("flows", len(flows))
    figure, grid = new_figure(1, 1, size=(6.5, 4.5))
    axes = grid[0, 0]
    look = zip(flows.items(), series_colours(len(flows)), markers(len(flows)), strict=True)
    for (label, levels), colour, marker in look:
        check_drawn("flows: levels", len(levels))
        places, errors = (
            np.stack([_by_name(level, entry, (x, y)) for level in levels]) for entry in ("couplings", "errors")
        )
        sideways = np.nan_to_num(errors[:, 0])
        look_of = {"color": colour, "marker": marker, "label": literal(label)}
        error_points(axes, places[:, 0], places[:, 1], errors[:, 1], xerr=sideways, **look_of)
        for start, end in itertools.pairwise(places):
            if np.isfinite([start, end]).all():
                arrow = {"arrowstyle": "->", "color": colour, "shrinkA": 4, "shrinkB": 4}
                axes.annotate("", end, start, arrowprops=arrow)
        for level, place in zip(levels, places, strict=True):
            if np.isfinite(place).all():
                side = f"{item('levels', level, 'side')}"
                axes.annotate(side, place, (5, 5), textcoords="offset points", fontsize=8, color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"{literal(x.replace('_', ' '))} coupling")
    axes.set_ylabel(f"{literal(y.replace('_', ' '))} coupling")
    axes.set_title("numbers: side of the lattice", fontsize=9)
    axes.margins(0.12)
    axes.legend(fontsize=8)
    return figure


def _by_name(level: Mapping[str, Any], entry: str, names: Sequence[str]) -> np.ndarray:
    found = item("levels", level, entry)
    return drawable("levels", [item(f"levels: {entry}", found, name) for name in names])
