"""What is read from a figure before it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.figures.cases import CASES
from thalweg.figures import Axis, Bars, ColourScale, Figure, Heatmap, Histogram, HLine, Inset, Line, Panel, Scatter
from thalweg.figures.palette import CATEGORIES, EMPTY, MUTED, colours_of, shades
from thalweg.figures.reading import edges, empty, notes, shared_view, thinned, view


@given(
    y=hnp.arrays(np.float64, st.integers(1, 3000), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    limit=st.integers(4, 200),
)
def test_thinned_curves_keep_extremes_ends_and_gaps(y: np.ndarray, limit: int) -> None:
    chosen = thinned(np.arange(len(y)), y, limit=limit)
    assert (np.diff(chosen) > 0).all()
    assert {0, len(y) - 1} <= set(chosen.tolist())
    if np.isfinite(y).any():
        assert (np.nanmin(y[chosen]), np.nanmax(y[chosen])) == (np.nanmin(y), np.nanmax(y))
    assert np.isnan(y[chosen]).any() == np.isnan(y).any()
    assert len(chosen) <= max(len(y) if len(y) <= limit else 0, 1.5 * limit + 4)


def test_paths_are_never_thinned() -> None:
    angle = np.linspace(0, 100, 9000)
    assert len(thinned(np.cos(angle), np.sin(angle))) == 9000


def test_views_hold_all_points_with_a_margin() -> None:
    panel = Panel(Axis("x"), Axis("y", scale="log"), (Line([0, 10], [1e-3, 1.0]), HLine(10.0)))
    assert view(panel, "x") == pytest.approx((-0.4, 10.4))
    assert view(panel, "y") == pytest.approx((10**-3.16, 10**1.16))
    fixed = panel.replace(x=Axis("x", limits=(0, None)))
    assert view(fixed, "x") == pytest.approx((0, 10.4))


def test_fields_reach_the_frame_and_bars_stand_on_zero() -> None:
    assert view(Panel(Axis(), Axis(), (Heatmap([0, 1, 2], [0, 1], np.ones((2, 3))),)), "x") == (-0.5, 2.5)
    assert view(Panel(Axis(), Axis(), (Histogram([0, 1], [5]),)), "y") == pytest.approx((0.0, 5.2))
    bars = Panel(Axis(), Axis(), (Bars(["a", "b"], [1, 2]), Bars(["b", "c"], [1, 4])))
    assert view(bars, "x") == pytest.approx((-0.6, 2.6))
    assert view(bars, "y")[0] == 0.0


def test_the_close_up_fits_what_is_inside() -> None:
    x = np.linspace(-1, 1, 201)
    panel = Panel(Axis(), Axis(), (Line(x, x**2),), inset=Inset((-0.1, 0.1)))
    low, high = view(panel, "y", within=(-0.1, 0.1))
    assert low < 0 < 0.01 < high < 0.02


def test_shared_axes_show_the_same() -> None:
    top = Panel(Axis("x"), Axis("a"), (Line([0, 10], [0, 1]),))
    bottom = Panel(Axis("x"), Axis("b"), (Line([5, 20], [0, 9]),))
    figure = Figure("f", "", "", (top, bottom), share_x=True)
    assert shared_view(figure, 0, "x") == shared_view(figure, 1, "x") == (view(top, "x")[0], view(bottom, "x")[1])
    assert shared_view(figure, 0, "y") == view(top, "y")


def test_edges_are_midway() -> None:
    assert edges(np.array([2.0])).tolist() == [1.5, 2.5]


def test_notes_count_what_is_not_drawn() -> None:
    x = Axis("x", scale="log")
    scatter = Scatter([1, -1, 2], [1, 1, np.inf], values=[1, 2, np.nan])
    figure = Figure("f", "", "", (Panel(x, Axis("y"), (scatter,), title="left"),))
    assert notes(figure) == ('left: not drawn: 2 values NaN or infinite; 1 value ≤ 0 on the log axis "x".',)
    assert notes(CASES["capacity"]()) == ()


def test_empty_panels_are_known() -> None:
    assert empty(Panel(Axis(), Axis()))
    assert empty(Panel(Axis(), Axis(), (Line([np.nan], [np.nan]),)))
    assert empty(Panel(Axis(), Axis(scale="log"), (Line([0, 1], [-1, np.nan]),)))
    assert not empty(Panel(Axis(), Axis(), (Line([0], [np.nan]), HLine(1.0))))
    assert not empty(Panel(Axis(), Axis(), (Bars(["a"], [1]),)))


def test_labels_have_one_colour_over_the_whole_figure() -> None:
    left = Panel(Axis(), Axis(), (Line([0], [0], label="a"), Line([0], [0], label="b")))
    right = Panel(Axis(), Axis(), (Line([0], [0], label="b"), Scatter([0, 1], [0, 1], categories=["c", "a"]), HLine(0)))
    colours = colours_of(Figure("f", "", "", (left, right)))
    assert [colours.of(mark) for mark in left.marks] == list(CATEGORIES[:2])
    assert colours.of(right.marks[0]) == CATEGORIES[1]
    assert [colours.of(right.marks[1], word) for word in "ca"] == [CATEGORIES[2], CATEGORIES[0]]
    assert colours.of(right.marks[2]) == MUTED


def test_the_ninth_category_repeats_a_colour_with_another_dash() -> None:
    marks = tuple(Line([0], [0], label=str(k)) for k in range(9))
    colours = colours_of(Figure("f", "", "", (Panel(Axis(), Axis(), marks),)))
    assert colours.of(marks[8]) == colours.of(marks[0])
    assert colours.style(marks[8]) != colours.style(marks[0])


def test_equal_scales_share_their_limits() -> None:
    scale = ColourScale("loss", scale="log")
    panels = [Panel(Axis(), Axis(), (Scatter([0], [0], [value], scale=scale),)) for value in (1e-3, 10.0)]
    colours = colours_of(Figure("f", "", "", tuple(panels)))
    assert colours.ends(scale) == (1e-3, 10.0)


def test_shades_agree_with_matplotlib() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(0, 1, 33)
    expected = 255 * matplotlib.colormaps["viridis"](values)[:, :3]
    found = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in shades(ColourScale(), (0.0, 1.0), values)]
    assert np.abs(np.array(found) - expected).max() < 8
    assert shades(ColourScale(), (0.0, 1.0), np.array([np.nan, 7.0])) == [EMPTY, "#fde725"]
