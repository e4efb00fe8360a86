"""Flow diagrams show what they are given, and refuse what they cannot show."""

import io

import numpy as np
import pytest

from jaxrg import plot

GRID = np.stack(np.meshgrid(np.linspace(0, 1, 4), np.linspace(0, 2, 5)), axis=-1).reshape(-1, 2)
NAMES = ("$K$", "L")


def test_a_flow_diagram_holds_arrows_paths_points_and_the_line():
    images = np.where(GRID == 2, np.nan, GRID**2)
    path = np.array([[0.5, 0.5], [0.25, 0.25], [0.06, 0.06]])
    figure = plot.flow_diagram(
        GRID, images, names=NAMES, trajectories=[path], fixed_points={"here": (1, 1)}, critical_line=[[0, 1], [1, 0]]
    )
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == NAMES
    (arrows,) = [shown for shown in axes.collections if hasattr(shown, "U")]
    assert len(arrows.U) == 16  # of 20, without the row that leaves the domain
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V)[np.hypot(*(images - GRID).T)[:16] > 0], 1)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), path)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["critical line", "here"]
    figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="images: expected one for each of 20 couplings, got 3"):
        plot.flow_diagram(GRID, GRID[:3], names=NAMES)
    with pytest.raises(ValueError, match=r"couplings: expected \[num_points, 2\], got shape \(20, 1\)"):
        plot.flow_diagram(GRID[:, :1], GRID, names=NAMES)
    with pytest.raises(ValueError, match="names: expected two, one for each axis, got 'KL'"):
        plot.flow_diagram(GRID, GRID, names="KL")
    with pytest.raises(ValueError, match="fixed_points: expected a dict"):
        plot.flow_diagram(GRID, GRID, names=NAMES, fixed_points=[(0, 0)])
    with pytest.raises(ValueError, match="couplings: expected finite numbers"):
        plot.flow_diagram(GRID * np.nan, GRID, names=NAMES)
