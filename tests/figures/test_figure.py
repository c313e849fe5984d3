"""Marks, panels and figures refuse what contradicts itself, in one sentence."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.figures import (
    Axis,
    Bars,
    ColourScale,
    Contour,
    ErrorBars,
    Figure,
    Heatmap,
    Histogram,
    Inset,
    Line,
    Lines,
    Panel,
    Scatter,
    Scatter3D,
    Surface3D,
    Text,
)

X, Y = Axis("x"), Axis("y")
LINE = Line([0, 1], [0, 1])
PANEL = Panel(X, Y, (LINE,))

BAD = {
    "lengths": (lambda: Line([0, 1], [1]), r"Line.y must have as many entries as x \(2\), found 1"),
    "style": (lambda: Line([0], [1], style="dahsed"), "did you mean 'dashed'"),
    "colour": (lambda: Line([0], [1], colour="red"), "Line.colour must be a palette slot"),
    "opacity": (lambda: Line([0], [1], opacity=0), r"Line.opacity must be in \(0, 1\], found 0"),
    "two colours": (lambda: Scatter([0], [1], [1.0], categories=["a"]), "cannot be given together with categories"),
    "fan": (lambda: Lines([0, 1], [[1, 2, 3]]), r"Lines.y must have shape \[K, len\(x\) = 2\], found \[1, 3\]"),
    "half an interval": (lambda: ErrorBars([0], [1], low=[0]), "ErrorBars.low and high must be given together"),
    "no interval": (lambda: ErrorBars([0], [1]), "or left and right, must be given"),
    "edges": (lambda: Histogram([0, 1], [1, 2]), r"must be one more than heights \(2\), found 2"),
    "bars": (lambda: Bars(["a", "b"], [1]), r"Bars.values must have as many entries as names \(2\), found 1"),
    "field": (lambda: Heatmap([0, 1], [0], [[1], [2]]), r"\[len\(y\), len\(x\)\] = \[1, 2\], found \[2, 1\]"),
    "cells": (lambda: Heatmap([0], [0], [[1]], texts=[["a", "b"]]), "must be 1 rows of 1 words"),
    "no cell": (lambda: Contour([], [0], np.zeros((1, 0))), r"Contour.z must hold at least one cell, found .*\[1, 0\]"),
    "levels": (lambda: Contour([0, 1], [0, 1], [[1, 2], [3, 4]], [2, 1]), "Contour.levels must be ascending"),
    "surface": (lambda: Surface3D([0], [0], [[1]], [[1, 2]]), r"must have z's shape \[1, 1\], found \[1, 2\]"),
    "anchor": (lambda: Text(0, 0, "a", anchor="center"), "did you mean 'centre'"),
    "scale": (lambda: Axis(scale="ln"), "Axis.scale must be one of linear, log, symlog, power, found 'ln'"),
    "symlog": (lambda: Axis(scale="symlog"), "Axis.within must be a positive number for a symlog scale, found None"),
    "limits": (lambda: Axis(limits=(1, 0)), "Axis.limits must ascend"),
    "log limits": (lambda: Axis(scale="log", limits=(0, 1)), "must be positive on a log scale"),
    "palette": (lambda: ColourScale(palette="jet"), "must be one of viridis, cividis, diverging, found 'jet'"),
    "diverging": (lambda: ColourScale(scale="log", palette="diverging"), "cannot be diverging on a log scale"),
    "inset": (lambda: Inset((0, 1), corner="top"), "Inset.corner must be one of"),
    "mixed": (lambda: Panel(X, Y, (LINE, Scatter3D([0], [0], [0])), z=X), "cannot mix spatial and flat marks"),
    "no z": (lambda: Panel(X, Y, (Scatter3D([0], [0], [0]),)), "Panel.z must be given for spatial marks"),
    "no right": (lambda: Panel(X, Y, (LINE.replace(side="right"),)), "Panel.right must be an axis"),
    "bars both ways": (
        lambda: Panel(X, Y, (Bars(["a"], [1]), Bars(["a"], [1], horizontal=True))),
        "cannot mix horizontal and vertical bars",
    ),
    "no mark": (lambda: Panel(X, Y, ("line",)), "Panel.marks must hold marks, found str"),
    "name": (lambda: Figure("My Figure", "", "", (PANEL,)), "lower-case letters, digits and single hyphens"),
    "empty": (lambda: Figure("f", "", "", ()), "must hold at least one panel, found none"),
    "legend": (lambda: Figure("f", "", "", (PANEL,), legend="left"), "must be auto, figure, panel or none"),
    "size": (lambda: Figure("f", "", "", (PANEL,), size=(0, 4)), "between 0.5 and 30 inches"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("count", "arguments", "grid"),
    [
        (1, {}, (1, 1)),
        (3, {}, (2, 2)),
        (2, {"share_x": True}, (2, 1)),
        (5, {"columns": 3}, (2, 3)),
        (1, {"columns": 4}, (1, 1)),
    ],
)
def test_grid(count: int, arguments: dict, grid: tuple[int, int]) -> None:
    assert Figure("f", "", "", (PANEL,) * count, **arguments).grid == grid


def test_titles_say_unit_and_scale() -> None:
    assert Axis("loss", "nats", "log").title == "loss (nats, log scale)"
    assert Axis("λ", scale="symlog", within=1e-6).title == "λ (symlog scale, linear within ±10⁻⁶)"
    assert ColourScale("loss", scale="power", power=0.3).title == "loss (power scale, exponent 0.3)"
    assert Axis("epoch").title == "epoch"


def test_data_need_no_plotting_library_and_no_torch() -> None:
    code = "import sys, thalweg.figures; print([m for m in ('torch', 'matplotlib', 'plotly') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shaded_names_what_is_coloured() -> None:
    z = np.ones((2, 2))
    assert Contour([0, 1], [0, 1], z, colour="ink").shaded is None
    assert Contour([0, 1], [0, 1], z).shaded is not None
    panel = Panel(X, Y, (Heatmap([0, 1], [0, 1], z), Scatter([0], [0], [1.0], scale=ColourScale("loss"))))
    assert panel.colour_scales() == (ColourScale(), ColourScale("loss"))
