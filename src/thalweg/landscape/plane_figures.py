"""Pictures of a path and its plane: what is true at the weights, what the plane shows, how far both are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.figures import Axis, Figure, Line, Mark, Panel, Scatter
from thalweg.figures.choosing import chosen_axis
from thalweg.figures.scales import number
from thalweg.landscape.profile_figures import spread

__all__ = ["Track", "on_plane", "path_figure"]


@dataclass(frozen=True, eq=False)
class Track:
    """The numbers of a path on a plane, as pictures need them.

    Args:
        axis: Of the snapshots.
        at: (S,) their places on it.
        metric: What is drawn.
        coordinates: (S, R, K).
        true: (S, R) at the weights; ``shadow`` where the picture draws them.
        shadow: See there.
        off: (S, R), distance from the plane; ``whole`` from the centre of the picture.
        whole: See there.
    """

    axis: Axis
    at: np.ndarray
    metric: str
    coordinates: np.ndarray
    true: np.ndarray
    shadow: np.ndarray
    off: np.ndarray
    whole: np.ndarray


def path_figure(found: Track) -> Figure:
    """The metric at every snapshot and below it in the plane; its distance from the plane and from the centre."""
    losses: list[Mark] = [
        *spread(found.at, found.true, "at the weights", symbol="circle"),
        *spread(found.at, found.shadow, "in the plane, below them", colour="accent", symbol="circle", style="dashed"),
    ]
    distances: list[Mark] = [
        *spread(found.at, found.off, "off the plane", colour="ink"),
        *spread(found.at, found.whole, "from the center", colour="muted", style="dashed"),
    ]
    panels = (
        Panel(found.axis, chosen_axis(found.metric, found.true, found.shadow), tuple(losses)),
        Panel(found.axis, Axis("distance in weight space"), tuple(distances)),
    )
    caption = (
        f"Above: the {found.metric} of every snapshot, and that of its projection into the plane, which is what a "
        "picture of the surface shows at that place. Below: how far the snapshot lies off the plane, beside its "
        "distance from the center of the picture. Where the curves part, the picture is not where training was."
    )
    return Figure("off-plane", "What the plane hides", caption, panels, columns=1, share_x=True)


def on_plane(path: Track | None, places: Mapping[str, Sequence[float]], *, texts: bool) -> list[Mark]:
    """What is marked on a plane: a path with what is true at its snapshots under the cursor, and named places."""
    marks: list[Mark] = []
    if path is not None:
        marks += [mark for r in range(path.true.shape[1]) for mark in _way(path, r)]
    if places:
        x, y = np.array(list(places.values()), dtype=np.float64).T
        words = tuple(places) if texts else ()
        marks.append(Scatter(x, y, colour="accent", symbol="star", size=10.0, texts=words))
    return marks


def _way(path: Track, r: int) -> list[Mark]:
    """One replica's path."""
    x, y = path.coordinates[:, r].T
    columns = zip(path.at, path.true[:, r], path.shadow[:, r], path.off[:, r], strict=True)
    hover = tuple(
        f"{path.axis.label} {at:g}\n{path.metric} {number(true)}, in the plane {number(shadow)}\n"
        f"off the plane by {number(off)}"
        for at, true, shadow, off in columns
    )
    line = Line(x, y, label="path of training", colour="accent", width=1.4)
    return [line, Scatter(x, y, colour="accent", size=2.6, hover=hover)]
