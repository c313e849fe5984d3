"""Walks downhill from saddles, and the graph of points that they make, as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.critical.looks import LOOKS
from thalweg.critical.point_figures import details, index_axis
from thalweg.critical.points import CriticalPoints, Status
from thalweg.figures import Axis, Figure, Line, Mark, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.results import BaseResult, Stored
from thalweg.results.networks import flat, tabled
from thalweg.results.words import counted, percent, range_words

__all__ = ["Descents", "Edge", "SolutionLandscape"]

WIDTH = 0.36  # half the width of a column of points that lie at one index
ROWS = 45  # points of a column whose losses fall into the same of so many rows lie side by side


@short
@dataclass(frozen=True, eq=False)
class Descents(BaseResult):
    """Walks downhill, one along each side of each chosen mode of each saddle.

    Attributes:
        ends: Where they ended, certified (D points).
        source: The saddle's position among the points from which they were made (D,).
        mode: Which of its negative modes, 0 the lowest (D,).
        sign: To which side of it, 1 or −1 (D,); the sign of an eigenvector is arbitrary, that the two differ is not.
    """

    ends: CriticalPoints
    source: Tensor
    mode: Tensor
    sign: Tensor

    def plot(self) -> Figure:
        """The loss at the end of every walk, in one column for each saddle."""
        names, source, loss = self.ends.looks, flat(self.source), self.ends.number("loss")
        marks = []
        for name, style in LOOKS.items():
            rows = [r for r, one in enumerate(names) if one == name]
            if rows:
                hover = tuple(self.ends.message[r] for r in rows)
                marks.append(Scatter(source[rows], loss[rows], label=name, hover=hover, **style))
        positive = bool((loss[np.isfinite(loss)] > 0).all())
        panel = Panel(Axis("saddle"), Axis("loss", scale="log" if positive else "linear"), tuple(marks))
        caption = "Where the walks downhill from each saddle ended, to both sides of its lowest modes."
        return Figure("descents", "Ends of the walks downhill", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row per walk: its saddle, mode and sign, and where it ended."""
        start = {"source": self.source, "mode": self.mode, "sign": self.sign}
        status = [str(one) for one in self.ends.status]
        return tabled({**start, "status": status, "loss": self.ends.certificate.loss}, axis="walk")

    def summary(self) -> str:
        """How many walks arrived."""
        arrived = [status is Status.MINIMUM for status in self.ends.status]
        saddles = len(set(self.source.tolist()))
        return (
            f"{sum(arrived)} of {counted(len(arrived), 'walk')} downhill from {counted(saddles, 'saddle')} ended at a "
            f"minimum, at losses {range_words(self.ends.number('loss')[arrived])}."
        )


@short
@dataclass(frozen=True, eq=False)
class Edge(Stored):
    """One descent between two points of a `SolutionLandscape`: along ± one negative mode of the source."""

    source: int
    target: int
    mode: int
    sign: int


@short
@dataclass(frozen=True, eq=False)
class SolutionLandscape(BaseResult):
    """Critical points and the descents between them (Yin et al. 2020 call it the solution landscape).

    Attributes:
        points: All points, those given first; copies under a symmetry of the network are one point.
        place: For each of the given points its position in `points`.
        edges: The descents; one that did not end at a minimum is not among them.
        lost: Descents that ended nowhere critical within their budget.
    """

    points: CriticalPoints
    place: tuple[int, ...]
    edges: tuple[Edge, ...]
    lost: int

    @property
    def saddles(self) -> np.ndarray:
        """Positions of the saddles."""
        return np.flatnonzero(self.points.number("negative") > 0)

    @property
    def minima(self) -> np.ndarray:
        """Positions of the minima."""
        return np.flatnonzero(self.points.number("negative") == 0)

    @property
    def arrivals(self) -> np.ndarray:
        """Number of walks that end at each point (N,)."""
        return np.bincount([edge.target for edge in self.edges], minlength=len(self.points))

    @property
    def sides(self) -> list[tuple[int, int]]:
        """The two ends of every saddle of index 1 from which both walks arrived."""
        index, ends = self.points.number("negative"), dict[int, list[int]]()
        for edge in self.edges:
            if index[edge.source] == 1:
                ends.setdefault(edge.source, []).append(edge.target)
        return [(pair[0], pair[1]) for pair in ends.values() if len(pair) == 2]

    def plot(self, names: Sequence[str] = (), l2: float = 0.0) -> Figure:
        """Every point at its index and its height above the lowest, with a line for each walk downhill.

        Args:
            names: Of the points; default their numbers.
            l2: Of the loss to which they belong, for what a click shows.
        """
        keys = list(names) or [f"point {r}" for r in range(len(self.points))]
        return _picture(self, keys, l2)

    def table(self) -> pl.DataFrame:
        """One row per walk that arrived: saddle and minimum with their losses, mode and sign."""
        loss = self.points.number("loss")
        rows = [(e.source, e.target, e.mode, e.sign, float(loss[e.source]), float(loss[e.target])) for e in self.edges]
        kinds = {"saddle": pl.Int64, "minimum": pl.Int64, "mode": pl.Int64, "sign": pl.Int64}
        return pl.DataFrame(rows, {**kinds, "loss of saddle": pl.Float64, "loss of minimum": pl.Float64}, orient="row")

    def summary(self) -> str:
        """How many walks arrived and where most of them did; whether saddles of index 1 join different minima."""
        arrivals, loss, walks = self.arrivals, self.points.number("loss"), len(self.edges) + self.lost
        text = (
            f"{len(self.edges)} of {counted(walks, 'walk')} downhill from "
            f"{counted(len(self.saddles), 'distinct saddle')} "
            f"end at a minimum; the landscape has {_minima(self)}"
        )
        if not self.edges:
            return f"{text}."
        lowest, favourite = int(self.minima[np.argmin(loss[self.minima])]), int(np.argmax(arrivals))
        most = percent(arrivals[lowest] / walks)
        text += f". The lowest (loss {number(float(loss[lowest]))}) receives {most} of the walks"
        if favourite != lowest:
            most = percent(arrivals[favourite] / walks)
            text += f"; the most, {most}, end at that of loss {number(float(loss[favourite]))}"
        same = sum(a == b for a, b in self.sides)
        joined = (
            f" Of {counted(len(self.sides), 'saddle')} of index 1 whose two walks both arrived, {same or 'none'} "
            "lead to "
            "the same minimum on both sides (or to two copies of it under a symmetry)."
        )
        return f"{text}.{joined if self.sides else ''}"


