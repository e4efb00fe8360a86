"""Figures of Boltzmann machines: training, the exact map, receptive fields and reconstructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrg.plot.style import (
    BLUE,
    GREY,
    MAX_PANELS,
    ORANGE,
    check_drawn,
    drawable,
    error_points,
    integer_axis,
    item,
    largest,
    log_axis,
    new_figure,
    show_image,
)


def exact_map(
    kl_curve: Sequence[float],
    kl_stride: int,
    histogram: Mapping[str, Sequence[float]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Figure:
    """The learning curve, the distribution of ln rho, and the difference of the two coarse Hamiltonians.

    Args:
        kl_curve: KL(P || p) in nats.
        kl_stride: training steps between its entries.
        histogram: ``counts`` and ``edges`` of ln rho - ln<rho> under P.
        before: ``hamiltonian_rg`` and ``hamiltonian_rbm`` of the untrained machine at some hidden states, and
            ``hamiltonian_difference``, the largest over all of them.
        after: the same of the trained machine.

    Raises:
        ValueError: entries that are missing, or of other lengths.
    """
    figure, grid = new_figure(1, 3, size=(12.5, 3.8))
    curve, spread, residuals = grid[0]
    values = drawable("kl_curve", kl_curve, shape="[times]")
    curve.plot(kl_stride * np.arange(len(values)), values, color=BLUE)
    log_axis(curve, values)
    curve.set_xlabel("exact gradient step")
    curve.set_ylabel(r"KL$(P\,\|\,p_\lambda)$ / nats")

    counts, edges = (drawable("histogram", item("histogram", histogram, key)) for key in ("counts", "edges"))
    if counts.ndim != 1 or edges.shape != (len(counts) + 1,):
        raise ValueError(f"histogram: expected n counts and n + 1 edges, got {counts.shape} and {edges.shape}")
    spread.bar(edges[:-1], counts, np.diff(edges), align="edge", color=BLUE)
    # Most of the probability is in one bin; what keeps the step from being exact is in the tails.
    log_axis(spread, counts)
    spread.axvline(0, color=GREY, linestyle=":")
    spread.set_xlabel(r"$\ln\rho(v) - \ln\langle\rho\rangle$")
    spread.set_ylabel("probability under $P(v)$ per bin")
    spread.set_title("an exact RG step would be a line at 0", fontsize=9)

    machines = {"untrained": (before, ORANGE, "x"), "trained": (after, BLUE, ".")}
    both = {label: _hamiltonians(label, machine) for label, (machine, *_) in machines.items()}
    exponent = np.floor(np.log10(max(np.abs(exact - closed).max(initial=0.0) for exact, closed in both.values()) or 1))
    for label, (machine, colour, marker) in machines.items():
        exact, closed = both[label]
        worst = f"{label}: largest of all states {item(label, machine, 'hamiltonian_difference'):.0e}"
        scaled = (exact - closed) / 10.0**exponent
        residuals.plot(closed, scaled, linestyle="none", marker=marker, markersize=4, color=colour, label=worst)
    residuals.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    residuals.set_xlabel("$H^{RBM}(h)$, closed form")
    residuals.set_ylabel(f"$H^{{RG}}(h) - H^{{RBM}}(h)$ / $10^{{{exponent:.0f}}}$")
    residuals.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def _hamiltonians(name: str, machine: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    exact, closed = (
        drawable(f"{name}: {key}", item(name, machine, key), shape="[states]", is_finite=True)
        for key in ("hamiltonian_rg", "hamiltonian_rbm")
    )
    if exact.shape != closed.shape:
        raise ValueError(f"{name}: expected both Hamiltonians at the same states, got {exact.shape} and {closed.shape}")
    return exact, closed


def receptive_fields(
    fields: Sequence[Any], shape: tuple[int, int], *, control: Sequence[Any] | None = None, count: int = 4
) -> Figure:
    """The fields with the largest norm at every level, each scaled to its largest weight, beside a control's.

    Args:
        fields: of each level ``[num_sites, num_units]``, as `jaxrg.rbm.receptive_fields` returns them.
        shape: rows and columns of the lattice.
        control: the same of another stack.
        count: of fields a level.

    Raises:
        ValueError: no levels, or fields of another lattice.
    """
    stacks = [("", fields)] if control is None else [("samples", fields), ("control: sites shuffled", control)]
    num_levels = {len(stack) for _, stack in stacks}
    if len(num_levels) > 1:
        raise ValueError(f"control: expected {len(fields)} levels, got {len(stacks[-1][1])}")
    check_drawn("fields: levels", len(fields), maximum=MAX_PANELS)
    check_drawn("count", count, maximum=MAX_PANELS)
    columns = count * len(stacks)
    figure, grid = new_figure(len(fields), columns, size=(1.3 * columns + 1, 1.4 * len(fields) + 0.5))
    drawn = None
    for side, (title, levels) in enumerate(stacks):
        for row, level in enumerate(levels):
            panels = grid[row, side * count : (side + 1) * count]
            images = _strongest_fields(drawable("fields", level, shape="[sites, units]"), shape, count)
            for axes, image in zip(panels, images, strict=False):
                drawn = show_image(axes, image)
            for axes in panels[len(images) :]:
                axes.set_axis_off()
        grid[0, side * count].set_title(title, loc="left", fontsize=10)
    for row in range(len(fields)):
        grid[row, 0].set_ylabel(f"level {row + 1}")
    if drawn is not None:
        figure.colorbar(drawn, ax=grid, shrink=0.6, label="weight / largest weight of the field")
    return figure


def _strongest_fields(fields: np.ndarray, shape: tuple[int, int], count: int) -> np.ndarray:
    if fields.shape[0] != np.prod(shape) or len(shape) != 2:
        raise ValueError(f"fields: expected [{' x '.join(map(str, shape))}, units], got shape {fields.shape}")
    scaled = fields / largest(fields)
    # NaN, of a machine that diverged, sorts last.
    chosen = np.argsort(-np.sum(scaled**2, axis=0), kind="stable")[:count]
    images = [fields[:, unit] / largest(fields[:, unit]) for unit in chosen]
    return np.reshape(images, (len(images), *shape))


def locality_by_level(
    levels: Sequence[Mapping[str, Any]], control_levels: Sequence[Mapping[str, Any]], *, num_sites: int
) -> Figure:
    """Radius and participation of the receptive fields by level, with the control and the uniform field.

    Args:
        levels: dictionaries with ``radius``, ``participation`` and ``uniform_radius``, and with ``radius_error`` and
            ``participation_error`` where they are known; lowest level first.
        control_levels: the same of the control.
        num_sites: of the lattice.

    Raises:
        ValueError: no levels, or levels without these entries.
    """
    check_drawn("levels", len(levels))
    figure, grid = new_figure(1, 2, size=(9, 3.6))
    panels = (("radius", "radius / lattice spacings", item("levels", levels[0], "uniform_radius")),)
    panels += (("participation", "participating sites", num_sites),)
    for axes, (name, label, uniform) in zip(grid[0], panels, strict=True):
        _draw_levels(axes, name, levels, color=BLUE, marker="o", label="Ising samples")
        _draw_levels(axes, name, control_levels, color=ORANGE, marker="s", label="sites shuffled")
        axes.axhline(uniform, color=GREY, linestyle="--", linewidth=1, label="uniform field")
        integer_axis(axes, np.arange(1, len(levels) + 1))
        if name == "radius":
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")  # blocks of tens of sites against a lattice of thousands
        axes.set_xlabel("level of the stack")
        axes.set_ylabel(label)
    grid[0, 0].legend(fontsize=8)
    return figure


def _draw_levels(axes: Axes, name: str, levels: Sequence[Mapping[str, Any]], **look: Any) -> None:
    values = drawable("levels", [item("levels", level, name) for level in levels])
    errors = drawable("levels", [level.get(f"{name}_error", np.nan) for level in levels])
    error_points(axes, np.arange(1, len(levels) + 1), values, errors, linestyle="-", linewidth=1.2, **look)


def reconstructions(originals: Any, means: Any, control_means: Any = None) -> Figure:
    """Samples, below them what comes back from the top of the stack, and below that what comes back from a control.

    Args:
        originals: ``[count, rows, columns]`` spins.
        means: the same of mean spins, from -1 to 1.
        control_means: the same from a stack that learned something else.

    Raises:
        ValueError: images of other shapes, or none.
    """
    named = {"sample": originals, "stack": means}
    if control_means is not None:
        named["control"] = control_means
    images = {name: drawable(name, values, shape="[count, rows, columns]") for name, values in named.items()}
    shape = images["sample"].shape
    for name, values in images.items():
        if values.shape != shape or 0 in shape or largest(values) > 1:
            raise ValueError(f"{name}: expected {shape} from -1 to 1, got {values.shape} up to {largest(values):.4g}")
    check_drawn("originals", shape[0], maximum=MAX_PANELS)
    figure, grid = new_figure(len(images), shape[0], size=(2.4 * shape[0] + 1, 2.4 * len(images)))
    for row, (name, values) in zip(grid, images.items(), strict=True):
        for axes, image in zip(row, values, strict=True):
            drawn = show_image(axes, image)
        row[0].set_ylabel("sample" if name == "sample" else f"mean given the top\nof the {name}")
    figure.colorbar(drawn, ax=grid, shrink=0.7, label="spin")
    return figure
