# %% [markdown]
# # Scaling dimensions along a flow of tensors
# A coarse-grained tensor closed to a ring is a transfer matrix of the critical theory: its levels are the scaling
# dimensions, their difference between two rings is the central charge. A truncated flow stays near criticality for
# some steps only. What is reported is the plateau, the window of four steps that drifts least, with its drift for an
# error; beside it stands the control, the last step, which is off. Optimised loops stay near criticality for longest
# and have the descendants right, with half of the legs. The energy of the Potts model comes slowly, as corrections of
# an operator of dimension 14/5 fall: two steps apart, they are taken off.

# %%
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _study import HEADER, Claim, print_claims, run_main, save
from matplotlib.figure import Figure

from jaxrg import exact
from jaxrg.rg import tensor as networks

NUM_LEVELS = 10


# %%
class Scheme(NamedTuple):
    """A flow, the states a leg keeps, and every how many of its steps a tensor is as wide as it is high."""

    flow: Any
    chi: int
    stride: int = 1
    num_tensors: int = 2  # of the ring


SCHEMES = {
    "TRG": Scheme(networks.trg, 24),
    "BTRG": Scheme(networks.btrg, 24),
    "HOTRG": Scheme(networks.hotrg, 24, 2),
    "loops": Scheme(networks.loop_tnr, 12, num_tensors=4),
}


class Theory(NamedTuple):
    """A critical model: its tensor, the exact dimensions of its lowest levels and its central charge."""

    tensor: Any
    dimensions: list[float]
    central_charge: float
    published: dict[int, str]  # of TRG, by level
    irrelevant: dict[int, float]  # dimension of the operator that a level is slowly corrected by


def theories() -> dict[str, Theory]:
    ising = networks.ising_tensor(jnp.float64(exact.critical_coupling))
    potts = networks.potts_tensor(3, jnp.log(1 + jnp.sqrt(jnp.float64(3))))
    return {
        "Ising": Theory(
            ising, [1 / 8, 1, 9 / 8, 9 / 8, 2, 2, 2, 2], 0.5, {1: "0.124923 (TRG χ28)", 2: "1.00682 (TRG χ28)"}, {}
        ),
        "Potts q=3": Theory(
            potts, [2 / 15, 2 / 15, 4 / 5, 17 / 15, 17 / 15, 17 / 15, 17 / 15, 4 / 3, 4 / 3], 0.8, {}, {3: 14 / 5}
        ),
    }


# %%
def spectra(theory: Theory, scheme: Scheme, num_steps: int) -> networks.Spectrum:
    """Levels after each step that leaves a square, ``[steps, levels]``."""
    observe = functools.partial(networks.transfer_spectrum, num_levels=NUM_LEVELS, num_tensors=scheme.num_tensors)
    found = scheme.flow(theory.tensor, scheme.chi, num_steps, observe=observe).observed
    return jax.tree.map(lambda values: np.asarray(values)[scheme.stride - 1 :: scheme.stride], found)


def corrected(values: Any, irrelevant: float, stride: int) -> Any:
    """A quantity without the corrections of the leading irrelevant operator, from steps two apart."""
    shrunk = 2 ** ((2 - irrelevant) * stride)  # lengths grow by 2 in two steps of the first three schemes
    return (values[2:] - shrunk * values[:-2]) / (1 - shrunk)


def claims(model: str, theory: Theory, name: str, found: networks.Spectrum) -> list[Claim]:
    rows = []

    def add(what: str, truth: float, values: Any, published: str = "") -> None:
        flat = networks.plateau(values)
        measured = f"{float(flat.value):.5f} ± {float(flat.drift):.5f} ({float(flat.value) / truth - 1:+.2%})"
        rows.append(Claim(f"{model}, {name}: {what} = {truth:.5f}", published, measured, f"last step {values[-1]:.5f}"))

    add("c", theory.central_charge, found.central_charge)
    for level, truth in enumerate(theory.dimensions, start=1):
        values = found.dimensions[:, level]
        add(f"x_{level}", truth, values, theory.published.get(level, "") if name == "TRG" else "")
        if level in theory.irrelevant:
            better = corrected(values, theory.irrelevant[level], SCHEMES[name].stride)
            add(f"x_{level} without the correction of {theory.irrelevant[level]:g}", truth, better)
    return rows


# %%
def draw(found: dict[str, dict[str, networks.Spectrum]], known: dict[str, Theory]) -> Figure:
    """Dimensions against the size of a tensor, a row for each model and a column for each scheme."""
    figure = Figure(figsize=(3.6 * len(SCHEMES), 3.4 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), len(SCHEMES), sharex=True, sharey="row", squeeze=False)
    for row, (model, by_scheme) in zip(grid, found.items(), strict=True):
        for axes, (name, spectrum) in zip(row, by_scheme.items(), strict=True):
            steps = SCHEMES[name].stride * np.arange(1, len(spectrum.dimensions) + 1)
            for level in sorted(set(known[model].dimensions)):
                axes.axhline(level, color="0.75", linewidth=0.8)
            axes.plot(steps, spectrum.dimensions[:, 1:], color="tab:blue", linewidth=1, marker=".", markersize=4)
            for level in range(1, len(known[model].dimensions) + 1):
                flat = networks.plateau(spectrum.dimensions[:, level])
                start = int(flat.start)
                axes.plot(steps[start : start + 4], [float(flat.value)] * 4, color="tab:red", linewidth=3, alpha=0.6)
            axes.set_ylim(-0.1, 2.4)
            axes.set_title(f"{model}, {name}")
        row[0].set_ylabel("scaling dimension")
    for axes in grid[-1]:
        axes.set_xlabel("$\\log_2$ of the spins of a tensor")
    return figure


# %%
def main(smoke: bool = False, out: str = "out/tensor_rg_dimensions") -> None:
    num_steps = 12 if smoke else 20
    schemes = {name: scheme._replace(chi=6) if smoke else scheme for name, scheme in SCHEMES.items()}
    with jax.enable_x64(True):
        known = theories()
        found = {
            model: {name: spectra(theory, scheme, num_steps) for name, scheme in schemes.items()}
            for model, theory in known.items()
        }
        rows = [HEADER]
        for model, by_scheme in found.items():
            for name, spectrum in by_scheme.items():
                rows += claims(model, known[model], name, spectrum)
        sizes = ", ".join(f"{name} {scheme.chi}" for name, scheme in schemes.items())
        print(f"χ: {sizes}; grey: exact; red: the window of four steps that drifts least")
        print_claims(rows)
        save({"tensor_rg_dimensions": draw(found, known)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Scaling dimensions and central charges along flows of tensors.")
