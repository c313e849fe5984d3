"""Points that were searched in one way, with what was measured there: kept in a run chunk by chunk, read back whole."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.critical import CriticalPoints
from thalweg.curvature import NeighbourRatio
from thalweg.runs import Run

__all__ = ["Group", "histories", "kept", "together"]


@dataclass(frozen=True, eq=False)
class Group:
    """Points that were searched in one way.

    Attributes:
        name: In one or two words, "end point", "minimum", "index-1 search", "embedded".
        l2: Weight of the penalty of the loss to which they belong.
        points: Where the searches ended, with certificates.
        starts: The number of the training (or of the start) of each point (R,).
        neighbours: Shares of higher neighbours; None if they were not drawn.
        single: Eigenvalues of the Hessian computed in float32 throughout, ascending (R, P); None if not wanted.
        rounding: For points that need not be critical, shares of the modes that are certainly and possibly positive
            against the rounding errors of the Hessian alone, and that band, (R,) each.
        history: Loss and ‖g‖ at every iteration of the search, (T, R) each; None if they were not kept.
        names: Of the points, where they are not made of the group's name and their numbers.
    """

    name: str
    l2: float
    points: CriticalPoints
    starts: np.ndarray
    neighbours: NeighbourRatio | None = None
    single: np.ndarray | None = None
    rounding: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    history: tuple[np.ndarray, np.ndarray] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    @property
    def keys(self) -> list[str]:
        """A name for every point."""
        return list(self.names) or [f"{self.name} {start + 1}" for start in self.starts.tolist()]

    @property
    def positive(self) -> tuple[np.ndarray, np.ndarray]:
        """Shares of the modes that are certainly and possibly positive (R,), (R,)."""
        return self.rounding[:2] if self.rounding is not None else self.points.certain

    def near(self, field: str = "ratio") -> np.ndarray:
        """A field of the neighbours, (R, K)."""
        if self.neighbours is None:
            raise ValueError(f"no neighbours of the {self.name} group were drawn")
        return getattr(self.neighbours, field).numpy()

    def place(self, radius: float) -> int:
        """The position of the nearest radius at which neighbours were drawn."""
        return 0 if self.neighbours is None else int((self.neighbours.radii - radius).abs().argmin())


def kept(run: Run, name: str, count: int, chunk: int, search: Callable[[slice], Any]) -> list[Any]:
    """Does a search chunk by chunk; chunks that an earlier attempt has kept are only read.

    Args:
        run: Where the chunks are kept.
        name: Of the results.
        count: Number of starts.
        chunk: How many of them are searched together.
        search: Positions of the starts -> a result of them.
    """
    parts = []
    for start in range(0, count, chunk):
        place = slice(start, min(start + chunk, count))
        parts.append(run.cached(f"{name}-{start:05d}", functools.partial(search, place)))
    return parts


def together(parts: list[CriticalPoints]) -> CriticalPoints:
    """The points of all chunks as one, without their histories."""
    return functools.reduce(CriticalPoints.joined, parts)


def histories(parts: list[CriticalPoints]) -> tuple[np.ndarray, np.ndarray] | None:
    """Loss and ‖g‖ of all chunks (T, R), the shorter ones continued with their last value."""
    if not all(part.history for part in parts):
        return None
    longest = max(len(part.history) for part in parts)
    loss, norm = (
        np.concatenate([_continued(np.stack([step[k].numpy() for step in part.history]), longest) for part in parts], 1)
        for k in (0, 1)
    )
    return loss, norm


def _continued(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, ((0, length - len(values)), (0, 0)), mode="edge")
