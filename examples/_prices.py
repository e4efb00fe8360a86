"""What the comparison of samplers shares: a price for each method, tables and break-evens, and a figure."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from _study import print_claims
from matplotlib.figure import Figure

from jaxrg.plot import style

ERRORS = (1e-2, 1e-3)  # relative


class Bought(NamedTuple):
    """What a method has found, and what it paid."""

    form: str  # "spins" or "fields"
    name: str
    setup: float  # seconds before the first sample: training with its data, or equilibration
    compilation: float  # seconds, apart
    seconds: float  # of sampling
    mean: np.ndarray  # [2] by observable
    error: np.ndarray  # [2]
    variance: np.ndarray  # [2] of one configuration
    log_partition: tuple[float, float] | None  # and its error
    note: str
    is_converged: bool = True  # whether the errors can be trusted

    @property
    def price(self) -> np.ndarray:
        """``[2]`` seconds an independent configuration."""
        return self.seconds * self.error**2 / self.variance

    def seconds_to(self, relative: float) -> np.ndarray:
        """``[2]`` seconds to a relative error, the setup included."""
        return self.setup + self.price * self.variance / (relative * self.mean) ** 2


def show_seconds(value: float) -> str:
    """Seconds in three digits, from microseconds to days."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def break_even(learned: Bought, other: Bought) -> list[float]:
    """Independent configurations, by observable, from which training has paid; infinite for never."""
    gains = other.price - learned.price
    return [float((learned.setup - other.setup) / gain) if gain > 0 else np.inf for gain in gains]


def show_count(value: float) -> str:
    return "never" if np.isinf(value) else f"{max(value, 0):.1e}"


class Row(NamedTuple):
    """A line of the table of prices."""

    method: str
    price: str
    first: str
    control: str


def rows_of(bought: Sequence[Bought]) -> list[Row]:
    rows = [
        Row(
            "method",
            "s an independent | energy, |M|",
            f"s to {ERRORS[0]:g}, {ERRORS[1]:g}: energy | |M|",
            "setup, compilation; notes",
        )
    ]
    for one in bought:
        times = [[show_seconds(value) for value in one.seconds_to(error)] for error in ERRORS]
        rows.append(
            Row(
                f"{one.form}: {one.name}",
                ", ".join(show_seconds(value) for value in one.price),
                f"{times[0][0]}, {times[1][0]} | {times[0][1]}, {times[1][1]}",
                f"{show_seconds(one.setup)}, {show_seconds(one.compilation)}; {one.note}",
            )
        )
    return rows


def report(side: int, exact: dict[str, float], bought: Sequence[Bought]) -> None:
    print(f"L = {side}, critical point, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print_claims(rows_of(bought))  # type: ignore[arg-type]
    for learned in (one for one in bought if one.name == "decimation"):
        doubt = " (if its weights could be trusted)" if not learned.is_converged else ""
        for other in (one for one in bought if one.form == learned.form and one is not learned):
            counts = " | ".join(map(show_count, break_even(learned, other)))
            print(f"{learned.form}: training pays against {other.name} from {counts} independent configurations{doubt}")
    for one in bought:
        if one.log_partition is not None:
            value, error = one.log_partition
            off = value - exact[one.form]
            each = error * one.seconds**0.5
            print(
                f"{one.form}: ln Z by {one.name} off by {off:+.5f} +- {error:.5f} ({off / error:+.1f} sigma) in "
                f"{show_seconds(one.seconds)}: {each:.5f} after one second, and {show_seconds(one.setup)} before it"
                + ("" if one.is_converged else "; scatters too much for an error")
            )
    for form in ("spins", "fields"):
        same = [one for one in bought if one.form == form and one.is_converged]
        left_out = [one.name for one in bought if one.form == form and not one.is_converged]
        best = min(same, key=lambda one: float(one.error[1]))
        away = [float((one.mean[1] - best.mean[1]) / max(np.hypot(one.error[1], best.error[1]), 1e-12)) for one in same]
        apart = f" (without {', '.join(left_out)}, whose errors cannot be trusted)" if left_out else ""
        print(f"{form}: |M| of all methods within {max(map(abs, away)):.1f} sigma of that of {best.name}{apart}")


def figure_of(results: dict[int, list[Bought]]) -> Figure:
    """Relative error of |M| against seconds on the clock, training included, one line for each method."""
    figure, grid = style.new_figure(len(results), 2, size=(10.4, 4.2 * len(results)), sharey=True)
    places = [(side, form) for side in results for form in ("spins", "fields")]
    for place, (side, form) in zip(grid.ravel(), places, strict=True):
        for one, colour, marker in zip(
            [one for one in results[side] if one.form == form], style.SERIES, style.MARKERS, strict=False
        ):
            after = np.geomspace(1e-3, 1e5, 200)
            relative = np.sqrt(one.price[1] * one.variance[1] / after) / one.mean[1]
            place.plot(one.setup + after, relative, color=colour, label=one.name)
            place.plot(one.setup + one.seconds, one.error[1] / one.mean[1], marker, color=colour)
        place.set(xscale="log", yscale="log", xlim=(1e-2, 1e5), ylim=(1e-5, 1e-1), xlabel="seconds")
        place.set_title(f"{form}, {side} x {side}; marks are measured", fontsize=9)
        place.legend(fontsize=8)
    for place in grid[:, 0]:
        place.set(ylabel="relative error of $\\langle|M|\\rangle$")
    return figure
