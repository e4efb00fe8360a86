# %% [markdown]
# # How transferable are the layers of a network?
# The first n of eight layers of a trained network are moved into a fresh one, which is then trained: on the task they
# are from (BnB) or on another one (AnB), with these layers frozen or trained on (+). Published, on ImageNet: frozen
# layers of the very same task cost 2 to 3 points in the middle of the network, where layers are co-adapted; layers of
# another task cost more the higher they are; and trained on, they even help, which rests on one or two networks. Here
# every treatment is trained at every depth for several seeds, each with a division of the classes of its own, and what
# is shown are differences to networks of the same seed with nothing transplanted.
# The same program then moves layers between lattices: networks that tell the temperature of Ising configurations come
# from other temperatures, another size and other models.

# %%
import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxrg.explain import transplants
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, band, print_claims, save, write_results
from _transfer_driver import CONTROL, LAYERS, SOURCE, Architecture, study
from _transfer_tasks import SMALL, SOURCES, ceiling, halves, installed, lattices

DEPTHS = np.arange(1, len(LAYERS))
MIDDLE = slice(3, 5)  # n = 4 and 5, where the dip was published
# Recounted from the logs of Yosinski et al. (2014): accuracies on B, whose base is .6251; of random layers .576.
PUBLISHED_BASE, PUBLISHED_RANDOM_BASE = 0.6251, 0.576
PUBLISHED = {
    "BnB": (0.627, 0.624, 0.621, 0.605, 0.594, 0.619, 0.623),
    "BnB+": (0.618, 0.622, 0.631, 0.629, 0.630, 0.628, 0.627),
    "AnB": (0.628, 0.624, 0.619, 0.600, 0.578, 0.581, 0.543),
    "AnB+": (0.637, 0.636, 0.643, 0.640, 0.645, 0.646, 0.647),
    "random": (0.492, 0.403, 0.001, 0.019, 0.050, 0.015, 0.015),
}


class Scale(NamedTuple):
    """Size of a study."""

    num_seeds: int
    num_train: int  # samples of each task
    num_test: int
    num_epochs: int
    rate: float
    kernels: tuple[int, ...] = (5, 3, 3, 3, 3)
    channels: tuple[int, ...] = (8, 16, 16, 16, 16)
    width: int = 32
    is_periodic: bool = False
    side: int = 0  # of a lattice
    num_sources: int = 1


IMAGES = {"fashion": Scale(5, 2_000, 5_000, 15, 2e-3), "digits": Scale(5, 1_000, 1_000, 30, 2e-3)}
LATTICES = Scale(5, 1_500, 3_000, 15, 2e-3, (3, 3, 3, 3, 3), is_periodic=True, side=16, num_sources=len(SOURCES))
# Lattices as large as images, and one network for both: one program to compile.
SMOKE = Scale(2, 60, 150, 1, 2e-3, (3, 1, 1, 1, 1), (2, 2, 2, 2, 2), 4, is_periodic=True, side=8)
Scores = Mapping[tuple[str, str], np.ndarray]


class Both(NamedTuple):
    """The two studies."""

    images: Any  # a Scale
    lattices: Any

    def with_seeds(self, num_seeds: int) -> "Both":
        return Both(*(scale._replace(num_seeds=num_seeds or scale.num_seeds) for scale in self))


def settings_of(scale: Scale, **more: Any) -> dict[str, Any]:
    """What scores depend on; seeds may be added to them."""
    return {name: value for name, value in scale._asdict().items() if name != "num_seeds" and value} | more


# %%
class Found(NamedTuple):
    """Differences to the base in points of accuracy, by source and treatment, each ``[depths]``."""

    differences: dict[tuple[str, str], transplants.PairedDifference]
    together: dict[tuple[str, str], transplants.PairedDifference]  # the same, with intervals that hold at all depths
    base: np.ndarray  # [seeds], mean of the two networks with nothing transplanted
    control: transplants.PairedDifference  # of these two


def differences_of(scores: Scores, bases: Mapping[str, np.ndarray]) -> Found:
    base = (bases[SOURCE] + bases[CONTROL]) / 2

    def compared(num_comparisons: int) -> dict[tuple[str, str], transplants.PairedDifference]:
        difference = functools.partial(transplants.paired_difference, num_comparisons=num_comparisons)
        return {row: difference(100 * values, 100 * base) for row, values in sorted(scores.items())}

    control = transplants.paired_difference(100 * bases[CONTROL], 100 * bases[SOURCE])
    return Found(compared(1), compared(len(DEPTHS)), base, control)


def interval(found: transplants.PairedDifference, number: int | tuple = ()) -> str:
    """Mean, standard error and interval, in points."""
    mean, error, low, high = (float(np.asarray(field)[number]) for field in found)
    return f"{mean:+.2f} ± {error:.2f} [{low:+.2f}, {high:+.2f}]"


