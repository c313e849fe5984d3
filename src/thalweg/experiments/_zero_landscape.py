"""The solution landscape of `zero-gradient`: which saddle leads to which minimum."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments._zero_looks import LOOKS, details, index_axis, looks
from thalweg.experiments._zero_points import Group
from thalweg.figures import Axis, Figure, Line, Mark, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    from thalweg.critical import SolutionLandscape
    from thalweg.experiments.zero_gradient import Config

__all__ = ["Walks", "figure", "numbers", "words"]

WIDTH = 0.36  # half the width of a column of points that lie at one index
ROWS = 45  # points of a column whose losses fall into the same of so many rows lie side by side


@dataclasses.dataclass(frozen=True, eq=False)
class Walks:
    """Distinct certified points, and the walks downhill from the saddles among them.

    Attributes:
        graph: Points and walks.
        nodes: The points of the graph, each under the name of the first search that found it.
        met: The minima among them that only walks have found; None if there are none.
        certified: Number of certified saddles before copies of each other were counted as one.
    """

    graph: SolutionLandscape
    nodes: Group
    met: Group | None
    certified: int

    @property
    def saddles(self) -> np.ndarray:
        """Positions of the saddles."""
        return np.flatnonzero(self.nodes.number("negative") > 0)

    @property
    def minima(self) -> np.ndarray:
        """Positions of the minima."""
        return np.flatnonzero(self.nodes.number("negative") == 0)

    @property
    def arrivals(self) -> np.ndarray:
        """Number of walks that end at each point (N,)."""
        return np.bincount([edge.target for edge in self.graph.edges], minlength=len(self.nodes))


def figure(found: Walks) -> Figure:
    """Every point at its index and its height above the lowest, with a line for each walk downhill."""
    index, loss, arrivals = found.nodes.number("negative"), found.nodes.number("loss"), found.arrivals
    height = loss - loss[found.minima].min()
    within = _within(height)
    x = index + _spread(index, np.arcsinh(height / within))
    pairs = list(dict.fromkeys((edge.source, edge.target) for edge in found.graph.edges))
    ends, heights = (np.array([[v[a], v[b], np.nan] for a, b in pairs]).ravel() for v in (x, height))
    marks: list[Mark] = [Line(ends, heights, label="walk downhill", colour="muted", width=0.6, opacity=0.35)]
    names = looks(found.nodes)
    for look, style in LOOKS.items():
        rows = [r for r, name in enumerate(names) if name == look]
        if not rows:
            continue
        hover = tuple(
            f"{found.nodes.keys[r]}, loss {number(float(loss[r]))}\n{found.nodes.points.message[r]}\n"
            f"{counted(int(arrivals[r]), 'walk')} end here"
            for r in rows
        )
        sizes = tuple(min(12.0, style.get("size", 5.0) + arrivals[r] ** 0.5) for r in rows)
        shown = style | {"size": sizes, "label": look, "hover": hover, "keys": tuple(found.nodes.keys[r] for r in rows)}
        marks.append(Scatter(x[rows], height[rows], **shown))
    up = Axis("loss above the lowest minimum", scale="symlog", within=within)
    caption = (
        f"Solution landscape: {counted(len(found.saddles), 'distinct saddle')} and {_minima(found)}, each at its index "
        f"and at its height above the lowest minimum, whose loss is {number(float(loss[found.minima].min()))}; copies "
        "under the symmetries of the network are drawn as one, and within a column the place has no meaning. A line "
        "joins a saddle with a minimum if a walk downhill, begun to either side of one of its lowest modes, leads from "
        "the one to the other. The larger a minimum is drawn, the more walks end there."
    )
    panel = Panel(index_axis(int(index.max())), up, tuple(marks))
    clicks = tuple(details([found.nodes]))
    return Figure(
        "landscape", "Which saddle leads to which minimum", caption, (panel,), size=(7.6, 5.0), details=clicks
    )


def _within(height: np.ndarray) -> float:
    """A power of ten such that most heights lie on the logarithmic part of the axis."""
    positive = height[height > 0]
    return 10.0 ** np.floor(np.log10(np.quantile(positive, 0.1))) if len(positive) else 1.0


def _minima(found: Walks) -> str:
    count = len(found.minima)
    return "1 distinct minimum" if count == 1 else f"{count} distinct minima"


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


def words(config: Config, found: Walks) -> list[str]:
    """What the walks say."""
    arrivals, loss, edges = found.arrivals, found.nodes.number("loss"), found.graph.edges
    count = len(edges) + found.graph.lost
    copies = "" if found.certified == len(found.saddles) else f" ({found.certified} certified, copies counted once)"
    text = (
        f"Downhill from {counted(len(found.saddles), 'distinct saddle')}{copies}, to both sides of at most "
        f"{counted(config.downhill, 'mode')} each: {len(edges)} of {counted(count, 'walk')} end at a minimum; the "
        f"landscape has {_minima(found)}, {len(found.met or ()) or 'none'} of them met by these walks only."
    )
    if not edges:
        return [text]
    lowest, favourite = int(found.minima[np.argmin(loss[found.minima])]), int(np.argmax(arrivals))
    text += f" The lowest minimum (loss {number(float(loss[lowest]))}) receives {percent(arrivals[lowest] / count)} of "
    text += "the walks"
    if favourite != lowest:
        most = percent(arrivals[favourite] / count)
        text += f"; the most, {most}, end at that of loss {number(float(loss[favourite]))}"
    out = [f"{text}."]
    if sides := _sides(found):
        same = sum(a == b for a, b in sides)
        drops = [float(loss[edge.source] - loss[edge.target]) for edge in edges]
        out.append(
            f"Saddles of index 1 whose two walks both arrived: {len(sides)}. Of these {same or 'none'} lead to the "
            f"same minimum on both sides (or to two copies of it under a symmetry), {len(sides) - same or 'none'} to "
            f"two different ones. A walk goes down by {range_words(drops)}."
        )
    return out


def _sides(found: Walks) -> list[tuple[int, int]]:
    """The two ends of every saddle of index 1 from which both walks arrived."""
    index = found.nodes.number("negative")
    ends: dict[int, list[int]] = {}
    for edge in found.graph.edges:
        if index[edge.source] == 1:
            ends.setdefault(edge.source, []).append(edge.target)
    return [(pair[0], pair[1]) for pair in ends.values() if len(pair) == 2]


def numbers(found: Walks) -> dict[str, Any]:
    """Flat numbers."""
    sides = _sides(found)
    return {
        "landscape_saddles": len(found.saddles),
        "landscape_minima": len(found.minima),
        "landscape_minima_met": len(found.met or ()),
        "landscape_walks": len(found.graph.edges) + found.graph.lost,
        "landscape_lost": found.graph.lost,
        "landscape_joining": sum(a != b for a, b in sides),
    }