def _picture(graph: SolutionLandscape, keys: Sequence[str], l2: float = 0.0) -> Figure:
    """Every point at its index and its height above the lowest, with a line for each walk downhill.

    Args:
        graph: Points and walks.
        keys: Names of the points.
        l2: Of the loss to which they belong.
    """
    points = graph.points
    index, loss, arrivals = points.number("negative"), points.number("loss"), graph.arrivals
    lowest = float(loss[graph.minima].min() if len(graph.minima) else loss.min())
    height = loss - lowest
    within = _within(height)
    x = index + _spread(index, np.arcsinh(height / within))
    pairs = list(dict.fromkeys((edge.source, edge.target) for edge in graph.edges))
    ends, heights = (np.array([[v[a], v[b], np.nan] for a, b in pairs]).ravel() for v in (x, height))
    marks: list[Mark] = [Line(ends, heights, label="walk downhill", colour="muted", width=0.6, opacity=0.35)]
    for look, style in LOOKS.items():
        rows = [r for r, name in enumerate(points.looks) if name == look]
        if not rows:
            continue
        hover = tuple(
            f"{keys[r]}, loss {number(float(loss[r]))}\n{points.message[r]}\n"
            f"{counted(int(arrivals[r]), 'walk')} end here"
            for r in rows
        )
        sizes = tuple(min(12.0, style.get("size", 5.0) + arrivals[r] ** 0.5) for r in rows)
        shown = style | {"size": sizes, "label": look, "hover": hover, "keys": tuple(keys[r] for r in rows)}
        marks.append(Scatter(x[rows], height[rows], **shown))
    up = Axis("loss above the lowest minimum", scale="symlog", within=within)
    caption = (
        f"Solution landscape: {counted(len(graph.saddles), 'distinct saddle')} and {_minima(graph)}, each at its "
        f"index and at its height above the lowest minimum, whose loss is {number(lowest)}; copies under the "
        "symmetries "
        "of the network are drawn as one, and within a column the place has no meaning. A line joins a saddle with a "
        "minimum if a walk downhill, begun to either side of one of its lowest modes, leads from the one to the other. "
        "The larger a minimum is drawn, the more walks end there."
    )
    panel = Panel(index_axis(int(index.max())), up, tuple(marks))
    clicks = tuple(details([(points, keys)], l2))
    return Figure(
        "landscape", "Which saddle leads to which minimum", caption, (panel,), size=(7.6, 5.0), details=clicks
    )


def _minima(graph: SolutionLandscape) -> str:
    """The number of minima in words."""
    count = len(graph.minima)
    return "1 distinct minimum" if count == 1 else f"{count} distinct minima"


def _within(height: np.ndarray) -> float:
    """A power of ten such that most heights lie on the logarithmic part of the axis."""
    positive = height[height > 0]
    return 10.0 ** np.floor(np.log10(np.quantile(positive, 0.1))) if len(positive) else 1.0


def _spread(index: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Places across each column that keep points of nearly equal height apart."""
    out = np.zeros(len(index))
    row = np.floor(ROWS * (height - height.min()) / max(float(np.ptp(height)), 1e-300)).astype(int)
    for spot in {*zip(index.tolist(), row.tolist(), strict=True)}:
        here = np.flatnonzero((index == spot[0]) & (row == spot[1]))
        here = here[np.argsort(height[here])]
        step = min(0.09, 2 * WIDTH / max(1, len(here) - 1))
        out[here] = step * (np.arange(len(here)) - 0.5 * (len(here) - 1))
    return out
