"""Pictures of values on a grid of one or two directions: the curve, or levels beside every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from thalweg.figures import (
    Axis,
    ColourScale,
    Contour,
    Figure,
    Heatmap,
    Line,
    Mark,
    Panel,
    Path3D,
    Scatter,
    Scatter3D,
    Surface3D,
)
from thalweg.figures.choosing import chosen_axis, chosen_scale
from thalweg.landscape.plane_figures import Track

__all__ = ["SQUARE", "curve", "drawn", "flat", "space"]

SQUARE = (5.0, 4.4)
"""Inches of a panel that shows a plane."""


def drawn(metric: str, values: np.ndarray) -> tuple[np.ndarray, ColourScale, str]:
    """Values (n₀, n₁) with rows along the second axis, as pictures have them, the colours, and why these."""
    scale, why = chosen_scale(metric, values)
    return values.T, scale, why


def flat(
    axes: Sequence[np.ndarray],
    labels: Sequence[str],
    values: np.ndarray,
    metric: str,
    *,
    name: str,
    title: str,
    above: Sequence[Mark] = (),
    named: Sequence[Mark] = (),
    more: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Contours with labelled levels, and the cells as they were evaluated.

    Args:
        axes: Two ascending coordinates (n₀,), (n₁,).
        labels: What each is.
        values: (n₀, n₁).
        metric: What they are.
        name: Of the figure.
        title: Of the figure.
        above: Marks over the levels; ``named`` those over the cells, with words beside them.
        named: See there.
        more: A sentence more of the caption.
        notes: Sentences at its end.
    """
    x, y = axes
    z, scale, why = drawn(metric, values)
    across, up = (Axis(label) for label in labels)
    panels = (
        Panel(across, up, (Contour(x, y, z, scale=scale, filled=True), *above), title="levels"),
        Panel(across, up, (Heatmap(x, y, z, scale=scale), *named), title="every cell"),
    )
    cells = f"{len(x)} × {len(y)} cells"
    what = f"{metric[:1].upper()}{metric[1:]}"
    caption = f"{what} in {cells}, interpolated (left) and cell by cell (right; grey: not finite). {why}{more} "
    return Figure(name, title, caption + " ".join(notes), panels, size=SQUARE)


def curve(
    x: np.ndarray,
    label: str,
    values: np.ndarray,
    metric: str,
    *,
    name: str,
    title: str,
    places: np.ndarray | None = None,
    true: np.ndarray | None = None,
    notes: Sequence[str] = (),
) -> Figure:
    """The values along the only direction there is.

    Args:
        x: (n,) coordinates.
        label: What they are.
        values: (n,).
        metric: What the values are.
        name: Of the figure.
        title: Of the figure.
        places: (M,) coordinates of snapshots of a path; ``true`` (M,) the values at the snapshots themselves.
        true: See there.
        notes: Sentences of the caption.
    """
    marks: list[Mark] = [Line(x, values, label="on the line")]
    if places is not None and true is not None:
        marks.append(Scatter(places, true, label="true loss of the snapshots", colour="accent"))
    axis = chosen_axis(metric, values, *([] if true is None else [true]))
    return Figure(name, title, " ".join(notes), (Panel(Axis(label), axis, tuple(marks)),))


def space(
    axes: Sequence[np.ndarray],
    labels: Sequence[str],
    values: np.ndarray,
    metric: str,
    *,
    name: str,
    title: str,
    path: Track | None = None,
    places: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """The values as a surface that can be turned, with the path on it and its true values beside.

    Args:
        axes: As :func:`flat`, like the next five.
        labels: See there.
        values: See there.
        metric: See there.
        name: See there.
        title: See there.
        path: A path over the surface.
        places: Name -> coordinates of places that are marked where there is no path.
    """
    x, y = axes
    z, scale, why = drawn(metric, values)
    marks: list[Mark] = [Surface3D(x, y, z, scale=scale, floor=True)]
    caption, heights = f"The {metric} as height. {why}", [values]
    if path is not None:
        shadow, true = path.shadow, path.true
        heights += [shadow, true]
        for r in range(shadow.shape[1]):
            px, py = path.coordinates[:, r].T
            look = {"label": "path, loss in the plane", "colour": "accent", "symbol": "circle"}
            marks.append(Path3D(px, py, shadow[:, r], **look))
            words = "path, true loss"
            marks.append(Path3D(px, py, true[:, r], label=words, colour="ink", style="dotted", width=1.4))
        caption += " The red line lies on the surface, below the snapshots; the dotted one has their true loss."
    else:
        for words, (px, py) in (places or {}).items():
            cell = tuple(int(np.abs(axis - value).argmin()) for axis, value in zip(axes, (px, py), strict=True))
            marks.append(Scatter3D([px], [py], [values[cell]], colour="accent", texts=(words,), size=6.0))
    across, up = (Axis(label.split(" (")[0]) for label in labels)  # long words do not fit along a turned axis
    return Figure(name, title, caption, (Panel(across, up, tuple(marks), z=chosen_axis(metric, *heights)),))
