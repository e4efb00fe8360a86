# %% [markdown]
# # Do Boltzmann machines renormalise?
# On a 4x4 torus everything about a machine is a sum over 65,536 states: its divergence from the critical Ising model,
# the Hamiltonian of its hidden layer, its exponents. Machines are trained by their exact likelihood, so that no
# sampling and no stopping stands between question and answer, and are put beside block spins at an equal ratio.

# %%
from typing import Any, NamedTuple

import _exact_layers as layers
import _neural_mcrg as neural
import _rbm_flow as rbm_flow
import jax
import jax.numpy as jnp
import numpy as np
from _study import HEADER, Claim, print_claims, run_main, save
from matplotlib.figure import Figure

from jaxrg import exact, rbm, rg
from jaxrg.plot import style

HIDDEN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


# %% [markdown]
# ## How many hidden units?
# A bipartite lattice needs half as many hidden units as spins: each copies a spin of one sublattice with a weight that
# goes to infinity, and holds the coupling K to its four neighbours. That is decimation, and the likelihood finds it.


# %%
class Sizes(NamedTuple):
    """KL of machines at a maximum of the likelihood."""

    hidden: tuple[int, ...]
    kl: np.ndarray  # [sizes, seeds]
    decimation: rbm.RBM  # the best machine of eight units
    couplings: np.ndarray  # [8, 4] what its units hold to the neighbours of the spin that they copy


def sizes(model, hidden: tuple[int, ...], num_seeds: int, num_steps: int) -> Sizes:
    log_p = layers.log_probabilities(model)
    found, best = [], None
    for num_hidden in hidden:
        runs = [
            layers.trained(layers.symmetric, (16, num_hidden), seed, log_p, num_steps=num_steps)
            for seed in range(num_seeds)
        ]
        kls = [float(history[-1]) for _, history in runs]
        found.append(kls)
        if num_hidden == 8:
            best = runs[int(np.argmin(kls))][0]
    assert best is not None
    return Sizes(hidden, np.array(found), best, layers.neighbours_of_copies(best))


# %% [markdown]
# ## Four hidden units beside block spins


