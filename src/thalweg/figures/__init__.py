"""Figures as data: what is drawn, without saying how.

Experiments return :class:`Figure` objects; they hold numpy arrays and words only, reload from JSON equal to what was
saved, and import neither torch nor a plotting library until they are drawn:

- ``figure.show()`` opens it, and a notebook shows it as the last line of a cell;
- ``figure.save("loss.png")``, ``.svg``, ``.pdf``, ``.html`` (interactive) or ``.json`` (for ``Figure.load``);
- ``figure.matplotlib()`` and ``figure.plotly()`` are the native objects, for changes of your own.

A figure is a grid of panels, a panel is axes and marks:

>>> import numpy as np
>>> from thalweg.figures import Axis, Band, Figure, Line, Panel, VLine
>>> epochs, losses = np.arange(100), np.geomspace(1.0, 1e-3, 100) * np.array([[0.8], [1.0], [1.2]])
>>> panel = Panel(
...     x=Axis("epoch"),
...     y=Axis("training loss", scale="log"),
...     marks=(
...         Band(epochs, losses.min(axis=0), losses.max(axis=0), group="deep"),  # coloured as its line, no legend entry
...         Line(epochs, np.median(losses, axis=0), label="deep"),
...         VLine(50, "learning rate ÷ 10"),
...     ),
... )
>>> figure = Figure("training-loss", "Training loss", "Median and range over 3 seeds.", (panel,))
>>> Figure.from_json(figure.to_json()) == figure
True

Recipes:

*Two quantities in one frame*: ``Panel(x, y, marks, right=Axis("accuracy"))`` and ``Line(..., side="right")``.

*Two frames, one x axis*: ``Figure(..., panels=(loss, gradient), share_x=True)``.

*Points by run or by loss*: ``Scatter(x, y, categories=runs)``, or ``Scatter(x, y, values=loss, scale=colours)`` with
``colours = ColourScale("loss", scale="log")``; ``texts=`` writes beside points (leave most empty), ``hover=`` under the
cursor, ``markers=`` gives symbols by a second category, ``keys=`` opens a ``Detail`` on a click.

*A surface with the path on it*: ``Heatmap(x, y, z, scale=colours)`` or ``Contour(..., filled=True)``,
then ``Line`` and ``Scatter`` above; in 3-D ``Surface3D`` and ``Path3D`` in a panel with ``z=Axis("loss")``.

*A fan of curves with a close-up*: ``Lines(offsets, losses, values=index)`` and ``inset=Inset(x=(-0.1, 0.1))``.

*Intervals*: ``ErrorBars(x, y, low, high)`` (absolute ends), ``Bars(names, values, low, high)``, ``Band``.

*Colours*: equal labels (or groups) have equal colours over the whole figure; ``colour=`` overrides it. *Signed values*:
``ColourScale(palette="diverging")``. *Named places on an axis*: ``Axis(ticks=((0, "start"), (1, "end")))``.
"""

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.figure import Detail, Figure, Inset, Panel
from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.mark import Mark
from thalweg.figures.marks import Band, Bars, ErrorBars, Histogram, Line, Lines, Scatter
from thalweg.figures.scales import Axis, ColourScale
from thalweg.figures.spatial import Path3D, Scatter3D, Spatial, Surface3D

__all__ = [
    "Arrows",
    "Axis",
    "Band",
    "Bars",
    "ColourScale",
    "Contour",
    "Detail",
    "ErrorBars",
    "Figure",
    "HLine",
    "Heatmap",
    "Histogram",
    "Inset",
    "Line",
    "Lines",
    "Mark",
    "Panel",
    "Path3D",
    "Scatter",
    "Scatter3D",
    "Span",
    "Spatial",
    "Surface3D",
    "Text",
    "VLine",
]
