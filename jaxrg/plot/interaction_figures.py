"""Figures of interactions: waterfall, order spectrum, upset plot, network of players."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxrg.interactions.orders import OrderStrengths
from jaxrg.interactions.view import InteractionView
from jaxrg.plot.style import (
    BLUE,
    GREY,
    MAX_DRAWN,
    RED,
    check_drawn,
    drawable,
    integer_axis,
    largest,
    literal,
    new_figure,
    spread,
)

_LINE_LENGTH, _NUM_LINES = 36, 2
_MAX_PLAYERS = 40  # rows of an upset plot; of more players only those who take part are drawn


def wrapped(label: str) -> str:
    """A label on few lines, drawn as it is."""
    return literal("\n".join(textwrap.wrap(label, _LINE_LENGTH, max_lines=_NUM_LINES, placeholder=" ...")))


def checked(view: InteractionView) -> InteractionView:
    """The view with values to draw; refused if it is none, or holds what no bar can show."""
    if not isinstance(view, InteractionView):
        raise ValueError(
            f"view: expected label, label_table or merge_and_or of interactions, got {type(view).__name__}"
        )
    values = drawable("view", view.values, shape="[num]", is_finite=True)
    return view._replace(values=values, names=tuple(map(str, view.names)))


def strongest(view: InteractionView, count: int, *, maximum: int = MAX_DRAWN) -> InteractionView:
    """The strongest interactions, at most ``count``; refused if they are more than a figure can show."""
    top = view.top(count)
    check_drawn("count", len(top.values), minimum=0, maximum=maximum)
    return top


def _say_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no interactions", transform=axes.transAxes, ha="center", va="center", color=GREY)


def _sign_colours(values: Sequence[float] | np.ndarray) -> list[str]:
    return [RED if value > 0 else BLUE if value < 0 else "white" for value in values]


def interaction_waterfall(view: InteractionView, *, count: int = 12, unit: str = "score") -> Figure:
    """How the interactions add up from the value of the empty coalition to that of all players, strongest first.

    Args:
        view: of interactions that sum to the value of all players: Harsanyi AND, OR or both, or an efficient index.
        count: bars; what is left is drawn as one more.
        unit: of the values, on the axis.
    """
    view = checked(view)
    top = strongest(view, count)
    labels = [wrapped(top.label_of(row)) for row in range(len(top.values))]
    steps = top.values.tolist()
    num_others = int((view.orders > 0).sum()) - len(steps)
    if num_others:
        labels.append(f"{num_others} others")
        steps.append(float(view.values[view.orders > 0].sum()) - sum(steps))
    ends = view.empty_value + np.cumsum(steps)
    starts = ends - np.asarray(steps)
    everybody = float(ends[-1]) if len(ends) else view.empty_value
    figure, grid = new_figure(1, 1, size=(8, 1.4 + 0.34 * max(len(steps), 2)))
    axes = grid[0, 0]
    axes.barh(range(len(steps)), steps, left=starts, color=_sign_colours(steps), height=0.7)
    for row in range(len(steps) - 1):
        axes.plot([ends[row]] * 2, [row - 0.35, row + 1.35], color=GREY, linewidth=0.7)
    low, high = spread(np.array([view.empty_value, *starts, *ends]))
    reach = 0.01 * ((high - low) or largest(np.array([low])))
    for row, step in enumerate(steps):
        is_up = step > 0
        axes.text(
            ends[row] + (reach if is_up else -reach),
            row,
            f"{step:+.3g}",
            va="center",
            ha="left" if is_up else "right",
            fontsize=8,
        )
    axes.axvline(view.empty_value, color=GREY, linestyle=":", linewidth=1, label=f"nobody: {view.empty_value:.4g}")
    axes.axvline(everybody, color="black", linestyle="--", linewidth=1, label=f"everybody: {everybody:.4g}")
    axes.set_xlim(low - 14 * reach, high + 14 * reach)  # room for the numbers at the ends of the bars
    axes.set_ylim(max(len(steps), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(steps)), labels, fontsize=8)
    axes.set_ylabel(literal(f"interaction ({view.index})"))
    axes.set_xlabel(f"{literal(unit)}, added up from the top")
    if not steps:
        _say_nothing(axes)
    # Above the axes: bars may end anywhere inside.
    axes.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _rows(name: str, strengths: OrderStrengths) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative strengths ``[samples, n]`` of the orders from 1 on."""
    parts = []
    for field in ("positive", "negative"):
        values = drawable(f"{name}.{field}", getattr(strengths, field, None))
        if values.ndim not in (1, 2) or 0 in values.shape:
            expected = "shape [n + 1] or [samples, n + 1]"
            raise ValueError(f"{name}.{field}: expected {expected}, got {values.shape}")
        parts.append(np.atleast_2d(values)[:, 1:])
    if parts[0].shape != parts[1].shape:
        raise ValueError(f"{name}: expected parts of one shape, got {parts[0].shape} and {parts[1].shape}")
    return parts[0], parts[1]


