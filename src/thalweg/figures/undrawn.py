"""What a picture cannot show, counted: numbers that are not finite, have no place on an axis, or cannot be told apart.

Every number of a mark counts once, whichever part of it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.figure import Figure, Panel
from thalweg.figures.guides import Span, Text
from thalweg.figures.mark import Mark
from thalweg.figures.marks import Bars, Histogram
from thalweg.figures.scales import MOST, SAME, Scale, number, placed, power_of_ten, same
from thalweg.figures.spatial import Surface3D

__all__ = ["lacking", "notes"]

PLACES = {
    "x": ("x", "x0", "x1", "left", "right", "edges"),
    "y": ("y", "y0", "y1", "low", "high", "heights"),
    "z": ("z",),
}
"""Fields of marks that hold places, by axis."""


def notes(figure: Figure) -> tuple[str, ...]:
    """Sentences on what the picture cannot show.

    Values that are NaN or infinite, not positive on a log scale, too large for an axis; and values that differ by less
    than a picture can tell apart.

    >>> from thalweg.figures import Axis, Line
    >>> panel = Panel(Axis("epoch"), Axis("loss", scale="log"), (Line([0, 1, 2], [1.0, 0.0, float("nan")], label="a"),))
    >>> notes(Figure("f", "", "", (panel,)))
    ('Not drawn: 1 value NaN or infinite; 1 value ≤ 0 on the log axis "loss".',)
    """
    found = []
    for panel in figure.panels:
        said = [sentence for sentence in (_undrawn(panel), *_alike(panel)) if sentence]
        found += [f"{panel.title}: {one}" if panel.title else one[0].upper() + one[1:] for one in said]
    return tuple(dict.fromkeys(found))


def lacking(panel: Panel) -> str:
    """What a panel in which nothing can be drawn says: that it has no values, or what is the matter with them."""
    numbers = [found for mark in panel.marks for found in _numbers(panel, mark)]
    if any(scale.scale == "log" and (np.isfinite(v) & (v <= 0)).any() for _, scale, v in numbers):
        return "no positive values"
    return "no finite values" if any(v.size for _, _, v in numbers) else "no values"


def _undrawn(panel: Panel) -> str:
    """The sentence on what is not drawn; empty if all is."""
    lost, far, unplaced = 0, 0, dict[str, int]()
    for mark in panel.marks:
        for where, scale, values in _numbers(panel, mark):
            kind = "colour scale" if where == "colour" else "axis"
            finite = np.isfinite(values)
            lost += int((np.isnan(values) if isinstance(mark, Span) else ~finite).sum())
            if scale.scale == "log":
                name = f'log {kind} "{scale.label}"'
                bad = values < 0 if isinstance(mark, Histogram) else values <= 0  # an empty bin has no height to show
                unplaced[name] = unplaced.get(name, 0) + int((finite & bad).sum())
            elif where != "colour":
                far += int((finite & (np.abs(values) > MOST)).sum())
    said = [f"{_count(lost)} NaN or infinite"] if lost else []
    said += [f"{_count(n)} ≤ 0 on the {name}" for name, n in unplaced.items() if n]
    said += [f"{_count(far)} beyond ±{number(MOST)}"] if far else []
    return f"not drawn: {'; '.join(said)}." if said else ""


def _alike(panel: Panel) -> list[str]:
    """Sentences on axes and colours whose values differ, but by too little for a picture."""
    groups: dict[tuple[str, str], tuple[Scale, list[np.ndarray]]] = {}
    for mark in panel.marks:
        for where, scale, values in _numbers(panel, mark):
            groups.setdefault((where, scale.label), (scale, []))[1].append(values)
    found = []
    for (where, label), (scale, arrays) in groups.items():
        kind = "colour scale" if where == "colour" else "axis"
        values = placed(scale, *arrays)
        if values.size and values.min() < values.max() and same(scale, float(values.min()), float(values.max())):
            small = float(np.abs(values).max()) < 1e-290
            why = "are too small for an axis" if small else f"differ by less than {power_of_ten(SAME)} of their size"
            found.append(f'the values of the {kind} "{label}" {why} and are drawn as one.')
    return found


def _numbers(panel: Panel, mark: Mark) -> Iterator[tuple[str, Scale, np.ndarray]]:
    """The numbers of a mark, each array once: along which axis (or as which "colour"), on which scale."""
    if isinstance(mark, Span):
        which = "right" if mark.along == "y" and mark.side == "right" else mark.along
        yield which, panel.axis(which), np.array([mark.low, mark.high], dtype=np.float64)
        return
    if isinstance(mark, Text) and mark.frame != "data":
        return
    field = isinstance(mark, Heatmap | Contour)
    for name, attributes in PLACES.items():
        which = "right" if name == "y" and mark.side == "right" else name
        if isinstance(mark, Bars):
            which = "x" if mark.horizontal else which
        for attribute in attributes:
            values = getattr(mark, attribute, None)
            if values is not None and not (field and attribute == "z"):
                yield which, panel.axis(which), np.asarray(values, dtype=np.float64)
    if isinstance(mark, Bars):
        which = "x" if mark.horizontal else "right" if mark.side == "right" else "y"
        yield which, panel.axis(which), np.asarray(mark.values, dtype=np.float64)
    if isinstance(mark, Heatmap | Contour):
        yield "colour", mark.scale, np.asarray(mark.z, dtype=np.float64)
    elif isinstance(mark, Surface3D) and mark.values is None:
        if mark.scale.scale == "log" != panel.axis("z").scale:  # heights with a place, but without a colour
            yield "colour", mark.scale, np.where(np.isfinite(mark.z), mark.z, 1.0)
    elif mark.shaded:
        yield "colour", mark.shaded[0], np.asarray(mark.shaded[1], dtype=np.float64)


def _count(many: int) -> str:
    return "1 value" if many == 1 else f"{many} values"
