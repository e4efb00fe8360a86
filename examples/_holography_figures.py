"""Pictures of the holographic study, each of the points that it measured, one for every coupling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from _holography import spin_wave
from matplotlib.figure import Figure

from jaxrg.plot import style


def decays_figure(points: Sequence[Any]) -> Figure:
    """Correlations of clusters and of the flow, with both fits, and exponents against the stiffness."""
    figure, grid = style.new_figure(1, 2, size=(11, 4.4))
    left, right = grid[0]
    for point, colour in zip(points, style.series_colours(len(points)), strict=True):
        true, distances = point.true_decay, np.arange(1, len(point.true_decay.mean))
        style.error_points(
            left, distances, true.mean[1:], true.error[1:], color=colour, marker="o", label=f"{point.kappa:.2f}"
        )
        style.error_points(
            left, distances + 0.12, point.decay.mean[1:], point.decay.error[1:], color=colour, marker="s", mfc="none"
        )
        for curve, line in zip(true.curves, ("-", ":"), strict=True):
            left.plot(true.distances, curve, line, color=colour)
    left.set(xlabel="$r$", ylabel="$\\langle\\varphi^*(0)\\,\\varphi(r)\\rangle$", xscale="log", yscale="log")
    ticks = [1, 2, 4, *range(8, len(points[0].true_decay.mean), 8)]
    left.set_xticks(ticks, list(map(str, ticks)))
    left.set_xticks([], minor=True)
    left.set_title("dots clusters, squares weighted flow; lines power law, dotted exponential", fontsize=9)
    left.legend(title="$\\kappa$", fontsize=8)
    kappas = np.array([point.kappa for point in points])
    for name, colour, marker, move, part in (
        ("clusters", style.BLUE, "o", 0.0, "true_decay"),
        ("flow, weighted", style.ORANGE, "s", 0.002, "decay"),
        ("flow as it is", style.GREY, "^", -0.002, "bare_decay"),
    ):
        decays = [getattr(point, part) for point in points]
        etas, errors = [one.eta for one in decays], [one.eta_error for one in decays]
        style.error_points(right, kappas + move, etas, errors, color=colour, marker=marker, label=name)
    stiff = [point for point in points if point.true_stiffness.mean > 5 * point.true_stiffness.error]
    expected = [spin_wave(point.true_stiffness.mean, 0)[0] for point in stiff]
    right.plot([point.kappa for point in stiff], expected, color=style.GREEN, label="$1/2\\pi\\rho_s$")
    right.axhline(0.25, color=style.RED, linestyle=":", label="1/4 of KT")
    right.set(xlabel="$\\kappa$", ylabel="$\\eta$", ylim=(0, 1.0))
    right.legend(fontsize=8)
    return figure


def phases_figure(points: Sequence[Any]) -> Figure:
    """Phase of the mean field against that of the top latents, and what each level knows of the mean field."""
    figure, grid = style.new_figure(1, len(points) + 1, size=(2.6 * len(points) + 3.4, 3.2))
    *places, last = grid[0]
    for place, point in zip(places, points, strict=True):
        place.plot(*point.top.phases[:600].T, ".", markersize=2, color=style.BLUE)
        place.set(xlabel="phase of the mean field", xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi))
        place.set_title(f"$\\kappa = {point.kappa:.2f}$: coherence {point.top.coherence:.3f}", fontsize=9)
    places[0].set(ylabel="phase of the top latents")
    for point, colour in zip(points, style.series_colours(len(points)), strict=True):
        for one, line in ((point.top, "-o"), (point.untrained_top, ":")):
            levels = list(one.explained)
            last.plot(levels, [one.explained[level] for level in levels], line, color=colour, markersize=4)
    style.integer_axis(last, list(points[0].top.explained))
    last.set(xlabel="level, the top last", ylabel="$R^2$ of the mean field", ylim=(-0.1, 1.05))
    last.set_title("lines trained, dotted untrained", fontsize=9)
    return figure


def bulk_figure(points: Sequence[Any]) -> Figure:
    """d/xi = -ln(I/I0) of latents of the finest level against the boundary distance, and both fits."""
    figure, grid = style.new_figure(2, len(points), size=(2.7 * len(points), 5.6), sharex=True)
    for column, point in enumerate(points):
        for row, (bulk, geometry) in enumerate(
            ((point.bulk, point.geometry), (point.untrained_bulk, point.untrained_geometry))
        ):
            place, first = grid[row, column], geometry.curves[0][0]
            mean = bulk.information.mean(axis=0)
            error = bulk.information.std(axis=0, ddof=1) / np.sqrt(len(bulk.information))
            known = mean > 2 * error
            distance = -np.log(mean[known] / first)
            style.error_points(
                place, bulk.distances[known], distance, (error / np.abs(mean))[known], color=style.BLUE, marker="o"
            )
            for curve, line, name in zip(geometry.curves, ("-", ":"), ("hyperbolic", "flat"), strict=True):
                place.plot(bulk.distances, -np.log(curve / first), line, color=style.ORANGE, label=name)
            place.set_title(f"$\\kappa = {point.kappa:.2f}$, {('trained', 'untrained')[row]}", fontsize=9)
            if known.any():
                place.set_ylim(min(-0.5, distance.min() - 0.5), distance.max() + 1.0)
        grid[1, column].set(xlabel="boundary distance / sites")
    for row in range(2):
        grid[row, 0].set(ylabel="$-\\ln(I/I_0)$")
    grid[0, 0].legend(fontsize=8)
    return figure
