"""Figures of interactions: drawn, labelled, and showing the numbers they were given."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import Decomposition
from jaxrg.interactions import InteractionView, OrderStrengths, label_table, merge_and_or
from jaxrg.plot import interaction_figures

TABLE = np.array([0.5, 1.0, -2.0, 0.25, 0.0, 4.0, -1.0, 0.125])
NAMES = ("age", "sex", "a feature with quite a long name")


def labelled() -> InteractionView:
    return label_table(jnp.asarray(TABLE), names=NAMES)


def merged() -> InteractionView:
    return merge_and_or(Decomposition(jnp.asarray(TABLE), jnp.asarray(TABLE[::-1].copy())), names=NAMES)


def strengths(rows: int | None = None) -> OrderStrengths:
    part = labelled().order_strengths()
    return part if rows is None else OrderStrengths(*(jnp.tile(values, (rows, 1)) for values in part))


ASSIGNMENT = np.array([[0, 0, 1, -1], [2, 2, 1, 1]])
IMAGE = np.linspace(0, 1, 8).reshape(2, 4)
FIGURES = {  # drawn by test_plot.py
    "interaction_waterfall": lambda: interaction_figures.interaction_waterfall(labelled(), count=3),
    "waterfall_of_all": lambda: interaction_figures.interaction_waterfall(merged(), count=99),
    "order_spectrum": lambda: interaction_figures.order_spectrum(strengths()),
    "spectrum_with_null": lambda: interaction_figures.order_spectrum(strengths(4), null_strengths=strengths(9)),
    "interaction_upset": lambda: interaction_figures.interaction_upset(merged()),
    "upset_of_one_kind": lambda: interaction_figures.interaction_upset(labelled(), count=2),
    "interaction_network": lambda: interaction_figures.interaction_network(labelled()),
    "interaction_heat_map": lambda: interaction_figures.interaction_heat_map(IMAGE, ASSIGNMENT, merged()),
    "heat_map_in_colour": lambda: interaction_figures.interaction_heat_map(
        np.stack([IMAGE] * 3, -1), ASSIGNMENT, labelled().top(2), count=1
    ),
}


def test_the_waterfall_ends_at_the_value_of_all_players():
    axes = interaction_figures.interaction_waterfall(labelled(), count=3).axes[0]
    bars = axes.patches
    assert [bar.get_width() for bar in bars] == pytest.approx([4.0, -2.0, 1.0, -0.625])
    assert bars[0].get_x() == TABLE[0]
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(TABLE.sum())
    assert [tick.get_text() for tick in axes.get_yticklabels()][-1] == "4 others"


def test_the_spectrum_has_its_parts_on_either_side():
    axes = interaction_figures.order_spectrum(strengths(4)).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([1.0, 4.25, 0.125, -2.0, -1.0, 0.0])


def test_the_upset_plot_shows_the_strongest_first():
    bars, dots = interaction_figures.interaction_upset(labelled(), count=2).axes
    assert [bar.get_height() for bar in bars.patches] == [4.0, -2.0]
    filled = [line.get_ydata().tolist() for line in dots.lines if line.get_color() == "black"]
    assert filled == [[0, 2], [1]]


def test_the_network_has_one_line_for_each_pair_there_is():
    axes = interaction_figures.interaction_network(labelled()).axes[0]
    assert len(axes.lines) == 3
    widths = sorted(line.get_linewidth() for line in axes.lines)
    assert widths == pytest.approx([6 * 0.25 / 4, 6 * 1 / 4, 6.0])


def test_the_heat_map_paints_players_with_their_share():
    figure = interaction_figures.interaction_heat_map(IMAGE, ASSIGNMENT, labelled(), count=1)
    shares = figure.axes[1].images[0].get_array()
    attributions = labelled().attributions()
    assert attributions.sum() == pytest.approx(TABLE[1:].sum())
    np.testing.assert_allclose(np.ma.filled(shares, np.nan)[1], attributions[[2, 2, 1, 1]])
    assert np.isnan(np.ma.filled(shares, np.nan)[0, 3])
    strongest = np.ma.filled(figure.axes[2].images[0].get_array(), np.nan)
    np.testing.assert_array_equal(strongest, np.where((ASSIGNMENT == 0) | (ASSIGNMENT == 2), 4.0, np.nan))


def test_an_assignment_of_other_players_is_refused():
    with pytest.raises(ValueError, match=r"assignment: expected players -1 ... 2 of shape \(2, 4\), got up to 3"):
        interaction_figures.interaction_heat_map(IMAGE, np.full((2, 4), 3), labelled())
    with pytest.raises(ValueError, match=r"of shape \(4, 2\)"):
        interaction_figures.interaction_heat_map(IMAGE, ASSIGNMENT.T, labelled())
