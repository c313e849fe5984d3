"""Searched points in groups: kept in a run chunk by chunk, so that a kill costs one chunk, and read back whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.critical import CriticalPoints
    from thalweg.runs import Run

__all__ = ["Group", "NOT_CRITICAL", "pack", "searched", "unpack"]

NOT_CRITICAL = ("gradient-flat", "descending", "diverged")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Points that were searched in one way, with everything measured there.

    Attributes:
        name: In one or two words, "end point", "minimum", "index-1 search", "embedded".
        l2: Weight of the penalty of the loss to which they belong.
        points: Where the searches ended, with certificates.
        starts: The number of the training (or of the start) of each point (R,).
        history: Loss and ‖g‖ at every iteration of the search, (R, T) each; empty if they were not kept.
        neighbours: "ratio", "low", "high" (R, K), of `neighbour_ratio`, and "undecided" as a share.
        radii: (K,).
        single: Eigenvalues of the Hessian computed in float32 throughout, ascending (R, P); None if not wanted.
        rounding: For points that need not be critical, shares of the modes that are certainly and possibly positive
            against the rounding errors of the Hessian alone, and that band, (R,) each.
        names: Of the points, where they are not made of the group's name and their numbers.
    """

    name: str
    l2: float
    points: CriticalPoints
    starts: np.ndarray
    history: tuple[np.ndarray, np.ndarray] | None
    neighbours: dict[str, np.ndarray]
    radii: np.ndarray
    single: np.ndarray | None = None
    rounding: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points.status)

    @property
    def critical(self) -> np.ndarray:
        """(R,) whether a point is critical to tolerance."""
        return np.array([str(status) not in NOT_CRITICAL for status in self.points.status], dtype=bool)

    @property
    def finite(self) -> np.ndarray:
        """(R,) whether the search stayed finite."""
        return np.array([str(status) != "diverged" for status in self.points.status], dtype=bool)

    def number(self, field: str) -> np.ndarray:
        """A field of the certificates as numpy (R,) or (R, P)."""
        return getattr(self.points.certificate, field).numpy()

    @property
    def counted(self) -> np.ndarray:
        """Modes outside the symmetry orbits (R,)."""
        return self.number("positive") + self.number("negative") + self.number("undecided")

    @property
    def strict(self) -> np.ndarray:
        """Share of the eigenvalues > 0, whatever their size (R,): what is usually called minimal ratio."""
        values = self.number("eigenvalues")
        return (values > 0).sum(axis=1) / np.maximum(1, np.isfinite(values).sum(axis=1))

    @property
    def certain(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of certainly positive modes, and the same with the undecided ones (R,), (R,)."""
        counted = np.maximum(1, self.counted)
        return self.number("positive") / counted, (self.number("positive") + self.number("undecided")) / counted

    @property
    def keys(self) -> list[str]:
        """A name for every point."""
        return list(self.names) or [f"{self.name} {start + 1}" for start in self.starts.tolist()]


def searched(
    run: Run, name: str, count: int, chunk: int, search: Callable[[slice], dict[str, Tensor]]
) -> list[dict[str, Tensor]]:
    """Does a search chunk by chunk; chunks that an earlier attempt has kept are only read.

    Args:
        run: Where the chunks are kept.
        name: Of the results.
        count: Number of starts.
        chunk: How many of them are searched together.
        search: Positions of the starts -> arrays whose first axis is the start.
    """
    parts = []
    for start in range(0, count, chunk):
        place = slice(start, min(start + chunk, count))
        parts.append(run.cached(f"{name}-{start:05d}", lambda place=place: search(place)))
    return parts


def pack(points: CriticalPoints, *, history: bool = False) -> dict[str, Tensor]:
    """Certified points as arrays with the point first; their words as bytes."""
    import torch

    from thalweg.critical import Certificate

    words = {"status": [str(s) for s in points.status], "message": list(points.message), "kind": list(points.kind)}
    text = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8).copy()
    out = {"theta": points.theta, "iterations": points.iterations, "words": torch.from_numpy(text)}
    out |= {f"certificate.{name}": getattr(points.certificate, name) for name in Certificate.__dataclass_fields__}
    if history and points.history:
        out["history.loss"] = torch.stack([loss for loss, _ in points.history], 1)
        out["history.norm"] = torch.stack([norm for _, norm in points.history], 1)
    return {name: value.contiguous() for name, value in out.items()}


def unpack(parts: list[dict[str, Tensor]]) -> tuple[CriticalPoints, tuple[np.ndarray, np.ndarray] | None]:
    """The points of all chunks as one, and their histories, the shorter ones continued with their last value."""
    import torch

    from thalweg.critical import Certificate, CriticalPoints, Status

    words: dict[str, list[str]] = {"status": [], "message": [], "kind": []}
    for part in parts:
        for name, entries in json.loads(bytes(part["words"].numpy()).decode()).items():
            words[name] += entries
    names = Certificate.__dataclass_fields__
    points = CriticalPoints(
        torch.cat([part["theta"] for part in parts]),
        tuple(Status(status) for status in words["status"]),
        tuple(words["message"]),
        tuple(words["kind"]),
        Certificate(**{name: torch.cat([part[f"certificate.{name}"] for part in parts]) for name in names}),
        torch.cat([part["iterations"] for part in parts]),
    )
    if not all("history.loss" in part for part in parts):
        return points, None
    longest = max(part["history.loss"].shape[1] for part in parts)
    loss, norm = (
        np.concatenate([_continued(part[f"history.{name}"].numpy(), longest) for part in parts])
        for name in ("loss", "norm")
    )
    return points, (loss, norm)


def _continued(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), mode="edge")
