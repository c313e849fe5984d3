"""What the drawing functions share while one panel is drawn."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from thalweg.figures.figure import Panel
from thalweg.figures.mark import Mark
from thalweg.figures.matplotlib.style import DASHES, SYMBOLS
from thalweg.figures.palette import PAPER, Colours
from thalweg.figures.reading import gapped
from thalweg.figures.scales import Axis

__all__ = ["HALOED", "Canvas", "Legend", "draw", "halo"]

HALOED = "halo"  # the group of the words that have one


@dataclasses.dataclass(frozen=True)
class Legend:
    """Legend entries: equal labels share one, whose samples lie over each other (a line on its band)."""

    entries: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def add(self, label: str, sample: Any) -> None:
        """Add a sample, unless the label already has one of its kind; marks without a label have no entry."""
        if label and all(type(known) is not type(sample) for known in self.entries.setdefault(label, [])):
            self.entries[label].append(sample)

    def rows(self) -> tuple[list[Any], list[str]]:
        """Samples and labels as matplotlib wants them: areas beneath lines."""
        samples = [tuple(sorted(found, key=lambda s: isinstance(s, Line2D))) for found in self.entries.values()]
        return [s[0] if len(s) == 1 else s for s in samples], list(self.entries)


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Where a panel is drawn.

    Attributes:
        panel: Its data.
        left: The axes of the left (or only) vertical axis.
        right: Those of the right one.
        colours: The figure's colours.
        legend: Collects entries.
        view: What the x and y axes show.
        close_up: Drawn inside an inset, where words and legend entries are left out.
        labels: Point labels to be placed when everything else is drawn: axes, x, y, text, colour.
    """

    panel: Panel
    left: Axes
    right: Axes | None
    colours: Colours
    legend: Legend
    view: dict[str, tuple[float, float]]
    close_up: bool = False
    labels: list[tuple[Axes, float, float, str, str]] = dataclasses.field(default_factory=list)

    def axes(self, mark: Mark) -> Any:
        """The axes of a mark."""
        return self.right if mark.side == "right" and self.right is not None else self.left

    def rulers(self, mark: Mark) -> tuple[Axis, Axis]:
        """The x and y axis of a mark, as data."""
        return self.panel.axis("x"), self.panel.axis("right" if mark.side == "right" else "y")

    def gaps(self, mark: Mark, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places with a gap where one is not finite or has no place on its axis."""
        x_axis, y_axis = self.rulers(mark)
        return gapped(x, x_axis), gapped(y, y_axis)

    def stroke(self, mark: Mark, key: str | None = None, **more: Any) -> dict[str, Any]:
        """Colour, dash and opacity of a mark's lines."""
        dash = DASHES[self.colours.style(mark, key)]
        return {"color": self.colours.of(mark, key), "linestyle": dash, "alpha": mark.opacity, **more}

    def line_sample(self, label: str, **properties: Any) -> None:
        """A line, or a symbol, in the legend."""
        if not self.close_up:
            self.legend.add(label, Line2D([], [], **properties))

    def area_sample(self, label: str, colour: str, opacity: float) -> None:
        """A patch in the legend."""
        if not self.close_up:
            self.legend.add(label, Patch(facecolor=colour, alpha=opacity, linewidth=0))

    def point_sample(self, label: str, colour: str, symbol: str, size: float) -> None:
        """A point in the legend."""
        shown = {"marker": SYMBOLS[symbol], "linestyle": "", "markersize": max(size, 5.0)}
        self.line_sample(label, color=colour, markeredgewidth=0, **shown)


def halo(text: Any) -> None:
    """Surround words with the colour of the paper, so that they can be read on lines.

    Matplotlib turns such words into outlines when it writes SVG; the page therefore takes the effect away there and
    says the same by a style, so that text stays text.
    """
    text.set_path_effects([withStroke(linewidth=2.2, foreground=PAPER, alpha=0.85)])
    text.set_gid(HALOED)


@functools.singledispatch
def draw(mark: Mark, canvas: Canvas) -> None:
    """Draw one mark; the modules beside this one know how."""
    raise NotImplementedError(type(mark).__name__)
