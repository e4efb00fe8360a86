# %% [markdown]
# # Prototypes and criticisms
# A few examples stand for a data set when their mean in the feature space of a kernel is near that of all data (MMD);
# criticisms are where it is not. Measured here: what greedy choice loses against all subsets of few points, where the
# guarantee that is cited for it fails; how well digits are told by their nearest prototype, beside random ones and
# points near the means of k-means; and which Ising samples stand for a pool of temperatures across the critical one.
# The published study is of USPS digits (γ = 0.026, up to 4,433 prototypes), which no package ships: its errors are not
# compared, only what it says of them. Errors are over data sets, splits and pools.

# %%
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
import _prototypes as parts
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save


class Scale(NamedTuple):
    """Size of the study."""

    num_sets: int  # of few points, for each width
    num_splits: int
    num_train: int
    num_test: int
    counts: tuple[int, ...]  # of prototypes
    num_pools: int
    side: int
    temperatures: tuple[float, ...]
    num_samples: int  # at each temperature
    num_chosen: int


ACROSS = (1.6, 1.8, 2.0, 2.15, 2.3, 2.45, 2.6, 2.8, 3.2)
FULL = Scale(30, 5, 4_000, 1_000, (10, 30, 100, 300, 1_000), 5, 16, ACROSS, 150, 30)
SMOKE = Scale(2, 2, 300, 100, (10, 20), 2, 8, (1.8, 2.3, 3.2), 30, 6)
WIDTHS = {"plane, γ = 0.36": 0.36, "plane, γ = 2": 2.0, "digits": 0.01}  # 1/median of squares, a narrow one, 1/median


# %%
def few_points(name: str, number: int) -> np.ndarray:
    """A data set small enough for all its subsets; the plane lies among as many features as digits have pixels."""
    random = np.random.default_rng(number)
    images = np.asarray(parts.all_digits().inputs)
    if name == "digits":
        return images[random.choice(len(images), parts.NUM_POINTS, replace=False)].reshape(parts.NUM_POINTS, -1)
    points = np.zeros((parts.NUM_POINTS, images[0].size), np.float32)
    points[:, :2] = random.normal(size=(parts.NUM_POINTS, 2))
    return points


def gap_claims(gaps: dict[str, list[parts.Gaps]]) -> list[Claim]:
    """What greedy choice loses, for each width."""
    claims = []
    for name, rows in gaps.items():
        found = parts.Gaps(*(np.array(column) for column in zip(*rows, strict=True)))  # type: ignore[arg-type]

        def worst(values, digits: int = 3) -> str:
            return f"{plus_minus(values, digits)}, worst {values.max():.2f}"

        def least(values) -> str:
            return f"{plus_minus(values, 4)}, least {values.min():.3f}"

        claims += [
            Claim(f"{name}: diminishing returns fail, share of A ⊂ B, x", "never", plus_minus(found.violations, 3),
                  f"sets that differ by one: {plus_minus(found.violations_by_one, 3)}"),
            Claim(f"{name}: f = MMD²(∅) - MMD², greedy / optimum", "≥ 0.63", least(found.share), "of all subsets"),
            Claim(f"{name}: MMD² greedy / optimum", "-", worst(found.greedy), f"swaps: {worst(found.swapped)}"),
            Claim(f"{name}: gain of ProtoGreedy / optimum", "≥ 0.63", least(found.weighted),
                  f"swaps: {least(found.swapped_weighted)}"),
        ]  # fmt: skip
    return claims


