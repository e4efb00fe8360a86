"""Flow diagrams of renormalisation: where couplings go, and what lies between the phases."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxrg.plot.style import BLUE, GREY, MAX_PANELS, ORANGE, RED, check_drawn, drawable, literal, new_figure

MAX_ARROWS = 4000


def flow_diagram(
    couplings: Any,
    images: Any,
    *,
    names: tuple[str, str],
    trajectories: Sequence[Any] = (),
    fixed_points: Mapping[str, Any] | None = None,
    critical_line: Any = None,
) -> Figure:
    """Arrows from couplings towards what a map makes of them, with trajectories, fixed points and the critical line.

    Arrows have one length, as couplings far from a fixed point move by far more than those near it; their colour says
    how far.

    Args:
        couplings: ``[num_points, 2]`` where arrows start.
        images: ``[num_points, 2]`` what they are mapped to; NaN where the map ends, which leaves the arrow out.
        names: of both couplings, for the axes.
        trajectories: ``[num_steps, 2]`` each, couplings that are mapped again and again; outside of the arrows'
            rectangle they are cut off.
        fixed_points: by name, two couplings each.
        critical_line: ``[num_points, 2]`` of the critical surface, in order.

    Raises:
        ValueError: other shapes, too much to draw, infinite numbers, or not two names.

    Example:
        >>> start = np.stack(np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 5)), axis=-1).reshape(-1, 2)
        >>> figure = flow_diagram(start, start**2, names=("K", "L"), fixed_points={"origin": (0, 0)})
        >>> figure.axes[0].get_xlabel()
        'K'
    """
    starts, ends = _pairs("couplings", couplings, is_finite=True), _pairs("images", images)
    check_drawn("couplings", len(starts), maximum=MAX_ARROWS)
    if len(starts) != len(ends):
        raise ValueError(f"images: expected one for each of {len(starts)} couplings, got {len(ends)}")
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f"names: expected two, one for each axis, got {names!r}")
    if not isinstance(fixed_points, Mapping | None):
        raise ValueError(f"fixed_points: expected a dict of names and couplings, got {type(fixed_points).__name__}")
    paths = [_pairs(f"trajectories[{number}]", path) for number, path in enumerate(trajectories)]
    check_drawn("trajectories", len(paths), minimum=0)
    points = {name: drawable(f"fixed_points[{name!r}]", at, shape="[2]") for name, at in (fixed_points or {}).items()}
    check_drawn("fixed_points", len(points), minimum=0, maximum=MAX_PANELS)

    figure, all_axes = new_figure(1, 1, size=(6.4, 5.2))
    axes = all_axes[0, 0]
    steps = ends - starts
    lengths = np.hypot(*steps.T)
    shown = np.isfinite(lengths)
    units = steps[shown] / np.where(lengths[shown] > 0, lengths[shown], 1)[:, None]
    arrows = axes.quiver(
        *starts[shown].T, *units.T, lengths[shown], cmap="viridis_r", scale=32, width=0.0035, pivot="mid", alpha=0.85
    )
    figure.colorbar(arrows, ax=axes, label="length of the step", shrink=0.85)
    for path in paths:
        axes.plot(*path.T, color=GREY, linewidth=1, marker=".", markersize=4, zorder=3)
    if critical_line is not None:
        line = _pairs("critical_line", critical_line)
        axes.plot(*line.T, color=RED, linewidth=2, label="critical line", zorder=4)
    for (name, at), colour in zip(points.items(), (ORANGE, BLUE) * MAX_PANELS, strict=False):
        axes.plot(*at, "o", color=colour, markeredgecolor="black", markersize=8, label=literal(name), zorder=5)
    low, high = starts.min(axis=0), starts.max(axis=0)
    margin = 0.04 * np.where(high > low, high - low, 1)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    axes.set(xlabel=literal(names[0]) if "$" not in names[0] else names[0])
    axes.set(ylabel=literal(names[1]) if "$" not in names[1] else names[1])
    if points or critical_line is not None:
        axes.legend(loc="upper right", fontsize=8)
    return figure


def _pairs(name: str, values: Any, *, is_finite: bool = False) -> np.ndarray:
    """``[num_points, 2]`` numbers."""
    found = drawable(name, values, shape="[num_points, 2]", is_finite=is_finite)
    if found.shape[1] != 2 or not len(found):
        raise ValueError(f"{name}: expected [num_points, 2], got shape {found.shape}")
    return found
