"""Every figure is drawn, with labels on its axes, and what cannot be drawn is refused in words."""

import io

import numpy as np
import pytest

from jaxrg import plot
from tests.test_plot_interactions import FIGURES as INTERACTION_FIGURES

NAN = np.nan


def rows(sides=(8, 4), **changes):
    quantity = {"value": -1.0, "error": 0.1, "tau_int": 2.0, "tau_int_error": 0.2, "z": 0.5} | changes
    names = ("energy", "specific_heat", "abs_magnetization", "binder")
    return [
        {"temperature": t, "method": method, "side": side, "quantities": dict.fromkeys(names, quantity)}
        for side in sides
        for t in (2.0, 2.5)
        for method in ("wolff", "heat_bath")
    ]


def scan(rows):
    curves = {"energy": [(np.arange(3), np.arange(3), "exact")]}
    return plot.temperature_scan(rows, curves, critical_temperature=2.27)


def levels(value=0.1, error=0.01, count=2):
    names = ("nearest_neighbour", "plaquette")
    level = {"side": 8, "couplings": dict.fromkeys(names, value), "errors": dict.fromkeys(names, error)}
    return [level | {"exact": dict.fromkeys(names, 0.1)}, *[level | {"side": 4}] * (count - 1)]


def flow(flows):
    return plot.coupling_flow(flows, "nearest_neighbour", "plaquette")


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
    "temperature_scan": lambda: scan(rows()),
    "flow_diagram": lambda: plot.flow_diagram([[0.2, 0.1]], [[0.1, 0.05]], names=("K", "L")),
    "block_ladder": lambda: plot.block_ladder([np.ones((4, 4)), np.ones((2, 2))]),
    "couplings_by_level": lambda: plot.couplings_by_level(levels()),
    "coupling_flow": lambda: flow({"_critical $": levels(), "hot": levels(count=3)}),
    "exact_map": lambda: plot.exact_map(
        [1.0, 0.1], 10, {"counts": [0.5, 0.5], "edges": [-1.0, 0.0, 1.0]}, MACHINE, MACHINE
    ),
    "receptive_fields": lambda: plot.receptive_fields([np.eye(9)], (3, 3), control=[np.zeros((9, 2))]),
    "locality_by_level": lambda: plot.locality_by_level(LOCALITY, LOCALITY, num_sites=9),
    "reconstructions": lambda: plot.reconstructions(*[np.ones((2, 4, 4))] * 3),
}


DIVERGED = dict.fromkeys(("mean_order", "mean_order_error", "train_loss", "test_loss"), [NAN] * 3)
HISTOGRAM = {"counts": [0.5, 0.5], "edges": [-1.0, 0.0, 1.0]}
IMAGES = np.ones((2, 4, 4))
# What a run that failed, an empty one or a large one would give: right figures, with gaps where nothing is known.
UNUSUAL = {
    "scan_of_nan": lambda: scan(rows(value=NAN, error=NAN, z=NAN, tau_int=NAN, tau_int_error=NAN)),
    "scan_of_large_numbers": lambda: scan(rows(value=1e29, error=0.0, z=-1e20)[:1]),
    "many_levels": lambda: plot.couplings_by_level(levels(count=20)),
    "flow_of_nan": lambda: flow({"critical": levels(NAN, NAN)}),
    "levels_of_nan": lambda: plot.couplings_by_level(levels(NAN, NAN)),
    "training_that_diverged": lambda: plot.interactions_through_training(
        [0, 1, 10], RUN | DIVERGED, RUN, spindle=[1.0] * 4, control_name="_cost in $ and $"
    ),
    "machine_of_rounding": lambda: plot.exact_map([0.0, NAN], 1, {"counts": [0], "edges": [0, 1]}, MACHINE, MACHINE),
    "no_steps": lambda: plot.exact_map([], 1, {"counts": [], "edges": [0]}, MACHINE, MACHINE),
    "fields_of_nan": lambda: plot.receptive_fields([np.full((9, 2), NAN)], (3, 3)),
    "no_fields": lambda: plot.receptive_fields([np.zeros((9, 0))], (3, 3)),
    "locality_of_dead_units": lambda: plot.locality_by_level(
        [LOCALITY[0] | {"radius": NAN, "participation": NAN}], LOCALITY[:1], num_sites=9
    ),
    "lost_images": lambda: plot.reconstructions(IMAGES, NAN * IMAGES),
}
REFUSED = {
    "rows: quantities: expected 1 to 22": lambda: scan([]),
    "rows: expected a dictionary with 'quantities'": lambda: scan([{"temperature": 1.0}]),
    "rows: expected numbers .* up to 1e[+]30, got inf": lambda: scan(rows(value=np.inf)),
    "errors: expected none below zero": lambda: scan(rows(error=-1.0)),
    "configurations: expected 1 to 24": lambda: plot.block_ladder([]),
    "configurations: expected spins -1 to 1, got 255": lambda: plot.block_ladder([np.full((2, 2), 255, np.uint8)]),
    "levels: expected 1 to 200": lambda: plot.couplings_by_level([]),
    "flows: expected 1 to 200": lambda: flow({}),
    "flows: levels: expected 1 to 200": lambda: flow({"critical": []}),
    "levels: expected a dictionary with 'couplings'": lambda: plot.couplings_by_level([{"side": 3}]),
    "histogram: expected n counts and n [+] 1 edges": lambda: plot.exact_map(
        [1.0], 1, HISTOGRAM | {"edges": [0.0]}, MACHINE, MACHINE
    ),
    "trained: expected both Hamiltonians at the same states": lambda: plot.exact_map(
        [1.0], 1, HISTOGRAM, MACHINE, MACHINE | {"hamiltonian_rg": [1.0]}
    ),
    r"fields: expected \[3 x 4, units\], got shape \(9, 2\)": lambda: plot.receptive_fields([np.ones((9, 2))], (3, 4)),
    "control: expected 1 levels, got 0": lambda: plot.receptive_fields([np.ones((9, 2))], (3, 3), control=[]),
    r"stack: expected \(2, 4, 4\)": lambda: plot.reconstructions(IMAGES, IMAGES[:1]),
    "network: mean_order: expected shape": lambda: plot.interactions_through_training(
        [0, 1, 10], RUN | {"mean_order": [1.0]}, RUN, spindle=[1.0] * 4
    ),
    "epochs: expected 1": lambda: plot.interactions_through_training([], RUN, RUN, spindle=[1.0] * 4),
}


