"""Figures of the study of dissection: detectors by category, rotations, chance, rules, and units on their images."""

from typing import Any

import jax
import numpy as np
from _dissect_networks import layer_of
from _study import mean_and_error
from matplotlib.figure import Figure

from jaxrg import datasets
from jaxrg.explain import dissection
from jaxrg.plot import style

MINIMUM, TRAINED, UNTRAINED, ROTATED = 0.04, "trained", "untrained", "rotated"
NUM_UNITS, NUM_SHOWN = 6, 6  # units in a gallery, images of each


def draw_counts(data: Any, results: list, powers: tuple, turned: np.ndarray, null: np.ndarray, scores: dict) -> Figure:
    """Detectors by layer and category; unique ones along a rotation; chance; the rules of the union."""
    figure, grid = style.new_figure(2, 2, size=(12, 8.5))
    _bars(grid[0, 0], data, results)
    mean, error = mean_and_error(turned)
    for column, (name, colour) in enumerate((("detectors", style.BLUE), ("distinct concepts", style.RED))):
        grid[0, 1].errorbar(powers, mean[:, column], error[:, column], color=colour, marker="o", label=name)
    grid[0, 1].set(xlabel=r"power $\alpha$ of the rotation", ylabel="units or concepts, last layer", ylim=(0, None))
    grid[0, 1].legend()
    best, by_chance = np.asarray(dissection.iou(results[0].found[TRAINED][-1])).max(-1), null.max(-1).ravel()
    bins = np.linspace(0, max(best.max(), by_chance.max()), 40)
    for values, name, colour in ((best, "trained", style.RED), (by_chance, "masks of other scenes", style.GREY)):
        weights = np.full(len(values), 1 / len(values))
        grid[1, 0].hist(values, bins, weights=weights, histtype="step", color=colour, label=name, linewidth=1.5)
    grid[1, 0].axvline(MINIMUM, color="k", linestyle=":", label="0.04")
    grid[1, 0].set(xlabel="largest IoU of a unit", ylabel="share of units")
    grid[1, 0].legend()
    full = scores["all labels"].max(-1)
    units, concepts = np.arange(len(full)), scores["all labels"].argmax(-1)
    shown = zip(("labelled images", "all images", "touched images"), ("o", "v", "^"), style.SERIES, strict=False)
    for name, marker, colour in shown:
        grid[1, 1].plot(
            full, scores[name][units, concepts], marker, color=colour, label=f"union over {name}", alpha=0.7
        )
    top = max(full.max(), *(scores[name][units, concepts].max() for name in scores))
    grid[1, 1].plot([0, top], [0, top], "k:", linewidth=1)
    grid[1, 1].set(xlabel="IoU with all labels", ylabel="IoU with half of the labels hidden")
    grid[1, 1].legend()
    return figure


def _bars(axes: Any, data: Any, results: list) -> None:
    """Mean number of detectors over networks, stacked by category."""
    depth = len(data.module.layers)
    columns = [(f"layer {layer + 1}\n{name}", name, layer) for layer in range(depth) for name in (TRAINED, UNTRAINED)]
    columns.append((f"layer {depth}\n{ROTATED}", ROTATED, -1))
    heights = np.array(
        [
            np.mean([data.detectors(result.found[name][layer]).num_units for result in results], axis=0)
            for _, name, layer in columns
        ]
    )
    bottom = np.zeros(len(columns))
    for category, values in enumerate(heights.T):
        colour, name = style.SERIES[category], datasets.SCENE_CATEGORIES[category]
        axes.bar(range(len(columns)), values, bottom=bottom, color=colour, label=name)
        bottom += values
    axes.set_xticks(range(len(columns)), [label for label, _, _ in columns], fontsize=8)
    axes.set(ylabel="detectors, mean over networks")
    axes.legend()


def draw_units(data: Any, result: Any, best: Any, names: tuple[str, ...], pictures: np.ndarray) -> Figure:
    """The best units of the last layer, each on the images where it is most active, its active pixels outlined."""
    depth, found = len(data.module.layers), result.found[TRAINED][-1]
    maps_fn = jax.jit(layer_of(data.module, result.params[TRAINED], depth))
    parts = [np.asarray(maps_fn(data.images[start : start + 100])) for start in range(0, len(data.images), 100)]
    maps = np.concatenate(parts)
    chosen = _distinct(np.asarray(best.scores), np.asarray(best.concepts))
    count = min(NUM_SHOWN, len(maps))
    figure, grid = style.new_figure(len(chosen), count, size=(1.6 * count + 1.2, 1.75 * len(chosen)))
    for row, unit in zip(grid, chosen, strict=True):
        order = np.argsort(-maps[..., unit].max((1, 2)))[:count]
        finer = dissection.upsample(maps[order], pictures.shape[1:3], anchor=data.module.anchor(depth))[..., unit]
        for axes, image, field in zip(row, pictures[order], np.asarray(finer), strict=True):
            axes.imshow(image, cmap="gray")
            level = found.thresholds[unit]
            if field.max() > level > field.min():
                axes.contour(field, levels=[level], colors=["k"], linewidths=2.5)
                axes.contour(field, levels=[level], colors=["w"], linewidths=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
        row[0].set_ylabel(f"unit {unit}\n{names[int(best.concepts[unit])]}\nscore {best.scores[unit]:.2f}", fontsize=8)
    return figure


def _distinct(scores: np.ndarray, concepts: np.ndarray) -> list[int]:
    """The best unit of each concept, the best concepts first."""
    order = np.argsort(-scores)
    _, first = np.unique(concepts[order], return_index=True)
    return [int(order[place]) for place in np.sort(first)[:NUM_UNITS]]
