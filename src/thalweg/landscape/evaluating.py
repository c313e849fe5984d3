"""Metrics of several objectives anywhere on one path, with the buffers that belong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from thalweg import progress
from thalweg.errors import InputError, nearest
from thalweg.landscape.buffers import Ends, recomputed
from thalweg.landscape.buffers import pair as buffers_of_ends
from thalweg.landscape.paths import Path
from thalweg.objective import Objective, normalization
from thalweg.objective.arguments import as_objectives
from thalweg.objective.planning import VALUE

__all__ = ["Evaluator", "Statistics", "Values"]

Statistics = Literal["recomputed", "interpolated", "first", "last"]
STATISTICS = ("recomputed", "interpolated", "first", "last")
TOGETHER = 8  # places evaluated at once; more are no faster, and progress shows rarely
Buffers = Mapping[str, Tensor]
Values = dict[str, dict[str, Tensor]]  # data set -> metric -> (T, …)


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Metrics of several objectives anywhere on one path, with the right buffers.

    Args:
        objectives: data set -> objective; normalisation layers read the buffers they are given.
        path: The path.
        batchnorm: As for `follow`.
        ends: Buffers of the two ends.
    """

    objectives: dict[str, Objective]
    path: Path
    batchnorm: Statistics
    ends: Ends

    @classmethod
    def of(
        cls,
        objectives: Objective | Mapping[str, Objective],
        path: Path,
        batchnorm: Statistics,
        buffers: tuple[Buffers | None, Buffers | None],
    ) -> Evaluator:
        """Checks what was given."""
        named = as_objectives(objectives, "train", "objectives")
        if not isinstance(path, Path):
            raise InputError(f"path must be a Path (Path(torch.stack([a, b])), say), found {type(path).__name__}")
        first = next(iter(named.values()))
        for name, one in named.items():
            if one.layout != first.layout:
                raise InputError(f"objectives['{name}'] must be an objective of the same network as the first one")
        first.layout.check(path.points, "path.points")
        if batchnorm not in STATISTICS:
            known = ", ".join(STATISTICS)
            raise InputError(f"batchnorm must be one of {known}, found '{batchnorm}'{nearest(batchnorm, STATISTICS)}")
        given = buffers_of_ends(buffers)
        if not normalization.layers(first.program.model) and first.batchnorm != "batch":
            return cls(named, path, batchnorm, Ends.of(first.program.model, given, path.lead))
        if batchnorm == "interpolated" and path.kind != "line":
            raise InputError(f"batchnorm 'interpolated' needs a line: a bend of a {path.kind} has no statistics")
        frozen = {name: one.with_batchnorm("frozen") for name, one in named.items()}
        first = next(iter(frozen.values()))
        return cls(frozen, path, batchnorm, Ends.of(first.program.model, given, path.lead))

    @property
    def words(self) -> str:
        """What normalisation layers do; empty without any."""
        first, objective = next(iter(self.objectives.items()))
        if not normalization.layers(objective.program.model):
            return ""
        batches = objective.batches
        pieces = [-(-count // -(-count // self._batch)) for count in batches.counts if count]  # cut into equal ones
        how = f"{max(pieces, default=0)} samples at a time" if batches.divisible else "batch by batch as they are given"
        return {
            "recomputed": f"statistics recomputed at every place on the {first} data, {how}",
            "interpolated": "statistics interpolated between those of the two ends",
            "first": "the statistics of the first end at every place",
            "last": "the statistics of the last end at every place",
        }[self.batchnorm]

    @property
    def _batch(self) -> int:
        return next(iter(self.objectives.values())).evaluation.plan(1, VALUE).samples

    def __call__(self, t: Tensor) -> Values:
        """(T,) -> data set -> metric -> (T, …)."""
        weights = self.path.weights(t)
        pure = [int(row.argmax()) if row.count_nonzero() == 1 and row.max() == 1 else None for row in weights]
        between = [i for i, k in enumerate(pure) if k is None]
        points = self.path.points
        together = max(1, min(TOGETHER, next(iter(self.objectives.values())).memory // (8 * points[0].nbytes)))
        parts = [between[i : i + together] for i in range(0, len(between), together)]
        rows: dict[int, dict[str, dict[str, Tensor]]] = {}
        with progress.track("along the path", total=len(t)) as advance:
            for k in {k for k in pure if k is not None}:  # an end: the caller's own tensor, evaluated by itself
                place = pure.index(k)
                found = self.metrics(points[k], t[place].expand(self.path.lead))
                rows |= {i: found for i, other in enumerate(pure) if other == k}
                advance(len(rows))
            for part in parts:
                places = t[part].reshape(-1, *(1 for _ in self.path.lead)).expand(-1, *self.path.lead)
                found = self.metrics(self.path.at(t[part]), places)
                for row, i in enumerate(part):
                    rows[i] = {name: {key: v[row] for key, v in one.items()} for name, one in found.items()}
                advance(len(rows))
        return {
            name: {key: torch.stack([rows[i][name][key] for i in range(len(t))]) for key in one}
            for name, one in rows[0].items()
        }

    def metrics(self, theta: Tensor, t: Tensor, objectives: Mapping[str, Objective] | None = None) -> Values:
        """Metrics at points of the path.

        Args:
            theta: (…, P), or (T, …, P).
            t: Their positions, of shape (…) or (T, …).
            objectives: Other objectives of the same network; default those of the path.
        """
        own = self._buffers(theta, t)
        out: Values = {}
        for name, objective in (self.objectives if objectives is None else objectives).items():
            point = theta.to(objective.device, objective.dtype)
            found = objective.metrics(point, own)
            if objective.l2:
                found["objective"] = found["loss"] + 0.5 * objective.l2 * point.square().sum(-1)
            out[name] = found
        return out

    def _buffers(self, theta: Tensor, t: Tensor) -> dict[str, Tensor]:
        """The buffers that belong to points (…, P) at positions (…)."""
        if self.batchnorm != "recomputed":
            return self.ends.at(t, self.batchnorm, self.path.lead)
        others = self.ends.at(t, self.batchnorm, self.path.lead, statistics=False)
        objective = next(iter(self.objectives.values()))
        point = theta.to(objective.device, objective.dtype)
        return others | recomputed(objective, point, others, self._batch)
