# %% [markdown]
# # The fixed point of a tensor renormalisation, by Newton's method
# A flow drifts by its fixed point; Newton's method goes there. The unknowns are the halves a tensor is made of, the
# equation that they are the best halves of that very tensor. From the plateau of a flow, residuals fall to rounding,
# with every step in the end squaring the one before but for a factor. The tensor at rest has the scaling dimensions of
# the Ising model, to the first descendants of the spin, 17/8, and its central charge. A hole in its network holds the
# local operators: how they grow with the lattice are their dimensions, and between states of a ring they have the
# operator product coefficients. The control is the tensor of the flow from which Newton's method starts.

# %%
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _study import HEADER, Claim, print_claims, run_main, save
from matplotlib.figure import Figure

from jaxrg import exact
from jaxrg.rg import tensor as networks

LEVELS = np.array([0, 1 / 8, 1, 9 / 8, 9 / 8, 2, 2, 2, 2, 17 / 8, 17 / 8, 17 / 8])
PUBLISHED = {  # Gilt-TNR, chi = 30, arXiv:2409.13012
    1: "0.12504",
    2: "1.00086",
    3: "1.12454",
    4: "1.12454",
    5: "1.99828",
    6: "1.99828",
    7: "2.00175",
    8: "2.00175",
}
PRODUCTS = {(2, 1, 1): 0.5, (1, 2, 1): 0.5, (2, 2, 2): 0.0}  # operators 1, 2: spin, energy
WIDE = 12  # legs up to which rings of four tensors are read in seconds


class Study(NamedTuple):
    """A fixed point and what is read off it and off the flow before."""

    fixed: networks.FixedTensor
    local: networks.Dilatation
    spectra: list[networks.Spectrum]  # at rest, and of the flow before
    products: list[networks.OperatorProducts]


# %%
def study(chi: int, num_flow: int, num_steps: int, num_states: int) -> Study:
    start = networks.loop_tnr(networks.ising_tensor(jnp.float64(exact.critical_coupling)), chi, num_flow).tensor
    fixed = networks.fixed_tensor(start, num_steps=num_steps)
    ring = 4 if chi <= WIDE else 2
    tensors = (fixed.tensor, start)
    return Study(
        fixed,
        networks.dilatation_spectrum(fixed.tensor, len(LEVELS), num_states=num_states),
        [networks.transfer_spectrum(each, len(LEVELS), num_tensors=ring) for each in tensors],
        [networks.operator_products(each, 3, num_states=num_states) for each in tensors],
    )


def claims(chi: int, found: Study) -> list[Claim]:
    residuals = np.asarray(found.fixed.residuals)
    steps = np.flatnonzero(residuals < 1e-10)
    reached = f"{steps[0]} steps" if len(steps) else f"{residuals[-1]:.1e} after {len(residuals) - 1}"
    rows = [Claim(f"χ = {chi}: residual below 1e-10", "31 steps (1e-9, linear)", reached, f"flow: {residuals[0]:.1e}")]
    charges = [float(each.central_charge) for each in found.spectra]
    rows.append(Claim(f"χ = {chi}: c = 0.5", "0.500066", f"{charges[0]:.6f}", f"flow: {charges[1]:.6f}"))
    for level, truth in enumerate(LEVELS[1:], start=1):
        value, control = (float(each.dimensions[level]) for each in found.spectra)
        measured = f"{value:.5f} ({value / truth - 1:+.3%})"
        rows.append(
            Claim(f"χ = {chi}: x_{level} = {truth:.3f}", PUBLISHED.get(level, ""), measured, f"flow: {control:.5f}")
        )
        local, spin = float(found.local.dimensions[level]), float(found.local.spins[level])
        rows.append(
            Claim(
                f"χ = {chi}: the same, of dilatation",
                "",
                f"{local:.5f} ({local / truth - 1:+.3%})",
                f"spin {round(spin, 3) + 0:.3f}",
            )
        )
    for place, truth in PRODUCTS.items():
        value, control = (float(each.coefficients[place]) for each in found.products)
        name = "C_" + "".join("1σε"[each] for each in place)
        published = "0.50068 (TRG χ56)" if place == (2, 1, 1) else ""
        rows.append(Claim(f"χ = {chi}: {name} = {truth}", published, f"{value:.5f}", f"flow: {control:.5f}"))
    values = np.asarray(found.fixed.eigenvalues)
    energy = values[np.argmin(np.abs(values - np.sqrt(2)))].real
    others = ", ".join(f"{value:.2f}" for value in values if value.real != energy)
    rows.append(
        Claim(
            f"χ = {chi}: x of the energy, full linearised map",
            "1.00031",
            f"{2 - 2 * np.log2(energy):.5f}",
            f"not universal: {others}",
        )
    )
    return rows


# %%
def draw(found: dict[int, Study]) -> Figure:
    """Residuals by Newton step, and the error of each level at rest and before."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, (chi, each) in enumerate(found.items()):
        color = f"C{index}"
        residuals = np.maximum(np.asarray(each.fixed.residuals), 1e-16)
        left.semilogy(residuals, marker="o", color=color, label=f"χ = {chi}")
        for spectrum, marker, name in zip(each.spectra, "ox", ("fixed point", "flow before"), strict=True):
            error = np.abs(np.asarray(spectrum.dimensions)[1:] / LEVELS[1:] - 1)
            right.semilogy(np.arange(1, len(LEVELS)), error, marker, color=color, label=f"χ = {chi}, {name}")
    left.set_xlabel("Newton step")
    left.set_ylabel("residual |F|")
    left.axhline(1e-10, color="0.7", linewidth=0.8)
    left.legend()
    right.set_xlabel("level: 1 the spin, 9 to 11 its descendants")
    right.set_ylabel("relative error of the dimension")
    right.legend(fontsize=7)
    return figure


# %%
def main(smoke: bool = False, out: str = "out/tensor_fixed_point") -> None:
    sizes = {4: (8, 6, 8)} if smoke else {8: (14, 8, 24), 10: (14, 16, 20), 12: (14, 24, 20)}
    with jax.enable_x64(True):
        found = {chi: study(chi, *counts) for chi, counts in sizes.items()}
        rows = [HEADER]
        for chi, each in found.items():
            rows += claims(chi, each)
        print_claims(rows)
        for chi, each in found.items():
            print(f"χ = {chi}: residuals", " ".join(f"{value:.1e}" for value in np.asarray(each.fixed.residuals)))
        save({"tensor_fixed_point": draw(found)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Newton's method for the fixed point of a tensor renormalisation.")