# %%
class Row(NamedTuple):
    """A scheme of the table, over seeds of the training where there is one."""

    name: str
    layers: list[layers.Layer]

    def value(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        values = np.array([getattr(layer, field) for layer in self.layers], float)
        return values.mean(0), values.std(0) / np.sqrt(max(len(values) - 1, 1))


def rows(model, num_seeds: int, num_steps: int, *, has_stacks: bool) -> list[Row]:
    log_p = layers.log_probabilities(model)

    def seeds(build, shape):
        return [
            layers.layer_of_machine(layers.trained(build, shape, seed, log_p, num_steps=num_steps)[0], model)
            for seed in range(num_seeds)
        ]

    kernels = {
        "majority, random ties": rg.majority_kernel(2),
        "Kadanoff, p = 0.766": rg.kadanoff_kernel(jnp.float64(0.765983), 2),
        "decimation": rg.decimation_kernel(2),
    }
    stacks = [layers.stack_layer(model, seed, num_steps) for seed in range(num_seeds if has_stacks else 0)]
    exact_below = [layer for layer, lower_kl in stacks if lower_kl < 1e-6]
    upper = exact_below or [layer for layer, _ in stacks]  # those on an exact decimation, if any seed found it
    untrained = [
        layers.layer_of_machine(layers.symmetric(jax.random.normal(jax.random.key(100 + seed), (16, 4))), model)
        for seed in range(num_seeds)
    ]
    return [
        *(Row(name, [layers.layer_of(kernel, model)]) for name, kernel in kernels.items()),
        Row("machine, 64 free weights", seeds(layers.symmetric, (16, 4))),
        *([Row(f"stack 16-8-4, upper layer ({len(upper)} seeds)", upper)] if upper else []),
        Row("machine, one 4x4 filter", seeds(layers.shared, (1, 4, 4))),
        Row("machine, one 2x2 filter", seeds(layers.shared, (1, 2, 2))),
        Row("untrained machine", untrained),
    ]


def numbers(row: Row, field: str, digits: int = 3) -> str:
    value, error = (np.atleast_1d(part) for part in row.value(field))
    if np.all(np.isnan(value)):
        return "-"
    several = len(row.layers) > 1
    return " ".join(
        f"{v:.{digits}f}({round(e * 10**digits)})" if several else f"{v:.{digits}f}"
        for v, e in zip(value, error, strict=True)
    )


def print_rows(table: list[Row]) -> None:
    """Couplings of what the next layer learns, -ln Σ P(v) p(h|v), in nearest, diagonal and four-spin operators."""
    heads = ["scheme, 16 to 4 spins", "KL", "std ln rho", "K' nn, nnn, 4", "left out", "y_T", "y_h", "in one spin"]
    fields = ["kl", "log_rho_std", "couplings", "residual", "thermal", "magnetic", "in_one_spin"]
    lines = [heads, *([row.name, *(numbers(row, field) for field in fields)] for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print(" | ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)))


def claims(found: Sizes, table: list[Row]) -> list[Claim]:
    named = {row.name: row for row in table}
    free, kadanoff = named["machine, 64 free weights"], named["Kadanoff, p = 0.766"]
    best = found.kl.min(1)
    place = int(np.argmax(best <= 1e-3))
    return [
        Claim(
            "units until KL of a machine to the 4x4 Ising model at Tc is below 1e-3",
            "-",
            f"{found.hidden[place]}: KL {best[place]:.0e}",
            f"{found.hidden[place - 1]} units: {best[place - 1]:.3f}; {found.hidden[-1]} units: {best[-1]:.0e}",
        ),
        Claim(
            "eight units are an exact decimation: copies that hold K to their neighbours",
            "-",
            f"couplings {found.couplings.mean():.5f}, spread {found.couplings.std():.0e}",
            f"K at Tc {exact.critical_coupling:.5f}",
        ),
        Claim(
            "hidden units of a trained machine are block spins",
            "yes (Mehta & Schwab, by the look of local fields)",
            f"no: {numbers(free, 'in_one_spin', 2)} of a unit's squared weight is on one spin",
            f"a block spin has 0.25, a random unit {numbers(named['untrained machine'], 'in_one_spin', 2)}",
        ),
        Claim(
            "the hidden layer scales as a block spin does (y_h; dressed single spins have 2)",
            "15/8 at large sizes",
            numbers(free, "magnetic"),
            f"Kadanoff {numbers(kadanoff, 'magnetic')}, decimation {numbers(named['decimation'], 'magnetic')}",
        ),
        Claim(
            "y_T",
            "1",
            numbers(free, "thermal"),
            f"Kadanoff {numbers(kadanoff, 'thermal')}, untrained {numbers(named['untrained machine'], 'thermal')}",
        ),
        Claim(
            "a machine made of one block filter models the spins",
            "-",
            f"no: KL {numbers(named['machine, one 2x2 filter'], 'kl')}",
            f"free weights {numbers(free, 'kl')}",
        ),
    ]


# %% [markdown]
# ## A learnt block filter in Monte Carlo renormalisation
# With one filter for all blocks the hidden layer is made to be block spins, and the likelihood makes it uniform.


# %%
def filter_claims(scale: neural.Scale) -> list[Claim]:
    """Exponents by block spins of filters, level by level, and what the filter of 2x2 weights is."""
    rules = neural.rules(scale)
    found = {name: neural.exponents(31, blocking, scale) for name, (_, blocking) in rules.items()}

    def line(name: str, sector: str) -> str:
        return " -> ".join(f"{level[sector].exponent:.4f}({level[sector].exponent_error:.4f})" for level in found[name])

    weights, _ = rules["learnt 2x2 filter"]
    assert weights is not None
    spread = float(jnp.max(jnp.abs(weights / jnp.mean(weights) - 1)))
    control = "majority {}; Kadanoff {}; by chance {}"
    others = "majority", "Kadanoff, p = 0.766", "filter by chance"
    lines = [
        Claim(
            "a shared 2x2 filter learnt from critical samples is uniform",
            "yes (Chung & Kao)",
            f"{float(jnp.mean(weights)):.3f} each, within {spread:.1%}",
            "1.316 by the exact likelihood on 4x4, this study",
        )
    ]
    for sector, name in (("even", "y_T, 1"), ("odd", "y_h, 1.875")):
        for width in scale.widths:
            lines.append(
                Claim(
                    f"{name} exactly, level by level: learnt {width}x{width} filter, L = {scale.side}",
                    "-",
                    line(f"learnt {width}x{width} filter", sector),
                    control.format(*(line(other, sector) for other in others)) if width == 2 else "as above",
                )
            )
    return lines


# %% [markdown]
# ## Figures, and the flow of a machine that learned all temperatures (`_rbm_flow.py`)


# %%
def draw(found: Sizes, table: list[Row], machine: rbm.RBM) -> Figure:
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    places: Any = figure.subfigures(1, 3, width_ratios=[1.1, 1.0, 1.3])
    left, middle, right = places
    axes = left.subplots()
    axes.semilogy(found.hidden, np.maximum(found.kl, 1e-14), "o", color="0.7", markersize=3)
    axes.semilogy(found.hidden, np.maximum(found.kl.min(1), 1e-14), "o-", color="C0", label="best of the seeds")
    axes.axhline(1e-3, color="0.5", linestyle=":", label="0.001 nats")
    axes.set_xlabel("hidden units")
    axes.set_ylabel("KL to the 4x4 Ising model at $T_c$ (nats)")
    axes.legend(frameon=False, fontsize=8)
    grid = middle.subplots(2, 2)
    weights = np.asarray(machine.weights)
    scale = np.abs(weights).max()
    for unit, place in enumerate(grid.flat):
        shown = np.roll(weights[:, unit].reshape(4, 4), (1, 1), (0, 1))
        image = place.imshow(shown, cmap="RdBu_r", vmin=-scale, vmax=scale)
        place.set_xticks([])
        place.set_yticks([])
    middle.colorbar(image, ax=grid, shrink=0.8, label="weight")
    middle.suptitle("four hidden units, trained", fontsize=10)
    axes = right.subplots()
    for row in table:
        (x, x_error), (y, y_error) = row.value("thermal"), row.value("magnetic")
        if row.name != "untrained machine":  # far off to the left
            axes.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="o", label=row.name)
    axes.plot(1, 15 / 8, "k*", markersize=10, label="exact, infinite lattice")
    axes.set_xlabel("$y_T$ of the layer's kernel")
    axes.set_ylabel("$y_h$ of the layer's kernel")
    axes.legend(frameon=False, fontsize=7)
    return figure


# %%
def main(smoke: bool = False, out: str = "out/do_rbms_renormalise") -> None:
    num_seeds, num_steps, hidden = (1, 60, (4, 8)) if smoke else (8, layers.STEPS, HIDDEN)
    with jax.enable_x64(True):
        model = layers.critical_model()
        found = sizes(model, hidden, num_seeds, num_steps)
        table = rows(model, num_seeds, num_steps, has_stacks=not smoke)
        machine, _ = layers.trained(layers.symmetric, (16, 4), 0, layers.log_probabilities(model), num_steps=num_steps)
        machine = layers.on_blocks(machine)
    print_rows(table)
    filters = filter_claims(neural.SMOKE if smoke else neural.Scale())
    flows, drawn = rbm_flow.flow(smoke)
    print_claims([HEADER, *claims(found, table), *filters, *flows])
    flow_figure, grid = style.new_figure(1, 3, size=(15, 4.6))
    rbm_flow.draw_flow(grid[0], drawn)
    save({"do_rbms_renormalise": draw(found, table, machine), "rbm_flow": flow_figure}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Machines trained by their exact likelihood beside block spins, on a 4x4 torus.")
