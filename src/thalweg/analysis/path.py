"""Several checkpoints: how every number moves along them, and their path in the plane of its principal components."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.analysis.around import light
from thalweg.analysis.costs import some
from thalweg.analysis.part import Part, failure, spoken
from thalweg.analysis.planning import Stage
from thalweg.checkpoints import with_buffers
from thalweg.curvature import eigenpairs, hessian_operator, trace
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Line, Panel, Scatter
from thalweg.landscape import Grid, Surface, path_on_plane, pca_directions, surface
from thalweg.landscape.surface_figures import flat
from thalweg.objective import Objective, normalization
from thalweg.progress import each
from thalweg.results import BaseResult
from thalweg.runs import Recording

if TYPE_CHECKING:
    from thalweg.figures import Figure

__all__ = ["Along", "Walk", "path"]


@short
@dataclass(frozen=True, eq=False)
class Along(BaseResult):
    """Numbers at every checkpoint.

    Args:
        axis: What the steps are: "step", "epoch", "number" or "checkpoint".
        columns: Name -> (S,), the first the steps.
    """

    axis: str
    columns: dict[str, list[float]]

    def plot(self) -> Figure:
        """One panel for each number, over the steps."""
        steps, *names = self.columns
        x = self.columns[steps]
        panels = []
        for name in names:
            values = [value if value is not None else math.nan for value in self.columns[name]]
            scale = "log" if name in ("loss", "gradient norm", "λmax") and min(values) > 0 else "linear"
            line = Line(x, values, symbol="circle")
            panels.append(Panel(Axis(self.axis), Axis(name, scale=scale), (line,)))
        size = (3.4, 2.6)
        caption = f"Numbers at {len(x)} checkpoints; each panel has its own axis."
        return Figure("along", "Along the checkpoints", caption, tuple(panels), columns=min(3, len(panels)), size=size)

    def table(self) -> pl.DataFrame:
        """One row per checkpoint."""
        return pl.DataFrame(self.columns)

    def summary(self) -> str:
        """The loss at the first checkpoint and the last one."""
        loss = self.columns["loss"]
        return (
            f"From the first of {len(loss)} checkpoints to the last the loss goes from {loss[0]:.4g} to {loss[-1]:.4g}."
        )


@short
@dataclass(frozen=True, eq=False)
class Walk(BaseResult):
    """The path of the checkpoints over the loss in a plane.

    Args:
        plane: The loss, centered at the last checkpoint.
        coordinates: Where each checkpoint lies in it, (S, 2).
        off_plane: How far from it, (S,).
        steps: Of the checkpoints, (S,).
    """

    plane: Surface
    coordinates: Tensor
    off_plane: Tensor
    steps: tuple[int, ...]

    def plot(self) -> Figure:
        """Levels of the loss with the path above them."""
        x, y = self.coordinates.T.numpy()
        line = Line(x, y, colour="ink", width=1.0)
        texts = [""] * len(x)
        texts[0], texts[-1] = f" {self.steps[0]}", f" {self.steps[-1]}"
        dots = Scatter(x, y, colour="ink", texts=tuple(texts), size=5.0)
        far = float(self.off_plane.max())
        return flat(
            self.plane.axes, self.plane.directions.labels, self.plane.values["loss"], "loss",
            name="walk", title="The path of the checkpoints", above=(line, dots), named=(line, dots),
            more=f" Dots: the checkpoints, the farthest {far:.3g} off the plane.", notes=self.plane.notes,
        )  # fmt: skip

    def table(self) -> pl.DataFrame:
        """One row per checkpoint: "step", the coordinates "c1", "c2", and "off plane"."""
        rows = [self.coordinates[:, 0], self.coordinates[:, 1], self.off_plane]
        names = ("c1", "c2", "off plane")
        return pl.DataFrame({"step": list(self.steps), **{n: r.tolist() for n, r in zip(names, rows, strict=True)}})

    def summary(self) -> str:
        """How long the path is, and how much of it the plane shows."""
        return f"The checkpoints lie at most {float(self.off_plane.max()):.3g} off the plane."


def path(objective: Objective, recording: Recording, stage: Stage) -> Part:
    """Measures every checkpoint, and draws their path.

    Args:
        objective: The loss, in the precision of the analysis.
        recording: Checkpoints (S, 1, P), with the buffers of each.
        stage: Samples, products for the largest eigenvalue and the trace, points of the plane.
    """
    part, settings = some(objective, stage.samples), stage.settings
    steps = [int(step) for step in recording.steps]
    axis = recording.meta.get("steps", "step")
    axis = axis if axis in ("step", "epoch", "number") else "checkpoint"
    left_out: list[str] = []
    rows: list[dict[str, Any]] = []
    first = recording.snapshots[0, 0].to(part.dtype)
    for place in each("checkpoints", range(len(steps))):
        theta = recording.snapshots[place, 0].to(part.dtype)
        own = with_buffers(part, recording, place)
        row = {axis: float(steps[place]), **_numbers(own, theta, settings, left_out)}
        rows.append({**row, "distance from the first": float((theta - first).double().norm())})
    names = list(dict.fromkeys(name for row in rows for name in row))
    along = Along(axis, {name: [row.get(name, math.nan) for row in rows] for name in names})
    results: list[Any] = []
    try:
        results.append(_walk(part, recording, settings, steps))
    except Exception as error:  # noqa: BLE001 - the numbers along the path stand without its picture
        left_out.append(failure("Plane of the path", error))
    if part.samples < objective.samples:
        left_out.append(f"Numbers along the checkpoints are of {part.samples:,} of {objective.samples:,} samples.")
    said = along.summary()
    if "λmax" in along.columns:
        sharp = along.columns["λmax"]
        said = f"{said[:-1]}, and the largest eigenvalue from {spoken(sharp[0])} to {spoken(sharp[-1])}."
    return Part(
        "path",
        "Along the checkpoints",
        said,
        results=(*results, along),
        left_out=tuple(dict.fromkeys(left_out)),
        spent={"products": len(steps) * (settings["products"] + settings["trace"])},
    )


def _numbers(own: Objective, theta: Tensor, settings: dict[str, int], left_out: list[str]) -> dict[str, float]:
    found = {name: float(value) for name, value in own.metrics(theta).items()}
    found["gradient norm"] = float(own.gradient(theta).double().norm())

    def largest() -> float:
        pairs = eigenpairs(
            hessian_operator(own, theta), 1, tolerance=1e-2, check=False, max_products=settings["products"]
        )
        return float(pairs.values[0])

    def total() -> float:
        return trace(hessian_operator(own, theta), products=settings["trace"]).value

    works: dict[str, Callable[[], float]] = {"λmax": largest}
    if settings["trace"] >= 6:
        works["trace"] = total
    for name, work in works.items():
        try:
            found[name] = work()
        except Exception as error:  # noqa: BLE001 - whatever one instrument meets, the others go on
            left_out.append(failure(f"{name} along the path", error))
    return found


def _walk(part: Objective, recording: Recording, settings: dict[str, int], steps: list[int]) -> Walk:
    """The plane of the two first principal components, through the last checkpoint."""
    place = len(steps) - 1
    own = with_buffers(part, recording, place)
    if normalization.layers(own.program.model):  # statistics of the last checkpoint are wrong everywhere else
        own = own.with_batchnorm("recomputed")
    center = recording.snapshots[place, 0].to(part.dtype)
    snapshots = recording.snapshots[:, 0].to(part.dtype)
    directions = pca_directions(snapshots, 2)
    if len(directions.vectors) < 2:
        raise InputError("a plane needs three checkpoints that do not lie on a line, found fewer")
    seen = path_on_plane(own, snapshots, center, directions)
    low, high = seen.coordinates.min(0).values, seen.coordinates.max(0).values
    margin = 0.25 * float((high - low).max())
    span = tuple((float(a) - margin, float(b) + margin) for a, b in zip(low, high, strict=True))
    plane = surface(own, center, directions, Grid(points=settings["grid"] | 1, span=span))
    coordinates = seen.coordinates.reshape(len(steps), 2)
    return Walk(light(plane), coordinates, seen.off_plane.reshape(-1), tuple(steps))
