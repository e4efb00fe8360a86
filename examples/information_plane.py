# %% [markdown]
# # The information plane, counted
# Does a network forget its input while it learns? On 12 bits there are 4,096 inputs, and what a layer of a
# deterministic network knows of them is the entropy of its values, which counting gives exactly. Beside it stands what
# thirty bins make of the same values. Widths, optimiser, batches and epochs are the published ones, and fifty repeats
# are with `--runs 50`. The labels are not, as their file is not at hand: the inputs are all 4,096 patterns of signs on
# twelve points of a sphere, and the label is one that rotations of the sphere do not change, with the published 0.99
# bits. Runs on shuffled labels are the control. The figures decide what these runs do; whether networks compress in
# general they leave open.

# %%
import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxrg import datasets
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _information_plane import (
    LAYERS,
    NOISE,
    NUM_BINS,
    NUM_INPUTS,
    NUM_NOISY,
    RELU,
    TANH,
    Kind,
    Plane,
    checkpoints,
    rule,
    study,
)
from _study import HEADER, Claim, band, mean_and_error, plus_minus, print_claims, save, with_given, write_results

HIDDEN, LOGITS, SOFTMAX = [0, 1, 2, 3, 4], 5, 6
SEEN = 0.1  # bits: what counts as lost


class Scale(NamedTuple):
    """Size of the study."""

    num_epochs: int
    num_runs: int
    num_controls: int  # runs on shuffled labels beside them
    num_bits: tuple[int, ...]  # 32 first


FULL = Scale(8_000, 8, 2, (32, 8, 4))
SMOKE = Scale(20, 3, 2, (32,))


# %%
class Runs(NamedTuple):
    """The planes of one network, of the runs and of those on shuffled labels."""

    trained: Plane
    control: Plane


def run_all(scale: Scale, epochs: np.ndarray) -> dict[Kind, Runs]:
    """Every network, two at a time: one alone does not keep two cores busy."""
    labels = jnp.asarray(rule())
    keys = jax.random.split(jax.random.key(0), scale.num_controls)
    shuffled = [datasets.shuffle_labels(key, labels) for key in keys]
    of_runs = jnp.stack([labels] * scale.num_runs + shuffled)
    kinds = [Kind(activation, bits) for bits in scale.num_bits for activation in (TANH, RELU)]
    with ThreadPoolExecutor(2) as pool:
        keys = jax.random.split(jax.random.key(1), len(kinds))
        started = [
            pool.submit(study, key, kind, of_runs, epochs, _report) for key, kind in zip(keys, kinds, strict=True)
        ]
        planes = [one.result() for one in started]
    return {
        kind: Runs(*(Plane(*(leaf[..., part] for leaf in plane)) for part in parts))
        for kind, plane in zip(kinds, planes, strict=True)
        for parts in [(slice(scale.num_runs), slice(scale.num_runs, None))]
    }


def _report(text: str) -> None:
    print(f"    {text}", flush=True)


def lost(plane: Any, layers: list[int]) -> np.ndarray:
    """Bits ``[runs]`` that a layer has lost since it knew most, the mean over layers."""
    chosen = plane[:, layers]
    return (chosen.max(axis=0) - chosen[-1]).mean(axis=0)


def shown(plane: Any, layers: list[int]) -> str:
    """Bits lost since the most, in how many runs any are, and the change from first to last."""
    values = lost(plane, layers)
    change = plus_minus((plane[-1] - plane[0])[layers].mean(axis=0), sign="+")
    return f"{plus_minus(values)} bits, {(values > SEEN).sum()} of {len(values)} runs; last less first {change}"


def claims_of(runs: dict[Kind, Runs]) -> list[Claim]:
    lines = []
    for kind, (trained, control) in runs.items():
        name = f"{kind.activation}, {kind.num_bits} bits"
        says = "yes (Shwartz-Ziv & Tishby 2017)" if kind.activation == TANH else "no (Saxe et al. 2018)"
        if kind.num_bits == 32:
            lines += [
                Claim(
                    f"{name}: hidden layers compress, {NUM_BINS} bins",
                    says,
                    shown(trained.binned, HIDDEN),
                    f"counted: {shown(trained.exact, HIDDEN)}",
                ),
                Claim(
                    f"{name}: the same of 3 units",
                    says,
                    shown(trained.binned, [4]),
                    f"labels shuffled: {shown(control.binned, [4])}",
                ),
                Claim(
                    f"{name}: through noise of {NOISE} the 3 units tell",
                    "first more, then less (Goldfeld et al. 2019)",
                    noisy_course(trained.noisy[:, 1]),
                    f"between bounds at last: {noisy_bounds(trained.noisy[-1])}",
                ),
            ]
        else:
            lines.append(
                Claim(
                    f"{name}: hidden layers compress, counted",
                    "by activation (Lorenzen et al. 2022)",
                    shown(trained.exact, HIDDEN),
                    f"labels shuffled: {shown(control.exact, HIDDEN)}",
                )
            )
        lines += [
            Claim(
                f"{name}: the output layer compresses, counted",
                "yes (Lorenzen et al. 2022)",
                shown(trained.exact, [SOFTMAX]),
                f"logits: {shown(trained.exact, [LOGITS])}",
            ),
            Claim(
                f"{name}: fitting, I(T; Y) of the 3 units from first to last",
                "rises (Lorenzen et al. 2022)",
                f"{plus_minus(trained.label[0, 4])} to {plus_minus(trained.label[-1, 4])} bits",
                f"labels shuffled: to {plus_minus(control.label[-1, 4])} bits",
            ),
            Claim(
                f"{name}: a layer knows no more than the one before",
                "theorem",
                f"broken {broken(trained.exact)} times, counted",
                f"{broken(trained.binned)} times, {NUM_BINS} bins",
            ),
            Claim(
                f"{name}: patterns classified right",
                "",
                plus_minus(trained.accuracy[-1], 4),
                f"labels shuffled: {plus_minus(control.accuracy[-1], 4)}",
            ),
        ]
    return lines


