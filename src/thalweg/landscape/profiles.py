"""What a network does along a path: every metric on every data set, and how high the way rises between its ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.figures import Figure, Panel
from thalweg.landscape.barriers import Barrier, barrier
from thalweg.landscape.evaluating import Buffers, Evaluator, Statistics, Values
from thalweg.landscape.flatness import flat_value, why_flat
from thalweg.landscape.paths import Path, positions
from thalweg.landscape.profile_figures import twin
from thalweg.objective import Objective
from thalweg.results import BaseResult

__all__ = ["Profile", "follow"]


@short
@dataclass(frozen=True, eq=False)
class Profile(BaseResult):
    """Metrics along a path, at T places, for every pair of the leading axes.

    Args:
        path: The path; its points are the ends and bends.
        positions: (T,) float64, t of every place (α on a line).
        arc: (T, …) float64, the share of the path's length up to there; equals t on a line.
        values: data set -> metric -> (T, …). "loss" is the mean over the samples, without l2; "objective", with l2, is
            there where the objective has one.
        barriers: data set -> the barrier of its loss; empty unless 0 and 1 are among the positions.
        batchnorm: What normalisation layers did, in words; empty for a network without any.
        notes: Sentences: what other buffers were, how many values are not finite, why a flat curve is flat.
    """

    path: Path
    positions: Tensor
    arc: Tensor
    values: Values
    barriers: dict[str, Barrier]
    batchnorm: str
    notes: tuple[str, ...] = ()

    def mean(self, data: str = "train", metric: str = "loss", over: Literal["arc", "position"] = "arc") -> Tensor:
        """The mean of a metric between the two ends, (…) float64, by the trapezoidal rule.

        Args:
            data: The data set.
            metric: The metric.
            over: Uniform in length along the path, or uniform in t.
        """
        y, inside = self.values[data][metric].double(), (self.positions >= 0) & (self.positions <= 1)
        x = self.arc if over == "arc" else self.positions.reshape(-1, *(1 for _ in self.path.lead)).expand_as(y)
        return torch.trapezoid(y[inside], x[inside].to(y.device), dim=0)

    def plot(self) -> Figure:
        """Loss and, where it is known, accuracy of every data set; of several pairs the median and the range."""
        panel, pairs = self.panel(), self.path.lead.numel()
        caption = (
            f"Loss (left axis){' and accuracy (right)' if panel.right else ''} along the way; dotted: its two ends."
            f"{f' Lines are medians and bands the range over {pairs} pairs.' if pairs > 1 else ''} "
        )
        return Figure("profile", "On the way between two solutions", caption + " ".join(self.notes), (panel,))

    def panel(self, title: str = "") -> Panel:
        """The frame of :meth:`plot`, for figures of your own."""
        shown = ("loss", "accuracy")
        values = {data: {k: _pairs(v) for k, v in one.items() if k in shown} for data, one in self.values.items()}
        return twin(self.positions.numpy(), values, title=title)

    def table(self) -> pl.DataFrame:
        """One row per place and pair: "position", "pair", "arc", and every metric, such as "train loss"."""
        arc = _pairs(self.arc)
        columns: dict[str, Any] = {"position": np.repeat(self.positions.numpy(), arc.shape[1])}
        columns |= {"pair": np.tile(np.arange(arc.shape[1]), len(arc)), "arc": arc.ravel()}
        named = ((f"{data} {name}", value) for data, one in self.values.items() for name, value in one.items())
        return pl.DataFrame(columns | {name: _pairs(value).ravel() for name, value in named})

    def summary(self) -> str:
        """The loss at both ends and the barrier between them, with its standard error."""
        said = []
        for data, metrics in self.values.items():
            loss = _pairs(metrics["loss"])
            if data not in self.barriers:
                said.append(f"The {data} loss goes from {np.nanmin(loss):.4g} to {np.nanmax(loss):.4g}.")
                continue
            ends = [float(np.median(loss[self.positions.numpy() == t])) for t in (0.0, 1.0)]
            height, error = self.barriers[data].height, self.barriers[data].error
            middle = f"{float(height.median()):.4g}"
            known = f" ± {float(error):.2g}" if height.dim() == 0 and bool(error.isfinite()) else ""
            several = f" (median of {height.numel()} pairs)" if height.numel() > 1 else ""
            rise = (
                f"the barrier between them is {middle}{known}" if float(height.max()) else "no barrier is between them"
            )
            said.append(f"The {data} loss is {ends[0]:.4g} and {ends[1]:.4g} at the two ends; {rise}{several}.")
        return " ".join(said)


def _pairs(value: Tensor) -> np.ndarray:
    """(T, …) as (T, pairs), float64."""
    return value.detach().double().cpu().numpy().reshape(len(value), -1)


@declared
def follow(
    objectives: Objective | Mapping[str, Objective],
    path: Path,
    t: Tensor | list[float] | None = None,
    *,
    batchnorm: Statistics = "recomputed",
    buffers: tuple[Buffers | None, Buffers | None] = (None, None),
    subsets: int = 10,
    seed: int = 0,
) -> Profile:
    """Evaluates every metric of every objective along a path.

    The ends (and every bend that a position meets exactly) are evaluated as the caller's own points and not as sums:
    their values are bit for bit those of `objective.metrics` at them, with the same buffers.

    Args:
        objectives: One objective (called "train"), or data set -> objective of the same network. The first is the one
            whose data recompute the statistics of normalisation layers: a test set never does.
        path: Where to go.
        t: (T,) positions; default 61 from 0 to 1.
        batchnorm: What normalisation layers use, whatever the objectives' own policy: statistics "recomputed" on the
            first objective's data at every place (Garipov et al. 2018, appendix A.2), "interpolated" between those of
            the two ends, which is for lines only, or those of the "first" or the "last" end at every place.
        buffers: Those of the two ends, name -> (…, *shape), such as `snapshots.buffers(-1)` of a recording; those that
            are not given are the ones of the first objective's model. Buffers that are no running statistics are used
            by every network, with normalisation layers or without: exactly those of an end there; between the ends
            linear in t, whole numbers and truth values those of the nearer end; beyond an end those of the end. With
            "first" and "last" they too are those of one end at every place.
        subsets: Disjoint parts of the data from which the error of the barrier comes; 0 for none.
        seed: Of the partition into these parts.

    Raises:
        InputError: Objectives of another network, points of another size or a choice that does not fit the path.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(20, 2), torch.randn(20, 1)))
        >>> a, b = objective.initial(replicas=4), objective.initial(replicas=4, first=4)
        >>> found = follow(objective, Path(torch.stack([a, b])))
        >>> found.values["train"]["loss"].shape, bool((found.values["train"]["loss"][0] == objective.value(a)).all())
        (torch.Size([61, 4]), True)
    """
    evaluate = Evaluator.of(objectives, path, batchnorm, buffers)
    t = torch.linspace(0, 1, 61, dtype=torch.float64) if t is None else positions(t)
    values = evaluate(t)
    arc = path.arc(t)
    found: dict[str, Barrier] = {}
    if bool((t == 0).any()) and bool((t == 1).any()):
        found = {name: barrier(evaluate, name, t, arc, values[name]["loss"], subsets, seed) for name in values}
    return Profile(path, t, arc, values, found, evaluate.words, tuple(_remarks(evaluate, t, values)))


def _remarks(evaluate: Evaluator, t: Tensor, values: Values) -> list[str]:
    """What buffers were, what is not finite, and why what is flat on all paths is flat."""
    notes = [evaluate.ends.note] if evaluate.ends.note and evaluate.batchnorm in ("recomputed", "interpolated") else []
    for data, metrics in values.items():
        objective = evaluate.objectives[data]
        for metric, found in metrics.items():
            label, array = f"{data} {metric}", found.detach().double().cpu().numpy()
            bad = int((~np.isfinite(array)).sum())
            notes += [f"{bad} of {array.size} values of {label} are not finite."] if bad else []
            if len(t) > 1 and all(flat_value(one, torch.finfo(found.dtype).eps) is not None for one in _curves(array)):
                points = evaluate.path.at(t[[0, -1]]).to(objective.device, objective.dtype)
                points = points.reshape(2, -1, objective.size)[:, 0]
                first = label if found.dim() == 1 else f"{label} of the first pair"
                said = why_flat(objective, points[0], points, metric, first, _curves(array)[0])
                notes += [said] if said else []
    return notes


def _curves(array: np.ndarray) -> np.ndarray:
    """(T, …) as (pairs, T)."""
    return array.reshape(len(array), -1).T
