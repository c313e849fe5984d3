"""A figure: panels in a grid, each with axes and marks."""

from __future__ import annotations

import dataclasses
import re

from thalweg.figures.display import Displayed
from thalweg.figures.mark import Mark
from thalweg.figures.marks import Bars
from thalweg.figures.record import Record
from thalweg.figures.scales import Axis, ColourScale
from thalweg.figures.spatial import Spatial

__all__ = ["Detail", "Figure", "Inset", "Panel"]

CORNERS = ("upper right", "upper left", "lower right", "lower left", "upper centre")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inset(Record):
    """A small frame inside a panel that shows the same marks close up.

    Attributes:
        x: Lowest and highest x shown in it, and ``y`` likewise; ``None`` ends follow the data.
        corner: Where it lies: ``"upper right"``, ``"upper left"``, ``"lower right"``, ``"lower left"``, or, between
            the arms of a U, ``"upper centre"``.
        size: Width and height as shares of the panel.
        title: Words above it.
    """

    x: tuple[float | None, float | None]
    y: tuple[float | None, float | None] = (None, None)
    corner: str = "upper right"
    size: tuple[float, float] = (0.42, 0.42)
    title: str = ""

    def _check(self) -> None:
        if self.corner not in CORNERS:
            raise self._refuse("corner", f"must be one of {', '.join(CORNERS)}, found {self.corner!r}")
        if len(self.size) != 2 or not all(0 < s < 1 for s in self.size):
            raise self._refuse("size", f"must be two shares between 0 and 1, found {self.size}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Panel(Record):
    """One frame with its axes and marks.

    Attributes:
        x: The horizontal axis.
        y: The left vertical axis.
        marks: What is drawn, in this order.
        title: Words above the frame.
        right: A second vertical axis, for marks with ``side="right"``.
        z: The third axis; needed as soon as a mark is spatial.
        inset: A close-up inside the panel.
        equal: One unit of x is as long as one of y.
        view: Elevation and azimuth in degrees from which a spatial panel is first seen.
    """

    x: Axis
    y: Axis
    marks: tuple[Mark, ...] = ()
    title: str = dataclasses.field(default="", kw_only=True)
    right: Axis | None = dataclasses.field(default=None, kw_only=True)
    z: Axis | None = dataclasses.field(default=None, kw_only=True)
    inset: Inset | None = dataclasses.field(default=None, kw_only=True)
    equal: bool = dataclasses.field(default=False, kw_only=True)
    view: tuple[float, float] = dataclasses.field(default=(28.0, -58.0), kw_only=True)

    def _check(self) -> None:
        for mark in self.marks:
            if not isinstance(mark, Mark):
                raise self._refuse("marks", f"must hold marks, found {type(mark).__name__}")
        spatial = [isinstance(mark, Spatial) for mark in self.marks]
        if any(spatial) and not all(spatial):
            raise self._refuse("marks", "cannot mix spatial and flat marks: make two panels")
        if any(spatial) and self.z is None:
            raise self._refuse("z", "must be given for spatial marks")
        if self.z is not None and (self.right is not None or self.inset is not None):
            raise self._refuse("z", "cannot be combined with a right axis or an inset")
        if self.right is None and any(mark.side == "right" for mark in self.marks):
            raise self._refuse("right", 'must be an axis, because a mark has side="right"')
        if len({mark.horizontal for mark in self.marks if isinstance(mark, Bars)}) > 1:
            raise self._refuse("marks", "cannot mix horizontal and vertical bars")
        if len({repr(scale) for scale in self.colour_scales()}) > 2:
            raise self._refuse("marks", "cannot use more than two colour scales in one panel")

    @property
    def spatial(self) -> bool:
        """Whether the panel has three dimensions."""
        return self.z is not None

    def axis(self, which: str) -> Axis:
        """The axis called x, y, right or z; a plain one where the panel has none."""
        found = getattr(self, which)
        return found if found is not None else Axis()

    def colour_scales(self) -> tuple[ColourScale, ...]:
        """The different colour scales in use, in order of appearance."""
        found: list[ColourScale] = []
        for mark in self.marks:
            if mark.shaded and mark.shaded[0] not in found:
                found.append(mark.shaded[0])
        return tuple(found)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Detail(Record):
    """What a click on a point opens in the report: facts, and perhaps a figure of its own.

    Attributes:
        key: The name that points give in ``Scatter.keys``.
        title: Words above it.
        facts: Pairs (name, value in words).
        figure: Drawn beneath the facts.
    """

    key: str
    title: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    figure: Figure | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Figure(Displayed):
    """Panels in a grid, with a title and a caption.

    It shows itself (:meth:`show`, and in a notebook as the last line of a cell), saves itself as PNG, SVG, PDF, HTML or
    JSON (:meth:`save`), and hands out the native object of either library (:meth:`matplotlib`, :meth:`plotly`).

    Attributes:
        name: The stem of its files: lower-case letters, digits and hyphens, unique within a run.
        title: Short words above it.
        caption: What is shown and how to read it, in sentences; also its text for those who do not see it.
        panels: Row by row.
        columns: Panels in a row; at most two in a row if 0.
        share_x: Panels of one column have the same x axis, labelled once at the bottom.
        share_y: Panels of one row have the same left axis.
        legend: ``"figure"`` (one beside the grid), ``"panel"`` (one beneath each panel), ``"none"``, or ``"auto"``: one
            for the figure.
        size: Width and height of one panel's share of the figure in inches; chosen by the number of columns if absent.
        details: What clicks on points open in the report.
    """

    caption: str
    panels: tuple[Panel, ...]
    columns: int = dataclasses.field(default=0, kw_only=True)
    share_x: bool = dataclasses.field(default=False, kw_only=True)
    share_y: bool = dataclasses.field(default=False, kw_only=True)
    legend: str = dataclasses.field(default="auto", kw_only=True)
    size: tuple[float, float] | None = dataclasses.field(default=None, kw_only=True)
    details: tuple[Detail, ...] = dataclasses.field(default=(), kw_only=True)

    def _check(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise self._refuse("name", f"must be lower-case letters, digits and single hyphens, found {self.name!r}")
        if not self.panels:
            raise self._refuse("panels", "must hold at least one panel, found none")
        for panel in self.panels:
            if not isinstance(panel, Panel):
                raise self._refuse("panels", f"must hold panels, found {type(panel).__name__}")
        if self.columns < 0:
            raise self._refuse("columns", f"must be at least 0, found {self.columns}")
        if self.legend not in ("auto", "figure", "panel", "none"):
            raise self._refuse("legend", f"must be auto, figure, panel or none, found {self.legend!r}")
        if self.size is not None and (len(self.size) != 2 or not all(0.5 <= s <= 30 for s in self.size)):
            raise self._refuse("size", f"must be a width and a height between 0.5 and 30 inches, found {self.size}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        columns = self.columns or (1 if self.share_x else min(2, len(self.panels)))
        columns = min(columns, len(self.panels))
        return -(-len(self.panels) // columns), columns

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height of one panel's share of the figure."""
        if self.size is not None:
            return self.size
        width = {1: 6.4, 2: 4.6, 3: 3.7}.get(self.grid[1], 3.2)
        height = {1: 4.0, 2: 3.7, 3: 3.2}.get(self.grid[1], 2.8)
        if any(panel.spatial for panel in self.panels):
            return (width, max(height, 4.6 if self.grid[1] == 1 else 4.2))
        return (width, 2.5 if self.share_x and self.grid[0] > 1 and self.grid[1] == 1 else height)