def noisy_course(values: Any) -> str:
    """Bits ``[epochs, runs]`` at first, at most and at last."""
    given = values[:, :NUM_NOISY]
    first, most, last = (plus_minus(part) for part in (given[0], given.max(axis=0), given[-1]))
    return f"{first}, at most {most}, at last {last} bits"


def noisy_bounds(values: Any) -> str:
    """The lower and the upper one, ``[3, runs]``."""
    return f"{plus_minus(values[0, :NUM_NOISY])} and {plus_minus(values[2, :NUM_NOISY])} bits"


def broken(plane: Any) -> str:
    """How often a layer would know more of the input than the one before it."""
    rises = plane[:, 1:] > plane[:, :-1] + 1e-3
    return f"{rises.sum()} of {rises.size}"


def print_layers(kind: Kind, plane: Plane) -> None:
    """Every layer at first and at last."""
    print(f"{kind.activation}, {kind.num_bits} bits: bits at epoch 0, and after training")
    for number, name in enumerate(LAYERS):
        parts = [
            f"{label} {values[0, number].mean():.3f}, {plus_minus(values[-1, number], 3)}"
            for label, values in (("I(X;T)", plane.exact), (f"{NUM_BINS} bins", plane.binned), ("I(T;Y)", plane.label))
        ]
        print(f"    {name:<18} {' | '.join(parts)}")


def draw(epochs: np.ndarray, runs: dict[Kind, Runs]) -> Figure:
    """Above what is counted, below what thirty bins make of it, through training; a column for each network."""
    figure, grid = style.new_figure(2, len(runs), size=(3.3 * len(runs) + 1, 6), sharex=True, sharey=True)
    colours = style.series_colours(len(LAYERS))
    for column, (kind, (plane, _)) in zip(grid.T, runs.items(), strict=True):
        for axes, values in zip(column, (plane.exact, plane.binned), strict=True):
            for number, (name, colour) in enumerate(zip(LAYERS, colours, strict=True)):
                mean, error = mean_and_error(values[:, number], axis=1)
                band(axes, epochs, mean, error, colour, label=name)
            axes.set(xscale="symlog", xlim=(0, epochs[-1]), ylim=(0, np.log2(NUM_INPUTS) + 0.5))
        column[0].set_title(f"{kind.activation}, {kind.num_bits} bits", fontsize=10)
        column[1].set_xlabel("epoch")
    grid[0, 0].set_ylabel("$I(X;T)$ counted / bits")
    grid[1, 0].set_ylabel(f"entropy of {NUM_BINS} bins / bits")
    grid[0, 0].legend(fontsize=7, loc="lower left")
    return figure


def main(smoke: bool = False, out: str = "out/information_plane", json_file: str = "", **given) -> None:
    """The study; ``num_runs=50`` is the published number of repeats."""
    scale = with_given(SMOKE if smoke else FULL, given)
    epochs = checkpoints(scale.num_epochs)
    start, worked = time.time(), time.process_time()
    runs = run_all(scale, epochs)
    seconds, worked = time.time() - start, time.process_time() - worked
    share = float(np.mean(rule()))
    bits = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    print(f"\n{scale.num_runs} runs of {scale.num_epochs} epochs, errors over runs; I(X;Y) = {bits:.3f} bits\n")
    print_claims([HEADER, *claims_of(runs)])
    for kind, (plane, _) in runs.items():
        print()
        print_layers(kind, plane)
    print(f"\nTraining and counting of {len(runs)} networks took {seconds:.0f} s, {worked:.0f} s of processors.")
    print("The figures decide what these runs do. Whether networks compress in general they leave open.")
    save({"information_plane": draw(epochs, runs)}, out)
    planes = [
        {"network": kind._asdict(), "epochs": epochs.tolist()}
        | {name: np.round(np.nanmean(values, -1), 4).tolist() for name, values in plane._asdict().items()}
        for kind, (plane, _) in runs.items()
    ]
    content = {
        "claims": [claim._asdict() for claim in claims_of(runs)],
        "seconds": seconds,
        "processor_seconds": worked,
        "means": planes,
    }
    write_results(json_file, "examples/information_plane.py", scale, content)


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The information plane, counted.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/information_plane", help="folder of the figure")
    parser.add_argument("--epochs", dest="num_epochs", type=int, default=0, help="of training; 8000 unless given")
    parser.add_argument("--runs", dest="num_runs", type=int, default=0, help="repeats; 8 unless given, published 50")
    parser.add_argument("--controls", dest="num_controls", type=int, default=0, help="runs on shuffled labels; 2")
    parser.add_argument("--bits", dest="num_bits", type=int, nargs="*", help="of activations; 32 8 4 unless given")
    parser.add_argument("--json", dest="json_file", default="", help="file for the figures")
    main(**vars(parser.parse_args()))
