"""Every figure is drawn, with labels on its axes."""

import io

import numpy as np
import pytest

from jaxrg import plot
from tests.test_plot_interactions import FIGURES as INTERACTION_FIGURES


def rows():
    quantity = {"value": -1.0, "error": 0.1, "tau_int": 2.0, "tau_int_error": 0.2, "z": 0.5}
    names = ("energy", "specific_heat", "abs_magnetization", "binder")
    return [
        {"temperature": t, "method": method, "quantities": dict.fromkeys(names, quantity)}
        for t in (2.0, 2.5)
        for method in ("wolff", "heat_bath")
    ]


def levels():
    names = ("nearest_neighbour", "plaquette")
    level = {"side": 8, "couplings": dict.fromkeys(names, 0.1), "errors": dict.fromkeys(names, 0.01)}
    return [level | {"exact": dict.fromkeys(names, 0.1)}, level | {"side": 4}]


LOCALITY = [{"radius": 1.0, "participation": 4.0, "uniform_radius": 3.0}] * 2
MACHINE = {"hamiltonian_rg": [1.0, 2.0], "hamiltonian_rbm": [1.0, 2.0], "hamiltonian_difference": 1e-15}
RUN = {
    "spectra": np.ones((3, 4)),
    "mean_order": [2.0, 1.0, 1.5],
    "mean_order_error": [0.1] * 3,
    "train_loss": [2.0, 1.0, 0.1],
    "test_loss": [2.0, 1.1, 0.9],
}
FIGURES = INTERACTION_FIGURES | {
    "interactions_through_training": lambda: plot.interactions_through_training(
        [0, 1, 10], RUN, RUN, spindle=[1.0] * 4
    ),
    "temperature_scan": lambda: plot.temperature_scan(
        rows(), {"energy": (np.arange(3), np.arange(3), "exact")}, critical_temperature=2.27
    ),
    "block_ladder": lambda: plot.block_ladder([np.ones((4, 4)), np.ones((2, 2))]),
    "couplings_by_level": lambda: plot.couplings_by_level(levels()),
    "exact_map": lambda: plot.exact_map(
        [1.0, 0.1], 10, {"counts": [0.5, 0.5], "edges": [-1.0, 0.0, 1.0]}, MACHINE, MACHINE
    ),
    "receptive_fields": lambda: plot.receptive_fields([np.zeros((4, 3, 3))], [np.zeros((4, 3, 3))]),
    "locality_by_level": lambda: plot.locality_by_level(LOCALITY, LOCALITY, num_sites=9),
    "reconstructions": lambda: plot.reconstructions(np.ones((2, 4, 4)), np.zeros((2, 4, 4))),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_with_labelled_axes(name):
    figure = FIGURES[name]()
    with io.BytesIO() as file:
        figure.savefig(file, dpi=40)
        assert file.getvalue().startswith(b"\x89PNG")
    for axes in figure.axes:
        is_image = bool(axes.images) or not axes.axison or not axes.has_data()
        assert is_image or axes.get_ylabel()


def test_every_public_figure_is_drawn_here():
    assert set(plot.__all__) <= set(FIGURES)
