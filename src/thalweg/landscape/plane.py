"""A trajectory and the plane that it is drawn in: where its shadow falls, and what the loss is there and here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg import progress
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.landscape.blocks import as_snapshots
from thalweg.landscape.directions import Directions, as_directions
from thalweg.landscape.measures import columns, measure
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objectives, as_vector

__all__ = ["PathOnPlane", "path_on_plane"]


@short
@dataclass(frozen=True, eq=False)
class PathOnPlane:
    """A trajectory in the coordinates of a picture, with what the picture gets wrong.

    Args:
        coordinates: (S, R, K) float64, of the nearest point of the plane; (S, K) where the path had no replicas.
        off_plane: (S, R), distance of the weights from that point.
        distance: (S, R), distance of the weights from the centre of the picture.
        true: name -> (S, R) float64 at the weights themselves.
        plane: name -> (S, R) at the nearest point, where a picture draws them.
    """

    coordinates: Tensor
    off_plane: Tensor
    distance: Tensor
    true: dict[str, Tensor]
    plane: dict[str, Tensor]

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
    return PathOnPlane(joined["coordinates"], joined["off_plane"], joined["distance"], kinds["true/"], kinds["plane/"])


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
