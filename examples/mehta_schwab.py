# %% [markdown]
# # Mehta and Schwab's stack, and what its blocks prove
# A stack of Boltzmann machines 1600-400-100-25 learns 40 x 40 Ising samples at J = 0.408 layer by layer, by contrastive
# divergence with an L1 penalty. Its receptive fields were published as block spins, hence deep learning as
# renormalisation. Published are the sizes, J, 20,000 samples, 200 epochs, L1 2e-4 and batches of 100. Chosen here are
# what the paper does not give: momentum 0.9, a learning rate of 0.001 and initial weights of 0.01; another rate and two
# more strengths of L1 stand beside. Their 2e-4 of 0/1 units is 8e-4 of spins ±1, whose weights are a quarter.
#
# The controls are runs on a lattice of 20 x 20, shorter ones, as the table says. A permutation of the sites commutes
# with training, so that the fields of shuffled samples are those fields moved to other sites; it is trained once, to
# see it. J = 0.3 and 0.2 have correlation lengths of 1.6 and 0.8 spacings, where there is nothing to renormalise:
# blocks that grow with depth there are those of layers with a quarter of the units, each for four times the sites.

# %%
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from jaxrg import plot, rbm
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
import _mehta_schwab as ms
from _study import HEADER, Claim, print_claims, run_main, save, show

COUPLING = 0.408
PUBLISHED, STRONG = 8e-4, 3e-3  # L1 of spins ±1; chance correlations of 20,000 samples are 7e-3
RATE, OTHER_RATE = 0.001, 0.005
PAIR_FLIPS, DIMER_FLIPS = 0.05, 0.025  # correlations of 0.9 and 0.95
DIMERS, LONG = "dimers between", "long-range Ising"
TOTAL_STRENGTH = 1.0  # of the couplings r^-3 of a site: about the mean-field critical point, in the paramagnet


class Scale(NamedTuple):
    """Size of the study."""

    side: int = 40
    layers: tuple[int, ...] = (400, 100, 25)
    num_epochs: int = 200
    strong_epochs: int = 30
    num_chains: int = 1024
    num_steps: int = 20  # samples of a chain
    num_samples: int = 20_000  # that are learned
    between: int = 100  # sweeps
    small_side: int = 20
    small_layers: tuple[int, ...] = (100, 25)
    small_epochs: int = 50
    long_side: int = 16
    long_layers: tuple[int, ...] = (64, 16)
    long_chains: int = 1000
    long_samples: int = 10
    num_read: int = 10_000  # samples whose hidden spins are looked at
    num_back: int = 1000
    dream_chains: int = 128
    dream_steps: int = 400


SMOKE = Scale(8, (16, 4), 2, 1, 64, 4, 256, 5, 8, (16, 4), 1, 8, (16, 4), 64, 4, 200, 50, 8, 40)


# %% [markdown]
# ## Runs


# %%
class Run(NamedTuple):
    """A stack and the fields of its levels."""

    title: str  # how it was trained
    side: int
    stack: tuple[rbm.RBM, ...]
    levels: list[ms.Level]


def run_of(samples: np.ndarray, layers: tuple[int, ...], recipe: ms.Recipe) -> Run:
    """Train and look."""
    stack, side = ms.train(samples, layers, recipe), samples.shape[1]
    rule = "soft threshold" if recipe.is_proximal else "L1"
    title = f"{side} x {side}, {recipe.num_epochs} epochs, rate {recipe.rate:g}, {rule} {recipe.strength:g}"
    return Run(title, side, stack, ms.levels_of(stack, side))


def merged(chains: np.ndarray, count: int) -> np.ndarray:
    """So many samples ``[count, side, side]``, chain by chain."""
    return chains.reshape(-1, *chains.shape[2:])[:count]


