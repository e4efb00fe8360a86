"""Figures of interactions through training."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from jaxrg.plot.style import BLUE, GREY, ORANGE, band, check_drawn, drawable, integer_axis, item, literal, new_figure

NUM_CURVES = 6  # more than this and a reader cannot tell the epochs apart
_BY_TIME = ("mean_order", "mean_order_error", "train_loss", "test_loss")


def _checked(name: str, run: Mapping[str, Any], num_times: int, num_orders: int) -> dict[str, np.ndarray]:
    found = {key: drawable(f"{name}: {key}", item(name, run, key)) for key in ("spectra", *_BY_TIME)}
    for key, values in found.items():
        shape = (num_times, num_orders) if key == "spectra" else (num_times,)
        if values.shape != shape:
            raise ValueError(f"{name}: {key}: expected shape {shape}, got {values.shape}")
    return found


def interactions_through_training(
    epochs: Sequence[int],
    network: Mapping[str, Any],
    control: Mapping[str, Any],
    *,
    spindle: Sequence[float],
    control_name: str = "shuffled labels",
) -> Figure:
    """The order spectrum at some epochs, the mean order through training, and the losses, with a control.

    Args:
        epochs: ``[checkpoints]``, the first of them 0, before training.
        network: ``spectra`` ``[checkpoints, n]`` of orders 1 ... n with mean one, ``mean_order`` with
            ``mean_order_error``, ``train_loss`` and ``test_loss`` in nats. NaN, of a run that diverged, leaves a gap.
        control: the same of a network trained on something else.
        spindle: ``[n]`` the spectrum of independent outputs, with mean one.
        control_name: what the control was trained on.

    Raises:
        ValueError: entries that are missing, or of other shapes.
    """
    ages = drawable("epochs", epochs, shape="[checkpoints]", is_finite=True)
    form = drawable("spindle", spindle, shape="[n]")
    check_drawn("epochs", len(ages), maximum=10**6)
    num_orders = len(form)
    named = {"network": network, "control": control}
    drawn, beside = (_checked(name, run, len(ages), num_orders) for name, run in named.items())
    figure, grid = new_figure(1, 3, size=(13, 3.9))
    spectra, orders, losses = grid[0]
    # Epoch 0 has no place on a logarithmic axis; it is drawn one step to the left of the first.
    times = np.maximum(ages, 0.5)

    chosen = np.unique(np.linspace(0, len(ages) - 1, NUM_CURVES).round().astype(int))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(chosen)))
    for index, colour in zip(chosen, colours, strict=True):
        label = "untrained" if ages[index] == 0 else f"epoch {ages[index]:g}"
        row = drawn["spectra"][index]
        spectra.plot(range(1, num_orders + 1), row, "o-", color=colour, markersize=3, label=label)
    spectra.plot(range(1, num_orders + 1), form, color=GREY, linestyle=":", label="independent outputs")
    spectra.set_xlabel("order |S|")
    spectra.set_ylabel("strength / mean over orders")
    integer_axis(spectra, range(1, num_orders + 1))
    spectra.legend(fontsize=7)

    for run, colour, label in ((drawn, BLUE, "true labels"), (beside, ORANGE, literal(control_name))):
        band(orders, times, run["mean_order"], run["mean_order_error"], colour, label=label)
        losses.plot(times, run["train_loss"], color=colour, linestyle="--", label=f"training, {label}")
        losses.plot(times, run["test_loss"], color=colour, label=f"test, {label}")
    known = np.flatnonzero(~np.isnan(drawn["mean_order"]))
    turn = known[np.argmin(drawn["mean_order"][known])] if len(known) else None
    for axes in (orders, losses):
        if turn is not None:
            axes.axvline(times[turn], color=GREY, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_xlabel("epoch (untrained at the left edge)")
    orders.set_ylabel("mean order of the interactions / players")
    lowest = "mean order unknown" if turn is None else f"dotted: lowest order, epoch {ages[turn]:g}"
    orders.set_title(lowest, fontsize=9)
    orders.legend(fontsize=8)
    positive = np.concatenate([run[key] for run in (drawn, beside) for key in ("train_loss", "test_loss")])
    if (positive > 0).any():
        losses.set_yscale("log")
    losses.set_ylabel("cross entropy / nats")
    losses.legend(fontsize=7)
    return figure
