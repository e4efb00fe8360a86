"""Figures of interactions: drawn, labelled, and showing the numbers they were given."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.text import Text

from jaxrg.explain import Decomposition
from jaxrg.interactions import InteractionView, OrderStrengths, label_table, merge_and_or
from jaxrg.plot import interaction_figures, interaction_heat_map

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
    "interaction_heat_map": lambda: interaction_heat_map(IMAGE, ASSIGNMENT, merged()),
    "heat_map_in_colour": lambda: interaction_heat_map(
        np.stack([IMAGE] * 3, -1), ASSIGNMENT, labelled().top(2), count=1
    ),
}


def view_of(values, names) -> InteractionView:
    return label_table(jnp.asarray(values), names=names)


VIEW_FIGURES = (
    interaction_figures.interaction_waterfall,
    interaction_figures.interaction_upset,
    interaction_figures.interaction_network,
)
UNUSUAL_VIEWS = {
    "zeros": view_of(np.zeros(8), NAMES),
    "nobody": view_of([1.5], ()),
    "one": view_of([1.0, 2.0], ("a",)),
    "constant": view_of([5.0, 0.0], ("a",)),
    "large": view_of([0.0, 1e29, -1e29, 2.0], ("a", "b")),
    "tiny": view_of([0.0, 1e-30, -1e-35, 0.0], ("a", "b")),
    "dollars": view_of([0.0, 1.0, 2.0, 3.0], ("$5", r"from $1 to \$10 ^{$")),
    "no rows": labelled().rows(np.array([], int)),
}


@pytest.mark.parametrize("figure", VIEW_FIGURES)
@pytest.mark.parametrize("name", UNUSUAL_VIEWS)
def test_unusual_views_are_drawn(figure, name):
    drawn = figure(UNUSUAL_VIEWS[name])
    drawn.savefig(io.BytesIO(), dpi=30)
    texts = [text.get_text() for axes in drawn.axes for text in (axes.title, *axes.texts)]
    assert not any("nan" in text for text in texts)


def test_dollars_are_drawn_as_they_are():
    """Matplotlib reads text between two dollars as mathematics, and shows escaped ones as dollars."""
    name = UNUSUAL_VIEWS["dollars"].names[1]
    for figure in VIEW_FIGURES:
        drawn = figure(UNUSUAL_VIEWS["dollars"], unit="US$ / $")
        texts = [text for axes in drawn.axes for text in axes.findobj(Text) if "$" in text.get_text()]
        assert texts
        for text in texts:
            shown, is_mathematics = text._preprocess_math(text.get_text())
            assert is_mathematics is False
            assert "\\$" not in shown.replace(r"\$10", "$10")
        assert any(name in text._preprocess_math(text.get_text())[0].replace("\n", " ") for text in texts)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_no_bar_can_show_is_refused(value):
    view = labelled()._replace(values=np.full(8, value))
    for figure in VIEW_FIGURES:
        with pytest.raises(ValueError, match="view: expected finite numbers up to"):
            figure(view)


def test_too_many_bars_are_refused_and_many_players_left_out_in_words():
    members = np.eye(300, dtype=bool)
    view = labelled()._replace(
        subsets=members, values=np.arange(300.0), kinds=np.zeros(300, "<U3"), names=tuple(map(str, range(300)))
    )
    with pytest.raises(ValueError, match="count: expected 0 to 200 to draw, got 300"):
        interaction_figures.interaction_waterfall(view, count=10**6)
    with pytest.raises(ValueError, match="view: players: expected 0 to 200 to draw, got 300"):
        interaction_figures.interaction_network(view)
    dots = interaction_figures.interaction_upset(view, count=5).axes[1]
    assert "295 players take no part" in dots.get_xlabel()
    with pytest.raises(ValueError, match="view: expected label, label_table or merge_and_or"):
        interaction_figures.interaction_upset(TABLE)  # type: ignore[arg-type]


def test_a_network_of_zeros_says_so():
    title = interaction_figures.interaction_network(UNUSUAL_VIEWS["zeros"]).axes[0].get_title()
    assert title.endswith("all of them zero")


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        (OrderStrengths(*[np.ones((0, 3))] * 3), r"positive: expected shape \[n \+ 1\] or \[samples, n \+ 1\]"),
        (OrderStrengths(*[np.full(3, np.inf)] * 3), "strengths.positive: expected numbers"),
        (np.ones(3), "strengths.positive: expected"),
    ],
)
def test_strengths_that_are_none_are_refused(strengths, message):
    with pytest.raises(ValueError, match=message):
        interaction_figures.order_spectrum(strengths)


def test_spectra_of_nobody_and_of_runs_that_diverged_are_drawn():
    for part, num_bars in ((np.zeros(1), 0), (np.array([[0.0, 1.0, np.nan]] * 3), 2)):
        figure = interaction_figures.order_spectrum(OrderStrengths(*[part] * 3))
        figure.savefig(io.BytesIO(), dpi=30)
        assert sum(np.isfinite(bar.get_height()) for bar in figure.axes[0].patches) == num_bars


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
    figure = interaction_heat_map(IMAGE, ASSIGNMENT, labelled(), count=1)
    shares = figure.axes[1].images[0].get_array()
    attributions = labelled().attributions()
    assert attributions.sum() == pytest.approx(TABLE[1:].sum())
    np.testing.assert_allclose(np.ma.filled(shares, np.nan)[1], attributions[[2, 2, 1, 1]])
    assert np.isnan(np.ma.filled(shares, np.nan)[0, 3])
    strongest = np.ma.filled(figure.axes[2].images[0].get_array(), np.nan)
    np.testing.assert_array_equal(strongest, np.where((ASSIGNMENT == 0) | (ASSIGNMENT == 2), 4.0, np.nan))


def test_an_assignment_of_other_players_is_refused():
    with pytest.raises(ValueError, match=r"assignment: expected players -1 ... 2 of shape \(2, 4\), got int64 0 ... 3"):
        interaction_heat_map(IMAGE, np.full((2, 4), 3), labelled())
    with pytest.raises(ValueError, match=r"of shape \(4, 2\)"):
        interaction_heat_map(IMAGE, ASSIGNMENT.T, labelled())


@pytest.mark.parametrize(
    ("image", "assignment", "message"),
    [
        (IMAGE, ASSIGNMENT - 1, "assignment: expected players -1 ... 2"),
        (IMAGE, ASSIGNMENT.astype(float), "got float64"),
        (IMAGE * np.nan, ASSIGNMENT, "image: expected finite numbers"),
        (IMAGE[..., None], ASSIGNMENT, "image: expected .rows, columns., or three or four channels"),
        (np.stack([2 * IMAGE] * 3, -1), ASSIGNMENT, r"image: expected channels in \[0, 1\]"),
        (np.zeros((0, 4)), np.zeros((0, 4), int), "image: expected"),
    ],
)
def test_what_is_no_image_with_players_is_refused(image, assignment, message):
    with pytest.raises(ValueError, match=message):
        interaction_heat_map(image, assignment, labelled())


def test_bytes_and_lists_are_images():
    colours = (255 * np.stack([IMAGE] * 3, -1)).astype(np.uint8)
    plain = interaction_heat_map(IMAGE, ASSIGNMENT, labelled(), count=1).axes[0].images[0].get_array()
    for image, players in ((colours, ASSIGNMENT), (IMAGE.tolist(), ASSIGNMENT.tolist())):
        figure = interaction_heat_map(image, players, labelled(), count=1)
        figure.savefig(io.BytesIO(), dpi=30)
        shown = np.asarray(figure.axes[0].images[0].get_array(), float)
        if image is colours:
            np.testing.assert_allclose(shown, colours / 255)
        else:
            np.testing.assert_allclose(shown, plain)
