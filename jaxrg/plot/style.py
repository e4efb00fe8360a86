"""The look shared by every figure, and what keeps a figure from drawing something else than it was given."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette: told apart by colour-blind readers.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#666666"
SERIES = (BLUE, ORANGE, GREEN, RED, "#cc79a7", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
# Matplotlib draws at most 2**16 pixels a side; a figure beyond this many bars or panels is none that a reader reads.
MAX_DRAWN, MAX_PANELS = 200, 24
LARGEST = 1e30  # drawn numbers; the room above keeps limits, squares and float32 colours inside their range

_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "image.interpolation": "nearest",
    "text.usetex": False,
}


def new_figure(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure that needs no display, with a ``[rows, columns]`` array of axes.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height, inches.
        options: passed on to ``Figure.subplots``.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def series_colours(count: int) -> list[Any]:
    """One colour for each of any number of series: the palette, then a continuous map where it does not suffice."""
    if count <= len(SERIES):
        return list(SERIES[:count])
    return list(mpl.colormaps["turbo"](np.linspace(0.05, 0.95, count)))


def markers(count: int) -> list[str]:
    """One marker for each of any number of series."""
    return [MARKERS[index % len(MARKERS)] for index in range(count)]


def literal(text: Any) -> str:
    """A text that matplotlib draws as it is: no mathematics between dollars, and no label that a legend leaves out.

    Example:
        >>> literal("from $5 to $10")
        'from \\\\$5 to \\\\$10'
    """
    escaped = str(text).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def check_drawn(name: str, count: int, *, minimum: int = 1, maximum: int = MAX_DRAWN) -> None:
    """Raise ValueError for more bars, rows or panels than a figure can show."""
    if not minimum <= count <= maximum:
        raise ValueError(f"{name}: expected {minimum} to {maximum} to draw, got {count}")


def item(name: str, mapping: Any, key: str) -> Any:
    """One entry of an argument that is a dictionary; ValueError in words if it is not there."""
    if not isinstance(mapping, Mapping) or key not in mapping:
        got = sorted(mapping) if isinstance(mapping, Mapping) else type(mapping).__name__
        raise ValueError(f"{name}: expected a dictionary with {key!r}, got {got}")
    return mapping[key]


def drawable(name: str, values: Any, *, shape: str = "", is_finite: bool = False) -> np.ndarray:
    """Numbers as float64 on the host, to draw; NaN stays and leaves a gap.

    Args:
        name: of the argument.
        values: array, list or table of the device.
        shape: one letter a dimension, for messages, such as ``"[times]"``; anything if empty.
        is_finite: whether a gap would be wrong.

    Raises:
        ValueError: not numbers, another number of dimensions, infinite or beyond `LARGEST`, or NaN where `is_finite`.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers {shape}, got {type(values).__name__}") from error
    if shape and found.ndim != shape.count(",") + 1:
        raise ValueError(f"{name}: expected numbers {shape}, got shape {found.shape}")
    is_nan = np.isnan(found)
    if (np.abs(found[~is_nan]) > LARGEST).any() or (is_finite and is_nan.any()):
        kind = "finite numbers" if is_finite else "numbers (or NaN for a gap)"
        raise ValueError(
            f"{name}: expected {kind} up to {LARGEST:.0e}, got {found[is_nan | (np.abs(found) > LARGEST)][0]}"
        )
    return found


def spread(values: np.ndarray) -> tuple[float, float]:
    """Smallest and largest number that is not NaN; 0 and 1 where there is none."""
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def largest(values: np.ndarray) -> float:
    """Largest magnitude that is not NaN; 1 where all are zero, so that it can divide and limit a scale."""
    known = np.abs(values[~np.isnan(values)])
    return float(known.max(initial=0.0)) or 1.0


def log_axis(axes: Axes, values: Any, *, which: str = "y") -> None:
    """A logarithmic axis, if any of the values has a place on it; a linear one says nothing wrong of zeros."""
    if (np.asarray(values, np.float64) > 0).any():
        axes.set(**{f"{which}scale": "log"})


def integer_axis(axes: Axes, values: Sequence[int] | np.ndarray, *, which: str = "x") -> None:
    """Ticks at integers: at each of a few values, at some of many."""
    axis = getattr(axes, f"{which}axis")
    if len(values) <= 20:
        axis.set_ticks(values)
    else:
        axis.set_major_locator(MaxNLocator(integer=True))


def show_image(axes: Axes, values: np.ndarray, *, title: str = "", limit: float = 1.0) -> Any:
    """A square image with a diverging colour scale from ``-limit`` to ``limit``; pixels of NaN stay white."""
    image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_title(title, fontsize=9)
    return image


def error_points(axes: Axes, x: Any, y: Any, errors: Any, **options: Any) -> None:
    """Points with one-standard-deviation bars; a point without a known error has no bar."""
    options = {"linestyle": "none", "markersize": 4, "capsize": 2, "elinewidth": 1} | options
    known = np.nan_to_num(np.asarray(errors, np.float64), nan=0.0, posinf=0.0)
    if (known < 0).any():
        raise ValueError(f"errors: expected none below zero, got {known.min():.4g}")
    axes.errorbar(x, y, yerr=known, **options)


def band(axes: Axes, x: Any, value: Any, error: Any, colour: Any, **options: Any) -> None:
    """A line with its error as a band."""
    value, error = np.asarray(value, np.float64), np.asarray(error, np.float64)
    axes.plot(x, value, color=colour, **options)
    axes.fill_between(x, value - error, value + error, color=colour, alpha=0.25, linewidth=0)
