"""A trajectory and the plane that it is drawn in: where its shadow falls, and what the loss is there and here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg import progress
from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure
from thalweg.figures.scales import number
from thalweg.landscape.blocks import as_snapshots
from thalweg.landscape.directions import Directions, as_directions
from thalweg.landscape.measures import columns, measure
from thalweg.landscape.plane_figures import Track, path_figure
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objectives, as_vector
from thalweg.results import BaseResult
from thalweg.results.words import percent, range_words
from thalweg.runs.recording import Recording

__all__ = ["PathOnPlane", "path_on_plane"]


@short
@dataclass(frozen=True, eq=False)
class PathOnPlane(BaseResult):
    """A trajectory in the coordinates of a picture, with what the picture gets wrong.

    Args:
        coordinates: (S, R, K) float64, of the nearest point of the plane; (S, K) where the path had no replicas.
        off_plane: (S, R), distance of the weights from that point.
        distance: (S, R), distance of the weights from the centre of the picture.
        true: name -> (S, R) float64 at the weights themselves.
        plane: name -> (S, R) at the nearest point, where a picture draws them.
        epochs: (S,) of the snapshots, where a recording knows them; None counts the snapshots.
    """

    coordinates: Tensor
    off_plane: Tensor
    distance: Tensor
    true: dict[str, Tensor]
    plane: dict[str, Tensor]
    epochs: Tensor | None = None

    @property
    def ratio(self) -> Tensor:
        """(S, R), the first metric where the picture draws it over that at the weights themselves."""
        name = next(iter(self.true))
        return self.plane[name] / self.true[name]

    @property
    def worst(self) -> tuple[int, ...]:
        """Which snapshot (and replica) the picture shows most wrongly, by the ratio of both values either way."""
        apart = self.ratio.log().abs().nan_to_num(nan=-1.0)
        return tuple(int(k) for k in np.unravel_index(int(apart.argmax()), tuple(apart.shape)))

    @property
    def along(self) -> tuple[Axis, np.ndarray]:
        """The axis of the snapshots, and their places on it (S,)."""
        if self.epochs is None:
            return Axis("snapshot"), np.arange(len(self.off_plane), dtype=np.float64)
        return Axis("epoch"), self.epochs.double().numpy()

    def plot(self) -> Figure:
        """True values beside those that the picture shows, and the distance from the picture, by snapshot."""
        return path_figure(self.track())

    def track(self, metric: str | None = None) -> Track:
        """The numbers of one metric, the first by default, as pictures need them."""
        name = metric if metric in self.true else next(iter(self.true))
        axis, at = self.along
        length = len(at)

        def rows(value: Tensor) -> np.ndarray:
            return value.double().cpu().numpy().reshape(length, -1)

        points = self.coordinates.cpu().numpy().reshape(length, -1, self.coordinates.shape[-1])
        values = (self.true[name], self.plane[name], self.off_plane, self.distance)
        return Track(axis, at, name.replace("_", " "), points, *map(rows, values))

    def table(self) -> pl.DataFrame:
        """One row per snapshot and replica: coordinates, distances, and every metric, true and in the plane."""
        length, replicas = len(self.off_plane), self.off_plane[0].numel()
        axis, places = self.along
        columns: dict[str, Any] = {axis.label: np.repeat(places, replicas)}
        columns["replica"] = np.tile(np.arange(replicas), length)
        points = self.coordinates.reshape(length * replicas, -1)
        columns |= {f"c{k + 1}": points[:, k].cpu().numpy() for k in range(points.shape[1])}
        named = {"off plane": self.off_plane, "from center": self.distance}
        named |= {f"true {name}": value for name, value in self.true.items()}
        named |= {f"{name} in the plane": value for name, value in self.plane.items()}
        return pl.DataFrame(columns | {name: value.cpu().numpy().ravel() for name, value in named.items()})

    def summary(self) -> str:
        """How far the path lies off the picture, and how wrong the picture is in the worst case."""
        name, place = next(iter(self.true)), self.worst
        share = self.off_plane_share[self.distance > 0]
        axis, places = self.along
        words, middle = name.replace("_", " "), float(share.median()) if len(share) else 0.0
        ratio, shadow, true = (number(float(value[place])) for value in (self.ratio, self.plane[name], self.true[name]))
        return (
            f"The snapshots lie {range_words(self.off_plane.flatten().tolist())} off the plane (median, least to "
            f"greatest), in the median {percent(middle)} of their distance from its center. The {words} drawn below "
            f"them is {ratio} times their true {words} in the worst case ({axis.label} {places[place[0]]:g}: {shadow} "
            f"against {true})."
        )

    @property
    def off_plane_share(self) -> Tensor:
        """(S, R), the off-plane distance over the distance from the centre: 0 lies in the picture, 1 is invisible."""
        return self.off_plane / self.distance.clamp_min(torch.finfo(torch.float64).tiny)


@declared
def path_on_plane(
    objective: Objective | Mapping[str, Objective],
    path: Any,
    center: Tensor,
    directions: Directions,
    *,
    metrics: Sequence[str] = ("loss",),
    memory: int = 2**28,
) -> PathOnPlane:
    """Projects a trajectory onto a plane, a line or a volume, and evaluates it there and where it really is.

    Args:
        objective: The loss, or several by name as :func:`thalweg.landscape.surface` takes them.
        path: Snapshots (S, P) or (S, R, P): a recording or a run, a tensor, or anything lazy that knows `shape` and
            reads `[a:b]`.
        center: (P,), the centre of the picture; or what `Objective.as_theta` takes, such as a model.
        directions: K of them; they need not be orthogonal.
        metrics: As for :func:`thalweg.landscape.surface`.
        memory: Bytes of weights that are held at once.

    Returns:
        A :class:`PathOnPlane`; where weights are not finite their coordinates are NaN.

    Raises:
        InputError: Sizes that do not fit, or an unknown metric.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.eye(2), torch.zeros(2, 1)))
        >>> line = Directions(torch.tensor([[1.0, 0.0]]), ("first weight",))
        >>> found = path_on_plane(objective, torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2), line)
        >>> found.coordinates[0], found.off_plane[0], found.true["loss"][0], found.plane["loss"][0]
        (tensor([3.], dtype=torch.float64), tensor(4., dtype=torch.float64), tensor(12.5000, dtype=torch.float64),
         tensor(4.5000, dtype=torch.float64))
    """
    named = {f"{key}_" if key else "": one for key, one in as_objectives(objective, "").items()}
    first = next(iter(named.values()))
    epochs = path.epochs if isinstance(path, Recording) else None
    path, directions = as_snapshots(path, "path"), as_directions(directions)
    center = center if isinstance(center, Tensor) else as_vector(first, center, "center")
    shape = tuple(path.shape)
    if len(shape) not in (2, 3) or 0 in shape or shape[-1] != first.size:
        raise InputError(f"path must have shape (S, {first.size}) or (S, R, {first.size}), none empty, found {shape}")
    if center.shape != (first.size,) or directions.size != first.size:
        raise InputError(
            f"center and directions must have length {first.size} like the path, "
            f"found {tuple(center.shape)} and {directions.size}"
        )
    for one in named.values():
        columns(one, metrics)
    rows: list[dict[str, Tensor]] = []
    step = max(1, memory // (8 * 4 * (shape[1] if len(shape) == 3 else 1) * first.size))
    with progress.track("trajectory in the plane", total=shape[0]) as advance:
        for start in range(0, shape[0], step):
            rows.append(_look(named, torch.as_tensor(path[start : start + step]), center, directions, metrics))
            advance(min(start + step, shape[0]))
    joined = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    kinds = {
        kind: {name.removeprefix(kind): value for name, value in joined.items() if name.startswith(kind)}
        for kind in ("true/", "plane/")
    }
    distances = joined["off_plane"], joined["distance"]
    return PathOnPlane(joined["coordinates"], *distances, kinds["true/"], kinds["plane/"], epochs)


def _look(
    named: Mapping[str, Objective], thetas: Tensor, center: Tensor, directions: Directions, metrics: Sequence[str]
) -> dict[str, Tensor]:
    """One block of snapshots (s, P) or (s, R, P)."""
    lead = thetas.shape[:-1]
    offset = thetas.detach().to(center.device).double() - center.double()
    coordinates, away = directions.project(offset)
    shadow = center.double() + coordinates @ directions.vectors.to(center.device).double()
    out = {"coordinates": coordinates, "off_plane": away, "distance": torch.linalg.vector_norm(offset, dim=-1)}
    for key, objective in named.items():
        for kind, points in (("true/", thetas.to(center.device)), ("plane/", shadow)):
            found = measure(objective, points.reshape(-1, objective.size).to(objective.dtype), metrics)
            out |= {kind + key + name: value.reshape(lead) for name, value in found.items()}
    return out
