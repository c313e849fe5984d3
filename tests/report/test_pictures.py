"""What a figure weighs in the page: nothing is written twice, and what is left out cannot be seen."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thalweg.figures import Axis, ColourScale, Figure, Heatmap, Inset, Lines, Panel, Scatter, Surface3D
from thalweg.figures.matplotlib import render
from thalweg.figures.matplotlib.inlined import address, webp
from thalweg.figures.plotly import to_json
from thalweg.figures.plotly.single import interactive
from thalweg.report.pictures import films

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
    assert len(found) < 40_000
    content = base64.b64decode(found.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(png)) as first, Image.open(io.BytesIO(content)) as second:
        assert second.width == 960
        whole = first.convert("RGB").resize(second.size, Image.Resampling.LANCZOS)
        before, after = (np.asarray(one).astype(int) for one in (whole, second.convert("RGB")))
    assert np.abs(before - after).mean() < 2  # of 255


def test_a_wide_picture_is_made_narrower_and_a_plain_one_stays_a_drawing() -> None:
    panel = Panel(Axis("x"), Axis("y"), (Scatter(X, X),))
    png, _ = render(figure(panel, size=(12.0, 4.0)))
    with Image.open(io.BytesIO(png)) as first, Image.open(io.BytesIO(webp(png))) as second:
        assert first.width > second.width == 960
        assert second.height / second.width == pytest.approx(first.height / first.width, rel=1e-3)
    few = render(figure(Panel(Axis("x"), Axis("y"), (Scatter(X[::4], X[::4]),))))
    assert address(*few).startswith("data:image/svg+xml")


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


@pytest.mark.parametrize(("count", "shown"), [(30, 30), (61, 31), (62, 31)])
def test_a_film_loses_nothing_but_every_second_of_many_frames(count: int, shown: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    noise[::7] = 255
    frames = []
    for k in range(count):
        picture = noise.copy()
        picture[40:60, k : k + 20] = (200, 16, 46)
        frames.append(Image.fromarray(picture).quantize(64, dither=Image.Dither.NONE))
    path = tmp_path / "exports" / "film.gif"
    path.parent.mkdir()
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[90] * (count - 1) + [900], loop=0)
    (film,) = films(path.parent, tmp_path, ["Moving: exports/film.gif"])
    content = base64.b64decode(film.address.removeprefix("data:image/webp;base64,"))
    assert len(content) < path.stat().st_size
    with Image.open(path) as before, Image.open(io.BytesIO(content)) as after:
        assert after.n_frames == shown
        times = []
        for k in range(shown):
            after.seek(k)
            after.load()
            times.append(after.info["duration"])
        assert sum(times) == 90 * (count - 1) + 900
        before.seek(count - 1)
        np.testing.assert_array_equal(np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB")))