def published(name: str) -> np.ndarray:
    """Differences to the published base, in points."""
    return 100 * (np.array(PUBLISHED[name]) - (PUBLISHED_RANDOM_BASE if name == "random" else PUBLISHED_BASE))


def print_table(title: str, found: Found, bases: Mapping[str, np.ndarray]) -> None:
    """Every treatment at every depth."""
    print(f"\n{title}: accuracy with nothing transplanted {100 * found.base.mean():.2f}, {len(found.base)} seeds")
    for name, values in bases.items():
        print(f"  {name:<16} {100 * values.mean():.2f}, sd {100 * values.std(ddof=1):.2f}")
    print("  difference to the base ± standard error over seeds, at n = 1 ... 7, and half the width of a 95 % interval")
    for (source, name), difference in found.differences.items():
        cells = [f"{m:+6.2f} ± {e:.2f}" for m, e in zip(difference.mean, difference.error, strict=True)]
        width = np.mean(np.asarray(difference.high - difference.low)) / 2
        print(f"  {source:<16} {name:<6} {' '.join(cells)}  ({width:.2f})")


# %%
def image_claims(found: Found, source: str) -> list[Claim]:
    """With intervals that hold at all seven depths together."""
    again = f"base again {interval(found.control)}"

    def measured(name: str, n: int) -> str:
        return interval(found.together[source if name.startswith("A") else "", name], n - 1)

    def claim(text: str, name: str, n: int, peer: str = "") -> Claim:
        control = f"{peer} {measured(peer, n)}" if peer else again
        return Claim(f"{text}: {name}, n = {n}", f"{published(name)[n - 1]:+.1f}", measured(name, n), control)

    return [
        HEADER,
        claim("dips in the middle", "BnB", 4),
        claim("dips in the middle", "BnB", 5),
        claim("is back at the top", "BnB", 7, "random"),
        claim("trained on, does not dip", "BnB+", 5),
        claim("costs more the higher", "AnB", 3, "BnB"),
        claim("costs more the higher", "AnB", 7, "BnB"),
        claim("trained on, helps", "AnB+", 7, "BnB+"),
        claim("random layers cost most", "random", 3, "AnB"),
    ]


def verdict(found: Found) -> str:
    """Whether the published dip is there, by intervals that hold at all seven depths."""
    dip = found.together["", "BnB"]
    low, high, expected = np.asarray(dip.low)[MIDDLE], np.asarray(dip.high)[MIDDLE], published("BnB")[MIDDLE]
    if np.all(low > expected):
        answer = "the published dip is not there: the intervals at n = 4 and 5 exclude its size"
    elif np.all(high < 0):
        answer = "BnB dips at n = 4 and 5, and the published size is not excluded"
    else:
        answer = "undecided at n = 4 and 5"
    below = [str(n) for n, top in zip(DEPTHS, np.asarray(dip.high), strict=True) if top < 0]
    return f"{answer}; intervals that hold together are below zero at n = {', '.join(below) or 'none'}."


def lattice_claims(found: Found, sources: Sequence[str], best: float) -> list[Claim]:
    base = f"base {100 * found.base.mean():.1f}, best possible {100 * best:.1f}"
    own, random = found.differences["", "BnB"], found.differences["", "random"]
    rows = [Claim("BnB, n = 4", f"images {published('BnB')[3]:+.1f}", interval(own, 3), base)]
    for source in sources:
        for name, number in (("AnB", 3), ("AnB", 7), ("AnB+", 7)):
            peer = own if name == "AnB" else found.differences["", "BnB+"]
            rows.append(
                Claim(
                    f"{source}: {name}, n = {number}",
                    f"images {published(name)[number - 1]:+.1f}",
                    interval(found.differences[source, name], number - 1),
                    f"BnB{name[3:]} {interval(peer, number - 1)}; random {interval(random, number - 1)}",
                )
            )
    return [HEADER, *rows]


# %%
NAMES = tuple(PUBLISHED)
COLOURS = dict(zip(NAMES, style.series_colours(len(NAMES)), strict=True))


def draw_images(found: Found, source: str, title: str) -> Figure:
    """Measured differences beside the published ones; bands are 95 % intervals at one depth."""
    figure, ((left, right),) = style.new_figure(1, 2, size=(11, 4.2))
    for name in NAMES:
        difference = found.differences[source if name.startswith("A") else "", name]
        reach = np.asarray(difference.high - difference.low) / 2
        band(left, DEPTHS, difference.mean, reach, COLOURS[name], marker="o", label=name)
        right.plot(DEPTHS, published(name), color=COLOURS[name], marker="o", label=name)
    for axes, where in ((left, title), (right, "ImageNet, Yosinski et al. (2014)")):
        axes.axhline(0, color=style.GREY, linewidth=1)
        axes.set(xlabel="layers transplanted $n$", ylabel="accuracy − base / points (log beyond ±4)", title=where)
        axes.set_yscale("symlog", linthresh=4)
        axes.set_yticks([-50, -20, -10, -4, -2, 0, 2, 4], ["-50", "-20", "-10", "-4", "-2", "0", "2", "4"])
        axes.set_ylim(-80, 6)
    left.legend(fontsize=8, loc="lower left")
    return figure