# %%
def digit_claims(splits: list[parts.Digits], counts: tuple[int, ...]) -> list[Claim]:
    """1-NN errors, and what criticisms are."""
    claims = []

    def errors(name: str, place: int) -> str:
        return plus_minus([split.errors[name][place] for split in splits], 3)

    for place, count in enumerate(counts):
        weighted = f"; {parts.WEIGHTED} {errors(parts.WEIGHTED, place)}" if count <= parts.LARGEST else ""
        claims.append(
            Claim(
                f"1-NN test error, {count} prototypes",
                "as k-medoids or better",
                f"{errors(parts.GREEDY, place)}; in classes {errors(parts.LOCAL, place)}{weighted}",
                f"{parts.RANDOM} {errors(parts.RANDOM, place)}; {parts.MEDOIDS} {errors(parts.MEDOIDS, place)}",
            )
        )
    mmd = {name: plus_minus([1e3 * split.mmd[name] for split in splits], 3) for name in splits[0].mmd}
    measured = "; ".join(f"{name} {mmd[name]}" for name in (parts.GREEDY, "after swaps", parts.WEIGHTED))
    control = "; ".join(f"{name} {mmd[name]}" for name in (parts.RANDOM, parts.MEDOIDS))
    count = max(number for number in counts if number <= 100)
    claims.append(Claim(f"1,000 MMD², {count} prototypes", "least", measured, control))
    names = [name for name in splits[0].criticism_errors if name != "other digits"]

    def at(values: list[dict[str, float]]) -> dict[str, str]:
        return {name: plus_minus([each[name] for each in values], 3) for name in values[0]}

    errors_at = at([split.criticism_errors for split in splits])
    witness = at([{name: 1e3 * value for name, value in split.witness.items()} for split in splits])
    by_criticisms = lambda found: "; ".join(f"{name} {found[name]}" for name in names)  # noqa: E731
    others = f"others {witness['other digits']}; prototypes {witness['prototypes']}"
    return [
        *claims,
        Claim("1-NN error at criticisms", "what prototypes miss", by_criticisms(errors_at),
              f"others {errors_at['other digits']}"),
        Claim("1,000 |witness| at criticisms", "largest", by_criticisms(witness), others),
    ]  # fmt: skip


# %%
def pool_claims(pools: list[parts.Pool]) -> list[Claim]:
    """Temperatures, magnetisations and energies of who was chosen."""
    claims = []
    for kernel in pools[0].chosen:
        for title, digits, value in (
            ("share below Tc", 2, lambda pool: pool.temperatures < parts.CRITICAL),
            ("spread of T", 2, lambda pool: np.abs(pool.temperatures - parts.CRITICAL)),
            ("|m|", 3, lambda pool: pool.magnetization),
            ("energy per site", 3, lambda pool: pool.energy),
        ):
            of = {
                who: plus_minus([float(np.mean(value(pool)[pool.chosen[kernel][who]])) for pool in pools], digits)
                for who in ("prototypes", "criticisms", "random")
            }
            whole = plus_minus([float(np.mean(value(pool))) for pool in pools], digits)
            measured = f"prototypes {of['prototypes']}; criticisms {of['criticisms']}"
            title = "distance of T from Tc" if title == "spread of T" else title
            claims.append(Claim(f"{kernel}: {title}", "-", measured, f"random {of['random']}; pool {whole}"))
        mmd = {who: plus_minus([1e3 * pool.mmd[kernel][who] for pool in pools]) for who in ("prototypes", "random")}
        claims.append(Claim(f"{kernel}: 1,000 MMD²", "least", mmd["prototypes"], f"random {mmd['random']}"))
    return claims


# %%
def draw_images(rows: dict[str, np.ndarray], titles: dict[str, list[str]], limits: tuple[float, float]) -> Figure:
    """Images in rows, with a title each where there is one."""
    number = min(12, min(len(images) for images in rows.values()))
    figure, grid = style.new_figure(len(rows), number, size=(0.95 * number + 1, 1.15 * len(rows)))
    for (name, images), axes_of_row in zip(rows.items(), grid, strict=True):
        for place, axes in enumerate(axes_of_row):
            axes.imshow(images[place], cmap="gray_r", vmin=limits[0], vmax=limits[1])
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(True)
            if name in titles:
                axes.set_title(titles[name][place], fontsize=7)
        axes_of_row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=7, rotation=0, ha="right", va="center")
    return figure


