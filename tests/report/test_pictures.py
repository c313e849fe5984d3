"""What a figure weighs in the page: nothing is written twice, and what is left out cannot be seen."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from thalweg.figures import Axis, ColourScale, Figure, Heatmap, Inset, Lines, Panel, Scatter, Surface3D
from thalweg.figures.matplotlib import render
from thalweg.figures.matplotlib.inlined import address, webp
from thalweg.figures.plotly import to_json
from thalweg.figures.plotly.single import interactive

SCALE = ColourScale("loss")
X = np.linspace(-1, 1, 41)
Z = np.square(X)[:, None] + 0.3 * np.sin(3 * X)


def figure(panel: Panel, **options: object) -> Figure:
    return Figure("one", "One", "A figure.", (panel,), **options)  # type: ignore[arg-type] -- any of its fields


@pytest.mark.parametrize("kind", ["surface", "cells"])
def test_a_picture_of_many_colours_is_one_of_pixels_that_looks_the_same(kind: str) -> None:
    mark = Surface3D(X, X, Z, scale=SCALE) if kind == "surface" else Heatmap(X, X, Z, scale=SCALE)
    axes = {"z": Axis("z")} if kind == "surface" else {}
    png, svg = render(figure(Panel(Axis("x"), Axis("y"), (mark,), **axes)))
    found = address(png, svg)
    assert len(found) < 70_000
    content = base64.b64decode(found.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(png)) as first, Image.open(io.BytesIO(content)) as second:
        assert second.size == first.size
        before, after = (np.asarray(one.convert("RGB")).astype(int) for one in (first, second))
    assert np.abs(before - after).mean() < 2  # of 255


def test_a_wide_picture_is_made_narrower_and_a_plain_one_stays_a_drawing() -> None:
    panel = Panel(Axis("x"), Axis("y"), (Scatter(X, X),))
    png, svg = render(figure(panel, size=(12.0, 4.0)))
    with Image.open(io.BytesIO(png)) as first, Image.open(io.BytesIO(webp(png))) as second:
        assert first.width > second.width == 1600
        assert second.height / second.width == pytest.approx(first.height / first.width, rel=1e-3)
    assert address(png, svg).startswith("data:image/svg+xml")


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
