"""Interactions drawn over the image whose patches are the players."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrg.interactions.view import InteractionView
from jaxrg.plot.interaction_figures import checked, strongest, wrapped
from jaxrg.plot.style import MAX_PANELS, RED, drawable, largest, literal, new_figure


def _checked_image(image: Any) -> np.ndarray:
    values = drawable("image", image, is_finite=True)
    is_colour = values.ndim == 3 and values.shape[2] in (3, 4)
    if 0 in values.shape or not (values.ndim == 2 or is_colour):
        raise ValueError(f"image: expected [rows, columns], or three or four channels, got shape {values.shape}")
    if is_colour and np.asarray(image).dtype == np.uint8:
        values = values / 255
    if is_colour and not 0 <= values.min() <= values.max() <= 1:
        raise ValueError(f"image: expected channels in [0, 1], got {values.min():.4g} ... {values.max():.4g}")
    return values


def _checked_players(assignment: Any, shape: tuple[int, ...], num_players: int) -> np.ndarray:
    players = np.asarray(assignment)
    is_whole = np.issubdtype(players.dtype, np.integer)
    low, high = (players.min(initial=0), players.max(initial=-1)) if is_whole else (0, -1)
    if not is_whole or players.shape != shape or low < -1 or high >= num_players:
        raise ValueError(
            f"assignment: expected players -1 ... {num_players - 1} of shape {shape}, "
            f"got {players.dtype} {low} ... {high} of shape {players.shape}"
        )
    return players


def _draw_input(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="Greys" if image.ndim == 2 else None, interpolation="nearest")
    _frame(axes)


def _draw_ink(axes: Axes, image: np.ndarray) -> None:
    # Ink on nothing: where the image is empty (or bright) the colours below stay those of their scale.
    ink = image if image.ndim == 2 else 1.0 - image[..., :3].mean(-1)
    alpha = 0.4 * (ink - ink.min()) / (float(np.ptp(ink)) or 1.0)
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
        ValueError: no image, an assignment of another shape, or one with players the view does not have.
    """
    view = checked(view)
    image = _checked_image(image)
    assignment = _checked_players(assignment, image.shape[:2], len(view.names))
    attributions = view.attributions()
    joint = strongest(view.rows(np.flatnonzero(view.orders > 1)), count, maximum=MAX_PANELS)
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
            first.text(column, row, literal(name), color=RED, fontsize=8, ha="center", va="center", bbox=box)

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
    limit = largest(attributions)
    heated = panel(second, "interactions shared\nby their players", attributions, everyone, limit)
    figure.colorbar(heated, ax=second, shrink=0.8, label=f"attribution / {literal(unit)}", location="left")
    limit = largest(joint.values)
    for row, (axes, value) in enumerate(zip(others, joint.values, strict=True)):
        title = wrapped(f"{value:+.3g}: {joint.label_of(row)}")
        heated = panel(axes, title, np.full(len(attributions), value), joint.subsets[row], limit)
    if others:
        figure.colorbar(heated, ax=others, shrink=0.8, label=f"{literal(view.index)} / {literal(unit)}")
    return figure
