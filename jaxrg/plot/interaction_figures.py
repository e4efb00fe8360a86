"""Figures of interactions: waterfall, order spectrum, upset plot, network of players, heat maps over an image."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxrg.interactions.orders import OrderStrengths
from jaxrg.interactions.view import InteractionView
from jaxrg.plot.style import BLUE, GREY, RED, new_figure

_LINE_LENGTH, _NUM_LINES = 36, 2


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(label, _LINE_LENGTH, max_lines=_NUM_LINES, placeholder=" ..."))


def _sign_colours(values: Sequence[float] | np.ndarray) -> list[str]:
    return [RED if value > 0 else BLUE for value in values]


def interaction_waterfall(view: InteractionView, *, count: int = 12, unit: str = "score") -> Figure:
    """How the interactions add up from the value of the empty coalition to that of all players, strongest first.

    Args:
        view: of interactions that sum to the value of all players: Harsanyi AND, OR or both, or an efficient index.
        count: bars; what is left is drawn as one more.
        unit: of the values, on the axis.
    """
    top = view.top(count)
    labels = [_wrapped(top.label_of(row)) for row in range(len(top.values))]
    steps = top.values.tolist()
    num_others = int((view.orders > 0).sum()) - len(steps)
    if num_others:
        labels.append(f"{num_others} others")
        steps.append(float(view.values[view.orders > 0].sum()) - sum(steps))
    ends = view.empty_value + np.cumsum(steps)
    starts = ends - np.asarray(steps)
    figure, grid = new_figure(1, 1, size=(8, 1.4 + 0.34 * len(steps)))
    axes = grid[0, 0]
    axes.barh(range(len(steps)), steps, left=starts, color=_sign_colours(steps), height=0.7)
    for row in range(len(steps) - 1):
        axes.plot([ends[row]] * 2, [row - 0.35, row + 1.35], color=GREY, linewidth=0.7)
    low, high = min(*starts, *ends), max(*starts, *ends)
    reach = 0.01 * (high - low)
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
    axes.axvline(ends[-1], color="black", linestyle="--", linewidth=1, label=f"everybody: {ends[-1]:.4g}")
    axes.set_xlim(low - 14 * reach, high + 14 * reach)  # room for the numbers at the ends of the bars
    axes.invert_yaxis()
    axes.set_yticks(range(len(steps)), labels, fontsize=8)
    axes.set_ylabel(f"interaction ({view.index})")
    axes.set_xlabel(f"{unit}, added up from the top")
    # Above the axes: bars may end anywhere inside.
    axes.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _band(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.atleast_2d(samples)
    low, middle, high = np.quantile(rows, [0.05, 0.5, 0.95], axis=0)
    return low, middle, high


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
    figure, grid = new_figure(1, 1, size=(7, 4))
    axes = grid[0, 0]
    parts = (("positive", strengths.positive, 1, RED), ("negative", strengths.negative, -1, BLUE))
    for label, part, sign, colour in parts:
        rows = np.atleast_2d(np.asarray(part))[:, 1:]
        orders = np.arange(1, rows.shape[1] + 1)
        errors = rows.std(0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else None
        axes.bar(orders, sign * rows.mean(0), color=colour, width=0.7, yerr=errors, capsize=2, label=label)
    if null_strengths is not None:
        for part, sign in ((null_strengths.positive, 1), (null_strengths.negative, -1)):
            low, middle, high = _band(np.asarray(part)[..., 1:])
            orders = np.arange(1, len(low) + 1)
            label = f"{null_label}: median, central 90%" if sign > 0 else None
            axes.fill_between(orders, sign * low, sign * high, color=GREY, alpha=0.3, linewidth=0)
            axes.plot(orders, sign * middle, color="black", marker="_", linewidth=1, label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(orders)
    axes.set_xlabel("order $|S|$ (number of players)")
    axes.set_ylabel(rf"strength $\sum_{{|S|=k}} |I(S)|$ / {unit}")
    axes.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def interaction_upset(view: InteractionView, *, count: int = 15, unit: str = "score") -> Figure:
    """Upset plot: the strongest interactions as bars, above a table of dots that says who takes part.

    Args:
        view: of any interactions.
        count: of them.
        unit: of the values, on the axis.
    """
    top = view.top(count)
    n, columns = len(view.names), len(top.values)
    heights = [2.4, max(0.24 * n, 0.8)]
    width = max(1.5 + 0.08 * max(map(len, view.names)) + 0.42 * columns, 4.5)
    figure, grid = new_figure(
        2, 1, size=(width, 0.8 + sum(heights)), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    bars, dots = grid[:, 0]
    bars.bar(range(columns), top.values, color=_sign_colours(top.values), width=0.7)
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set_ylabel(f"{view.index} / {unit}")
    bars.tick_params(bottom=False)
    for column in range(columns):
        rows = np.flatnonzero(top.subsets[column])
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
    dots.set_yticks(range(n), view.names)
    dots.set_ylim(n - 0.5, -0.5)
    dots.set_xlim(-0.6, columns - 0.4)
    dots.set_xticks([])
    dots.grid(False)
    dots.set_ylabel("player")
    dots.set_xlabel("interactions, strongest first")
    if (view.kinds == "OR").any():
        keys = (Line2D([], [], marker="o", color="black", label="AND (and single players)"),)
        keys += (Line2D([], [], marker="o", color="black", linestyle=":", fillstyle="none", label="OR"),)
        bars.legend(handles=keys, fontsize=8)
    return figure


def _circle(num_players: int) -> np.ndarray:
    angles = np.pi / 2 - 2 * np.pi * np.arange(num_players) / num_players
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def interaction_network(view: InteractionView, *, unit: str = "score") -> Figure:
    """Players on a circle: nodes are single players, lines between them pairs; red is positive, blue negative.

    Area of a node and width of a line are proportional to strength, each on its own scale. AND and OR interactions of a
    pair are added. Interactions of more than two players are not drawn; the title says how much that leaves out.

    Args:
        view: of any interactions.
        unit: of the values, in the legend.
    """
    n = len(view.names)
    places = _circle(n)
    singles, pairs = np.zeros(n), np.zeros((n, n))
    for subset, value in zip(view.subsets, view.values, strict=True):
        members = np.flatnonzero(subset)
        if len(members) == 1:
            singles[members[0]] += value
        elif len(members) == 2:
            pairs[members[0], members[1]] += value
    strength = np.abs(view.values)
    shown = strength[(view.orders == 1) | (view.orders == 2)].sum() / max(strength[view.orders > 0].sum(), 1e-300)
    figure, grid = new_figure(1, 1, size=(7.5, 6.5))
    axes = grid[0, 0]
    largest_pair, largest_single = max(np.abs(pairs).max(), 1e-300), max(np.abs(singles).max(), 1e-300)
    for first, second in zip(*np.nonzero(pairs), strict=True):
        value = pairs[first, second]
        share = abs(value) / largest_pair
        # Weak lines fade, so that many of them do not look like a strong one.
        axes.plot(
            *places[[first, second]].T, color=RED if value > 0 else BLUE, linewidth=6 * share, alpha=0.2 + 0.7 * share
        )
    sizes = 60 + 840 * np.abs(singles) / largest_single
    axes.scatter(*places.T, s=sizes, c=_sign_colours(singles), edgecolors="black", linewidths=0.8, zorder=3)
    for player, (x, y) in enumerate(places):
        side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
        axes.text(1.16 * x, 1.16 * y, _wrapped(view.names[player]), ha=side, va="center", fontsize=9)
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(-1.4, 1.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"{view.index}: orders 1 and 2, {shown:.0%} of the strength of all orders given", fontsize=10)
    keys: list[Any] = [
        Line2D([], [], color=GREY, linewidth=6, label=f"largest pair: {largest_pair:.3g} {unit}"),
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=15,
            color=GREY,
            label=f"largest player: {largest_single:.3g} {unit}",
        ),
        Line2D([], [], color=RED, linewidth=3, label="positive"),
        Line2D([], [], color=BLUE, linewidth=3, label="negative"),
    ]
    axes.legend(handles=keys, fontsize=8, loc="upper center", ncols=4, bbox_to_anchor=(0.5, 0.02))
    return figure


def _draw_input(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="Greys" if image.ndim == 2 else None, interpolation="nearest")
    _frame(axes)


def _draw_ink(axes: Axes, image: np.ndarray) -> None:
    # Ink on nothing: where the image is empty (or bright) the colours below stay those of their scale.
    ink = image if image.ndim == 2 else 1.0 - image[..., :3].mean(-1)
    alpha = 0.4 * (ink - ink.min()) / max(float(np.ptp(ink)), 1e-300)
    axes.imshow(np.zeros(ink.shape), cmap="Greys_r", alpha=alpha, interpolation="nearest", zorder=1)
    _frame(axes)


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _outline(axes: Axes, players: np.ndarray) -> None:
    # Pixels are unit squares around integers; edges lie where neighbours differ.
    rows, columns = np.nonzero(players[:-1] != players[1:])
    axes.hlines(rows + 0.5, columns - 0.5, columns + 0.5, color="black", linewidth=0.8)
    rows, columns = np.nonzero(players[:, :-1] != players[:, 1:])
    axes.vlines(columns + 0.5, rows - 0.5, rows + 0.5, color="black", linewidth=0.8)


def interaction_heat_map(
    image: np.ndarray, assignment: np.ndarray, view: InteractionView, *, count: int = 4, unit: str = "score"
) -> Figure:
    """The image with its players, what each is worth, and the strongest interactions, each on its own players.

    Attributions and interactions have colour scales of their own, both symmetric about zero.

    Args:
        image: ``[rows, columns]``, or with three or four channels in [0, 1].
        assignment: int ``[rows, columns]``, the player of each pixel, -1 for none.
        view: of interactions of these players.
        count: interactions of two or more players to draw.
        unit: of the values, on the colour bars.

    Raises:
        ValueError: an assignment that is not of the image's shape, or that has players the view does not.
    """
    if assignment.shape != image.shape[:2] or assignment.max(initial=-1) >= len(view.names):
        raise ValueError(
            f"assignment: expected players -1 ... {len(view.names) - 1} of shape {image.shape[:2]}, "
            f"got up to {assignment.max(initial=-1)} of shape {assignment.shape}"
        )
    attributions = view.attributions()
    joint = view.rows(np.flatnonzero(view.orders > 1)).top(count)
    columns = 2 + len(joint.values)
    figure, grid = new_figure(1, columns, size=(2.3 * columns + 1.2, 3.1))
    first, second, *others = grid[0]
    _draw_input(first, image)
    _outline(first, assignment)
    first.set_title("input and players", fontsize=9)
    for player, name in enumerate(view.names):
        places = np.argwhere(assignment == player)
        if len(name) <= 3 and len(places):
            row, column = places.mean(0)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            first.text(column, row, name, color=RED, fontsize=8, ha="center", va="center", bbox=box)

    def panel(axes: Axes, title: str, values: np.ndarray, members: np.ndarray, limit: float) -> Any:
        # The extra last entry is read by pixels of no player.
        drawn = np.where(np.append(members, False)[assignment], assignment, -1)
        heat = np.append(values, np.nan)[drawn]
        heated = axes.imshow(heat, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", zorder=0)
        _draw_ink(axes, image)
        _outline(axes, drawn)
        axes.set_title(title, fontsize=9)
        return heated

    everyone = np.ones(len(attributions), np.bool_)
    limit = max(float(np.abs(attributions).max()), 1e-300)
    heated = panel(second, "interactions shared\nby their players", attributions, everyone, limit)
    figure.colorbar(heated, ax=second, shrink=0.8, label=f"attribution / {unit}", location="left")
    limit = max(float(np.abs(joint.values).max(initial=0)), 1e-300)
    for row, (axes, value) in enumerate(zip(others, joint.values, strict=True)):
        title = _wrapped(f"{value:+.3g}: {joint.label_of(row)}")
        heated = panel(axes, title, np.full(len(attributions), value), joint.subsets[row], limit)
    if others:
        figure.colorbar(heated, ax=others, shrink=0.8, label=f"{view.index} / {unit}")
    return figure
