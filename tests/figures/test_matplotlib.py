"""Figures on paper: every case is drawn, the files hold what they should, places and colours are right."""

from __future__ import annotations

import io
import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.figures.cases import CASES
from thalweg.figures import Axis, Band, ColourScale, Figure, Heatmap, Line, Panel, Scatter, Surface3D, Text
from thalweg.figures.matplotlib import render, save
from thalweg.runs import WriteError

DPI = 60


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def _words(svg: bytes) -> str:
    return " ".join("".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_drawn(name: str) -> None:
    figure = CASES[name]()
    png, svg = render(figure, dpi=DPI)
    pixels = _pixels(png)
    rows, columns = figure.grid
    width, height = figure.inches
    assert pixels.shape[0] >= round(rows * height * DPI)
    assert pixels.shape[1] >= round(columns * width * DPI)
    assert (pixels.min(axis=-1) < 200).mean() > 0.005  # more than an empty frame
    said = _words(svg)
    for panel in figure.panels:
        for words in (
            panel.title,
            panel.x.title,
            panel.right.title if panel.right else "",
            panel.z.title if panel.z else "",
        ):
            assert " ".join(words.split()[:3]) in said
        for scale in panel.colour_scales():
            assert scale.title in said
        if figure.legend != "none":
            assert all(mark.label in said for mark in panel.marks)
    assert figure.title.split()[0] in said


@pytest.mark.parametrize("name", ["contour", "trajectory_3d"])
def test_the_same_figure_gives_the_same_bytes(name: str) -> None:
    assert render(CASES[name](), dpi=DPI) == render(CASES[name](), dpi=DPI)


def test_words_stay_words_and_nothing_is_fetched() -> None:
    _, svg = render(CASES["contour"](), dpi=DPI)
    assert re.search(r"\bstart\b.*\bend\b", _words(svg))  # labels with a halo, which matplotlib would outline
    assert not re.search(rb'(href|src)="http', svg)


def test_dollars_and_angles_are_plain_words() -> None:
    panel = Panel(Axis("cost $a$ < $b_1$ & more"), Axis("y"), (Line([0, 1], [0, 1], label="_hidden <b>"),))
    said = _words(render(Figure("f", "T $x$", "", (panel,)), dpi=DPI)[1])
    assert "cost $a$ < $b_1$ & more" in said
    assert "_hidden <b>" in said


def test_a_field_lies_as_its_coordinates_say() -> None:
    z = np.zeros((3, 4))
    z[0, 3] = 1.0  # lowest y, highest x
    panel = Panel(Axis(), Axis(), (Heatmap(range(4), range(3), z, scale=ColourScale(bar=False)),))
    pixels = _pixels(render(Figure("f", "", "", (panel,)), dpi=DPI)[0])
    row, column = np.argwhere(np.abs(pixels - [253, 231, 37]).sum(axis=-1) < 12).mean(axis=0) / pixels.shape[:2]
    assert row > 0.6
    assert column > 0.7


def test_a_point_lies_where_both_axes_say() -> None:
    x, y = Axis(scale="log", limits=(1, 1e4)), Axis(scale="symlog", within=1e-3, limits=(-1, 1))
    panel = Panel(x, y, (Scatter([1e1, 1e2, 1e3], [-0.5, 0.0, 0.5], colour="accent", size=12.0),))
    pixels = _pixels(render(Figure("f", "", "", (panel,)), dpi=DPI)[0])
    red = np.argwhere(np.abs(pixels - [200, 16, 46]).sum(axis=-1) < 20)
    columns = [red[(red[:, 1] > low) & (red[:, 1] <= high)] for low, high in _thirds(red[:, 1])]
    (y0, x0), (y1, x1), (y2, x2) = (part.mean(axis=0) for part in columns)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=1.5)  # decades are equally long
    assert y0 - y1 == pytest.approx(y1 - y2, abs=1.5)  # and the signed axis is symmetrical
    assert y0 > y1 > y2


def _thirds(values: np.ndarray) -> list[tuple[float, float]]:
    return list(itertools.pairwise(np.linspace(values.min() - 1, values.max() + 1, 4)))


def test_missing_values_do_not_stop_anything() -> None:
    nan = np.nan
    flat = Panel(Axis(), Axis(scale="log"), (Line([0, 1, 2], [nan, -1, 0]), Band([0, 1], [nan, 0], [1, nan])))
    field = Panel(Axis(), Axis(), (Heatmap([0, 1], [0, 1], [[nan, np.inf], [-np.inf, nan]]), Text(0, 0, "nothing")))
    space = Panel(Axis(), Axis(), (Surface3D([0, 1], [0, 1], np.full((2, 2), nan)),), z=Axis())
    _, svg = render(Figure("f", "Missing", "", (flat, field, space)), dpi=DPI)
    assert "no finite values" in _words(svg)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    figure = CASES["intervals"]()
    png, svg = save(figure, tmp_path / "deep" / figure.name, dpi=DPI)
    assert (png.name, svg.name) == ("intervals.png", "intervals.svg")
    assert sorted(path.name for path in png.parent.iterdir()) == ["intervals.png", "intervals.svg"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot write"):
        save(figure, tmp_path / "file" / figure.name, dpi=DPI)


def test_labels_avoid_each_other() -> None:
    from matplotlib.transforms import Bbox

    from thalweg.figures.matplotlib.page import composed

    x = np.array([0.0, 0.1, 0.2, 0.3])
    mark = Scatter(x, np.zeros(4), texts=[f"point {k}" for k in range(4)])
    page = composed(Figure("f", "", "", (Panel(Axis(limits=(-1, 3)), Axis(limits=(-5, 5)), (mark,)),)))
    axes = page.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 4
    assert np.diff(axes.transData.transform(np.c_[x, x]))[0, 0] < boxes[0].width  # all at one side would overlap
    assert not any(Bbox.intersection(a, b) for a, b in itertools.combinations(boxes, 2))
