"""Figures in the browser: what plotly's own schema accepts, with every number where the figure has it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.figures.cases import CASES
from thalweg.figures import (
    Axis,
    Band,
    Bars,
    ColourScale,
    Contour,
    ErrorBars,
    Figure,
    Heatmap,
    HLine,
    Inset,
    Line,
    Lines,
    Panel,
    Path3D,
    Scatter,
    Surface3D,
    Text,
    VLine,
)
from thalweg.figures.plotly import to_json
from thalweg.figures.plotly.frame import numbers


def _array(data: Any) -> np.ndarray:
    """What plotly.js reads."""
    if not isinstance(data, dict):
        return np.array(data, dtype=float)
    flat = np.frombuffer(base64.b64decode(data["bdata"]), dtype=f"<{data['dtype']}")
    return flat.reshape([int(n) for n in data["shape"].split(",")]) if "shape" in data else flat


def _one(*marks: Any, x: Axis | None = None, y: Axis | None = None, **panel: Any) -> dict[str, Any]:
    drawn = to_json(Figure("f", "", "", (Panel(x or Axis("x"), y or Axis("y"), marks, **panel),)))
    json.dumps(drawn, allow_nan=False)
    return drawn


@pytest.mark.parametrize("name", CASES)
def test_plotly_accepts_every_case(name: str) -> None:
    import plotly.graph_objects as go

    drawn = to_json(CASES[name]())
    json.dumps(drawn, allow_nan=False)
    go.Figure({"data": drawn["data"], "layout": drawn["layout"]})  # refuses unknown and ill-typed properties
    axes = {key for key in drawn["layout"] if key[1:].startswith("axis")}
    for trace in drawn["data"]:
        for short in (trace.get("xaxis"), trace.get("yaxis")):
            assert short is None or f"{short[0]}axis{short[1:]}" in axes


@pytest.mark.parametrize("name", CASES)
def test_every_label_is_in_the_legend_once(name: str) -> None:
    figure = CASES[name]()
    drawn = to_json(figure)
    shown = [part["name"] for part in (*drawn["data"], *drawn["layout"]["shapes"]) if part.get("showlegend")]
    assert len(shown) == len(set(shown)) or figure.legend == "panel"
    labels = {m.label for p in figure.panels for m in p.marks if m.label and not isinstance(m, Surface3D)}
    assert labels <= set(shown)


def test_linear_and_log_axes_keep_the_values() -> None:
    x, y = np.array([1.0, 10.0, 1000.0]), np.array([1e-9, np.nan, 1.0])
    drawn = _one(Line(x, y), x=Axis("n", scale="log"), y=Axis("loss", scale="log"))
    np.testing.assert_array_equal(_array(drawn["data"][0]["x"]), x)
    np.testing.assert_allclose(_array(drawn["data"][0]["y"]), y, rtol=1e-7)
    assert drawn["layout"]["xaxis"]["type"] == "log"
    low, high = drawn["layout"]["xaxis"]["range"]
    assert low < 0 < 3 < high


def test_other_axes_are_transformed_and_say_the_true_values() -> None:
    y = np.array([-10.0, 0.0, 10.0])
    drawn = _one(Line([0, 1, 2], y), y=Axis("λ", scale="symlog", within=1.0))
    np.testing.assert_allclose(_array(drawn["data"][0]["y"]), np.sign(y) * np.log10(1 + np.abs(y)))
    np.testing.assert_array_equal(_array(drawn["data"][0]["customdata"])[:, 0], y)
    assert "x: %{x:.5g}<br>λ: %{customdata[0]:.5g}" in drawn["data"][0]["hovertemplate"]
    axis = drawn["layout"]["yaxis"]
    places = dict(zip(axis["ticktext"], axis["tickvals"], strict=True))
    assert places["0"] == 0
    assert places["10"] == pytest.approx(np.log10(11))


def test_annotations_and_shapes_on_log_axes_follow_their_own_conventions() -> None:
    marks = (Line([1, 100], [1, 100]), VLine(10, "here"), Text(10, 10, "words"))
    drawn = _one(*marks, x=Axis(scale="log"), y=Axis(scale="log"))
    here, words = drawn["layout"]["annotations"]
    assert here["x"] == pytest.approx(1.0)  # plotly: annotations take the logarithm
    assert (words["x"], words["y"]) == pytest.approx((1.0, 1.0))
    assert drawn["layout"]["shapes"][0]["x0"] == 10  # and shapes the value


def test_colours_are_on_the_colour_scale() -> None:
    z = np.array([[1e-3, 1.0], [np.nan, np.inf]])
    drawn = _one(Heatmap([0, 1], [0, 1], z, scale=ColourScale("loss", scale="log")))
    found = _array(drawn["data"][0]["z"])
    np.testing.assert_allclose(found[0], [-3, 0])
    assert np.isnan(found[1]).all()  # the grey behind them
    np.testing.assert_allclose(_array(drawn["data"][0]["customdata"])[..., 0], z, rtol=5e-6)  # five digits are shown
    axis = drawn["layout"]["coloraxis"]
    assert (axis["cmin"], axis["cmax"]) == (-3, 0)
    assert dict(zip(axis["colorbar"]["ticktext"], axis["colorbar"]["tickvals"], strict=True))["10⁻²"] == -2


def test_level_lines_lie_on_their_level() -> None:
    x, y = np.linspace(-1, 1, 81), np.linspace(-2, 2, 81)
    z = x[None, :] ** 2 + y[:, None] ** 2
    drawn = _one(Contour(x, y, z, levels=[0.25, 0.81], labels=False))
    for trace, level in zip(drawn["data"][:2], (0.25, 0.81), strict=True):
        radius = np.hypot(_array(trace["x"]), _array(trace["y"]))
        assert np.isfinite(radius).sum() > 50
        np.testing.assert_allclose(radius[np.isfinite(radius)], np.sqrt(level), atol=2e-3)


def test_filled_areas_change_at_the_levels() -> None:
    z = np.array([[0.5, 1.0, 5.0, 10.0, 50.0]] * 2)
    drawn = _one(Contour(range(5), range(2), z, levels=[1, 10], filled=True, scale=ColourScale(scale="log")))
    areas = drawn["data"][0]
    np.testing.assert_allclose(_array(areas["z"])[0][[0, 1, 3, 4]], [0, 1, 2, 3], atol=1e-6)
    assert (areas["contours"]["start"], areas["contours"]["end"], areas["contours"]["size"]) == (1, 2, 1)


def test_intervals_are_lengths_in_the_coordinates_of_the_axis() -> None:
    bars = ErrorBars([0, 1], [1.0, 10.0], [0.5, 10.0], [2.0, 30.0])
    error = _one(bars, y=Axis(scale="log"))["data"][0]["error_y"]
    assert _array(error["array"]).tolist() == [1.0, 20.0]
    assert _array(error["arrayminus"]).tolist() == [0.5, 0.0]
    error = _one(bars, y=Axis(scale="power", power=0.5))["data"][0]["error_y"]
    np.testing.assert_allclose(_array(error["array"]), np.sqrt([2, 30]) - np.sqrt([1, 10]))


def test_bands_break_at_gaps() -> None:
    band = _one(Band([0, 1, 2, 3], [0, 0, np.nan, 0], [1, 1, 1, 1]))["data"][0]
    assert np.isnan(_array(band["x"])).sum() == 2
    assert band["fill"] == "toself"


def test_long_curves_are_thinned_but_the_figure_is_not() -> None:
    line = Line(np.arange(50_000), np.sin(np.arange(50_000)))
    assert len(_array(_one(line)["data"][0]["x"])) <= 4000
    assert len(line.x) == 50_000


def test_fans_have_few_traces_and_a_gap_after_every_curve() -> None:
    y = np.arange(60)[:, None] * np.ones((1, 5))
    drawn = _one(Lines(np.arange(5), y, np.arange(60), names=[f"p{k}" for k in range(60)]))
    curves = [trace for trace in drawn["data"] if trace["mode"] == "lines"]
    assert len(curves) <= 24
    assert sum(np.isnan(_array(trace["y"])).sum() for trace in curves) == 60
    shown = _array(curves[0]["y"])
    for value, name in zip(shown, curves[0]["text"], strict=True):
        assert np.isnan(value) or name == f"p{value:.0f}"


def test_points_carry_their_keys_hover_and_categories() -> None:
    mark = Scatter([0, 1, 2], [0, 1, 2], categories=["a", "b", "a"], keys=["k0", "k1", "k2"], hover=["x", "y", "z"])
    first, second = _one(mark)["data"]
    assert (first["name"], first["customdata"], _array(first["x"]).tolist()) == ("a", ["k0", "k2"], [0, 2])
    assert "<b>b</b><br>y<br>x: 1<br>y: 1" in second["hovertext"][0]


def test_words_are_words_and_no_tags() -> None:
    drawn = _one(Line([0], [0], label="<img src=x>"), HLine(0, "a & b\nc"), title="<i>t</i>")
    assert drawn["data"][0]["name"] == "&lt;img src=x&gt;"
    texts = [annotation["text"] for annotation in drawn["layout"]["annotations"]]
    assert texts == ["<b>&lt;i&gt;t&lt;/i&gt;</b>", "a &amp; b<br>c"]


def test_bars_stand_beside_each_other_and_lie_from_the_top() -> None:
    names = ("a", "b")
    first, second = _one(Bars(names, [1, 2], label="p"), Bars(names, [3, 4], label="q"))["data"]
    np.testing.assert_allclose(_array(second["x"]) - _array(first["x"]), [0.4, 0.4])
    drawn = _one(Bars(names, [1, 2], horizontal=True))
    assert drawn["layout"]["yaxis"]["ticktext"] == ["a", "b"]
    low, high = drawn["layout"]["yaxis"]["range"]
    assert low > high  # the first name on top


def test_the_camera_looks_from_where_the_panel_says() -> None:
    mark = Surface3D([0, 1], [0, 1], [[0, 1], [2, 3]])
    camera = _one(mark, z=Axis("z"), view=(30.0, -60.0))["layout"]["scene"]["camera"]["eye"]
    eye = np.array([camera[k] for k in "xyz"])
    np.testing.assert_allclose(eye / np.linalg.norm(eye), [np.sqrt(3) / 4, -0.75, 0.5], atol=1e-12)


@pytest.mark.parametrize(
    ("corner", "x", "y"), [("upper centre", 0.5, 0.74), ("upper right", 0.77, 0.74), ("lower left", 0.27, 0.3)]
)
def test_insets_lie_where_they_should(corner: str, x: float, y: float) -> None:
    layout = _one(Line([0, 1], [1.0, 0.5]), inset=Inset((0, 0.5), corner=corner, size=(0.4, 0.4)))["layout"]
    middle = [np.mean(layout[f"{letter}axis2"]["domain"]) for letter in "xy"]
    np.testing.assert_allclose(middle, [x, y], atol=0.03)


def test_shared_axes_move_together() -> None:
    layout = to_json(CASES["shared_x"]())["layout"]
    assert layout["xaxis2"]["matches"] == "x"
    assert layout["xaxis"]["range"] == layout["xaxis2"]["range"]


def test_no_plotting_library_is_needed() -> None:
    code = (
        "import sys; from thalweg.figures import *; from thalweg.figures.plotly import to_json\n"
        "to_json(Figure('f', '', '', (Panel(Axis(), Axis(), (Line([0], [1]),)),)))\n"
        "print([m for m in ('torch', 'matplotlib', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", CASES)
def test_a_narrow_page_stacks_the_panels_and_keeps_the_data(name: str) -> None:
    import plotly.graph_objects as go

    figure = CASES[name]()
    wide, narrow = to_json(figure), to_json(figure, narrow=True)
    go.Figure({"data": narrow["data"], "layout": narrow["layout"]})
    assert narrow["data"] == wide["data"], "a page keeps the data when the window becomes narrow"
    places = [
        part["domain"]["x"] if key.startswith("scene") else part["domain"]
        for key, part in narrow["layout"].items()
        if key.startswith("scene") or (key.startswith("xaxis") and part["domain"][1] - part["domain"][0] > 0.5)
    ]
    assert len(places) == len(figure.panels)
    assert {place[0] for place in places} == {0.0}
    legend = narrow["layout"].get("legend")
    assert legend is None or legend["orientation"] == "h"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.1, 0.2, np.nan, np.inf], "f4"),
        ([0.0, 16_777_217.0], "f4"),
        ([1.0, 1.0 + 1e-9], "f8"),  # single precision would make them one
        ([1e9, 1e9 + 1], "f8"),
        ([0.0, 1e-40], "f8"),  # not a number of single precision at all
        ([0.1, 0.1], "f8"),
    ],
)
def test_numbers_are_half_as_long_where_nobody_can_see_it(values: list[float], kind: str) -> None:
    array = np.array(values)
    found = numbers(array)
    assert found["dtype"] == kind
    span = np.ptp(array[np.isfinite(array)])
    np.testing.assert_allclose(_array(found), array, rtol=0, atol=1e-6 * span)


def test_linear_rulers_write_no_letters_for_powers() -> None:
    flat = _one(Line([0.0, 5e4], [0.0, 1.6e-8]))["layout"]
    space = Panel(Axis("a"), Axis("b"), (Path3D([0, 1], [0, 5e4], [0, 1e-8]),), z=Axis("c"))
    scene = to_json(Figure("name", "Title", "", (space,)))["layout"]["scene"]
    for axis in (flat["xaxis"], flat["yaxis"], scene["xaxis"], scene["yaxis"], scene["zaxis"]):
        assert axis["exponentformat"] == "power"


def test_a_trace_without_points_has_one_nowhere() -> None:
    """Beside a colour bar plotly writes NaN into the axes of a panel whose only trace has no points at all."""
    traces = to_json(CASES["grid_of_three"]())["data"]
    assert (traces[-1]["x"], traces[-1]["y"]) == ([None], [None])
    assert all(trace["x"] != [None] for trace in traces[:-1])
