"""Numbers that pictures are not made for: constant, missing, infinite, tiny and huge, in every mark on every scale.

Nothing raises or warns (the suite turns warnings into errors), every axis shows an interval of finite numbers, what is
not finite is grey or a gap in both renderers, and the notes count it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.figures import (
    Arrows,
    Axis,
    Band,
    Bars,
    ColourScale,
    Contour,
    ErrorBars,
    Figure,
    Heatmap,
    Histogram,
    HLine,
    Inset,
    Line,
    Lines,
    Panel,
    Path3D,
    Scatter,
    Scatter3D,
    Span,
    Surface3D,
    Text,
    VLine,
)
from thalweg.figures.matplotlib import render
from thalweg.figures.matplotlib.page import composed
from thalweg.figures.matplotlib.style import RC
from thalweg.figures.palette import EMPTY, colours_of
from thalweg.figures.plotly import to_json
from thalweg.figures.reading import notes
from thalweg.figures.rulers import ticks

nan, inf = np.nan, np.inf
X = np.linspace(-1, 1, 9)
DATA = {
    "constant": np.full(9, 0.6931472),
    "zero": np.zeros(9),
    "nan": np.full(9, nan),
    "infinite": np.full(9, -inf),
    "subnormal": np.linspace(1, 9, 9) * 5e-324,
    "tiny": np.linspace(1, 9, 9) * 1e-300,
    "huge": np.linspace(1, 9, 9) * 1e300,
    "hugest": np.linspace(-1, 1, 9) * 1.79e308,
    "mixed": np.array([1, inf, 2, -inf, nan, 3, -1, 0, 5.0]),
    "negative": -np.linspace(1, 9, 9),
    "wide": np.geomspace(1e-300, 1e300, 9),
    "rounding": 1 + np.arange(9) * np.finfo(float).eps,
    "offset": 1e9 + np.arange(9) * 1e-3,
    "single": np.array([nan, nan, nan, nan, 2.0, nan, nan, nan, nan]),
    "whole": np.array([0, 0, 1, 0, 0, 0, 1, 1, 0]),
}
SCALES: dict[str, dict[str, Any]] = {
    "linear": {},
    "log": {"scale": "log"},
    "symlog": {"scale": "symlog", "within": 1e-3},
    "power": {"scale": "power"},
}
Values = np.ndarray
Scaled = dict[str, Any]


def along_y(make: Callable[[Values], Any]) -> Callable[[Values, Scaled], Panel]:
    return lambda v, scale: Panel(Axis("x"), Axis("y", **scale), (make(v),))


def along_x(make: Callable[[Values], Any]) -> Callable[[Values, Scaled], Panel]:
    return lambda v, scale: Panel(Axis("x", **scale), Axis("y"), (make(v),))


def coloured(make: Callable[[Values, ColourScale], Any]) -> Callable[[Values, Scaled], Panel]:
    return lambda v, scale: Panel(Axis("x"), Axis("y"), (make(v, ColourScale("value", **scale)),))


def in_space(make: Callable[[Values, ColourScale], Any]) -> Callable[[Values, Scaled], Panel]:
    return lambda v, scale: Panel(Axis("x"), Axis("y"), (make(v, ColourScale("value", **scale)),), z=Axis("z", **scale))


WORDS = tuple("abcabcabc")
MARKS: dict[str, Callable[[Values, Scaled], Panel]] = {
    "line": along_y(lambda v: Line(X, v, label="line", symbol="circle")),
    "steps": along_y(lambda v: Line(X, v, steps=True)),
    "lines": along_y(lambda v: Lines(X, np.stack([v, v]), [0.0, 1.0])),
    "lines by value": coloured(lambda v, s: Lines([0, 1], np.arange(18.0).reshape(9, 2), v, scale=s)),
    "band": along_y(lambda v: Band(X, v, v)),
    "scatter": along_y(lambda v: Scatter(X, v, joined=True, texts=WORDS, categories=WORDS)),
    "scatter by value": coloured(lambda v, s: Scatter(X, X, values=v, scale=s)),
    "error bars": along_y(lambda v: ErrorBars(X, v, v, v, v, v, symbol="circle", joined=True)),
    "histogram": along_y(lambda v: Histogram(np.linspace(-1, 1, 10), v)),
    "edges": along_x(lambda v: Histogram(np.append(v, v[-1]), np.ones(9))),
    "bars": along_y(lambda v: Bars(list("abcdefghi"), v, v, v)),
    "bars across": along_x(lambda v: Bars(list("abcdefghi"), v, horizontal=True)),
    "heat": coloured(lambda v, s: Heatmap(X[:3], X[:3], v.reshape(3, 3), scale=s, texts=[WORDS[:3]] * 3)),
    "heat, one row": coloured(lambda v, s: Heatmap(X, [0.0], v[None], scale=s)),
    "heat, one cell": coloured(lambda v, s: Heatmap([0.0], [0.0], v[4:5, None], scale=s)),
    "heat, places": along_x(lambda v: Heatmap(v, [0.0, 1.0], np.ones((2, 9)))),
    "levels": coloured(lambda v, s: Contour(X[:3], X[:3], v.reshape(3, 3), scale=s)),
    "levels of one colour": coloured(lambda v, s: Contour(X[:3], X[:3], v.reshape(3, 3), scale=s, colour="ink")),
    "given levels": coloured(lambda v, s: Contour(X[:3], X[:3], v.reshape(3, 3), [0.0, 1, 9], scale=s, filled=True)),
    "filled": coloured(lambda v, s: Contour(X[:3], X[:3], v.reshape(3, 3), scale=s, filled=True)),
    "filled, one row": coloured(lambda v, s: Contour(X, [0.0], v[None], scale=s, filled=True)),
    "levels, one column": coloured(lambda v, s: Contour([0.0], X, v[:, None], scale=s)),
    "arrows": along_y(lambda v: Arrows(X, v, X + 1, v)),
    "level": along_y(lambda v: HLine(float(v[4]), "text")),
    "position": along_x(lambda v: VLine(float(v[4]), "text")),
    "span": along_y(lambda v: Span(float(v[0]), float(v[4]), along="y", text="text")),
    "span across": along_x(lambda v: Span(float(v[0]), float(v[4]), text="text")),
    "text": along_y(lambda v: Text(0.0, float(v[4]), "text")),
    "surface": in_space(lambda v, s: Surface3D(X[:3], X[:3], v.reshape(3, 3), scale=s, floor=True)),
    "surface by value": in_space(
        lambda v, s: Surface3D(X[:3], X[:3], X.reshape(3, 3) + 2, v.reshape(3, 3), scale=s, floor=True)
    ),
    "surface, one row": in_space(lambda v, s: Surface3D(X, [0.0], v[None], scale=s, floor=True)),
    "surface, one cell": in_space(lambda v, s: Surface3D([0.0], [0.0], v[None, 4:5], scale=s, floor=True)),
    "path": in_space(lambda v, s: Path3D(X, X, v, v, scale=s, symbol="circle")),
    "points in space": in_space(lambda v, s: Scatter3D(X, X, v, values=v, scale=s, texts=WORDS)),
    "close-up": lambda v, s: Panel(Axis("x"), Axis("y", **s), (Line(X, v),), inset=Inset((-0.2, 0.2))),
    "two axes": lambda v, s: Panel(
        Axis("x"), Axis("y", **s), (Line(X, v), Line(X, v, side="right")), right=Axis("right", **s)
    ),
}
EMPTY_MARKS = (
    Line([], []),
    Lines(X, np.zeros((0, 9)), [], scale=ColourScale()),
    Band([], [], []),
    Scatter([], [], values=[]),
    ErrorBars([], [], [], []),
    Histogram([0.0], []),
    Bars([], []),
    Arrows([], [], [], []),
)


def figure(*panels: Panel, name: str = "f") -> Figure:
    return Figure(name, "", "", panels)


def array(data: Any) -> np.ndarray:
    """What plotly.js reads."""
    if not isinstance(data, dict):
        return np.array(data, dtype=float)
    flat = np.frombuffer(base64.b64decode(data["bdata"]), dtype=f"<{data['dtype']}")
    return flat.reshape([int(n) for n in data["shape"].split(",")]) if "shape" in data else flat


def rulers(layout: dict[str, Any]) -> list[dict[str, Any]]:
    found = [axis for key, axis in layout.items() if key[1:].startswith("axis")]
    return found + [s[f"{n}axis"] for key, s in layout.items() if key.startswith("scene") for n in "xyz"]


@pytest.mark.parametrize("mark", MARKS)
def test_the_browser_draws_all_numbers_on_all_scales(mark: str) -> None:
    for values in DATA.values():
        for scale in SCALES.values():
            drawn = to_json(figure(MARKS[mark](values, scale)))
            json.dumps(drawn, allow_nan=False)
            for ruler in rulers(drawn["layout"]):
                assert np.isfinite(ruler["range"]).all()
                assert ruler["range"][0] != ruler["range"][1]
                assert np.isfinite(ruler.get("tickvals", [])).all()
            for key, colours in drawn["layout"].items():
                if key.startswith("coloraxis"):
                    assert -inf < colours["cmin"] < colours["cmax"] < inf
            assert notes(figure(MARKS[mark](values, scale))) is not None


def drawn_on_paper(mark: str, data: str, scale: str) -> None:
    panel = MARKS[mark](DATA[data], SCALES[scale])
    with mpl.rc_context({**RC, "figure.dpi": 30}):
        page = composed(Figure("f", "", "", (panel,), size=(3.2, 2.4)))
        page.canvas.draw()
    for axes in page.axes:
        for name in ("x", "y", "z") if hasattr(axes, "zaxis") else ("x", "y"):
            low, high = getattr(axes, f"get_{name}lim")()
            assert np.isfinite([low, high]).all(), (mark, data, scale)
            assert low != high, (mark, data, scale)


@pytest.mark.parametrize("number", range(len(MARKS)))
def test_paper_draws_all_numbers(number: int) -> None:
    """Every mark with one kind of number, another for each; the whole product is the test below."""
    data, scale = list(DATA)[number % len(DATA)], list(SCALES)[number % len(SCALES)]
    drawn_on_paper(list(MARKS)[number], data, scale)


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("mark", MARKS)
def test_paper_draws_all_numbers_on_all_scales(mark: str, data: str) -> None:
    for scale in SCALES:
        drawn_on_paper(mark, data, scale)


@pytest.mark.parametrize("mark", EMPTY_MARKS, ids=lambda mark: type(mark).__name__)
def test_marks_without_points_leave_a_panel_that_says_so(mark: Any) -> None:
    nothing = figure(Panel(Axis("x"), Axis("y", scale="log"), (mark,)))
    said = str(to_json(nothing)["layout"]["annotations"])
    assert "no values" in said or ("no finite values" in said and isinstance(mark, Lines | Histogram))
    with mpl.rc_context({**RC, "figure.dpi": 30}):
        composed(nothing).canvas.draw()


def pixel(drawn: Figure, x: float, y: float) -> np.ndarray:
    """The colour at a share of the only panel."""
    with mpl.rc_context({**RC, "figure.dpi": 60}):
        page = composed(drawn)
        file = io.BytesIO()
        page.savefig(file, format="png", dpi=60)
        box = page.axes[0].get_position()
    image = plt.imread(io.BytesIO(file.getvalue()))
    row = int(image.shape[0] * (1 - box.y0 - y * box.height))
    return image[row, int(image.shape[1] * (box.x0 + x * box.width)), :3]


GREY = np.array([int(EMPTY[i : i + 2], 16) / 255 for i in (1, 3, 5)])
SIDE = np.linspace(-1, 1, 21)
BOWL = SIDE[None] ** 2 + SIDE[:, None] ** 2 + 0.1


@pytest.mark.parametrize(("beyond", "scale"), [(nan, "linear"), (inf, "log"), (-inf, "symlog"), (inf, "power")])
@pytest.mark.parametrize("kind", [Heatmap, Contour])
def test_what_is_not_finite_is_grey_on_paper(kind: type, scale: str, beyond: float) -> None:
    more = {"filled": True} if kind is Contour else {}
    z = np.where(SIDE[None] > 0.3, beyond, BOWL)
    mark = kind(SIDE, SIDE, z, scale=ColourScale("loss", **SCALES[scale]), **more)
    drawn = figure(Panel(Axis("a"), Axis("b"), (mark,)))
    np.testing.assert_allclose(pixel(drawn, 0.86, 0.43), GREY, atol=0.02)
    assert np.ptp(pixel(drawn, 0.23, 0.43)) > 0.1, "the bowl has a colour"
    said = notes(drawn)[0]
    assert said.startswith(f"Not drawn: {int((~np.isfinite(z)).sum())} values NaN or infinite")


@pytest.mark.parametrize("beyond", [nan, inf, -inf])
def test_what_is_not_finite_is_grey_in_the_browser(beyond: float) -> None:
    scale, values = ColourScale("loss", scale="log"), np.array([0.1, beyond, 10.0, 1.0])
    square = values.reshape(2, 2)
    heat, filled, points, lines = (
        to_json(figure(Panel(Axis("a"), Axis("b"), (mark,))))["data"]
        for mark in (
            Heatmap([0, 1], [0, 1], square, scale=scale),
            Contour([0, 1], [0, 1], square, scale=scale, filled=True),
            Scatter(range(4), range(4), values=values, scale=scale),
            Lines([0, 1], np.zeros((4, 2)), values, scale=scale),
        )
    )
    for trace in (heat[0], filled[0]):
        assert np.isnan(array(trace["z"])).sum() == 1
    assert [array(trace["x"]).tolist() for trace in points if trace["marker"]["color"] == EMPTY] == [[1.0]]
    assert [trace["line"]["color"] for trace in lines if trace["mode"] == "lines"].count(EMPTY) == 1
    surface, path = (
        to_json(figure(Panel(Axis("a"), Axis("b"), (mark,), z=Axis("c"))))["data"]
        for mark in (
            Surface3D([0, 1], [0, 1], np.ones((2, 2)), square, scale=scale),
            Path3D(range(4), range(4), range(4), values, scale=scale),
        )
    )
    assert surface[1]["colorscale"] == [[0, EMPTY], [1, EMPTY]]
    assert [colour == EMPTY for colour in path[0]["line"]["color"]] == [False, True, False, False]
    assert path[1]["marker"]["coloraxis"] == "coloraxis", "the colour bar stays"


@pytest.mark.parametrize("beyond", [nan, inf, -inf])
def test_surfaces_and_curves_have_holes(beyond: float) -> None:
    z = np.where(SIDE[None] > 0.3, beyond, BOWL)
    surface = to_json(figure(Panel(Axis("a"), Axis("b"), (Surface3D(SIDE, SIDE, z),), z=Axis("c"))))["data"][0]
    assert np.isnan(array(surface["z"])).sum() == (~np.isfinite(z)).sum()
    with mpl.rc_context(RC):
        page = composed(figure(Panel(Axis("x"), Axis("y"), (Line([0, 1, 2], [1.0, beyond, 3.0]),))))
        gaps = np.isnan(page.axes[0].lines[0].get_ydata())
    assert gaps.tolist() == [False, True, False]


def test_a_log_axis_leaves_gaps_where_there_is_no_logarithm() -> None:
    drawn = figure(Panel(Axis("x"), Axis("y", scale="log"), (Line([0, 1, 2, 3], [1.0, 0.0, -2.0, 3.0]),)))
    with mpl.rc_context(RC):
        found = composed(drawn).axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(found, [1.0, nan, nan, 3.0])
    assert notes(drawn) == ('Not drawn: 2 values ≤ 0 on the log axis "y".',)


@pytest.mark.parametrize("value", [0.6931472, 1.0, -3.25, 0.0, 1e300, 5e-324, 12345.0])
def test_a_constant_has_a_tick_with_its_value(value: float) -> None:
    expected = {5e-324: "4.94066×10⁻³²⁴", 0.6931472: "0.693147", -3.25: "−3.25", 1e300: "10³⁰⁰", 12345.0: "12,345"}
    word = expected.get(value, f"{value:g}")
    flat = np.full((9, 9), value)
    line = Panel(Axis("x"), Axis("y"), (Line(X, flat[0]),))
    field = Panel(Axis("x"), Axis("y"), (Heatmap(X, X, flat, scale=ColourScale("value")),))
    layouts = [to_json(figure(panel))["layout"] for panel in (line, field)]
    for ruler in (layouts[0]["yaxis"], layouts[1]["coloraxis"]["colorbar"]):
        assert dict(zip(ruler["ticktext"], ruler["tickvals"], strict=True))[word] == pytest.approx(value)
    with mpl.rc_context(RC):
        axes, _, bar = composed(figure(line, field)).axes
    assert word in [text.get_text() for text in axes.get_yticklabels()]
    assert word in [text.get_text() for text in bar.get_yticklabels()]


@pytest.mark.parametrize(("low", "high"), [(1e9, 1e9 + 1), (1.0, 1.0 + 1e-9), (1000.0, 1001.0), (-5e-9, 7e-9)])
def test_the_words_of_ticks_tell_them_apart(low: float, high: float) -> None:
    places, said = ticks(Axis(), low, high)
    assert len(set(said)) == len(said) >= 3
    digits = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789", ",")
    read = [word.replace("×10", "e").replace("10⁻", "1e⁻").replace("10⁹", "1e⁹").translate(digits) for word in said]
    np.testing.assert_allclose([float(word) for word in read], places, atol=0.03 * (places[1] - places[0]), rtol=0)


def test_a_colour_bar_without_numbers_has_no_ticks() -> None:
    panel = Panel(Axis("x"), Axis("y"), (Heatmap(X, X, np.full((9, 9), nan), scale=ColourScale("value")),))
    layout = to_json(figure(panel))["layout"]
    assert layout["coloraxis"]["colorbar"]["tickvals"] == []
    assert "no finite values" in str(layout["annotations"])


def test_the_colour_bar_points_to_values_beyond_it_and_not_to_infinity() -> None:
    scale = ColourScale("value", limits=(0.0, 1.0))
    z = np.array([[0.5, 2.0, inf]])
    with_wall, without = (
        colours_of(figure(Panel(Axis(), Axis(), (Heatmap([0, 1, 2], [0], field, scale=scale),))))
        for field in (z, np.where(z == 2, 1.0, z))
    )
    assert with_wall.beyond(scale) == (False, True)
    assert without.beyond(scale) == (False, False)


def test_every_number_is_counted_once() -> None:
    """One NaN centre is one value, although an interval along x and one along y belong to it."""
    bars = ErrorBars([0, 1, nan], [1, nan, 3], [0, 0, 0], [2, inf, 4], [0, 0, 0], [1, 1, 1])
    panel = Panel(Axis("x"), Axis("y"), (bars, Bars(["a", "b"], [nan, 1.0]), Histogram([0, 1, 2], [inf, 0])))
    assert notes(figure(panel)) == ("Not drawn: 5 values NaN or infinite.",)
    log = Panel(Axis("x"), Axis("y", scale="log"), (Band([0, 1], [0.0, -inf], [1.0, 2.0]),))
    assert notes(figure(log)) == ('Not drawn: 1 value NaN or infinite; 1 value ≤ 0 on the log axis "y".',)
    heat = Heatmap([0, 1], [0], [[0.0, 1.0]], scale=ColourScale("loss", scale="log"))
    assert notes(figure(Panel(Axis(), Axis(), (heat,)))) == ('Not drawn: 1 value ≤ 0 on the log colour scale "loss".',)


def test_differences_that_a_picture_cannot_show_are_said() -> None:
    line, heat = Line(X, DATA["rounding"]), Heatmap(X, [0], DATA["subnormal"][None], scale=ColourScale("loss"))
    assert notes(figure(Panel(Axis("x"), Axis("y"), (line,)))) == (
        'The values of the axis "y" differ by less than 10⁻¹² of their size and are drawn as one.',
    )
    assert "too small for an axis and are drawn as one" in notes(figure(Panel(Axis("x"), Axis("y"), (heat,))))[0]
    assert notes(figure(Panel(Axis("x"), Axis("y"), (Line(X, 1 + 1e-9 * X),)))) == ()


def test_cells_on_a_log_axis_lie_around_their_centres() -> None:
    panel = Panel(Axis("x", scale="log"), Axis("y"), (Heatmap([1e-3, 1e-1, 10.0], [0.0], [[1.0, 2, 3]]),))
    with mpl.rc_context(RC):
        assert composed(figure(panel)).axes[0].get_xlim() == pytest.approx((1e-4, 100.0))


def test_words_beyond_the_frame_do_not_push_it_aside() -> None:
    axis, line = Axis("x", limits=(0.0, 1.0)), Line([0, 1], [0.0, 1.0])
    guides = (VLine(900.0, "far"), HLine(-900.0, "far"), Span(-900.0, 0.5, text="near"), Span(2.0, 900.0, text="far"))
    with mpl.rc_context(RC):
        plain, full = (
            composed(figure(Panel(axis, Axis("y", limits=(0.0, 1.0)), (line, *more)))).axes[0] for more in ((), guides)
        )
    assert full.get_position().bounds == pytest.approx(plain.get_position().bounds, abs=1e-3)
    assert [text.get_text() for text in full.texts] == ["near"]


@pytest.mark.parametrize("kind", [Heatmap, Surface3D, Contour])
def test_a_field_without_cells_is_refused(kind: type) -> None:
    with pytest.raises(InputError, match=rf"{kind.__name__}.z must hold at least one cell, found shape \[0, 2\]"):
        kind([0, 1], [], np.zeros((0, 2)))


@pytest.mark.parametrize("name", ["none", "true"])
def test_a_figure_may_have_any_name(name: str) -> None:
    """Matplotlib reads the word none, in settings, as something else, and warns."""
    assert all(render(figure(Panel(Axis("x"), Axis("y"), (Line([0], [1]),)), name=name), dpi=30))