def control_samples(scale: Scale) -> dict[str, np.ndarray]:
    """On the smaller lattice, each as many as the stack learns from."""
    side, total = scale.small_side, scale.num_samples
    given = scale.num_chains, scale.num_steps, scale.between
    keys = jax.random.split(jax.random.key(2), 5)
    near = {f"Ising, J = {coupling}": coupling for coupling in (0.3, 0.2)}
    found = {"Ising": merged(ms.ising(keys[0], (side, side), COUPLING, *given), total)}
    for key, (name, coupling) in zip(keys[1:3], near.items(), strict=True):
        found[name] = merged(ms.ising(key, (side, side), coupling, *given), total)
    found["pairs and noise"] = ms.independent_pairs(side, total, PAIR_FLIPS)
    found["independent"] = np.random.default_rng(4).choice(np.array([-1, 1], np.int8), (total, side, side))
    columns = merged(ms.ising(keys[3], (side, side // 2), COUPLING, *given), total)
    found[DIMERS] = ms.with_dimers(columns, DIMER_FLIPS)
    long = ms.long_range(keys[4], scale.long_side, TOTAL_STRENGTH, scale.long_chains, scale.long_samples, 4)
    found[LONG] = merged(long, total)
    order = np.random.default_rng(3).permutation(side * side)
    found["Ising, sites shuffled"] = found["Ising"].reshape(total, -1)[:, order].reshape(total, side, side)
    return found


def control_runs(samples: dict[str, np.ndarray], scale: Scale) -> Iterator[tuple[str, Run]]:
    """Every kind of samples by the strong recipe, and Ising samples by all others."""

    def recipe(strength: float, rate: float = RATE, is_proximal: bool = False) -> ms.Recipe:
        return ms.Recipe(scale.small_epochs, rate, strength, is_proximal)

    others = {
        "Ising, L1 as published": recipe(PUBLISHED),
        "Ising, as published, another rate": recipe(PUBLISHED, OTHER_RATE),
        "Ising, no L1": recipe(0.0),
        "Ising, soft threshold": recipe(STRONG, is_proximal=True),
    }
    layers = scale.small_layers
    yield "Ising, strong L1", run_of(samples["Ising"], layers, recipe(STRONG))
    for name, each in others.items():
        yield name, run_of(samples["Ising"], layers, each)
    for name, spins in samples.items():
        if name != "Ising":
            yield name, run_of(spins, scale.long_layers if name == LONG else layers, recipe(STRONG))


# %% [markdown]
# ## The stack of the paper


# %%
class Whole(NamedTuple):
    """What is measured of a stack on the large lattice."""

    run: Run
    likeness: list[ms.Likeness]  # by level
    energies: tuple[np.ndarray, np.ndarray]  # correlations of those of the first hidden layer
    back: ms.Back
    dream: ms.Measured
    lowest: ms.Measured  # of the lowest machine alone, from samples
    blind: list[ms.Level]
    scrambled: ms.Level  # second level, learned from hidden spins that know nothing of each other


def block_side(side: int, scale: Scale) -> int:
    """Of a block for each unit of the first hidden layer."""
    return round(side / scale.layers[0] ** 0.5)


def whole_of(run: Run, samples: np.ndarray, scale: Scale, num_epochs: int) -> Whole:
    read = samples[: scale.num_read]
    hidden, fields = ms.hidden_samples(run.stack, read), rbm.receptive_fields(run.stack)
    places = ms.centres(np.asarray(fields[0]), run.side)
    above = ms.train(
        ms.scrambled(ms.hidden_samples(run.stack[:1], samples)[0]), scale.layers[1:2],
        ms.Recipe(num_epochs, RATE, STRONG)
    )  # fmt: skip
    sizes = run.side, scale.dream_chains, scale.dream_steps
    return Whole(
        run,
        [ms.likeness(*pair, read) for pair in zip(hidden, fields, strict=True)],
        ms.energy_correlations(hidden[0], places, run.side, block_side(run.side, scale)),
        ms.from_top(run.stack, samples[: scale.num_back]),
        ms.dreams(rbm.belief_sampler(run.stack), *sizes),
        ms.dreams(rbm.gibbs_sampler(run.stack[0]), *sizes, start=samples),
        ms.levels_of(ms.blind_product(run.stack), run.side),
        ms.levels_of((run.stack[0], *above), run.side)[1],
    )


# %% [markdown]
# ## Claims


# %%
def by_level(pairs: list[tuple[float, float]], digits: int = 2) -> str:
    return ", ".join(show(*pair, digits) for pair in pairs)


def plain(values: Any, digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def field_claims(name: str, run: Run) -> list[Claim]:
    levels = run.levels
    return [
        Claim(f"{name}: sites at half of the peak", "blocks that grow",
              by_level([each.core_sites for each in levels], 1), run.title),
        Claim(f"{name}: their radius", "local", by_level([each.core_radius for each in levels]),
              f"moved to shuffled sites {plain(each.moved_core_radius for each in levels)}"),
        Claim(f"{name}: radius of the squared field", "local", by_level([each.radius for each in levels]),
              f"moved {plain(each.moved_radius for each in levels)}, uniform {levels[0].uniform_radius:.2f}"),
    ]  # fmt: skip


def at(measured: ms.Measured, place: int) -> str:
    return show(measured.mean[place], measured.error[place], 3)


def shown(back: ms.Back, place: int) -> str:
    return show(back.drawn[0, place], back.drawn[1, place], 3)


def whole_claims(name: str, found: Whole, data: ms.Measured, samples: np.ndarray, scale: Scale) -> list[Claim]:
    size, top = found.run.side // round(scale.layers[-1] ** 0.5), scale.layers[-1]
    blocks, back = ms.from_blocks(samples[: scale.num_back], size), found.back
    rows = [
        Claim(f"{name}: radius of cores if layers are blind", "-", plain(each.core_radius[0] for each in found.blind),
              "each machine on the units below in a random order"),
        Claim(f"{name}: second level, of spins without correlation", "-", show(*found.scrambled.core_radius),
              f"as learned {show(*found.run.levels[1].core_radius)}"),
        Claim(f"{name}: overlap of what comes back from {top} units", "macroscopic", show(*back.overlap, 3),
              f"from as many majority spins of {size} x {size} {show(*blocks.overlap, 3)}"),
    ]  # fmt: skip
    for place, what in enumerate(ms.OBSERVED[:2]):
        rows.append(Claim(f"{name}: {what} of it", f"data {at(data, place)}", shown(back, place),
                          f"of majority spins {shown(blocks, place)}"))  # fmt: skip
    for place, what in enumerate(ms.OBSERVED):
        rows.append(Claim(f"{name}: {what} of the deep belief network", f"data {at(data, place)}",
                          at(found.dream, place), f"lowest machine alone {at(found.lowest, place)}"))  # fmt: skip
    rows.append(Claim(f"{name}: tau_int of m² in steps", "-", f"network {found.dream.tau_int[1]:.1f}",
                      f"lowest machine alone {found.lowest.tau_int[1]:.1f}; errors converged: "
                      f"{found.dream.is_converged}, {found.lowest.is_converged}"))  # fmt: skip
    for level, each in enumerate(found.likeness):
        best = int(np.argmax([mean for mean, _ in each.blocks]))
        rows.append(Claim(f"{name}: level {level + 1}, correlation with the block mean", "block spins",
                          f"{show(*each.blocks[best], 3)} of {ms.SIDES[best]} x {ms.SIDES[best]}",
                          f"centre alone {show(*each.blocks[0], 3)}, a block far away {show(*each.far, 3)}, own field "
                          f"{show(*each.own, 3)}"))  # fmt: skip
    return rows


def energy_claim(name: str, found: Whole, samples: np.ndarray, scale: Scale) -> Claim:
    """Correlations of the energies of the first hidden layer beside those of as many block spins."""
    size = block_side(found.run.side, scale)
    blocks = ms.block_spins(samples[: scale.num_read], size)
    places = np.indices(blocks.shape[1:]).reshape(2, -1) * size
    theirs = ms.energy_correlations(blocks.reshape(len(blocks), -1), places, found.run.side, size)
    bins = "-".join(f"{edge:g}" for edge in ms.EDGES)
    both = [by_level(list(zip(*each, strict=True)), 4) for each in (found.energies, theirs)]
    return Claim(f"{name}: correlation of energies, at {bins} spacings", "-", both[0],
                 f"majority spins of {size} x {size} {both[1]}")  # fmt: skip


def dimer_claim(run: Run) -> Claim:
    is_noise = np.arange(run.side) % 2 == 1
    shares = [ms.share_on(fields, run.side, is_noise) for fields in rbm.receptive_fields(run.stack)]
    return Claim(f"{DIMERS}: share of the field on them", "learned by CD", by_level(shares), "all alike 0.50")


# %% [markdown]
# ## Figures


# %%
def draw(wholes: dict[str, Whole], controls: dict[str, Run], data: ms.Measured) -> Figure:
    """Size of cores by level, correlations of dreams, and likeness to block means."""
    figure, grid = style.new_figure(1, 4, size=(18, 5.2))
    axes = grid[0]
    shown = {name: found.run for name, found in wholes.items()} | controls
    colours = style.series_colours(len(shown))
    for (name, run), colour, marker in zip(shown.items(), colours, style.markers(len(shown)), strict=True):
        levels = np.arange(1, len(run.levels) + 1)
        for panel, part in ((axes[0], "core_sites"), (axes[1], "core_radius")):
            means, errors = zip(*(getattr(level, part) for level in run.levels), strict=True)
            scale = run.levels[0].uniform_radius if part == "core_radius" else 1
            panel.errorbar(levels, np.array(means) / scale, np.array(errors) / scale, color=colour, marker=marker,
                           markersize=4, capsize=2, linewidth=1, label=f"{name}, {run.side} x {run.side}")  # fmt: skip
    for panel in axes[:2]:
        panel.set_xticks(np.arange(1, 1 + max(len(run.levels) for run in shown.values())))
        panel.set_xlabel("level of the stack")
    axes[0].set(yscale="log", ylabel="sites at half of the peak or more")
    axes[1].set(ylabel="their radius / uniform radius", ylim=(0, 1.1))
    axes[1].axhline(1, color=style.GREY, linestyle="--", linewidth=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    distances = np.array(ms.DISTANCES)
    axes[2].errorbar(distances, data.mean[2:], data.error[2:], fmt="o-", color="black", markersize=4, label="data")
    for (name, found), colour in zip(wholes.items(), style.SERIES, strict=False):
        for measured, line, what in ((found.dream, "-", "network"), (found.lowest, "--", "lowest machine")):
            axes[2].errorbar(distances, measured.mean[2:], measured.error[2:], marker="s", linestyle=line, color=colour,
                             markersize=3, capsize=2, label=f"{what}, {name}")  # fmt: skip
        for level, each in enumerate(found.likeness):
            means, errors = zip(*each.blocks, strict=True)
            axes[3].errorbar(ms.SIDES, means, errors, fmt=f"{style.MARKERS[level]}-", color=colour, markersize=4,
                             capsize=2, label=f"level {level + 1}, {name}")  # fmt: skip
    axes[2].set(xscale="log", yscale="log", xlabel="distance / lattice spacings", ylabel="spin correlation")
    axes[2].set_xticks(distances, [str(each) for each in distances])
    axes[2].set_xticks([], minor=True)
    for panel in axes[[0, 2]]:
        panel.yaxis.set_major_formatter(ticker.ScalarFormatter())
        panel.yaxis.set_minor_formatter(ticker.ScalarFormatter())
    axes[3].set(xlabel="side of the block / lattice spacings", ylabel="correlation of hidden spin and block mean")
    axes[2].legend(fontsize=7, handlelength=3)
    axes[3].set_ylim(0, 1.25)
    axes[3].legend(fontsize=7, ncols=2, loc="upper left")
    return figure


def fields_figure(run: Run) -> Figure:
    fields = rbm.receptive_fields(run.stack)
    order = np.random.default_rng(7).permutation(run.side**2)
    moved = [np.asarray(each)[order] for each in fields]
    return plot.receptive_fields(list(map(np.asarray, fields)), (run.side, run.side), control=moved)


# %%
def main(smoke: bool = False, out: str = "out/mehta_schwab") -> None:
    scale = SMOKE if smoke else Scale()

    def done(what: str) -> None:
        print(f"{time.process_time():5.0f} s of processor time: {what}", flush=True)

    given = scale.num_chains, scale.num_steps, scale.between
    chains = ms.ising(jax.random.key(0), (scale.side, scale.side), COUPLING, *given)
    data = ms.of_samples(chains)
    done(
        f"samples, tau_int of m² {data.tau_int[1]:.2f} (independent 0.5), energy {show(data.mean[0], data.error[0], 4)}"
    )
    samples, wholes = merged(chains, scale.num_samples), {}
    recipes = {
        "strong L1": ms.Recipe(scale.strong_epochs, RATE, STRONG),
        "published": ms.Recipe(scale.num_epochs, RATE, PUBLISHED),
    }
    print_claims([HEADER])
    for name, recipe in recipes.items():
        run = run_of(samples, scale.layers, recipe)
        done(f"stack, {name}")
        found = whole_of(run, samples, scale, scale.strong_epochs)
        rows = [*field_claims(name, run), *whole_claims(name, found, data, samples, scale)]
        print_claims([*rows, energy_claim(name, found, samples, scale)])
        wholes[name] = found
        done(f"measured, {name}")
    controls = {}
    for name, run in control_runs(control_samples(scale), scale):
        print_claims(field_claims(name, run))
        controls[name] = run
    print_claims([dimer_claim(controls[DIMERS])])
    done("controls")
    figures = {f"fields_{name.split()[0]}": fields_figure(found.run) for name, found in wholes.items()}
    save({"mehta_schwab": draw(wholes, controls, data), **figures}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Mehta and Schwab's stack of Boltzmann machines on Ising samples, with its controls.")