def order_spectrum(
    strengths: OrderStrengths,
    *,
    null_strengths: OrderStrengths | None = None,
    null_label: str = "null model",
    unit: str = "score",
) -> Figure:
    """Strength of the interactions of each order: positive ones upwards, negative ones downwards.

    Args:
        strengths: fields ``[n + 1]``, or ``[samples, n + 1]``, drawn as their mean with one standard error.
        null_strengths: the same for a null model: one for each draw; drawn as the median and the central 90%.
        null_label: what the null model is.
        unit: of the strengths, on the axis.
    """
    parts = _rows("strengths", strengths)
    orders = np.arange(1, parts[0].shape[1] + 1)
    null_parts = () if null_strengths is None else _rows("null_strengths", null_strengths)
    if null_parts and null_parts[0].shape[1] != len(orders):
        raise ValueError(f"null_strengths: expected orders up to {len(orders)}, got up to {null_parts[0].shape[1]}")
    figure, grid = new_figure(1, 1, size=(7, 4))
    axes = grid[0, 0]
    for label, rows, sign, colour in (("positive", parts[0], 1, RED), ("negative", parts[1], -1, BLUE)):
        errors = np.nan_to_num(rows.std(0, ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else None
        axes.bar(orders, sign * rows.mean(0), color=colour, width=0.7, yerr=errors, capsize=2, label=label)
    for rows, sign in zip(null_parts, (1, -1), strict=False):
        low, middle, high = np.quantile(rows, [0.05, 0.5, 0.95], axis=0)
        label = f"{literal(null_label)}: median, central 90%" if sign > 0 else None
        axes.fill_between(orders, sign * low, sign * high, color=GREY, alpha=0.3, linewidth=0)
        axes.plot(orders, sign * middle, color="black", marker="_", linewidth=1, label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    if len(orders):
        axes.set_xlim(0.4, len(orders) + 0.6)
        integer_axis(axes, orders)
    else:
        _say_nothing(axes)
    axes.set_xlabel("order $|S|$ (number of players)")
    axes.set_ylabel(rf"strength $\sum_{{|S|=k}} |I(S)|$ / {literal(unit)}")
    axes.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def interaction_upset(view: InteractionView, *, count: int = 15, unit: str = "score") -> Figure:
    """Upset plot: the strongest interactions as bars, above a table of dots that says who takes part.

    Args:
        view: of any interactions.
        count: of them.
        unit: of the values, on the axis.
    """
    view = checked(view)
    top = strongest(view, count)
    takes_part = top.subsets.any(axis=0)
    players = np.arange(len(view.names)) if len(view.names) <= _MAX_PLAYERS else np.flatnonzero(takes_part)
    check_drawn("count: players of the strongest interactions", len(players), minimum=0)
    names = [literal(view.names[player]) for player in players]
    n, columns = len(players), len(top.values)
    heights = [2.4, max(0.24 * n, 0.8)]
    width = max(1.5 + 0.08 * max(map(len, names), default=0) + 0.42 * columns, 4.5)
    figure, grid = new_figure(
        2, 1, size=(width, 0.8 + sum(heights)), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    bars, dots = grid[:, 0]
    bars.bar(range(columns), top.values, color=_sign_colours(top.values), width=0.7)
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set_ylabel(f"{literal(view.index)} / {literal(unit)}")
    bars.tick_params(bottom=False)
    for column in range(columns):
        rows = np.flatnonzero(top.subsets[column][players])
        is_or = top.kinds[column] == "OR"
        dots.plot([column] * n, range(n), linestyle="none", marker="o", markersize=4, color="#dddddd")
        dots.plot(
            [column] * len(rows),
            rows,
            marker="o",
            markersize=6,
            color="black",
            fillstyle="none" if is_or else "full",
            linestyle=":" if is_or else "-",
            linewidth=1.2,
        )
    dots.set_yticks(range(n), names)
    dots.set_ylim(max(n, 1) - 0.5, -0.5)
    dots.set_xlim(-0.6, max(columns, 1) - 0.4)
    dots.set_xticks([])
    dots.grid(False)
    num_left_out = len(view.names) - n
    dots.set_ylabel("player")
    dots.set_xlabel(
        "interactions, strongest first" + (f"; {num_left_out} players take no part" if num_left_out else "")
    )
    if not columns:
        _say_nothing(bars)
    if (view.kinds == "OR").any():
        keys = (Line2D([], [], marker="o", color="black", label="AND (and single players)"),)
        keys += (Line2D([], [], marker="o", color="black", linestyle=":", fillstyle="none", label="OR"),)
        bars.legend(handles=keys, fontsize=8)
    return figure


def _circle(num_players: int) -> np.ndarray:
    angles = np.pi / 2 - 2 * np.pi * np.arange(num_players) / max(num_players, 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def interaction_network(view: InteractionView, *, unit: str = "score") -> Figure:
    """Players on a circle: nodes are single players, lines between them pairs; red is positive, blue negative.

    Area of a node and width of a line are proportional to strength, each on its own scale. AND and OR interactions of a
    pair are added. Interactions of more than two players are not drawn; the title says how much that leaves out.

    Args:
        view: of any interactions.
        unit: of the values, in the legend.
    """
    view = checked(view)
    n = len(view.names)
    check_drawn("view: players", n, minimum=0)
    places = _circle(n)
    singles, pairs = np.zeros(n), np.zeros((n, n))
    for subset, value in zip(view.subsets, view.values, strict=True):
        members = np.flatnonzero(subset)
        if len(members) == 1:
            singles[members[0]] += value
        elif len(members) == 2:
            pairs[members[0], members[1]] += value
    strength = np.abs(view.values)
    total = strength[view.orders > 0].sum()
    share = strength[(view.orders == 1) | (view.orders == 2)].sum() / total if total else 1.0
    shown = f"{share:.0%} of the strength of all orders given" if total else "all of them zero"
    figure, grid = new_figure(1, 1, size=(7.5, 6.5))
    axes = grid[0, 0]
    for first, second in zip(*np.nonzero(pairs), strict=True):
        value = pairs[first, second]
        share = abs(value) / largest(pairs)
        # Weak lines fade, so that many of them do not look like a strong one.
        axes.plot(
            *places[[first, second]].T, color=RED if value > 0 else BLUE, linewidth=6 * share, alpha=0.2 + 0.7 * share
        )
    sizes = 60 + 840 * np.abs(singles) / largest(singles)
    axes.scatter(*places.T, s=sizes, c=_sign_colours(singles), edgecolors="black", linewidths=0.8, zorder=3)
    size = 9 * min(1.0, 40 / max(n, 1))
    for player, (x, y) in enumerate(places):
        side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
        axes.text(1.16 * x, 1.16 * y, wrapped(view.names[player]), ha=side, va="center", fontsize=size)
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(-1.4, 1.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"{literal(view.index)}: orders 1 and 2, {shown}", fontsize=10)
    top_pair, top_single = (np.abs(part).max(initial=0.0) for part in (pairs, singles))
    keys: list[Any] = [
        Line2D([], [], color=GREY, linewidth=6, label=f"largest pair: {top_pair:.3g} {literal(unit)}"),
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=15,
            color=GREY,
            label=f"largest player: {top_single:.3g} {literal(unit)}",
        ),
        Line2D([], [], color=RED, linewidth=3, label="positive"),
        Line2D([], [], color=BLUE, linewidth=3, label="negative"),
    ]
    axes.legend(handles=keys, fontsize=8, loc="upper center", ncols=4, bbox_to_anchor=(0.5, 0.02))
    return figure
