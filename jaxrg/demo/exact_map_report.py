"""Chapter 2 as a table, answers and a section of the page."""

from typing import Any

import numpy as np

from jaxrg import plot
from jaxrg.demo.page import figure_html, section_html
from jaxrg.demo.text import Table, Verdict
from jaxrg.demo.workspace import Workspace

TITLE = "2. The exact map between renormalisation and a Boltzmann machine"
# Both Hamiltonians are sums of up to 2^16 terms of their own size: so many roundings of it, where most would average.
ROUNDINGS = 1000
_LINES = (
    ("KL(P || p)", "kl"),
    ("ln<rho> - <ln rho> (Jensen gap)", "jensen_gap"),
    ("Delta F = F_h - F_v", "free_energy_difference"),
    ("-ln<rho>", "log_mean_rho"),
    ("mean of ln rho", "log_rho_mean"),
    ("std of ln rho", "log_rho_std"),
    ("max |ln rho|", "log_rho_max"),
    ("max |H_RG - H_RBM|", "hamiltonian_difference"),
    ("normalised kernel: max |ln rho|", "normalized_kernel_log_rho_max"),
    ("normalised kernel: Delta F", "normalized_kernel_free_energy_difference"),
)


def tables(chapter: dict[str, Any]) -> list[Table]:
    """Quantity, before training, after training."""
    rows = []
    for label, name in _LINES:
        sign = -1 if label.startswith("-") else 1
        rows.append((label, *(f"{sign * chapter[when][name]:.6g}" for when in ("before", "after"))))
    return [Table("2. The exact map", ("quantity", "before training", "after training"), rows)]


def verdicts(chapter: dict[str, Any]) -> list[Verdict]:
    """Whether the identity holds, and what training makes of the rest."""
    before, after = chapter["before"], chapter["after"]
    differences = [when["hamiltonian_difference"] for when in (before, after)]
    size = max(np.abs(when["hamiltonian_rbm"]).max() for when in (before, after))
    is_known = np.isfinite([*differences, size, before["kl"], after["kl"]]).all()
    allowed = ROUNDINGS * np.finfo(np.float64).eps * size
    rounding = (
        f"largest difference {differences[0]:.0e} untrained, {differences[1]:.0e} trained, where Hamiltonians reach "
        f"{size:.0f} and rounding allows {allowed:.0e}"
    )
    training = (
        f"KL {before['kl']:.3g} to {after['kl']:.3g} nats, standard deviation of ln rho {before['log_rho_std']:.3g} to "
        f"{after['log_rho_std']:.3g}; both are 0 for an exact step"
    )
    return [
        Verdict(
            "Are the renormalised Hamiltonian and the machine's one function, trained or not?",
            max(differences) <= allowed if is_known else None,
            rounding,
        ),
        Verdict(
            "Does training bring the machine closer to an exact renormalisation?",
            after["kl"] < before["kl"] if is_known else None,
            training,
        ),
    ]


def section(workspace: Workspace, chapter: dict[str, Any]) -> str:
    """Figures and text of chapter 2."""
    before, after, fixtures = chapter["before"], chapter["after"], chapter["fixtures"]
    figure = plot.exact_map(
        chapter["kl_curve"], chapter["kl_curve_stride"], chapter["log_rho_histogram"], before, after
    )
    name = workspace.figure("2_exact_map", figure)
    shape = " &times; ".join(map(str, chapter["shape"]))
    text = (
        f"<p>A machine with {chapter['num_hidden']} hidden units, trained on the critical {shape} Ising torus by the "
        "exact gradient of KL, in float64. With T = H - E the renormalised Hamiltonian of the hidden spins and the "
        "machine's are the same function for every parameter, trained or not; what training changes is &rho;(v), which "
        "is 1 for an exact renormalisation. &Delta;F = 0 alone would be a normalisation; KL = 0 needs a constant "
        "&rho;.</p>"
    )
    small = (
        "<p class='small'>A machine built by hand with one hidden unit per bond (2 &times; 3 torus), for which both "
        f"would be 0 without rounding: KL = {fixtures['bond_machine_kl']:.1e}, standard deviation of ln &rho; = "
        f"{fixtures['bond_machine_log_rho_std']:.1e}.</p>"
    )
    caption = (
        "Training by the exact gradient; what is left of ln rho, on a logarithmic axis; the difference of the two "
        "coarse Hamiltonians at some hidden states."
    )
    shown = text + tables(chapter)[0].as_html() + figure_html(name, caption) + small
    return section_html("exact_map", TITLE, verdicts(chapter), shown)
