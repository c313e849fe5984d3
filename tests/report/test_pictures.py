"""What a figure weighs in the page: nothing is written twice, and what is left out cannot be seen."""

from __future__ import annotations

import base64
import io
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from thalweg.figures import Axis, ColourScale, Figure, Heatmap, Inset, Lines, Panel, Scatter, Surface3D
from thalweg.figures.matplotlib import render
from thalweg.figures.plotly import to_json
from thalweg.report.pictures import interactive, svg_address

SCALE = ColourScale("loss")
X = np.linspace(-1, 1, 41)
Z = np.square(X)[:, None] + 0.3 * np.sin(3 * X)


def figure(panel: Panel, **options: object) -> Figure:
    return Figure("one", "One", "A figure.", (panel,), **options)  # type: ignore[arg-type] -- any of its fields


def rasters(svg: str) -> list[Image.Image]:
    """The pictures inside a picture."""
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", svg)
    return [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGBA") for one in found]


@pytest.mark.parametrize("kind", ["surface", "cells"])
def test_pictures_inside_a_picture_look_the_same(kind: str) -> None:
    mark = Surface3D(X, X, Z, scale=SCALE) if kind == "surface" else Heatmap(X, X, Z, scale=SCALE)
    axes = {"z": Axis("z")} if kind == "surface" else {}
    svg = render(figure(Panel(Axis("x"), Axis("y"), (mark,), **axes)))[1]
    address = svg_address(svg)
    before, after = rasters(svg.decode()), rasters(unquote(address.partition(",")[2]))
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        a, b = np.asarray(old).astype(int), np.asarray(new).astype(int)
        solid = a[..., 3] == 255
        assert np.abs(a - b)[solid].max() <= 24  # of 255, at the worst of all pixels
        assert np.abs(a - b)[solid].mean() < 2
        assert ((a[..., 3] == 0) == (b[..., 3] == 0)).all()
    if kind == "surface":
        assert len(address) < 0.7 * len(svg)


def test_a_second_layout_only_where_it_is_another() -> None:
    single = figure(Panel(Axis("x"), Axis("y"), (Scatter(X, X),)), size=(6.4, 3.2), legend="none")
    assert "narrow" not in interactive(single)
    several = Figure("two", "Two", "Side by side.", single.panels * 3, columns=3)
    assert interactive(several)["narrow"] == to_json(several, narrow=True)["layout"] != interactive(several)["layout"]


def test_points_without_words_carry_numbers_alone() -> None:
    y = np.sign(X) * 10.0 ** np.arange(41)
    (trace,) = to_json(
        figure(Panel(Axis("rank"), Axis("λ", scale="symlog", within=1e-9), (Scatter(X, y, label="λ"),)))
    )["data"]
    assert "hovertext" not in trace
    assert trace["hovertemplate"] == "<b>λ</b><br>rank: %{x:.5g}<br>λ: %{customdata[0]:.5g}<extra></extra>"
    told = to_json(figure(Panel(Axis("x"), Axis("y"), (Scatter(X, X, hover=tuple(map(str, X))),))))["data"][0]
    assert len(told["hovertext"]) == 41


def test_a_close_up_repeats_no_names() -> None:
    lines = Lines(X, np.stack([X, Z[0]]), names=("first", "second"))
    inset = Inset((-0.1, 0.1), title="near zero")
    data = to_json(figure(Panel(Axis("x"), Axis("y"), (lines,), inset=inset)))["data"]
    named = [trace for trace in data if "text" in trace]
    assert len(data) == 2
    assert len(named) == 1
    assert len(json.dumps(data[1])) < 0.8 * len(json.dumps(data[0]))
