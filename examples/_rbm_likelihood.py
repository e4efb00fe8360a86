"""What the study of likelihoods keeps, counts and draws."""

from typing import NamedTuple

import numpy as np
from _study import show
from matplotlib.figure import Figure

from jaxrg import rbm


class Trained(NamedTuple):
    """A machine, and what was seen on the way."""

    machine: rbm.RBM
    losses: np.ndarray  # [epochs] exact, of the validation data
    rates: np.ndarray  # [epochs] tunnelling of the chains it was trained by; of plain Gibbs for contrastive divergence
    machines: list[rbm.RBM]  # after every epoch


class Estimates(NamedTuple):
    """Value and error of ln Z by several ways, minus the exact one."""

    tempered: tuple[float, float]
    annealed: tuple[float, float]
    mean_log: tuple[float, float]  # of forward log-weights, taken for ln Z
    one_sided: tuple[float, float]  # products of averages over the lower machine of every pair
    ends: tuple[float, float]  # of the bracket
    covers: dict[str, bool]


class Watched(NamedTuple):
    """A machine too large to enumerate, with brackets of its likelihood after some epochs."""

    epochs: list[int]
    lower: list[float]
    upper: list[float]
    value: list[float]
    error: list[float]


def share(rows: list[Estimates], name: str) -> str:
    covered = np.array([row.covers[name] for row in rows])
    return show(covered.mean(), np.sqrt(covered.mean() * (1 - covered.mean()) / len(covered)))


def spread(rows: list[Estimates], name: str) -> float:
    """Root mean square deviation in units of the errors of tempering."""
    return float(np.sqrt(np.mean([(getattr(row, name)[0] / row.tempered[1]) ** 2 for row in rows])))


COLOURS = {"CD-1": "tab:red", "PCD": "tab:orange", "tempered": "tab:blue"}


def draw(
    few: list[Estimates], rows: list[Estimates], trained: dict[str, Trained], seen: Watched, entropy: float
) -> Figure:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    number = np.arange(len(rows))
    panel = axes[0, 0]
    panel.vlines(number, [row.ends[0] for row in rows], [row.ends[1] for row in rows], color="0.8", lw=4)
    for offset, (name, colour, label) in enumerate(
        (
            ("tempered", "tab:blue", "tempering + BAR"),
            ("annealed", "tab:green", "AIS + reverse AIS"),
            ("mean_log", "tab:red", "mean ln w, AIS alone"),
        )
    ):
        values = np.array([getattr(row, name) for row in rows])
        panel.errorbar(
            number + 0.2 * (offset - 1), values[:, 0], 2 * values[:, 1], fmt=".", ms=3, lw=1, c=colour, label=label
        )
    panel.axhline(0, color="k", lw=0.8)
    panel.set(title="ln Z minus the exact one, 2σ; grey: bracket", xlabel="random machine", ylabel="nats")
    panel.set_ylim(top=2 * max(row.ends[1] for row in rows))
    panel.legend(fontsize=8, loc="upper left", ncols=3)

    panel = axes[0, 1]
    for name, run in trained.items():
        panel.plot(1 + np.arange(len(run.losses)), -run.losses, color=COLOURS[name], label=f"{name}, exact")
    panel.fill_between(seen.epochs, seen.lower, seen.upper, color="tab:purple", alpha=0.25, lw=0)
    panel.errorbar(seen.epochs, seen.value, seen.error, fmt=".-", c="tab:purple", label="PCD, larger machine: bracket")
    panel.axhline(-entropy, color="k", ls=":", label="minus the entropy")
    panel.set(title="log-likelihood of validation data", xlabel="epoch", ylabel="nats a configuration")
    panel.legend(fontsize=8)

    panel = axes[1, 0]
    for name, run in trained.items():
        label = "tempered chains" if name == "tempered" else f"Gibbs chains of {name}"
        panel.plot(1 + np.arange(len(run.rates)), run.rates, color=COLOURS[name], label=label)
    panel.set(title="tunnelling of m while training", xlabel="epoch", ylabel="changes of sign a step")
    panel.set_yscale("symlog", linthresh=1e-3)
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=8)

    panel = axes[1, 1]
    names = {"tempered": "BAR", "one_sided": "one-sided"}
    for offset, (name, label) in enumerate(names.items()):
        heights = [spread(group, name) for group in (rows, few)]
        panel.bar(np.arange(2) + 0.35 * offset, heights, 0.33, label=label, color=("tab:blue", "tab:red")[offset])
    panel.axhline(1, color="k", lw=0.8)
    panel.set_xticks(np.arange(2) + 0.17, ["swaps of 0.3 at least", "of 0.1 at least"])
    panel.set(title="deviation of ln Z, same chains and cost", ylabel="in stated errors of BAR")
    panel.legend(fontsize=8)
    return figure