def draw_lattices(found: Found, sources: Sequence[str]) -> Figure:
    """One panel for each source of layers; bands are 95 % intervals at one depth."""
    figure, panels = style.new_figure(2, (len(sources) + 1) // 2, size=(11, 6.4), sharex=True, sharey=True)
    for axes, source in zip(panels.flat, sources, strict=False):
        for name in NAMES:
            difference = found.differences[source if name.startswith("A") else "", name]
            reach = np.asarray(difference.high - difference.low) / 2
            band(axes, DEPTHS, difference.mean, reach, COLOURS[name], marker=".", label=name)
        axes.axhline(0, color=style.GREY, linewidth=1)
        axes.set_title(f"A: {source}")
    for axes in panels[-1]:
        axes.set_xlabel("layers transplanted $n$")
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy − base / points")
    panels[0, 0].legend(fontsize=8)
    return figure


def as_records(name: str, found: Found, bases: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What is kept: means, errors and intervals."""
    rows = {
        f"{source} {treatment}".strip(): {
            field: np.round(np.asarray(value, float), 3).tolist() for field, value in difference._asdict().items()
        }
        for (source, treatment), difference in found.differences.items()
    }
    means = {base: [round(float(value), 4) for value in values] for base, values in bases.items()}
    return {name: {"differences_in_points": rows, "accuracies_of_bases": means}}


# %%
class Results(NamedTuple):
    """Of one study."""

    records: dict[str, Any]
    figure: Figure


def study_images(name: str, folder: str, scale: Scale, out: Path) -> Results:
    print(f"images: {name}, five of ten classes to each task, {scale.num_train} images of each to train on")
    architecture = Architecture(scale.kernels, scale.channels, scale.width, 5, scale.is_periodic)
    tasks_of = functools.partial(halves, name=name, folder=folder, num_train=scale.num_train, num_test=scale.num_test)
    scores, bases = study(architecture, tasks_of, scale, out / f"scores_{name}.jsonl", settings_of(scale, data=name))
    found = differences_of(scores, bases)
    source = next(source for source, _ in scores if source)
    print_table(name, found, bases)
    print("\ndifferences in points, with intervals that hold at all seven depths at once with 95 %")
    print_claims(image_claims(found, source))
    print(f"\n{verdict(found)}")
    return Results(as_records(name, found, bases), draw_images(found, source, f"{name}, {len(found.base)} seeds"))


def study_lattices(scale: Scale, out: Path) -> Results:
    print(f"\nlattices: five couplings of Ising configurations of {scale.side} x {scale.side} to be told apart")
    architecture = Architecture(scale.kernels, scale.channels, scale.width, 5, scale.is_periodic)
    sources = SOURCES[: scale.num_sources]
    sizes = {"side": scale.side, "num_train": scale.num_train, "num_test": scale.num_test}
    tasks_of = functools.partial(lattices, sources=sources, **sizes)
    scores, bases = study(architecture, tasks_of, scale, out / "scores_lattices.jsonl", settings_of(scale))
    found = differences_of(scores, bases)
    print_table("lattices", found, bases)
    print("\ndifferences in points, with 95 % intervals of each")
    print_claims(lattice_claims(found, sources, ceiling(scale.side)))
    return Results(as_records("lattices", found, bases), draw_lattices(found, sources))


def main(smoke: bool = False, out: str = "out/transfer", given: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Both studies, or ``given["only"]`` one; see the command line for what else may be given."""
    folder, only = given.get("folder") or "", given.get("only") or ""
    name = given.get("data") or (SMALL if smoke else installed(folder))
    scales = (Both(SMOKE, SMOKE) if smoke else Both(IMAGES[name], LATTICES)).with_seeds(given.get("seeds") or 0)
    scores = Path(out, "smoke" if smoke else "")  # of one size are not gone on with by another
    found = {}
    if only != "lattices":
        found["transfer_images"] = study_images(name, folder, scales.images, scores)
    if only != "images":
        found["transfer_lattices"] = study_lattices(scales.lattices, scores)
    save({figure: results.figure for figure, results in found.items()}, out)
    records = {study: record for results in found.values() for study, record in results.records.items()}
    write_results(
        given.get("json") or "", "examples/transfer.py", Both(*(scale._asdict() for scale in scales)), records
    )


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How transferable are the layers of a network?")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--out", default="out/transfer", help="folder of figures and scores")
    parser.add_argument("--data", choices=tuple(IMAGES), help="images; by default fashion where installed")
    parser.add_argument("--folder", help="of Fashion-MNIST, if not where Debian puts it")
    parser.add_argument("--only", choices=("images", "lattices"), help="one of the two studies")
    parser.add_argument("--seeds", type=int, help="of each study; a larger number goes on from the scores kept")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    main(arguments.smoke, arguments.out, vars(arguments))