def drawn(figure) -> bytes:
    with io.BytesIO() as file:
        figure.savefig(file, dpi=40)
        return file.getvalue()


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_drawn(name):
    figure = UNUSUAL[name]()
    assert drawn(figure).startswith(b"\x89PNG")
    assert figure.axes


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_no_series_is_left_out():
    quantities = {"energy": {"value": 1.0, "error": 0.1, "z": 0.5, "tau_int": 1.0, "tau_int_error": 0.1}}
    methods = [f"method {number}" for number in range(9)]
    figure = scan([{"temperature": 2.0, "method": method, "quantities": quantities} for method in methods])
    entries = {text.get_text() for text in figure.legends[0].get_texts()}
    assert set(methods) <= entries
    drawn = plot.couplings_by_level(levels(count=9)).axes[0]
    assert len(drawn.get_legend().get_texts()) == 10
    colours = {tuple(np.ravel(container.lines[0].get_color())) for container in drawn.containers}
    assert len(colours) == 9


def test_fields_are_those_of_a_stack_strongest_first():
    """As `rbm.receptive_fields` gives them: a column for every unit."""
    weak, strong = np.zeros(9), np.zeros(9)
    weak[2], strong[6] = 0.5, -2.0
    figure = plot.receptive_fields([np.stack([weak, strong], axis=1)], (3, 3), count=2)
    first, second = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert first[2, 0] == -1
    assert second[0, 2] == 1


def test_true_couplings_stand_beside_the_points():
    axes = plot.couplings_by_level(levels()).axes[0]
    truth = next(line for line in axes.lines if line.get_marker() == "_" and line.get_label().startswith("true"))
    places = [container.lines[0].get_xdata() for container in axes.containers]
    assert all(np.abs(truth.get_xdata() - place).min() > 0.1 for place in places)


def test_the_coarse_hamiltonians_are_drawn_as_their_difference():
    machine = MACHINE | {"hamiltonian_rg": [1.0 + 3e-9, 2.0]}
    residuals = plot.exact_map([1.0], 1, HISTOGRAM, MACHINE, machine).axes[2]
    drawn = residuals.lines[1].get_ydata()
    np.testing.assert_allclose(drawn, [3.0, 0.0], rtol=1e-6)
    assert "10^{-9}" in residuals.get_ylabel()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_with_labelled_axes(name):
    figure = FIGURES[name]()
    assert drawn(figure).startswith(b"\x89PNG")
    for axes in figure.axes:
        is_image = bool(axes.images) or not axes.axison or not axes.has_data()
        assert is_image or axes.get_ylabel()


def test_every_public_figure_is_drawn_here():
    assert set(plot.__all__) <= set(FIGURES)