def draw_errors(splits: list[parts.Digits], counts: tuple[int, ...], gaps: dict[str, list[parts.Gaps]]) -> Figure:
    """1-NN error by the number of prototypes; greedy MMD² over the optimum."""
    figure, grid = style.new_figure(1, 2, size=(11, 4))
    left, right = grid[0]
    names = list(splits[0].errors)
    for name, colour, marker in zip(names, style.series_colours(len(names)), style.markers(len(names)), strict=True):
        mean, error = mean_and_error([split.errors[name] for split in splits])
        style.error_points(
            left, counts[: len(mean)], mean, error, color=colour, marker=marker, label=name, linestyle="-"
        )
    left.set(xlabel="prototypes", ylabel="1-NN test error", xscale="log", ylim=(0, None))
    left.set_xticks(counts, [str(count) for count in counts])
    left.minorticks_off()
    left.legend(fontsize=8)
    for (name, rows), colour in zip(gaps.items(), style.series_colours(len(gaps)), strict=True):
        greedy, swapped = (np.sort([getattr(row, kind) for row in rows]) for kind in ("greedy", "swapped"))
        share = (np.arange(len(rows)) + 1) / len(rows)
        right.step(greedy, share, color=colour, where="post", label=f"{name}: greedy")
        right.step(swapped, share, color=colour, where="post", linestyle="--", label=f"{name}: with swaps")
    right.set(xlabel="MMD² / optimum of all subsets", ylabel="share of data sets", xscale="log")
    right.legend(fontsize=8)
    return figure


def draw_temperatures(pools: list[parts.Pool]) -> Figure:
    """How many of each temperature were chosen, as a share."""
    kernels = list(pools[0].chosen)
    figure, grid = style.new_figure(1, len(kernels), size=(11, 3.6), sharey=True)
    temperatures = np.unique(pools[0].temperatures)
    for axes, kernel in zip(grid[0], kernels, strict=True):
        for who, colour in (("prototypes", style.BLUE), ("criticisms", style.RED), ("random", style.GREY)):
            shares = [
                [np.mean(pool.temperatures[pool.chosen[kernel][who]] == one) for one in temperatures] for pool in pools
            ]
            style.band(axes, temperatures, *mean_and_error(shares), colour, label=who)
        axes.axvline(parts.CRITICAL, color="k", linestyle=":", linewidth=1)
        axes.set(xlabel="temperature (J/k)", title=f"kernel of {kernel}", ylim=(0, None))
    grid[0, 0].set_ylabel("share of the chosen")
    grid[0, 0].legend(fontsize=8)
    return figure


def main(smoke: bool = False, out: str = "out/prototypes") -> None:
    scale = SMOKE if smoke else FULL
    gaps = {
        name: [parts.gaps_of(few_points(name, number), gamma) for number in range(scale.num_sets)]
        for name, gamma in WIDTHS.items()
    }
    print_claims([HEADER, *gap_claims(gaps)])
    print(flush=True)
    splits = [
        parts.tell_digits(jax.random.key(number), number, scale.num_train, scale.num_test, scale.counts)
        for number in range(scale.num_splits)
    ]
    print_claims([HEADER, *digit_claims(splits, scale.counts)])
    print(flush=True)
    temperatures = np.array(scale.temperatures)
    pools = [
        parts.pool_of(jax.random.key(100 + number), scale.side, temperatures, scale.num_samples, scale.num_chosen)
        for number in range(scale.num_pools)
    ]
    print_claims([HEADER, *pool_claims(pools)])
    figures = {"errors": draw_errors(splits, scale.counts, gaps), "temperatures": draw_temperatures(pools)}
    figures["digits"] = draw_images(splits[0].shown, {}, (0.0, 1.0))
    pool = pools[0]
    spins, titles = {}, {}
    for kernel in pool.chosen:
        for who in ("prototypes", "criticisms"):
            rows = pool.chosen[kernel][who]
            spins[f"{who}, {kernel}"] = pool.spins[rows]
            titles[f"{who}, {kernel}"] = [f"T = {pool.temperatures[row]:g}" for row in rows]
    figures["spins"] = draw_images(spins, titles, (-1.0, 1.0))
    save(figures, out)


# %%
if __name__ == "__main__":
    run_main(main, "Prototypes and criticisms of digits and of Ising samples, with exact gaps.")
