"""The figures of the planes of `error-surface`: contours, heat map, surface in space, and what the plane hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.figures import Axis, ColourScale, Contour, Figure, Line, Mark, Panel, Path3D, Scatter, Scatter3D, Surface3D
from thalweg.figures.choosing import chosen_axis
from thalweg.figures.scales import number
from thalweg.landscape import surface_figures
from thalweg.landscape.surface_figures import SQUARE, drawn

if TYPE_CHECKING:
    from thalweg.experiments._surface_planes import Plane

__all__ = ["curve", "film", "flat", "off_plane", "space"]


def flat(plane: Plane) -> Figure:
    """Contours with labelled levels, and the cells as they were evaluated."""
    return surface_figures.flat(
        plane.saved.axes,
        plane.labels,
        plane.loss,
        "training loss",
        name=f"plane-{plane.key}",
        title=plane.title,
        above=_marks(plane, texts=False),
        named=_marks(plane, texts=True),
        more=" The line is the projection of the path of training." if plane.saved.path else "",
        notes=plane.notes,
    )


def space(plane: Plane) -> Figure:
    """The same as a surface that can be turned, with the path on it and its true loss beside."""
    x, y, z, scale, why = _drawn(plane)
    marks: list[Mark] = [Surface3D(x, y, z, scale=scale, floor=True)]
    caption = f"The training loss as height. {why}"
    path = plane.saved.path
    heights = [plane.loss]
    if path:
        px, py = path["coordinates"].T
        heights += [path["loss"], path["true loss"]]
        marks.append(Path3D(px, py, path["loss"], label="path, loss in the plane", colour="accent", symbol="circle"))
        words = "path, true loss"
        marks.append(Path3D(px, py, path["true loss"], label=words, colour="ink", style="dotted", width=1.4))
        caption += " The red line lies on the surface, below the snapshots; the dotted one has their true loss."
    else:
        for words, (px, py) in plane.places.items():
            height = _nearest(plane, px, py)
            marks.append(Scatter3D([px], [py], [height], colour="accent", texts=(words,), size=6.0))
    across, up = (Axis(label.split(" (")[0]) for label in plane.labels)  # long words do not fit along a turned axis
    panel = Panel(across, up, tuple(marks), z=chosen_axis("loss", *heights))
    return Figure(f"space-{plane.key}", f"{plane.title}, in space", caption, (panel,))


def curve(plane: Plane) -> Figure:
    """The loss along the only direction there is."""
    path = plane.saved.path
    return surface_figures.curve(
        plane.saved.axes[0],
        plane.labels[0],
        plane.loss,
        "training loss",
        name=f"plane-{plane.key}",
        title=plane.title,
        places=path["coordinates"][:, 0] if path else None,
        true=path["true loss"] if path else None,
        notes=plane.notes,
    )


def off_plane(plane: Plane) -> Figure:
    """True loss beside plane loss, and the distance from the plane, for every snapshot."""
    path = plane.saved.path
    epochs, true, shadow = path["epoch"], path["true loss"], path["loss"]
    loss = (
        Line(epochs, true, label="at the weights", symbol="circle"),
        Line(epochs, shadow, label="in the plane, below them", colour="accent", symbol="circle", style="dashed"),
    )
    distance = (
        Line(epochs, path["off-plane"], label="off the plane", colour="ink"),
        Line(epochs, plane.away, label="from the end of training", colour="muted", style="dashed"),
    )
    panels = (
        Panel(Axis("epoch"), chosen_axis("training loss", true, shadow), loss),
        Panel(Axis("epoch"), Axis("distance in weight space"), distance),
    )
    caption = (
        "Above: the loss of every snapshot, and the loss of its projection into the plane, which is what the picture "
        "of the surface shows at that place. Below: how far the snapshot lies off the plane, beside its distance from "
        "the end of training, which is the centre of the picture. Where the curves part, the picture is not where "
        "training was."
    )
    return Figure("off-plane", "What the plane of the trajectory hides", caption, panels, columns=1, share_x=True)


def film(plane: Plane) -> Figure:
    """What stays while training moves over the surface: the levels, and the loss of all snapshots."""
    x, y, z, scale, _ = _drawn(plane)
    across, up = (Axis(label) for label in plane.labels)
    path = plane.saved.path
    levels = Panel(across, up, (Contour(x, y, z, scale=scale, filled=True),))
    losses = (
        Line(path["epoch"], path["true loss"], label="at the weights"),
        Line(path["epoch"], path["loss"], label="in the plane", style="dashed"),
    )
    loss = Panel(Axis("epoch"), chosen_axis("training loss", path["true loss"], path["loss"]), losses)
    return Figure("descent", "Training over its plane", "", (levels, loss), size=SQUARE)


def _drawn(plane: Plane) -> tuple[np.ndarray, np.ndarray, np.ndarray, ColourScale, str]:
    """x, y, z with rows along y, and the colours."""
    x, y = plane.saved.axes
    return x, y, *drawn("training loss", plane.loss)


def _marks(plane: Plane, *, texts: bool) -> list[Mark]:
    marks: list[Mark] = []
    path = plane.saved.path
    if path:
        px, py = path["coordinates"].T
        hover = tuple(
            f"epoch {epoch:g}\nloss {number(true)}, in the plane {number(shadow)}\noff the plane by {number(off)}"
            for epoch, true, shadow, off in zip(
                *(path[name].tolist() for name in ("epoch", "true loss", "loss", "off-plane")), strict=True
            )
        )
        marks.append(Line(px, py, label="path of training", colour="accent", width=1.4))
        marks.append(Scatter(px, py, colour="accent", size=2.6, hover=hover))
    x, y = np.array(list(plane.places.values())).T
    words = tuple(plane.places) if texts else ()
    return [*marks, Scatter(x, y, colour="accent", symbol="star", size=10.0, texts=words)]


def _nearest(plane: Plane, x: float, y: float) -> float:
    """The loss of the nearest cell."""
    place = [int(np.abs(axis - value).argmin()) for axis, value in zip(plane.saved.axes, (x, y), strict=True)]
    return float(plane.loss[tuple(place)])
