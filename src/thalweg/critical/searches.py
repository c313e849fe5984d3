"""Ends of searches, before anything is claimed about them: with their history, or matrix-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.figures import Axis, Band, Figure, Line, Panel
from thalweg.figures.scales import number
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LargeSearch", "LargeStatus", "Search"]


def searched(count: int) -> str:
    """The number of searches in words."""
    return f"{count:,} search{'' if count == 1 else 'es'}"


def course_figure(loss: np.ndarray, norm: np.ndarray) -> Figure:
    """Loss and ‖g‖ (T, R) against the iteration: median and range."""
    panels = []
    for label, values in (("loss", loss), ("‖g‖₂", norm)):
        kept = np.isfinite(values).any(axis=1)
        steps, drawn = np.flatnonzero(kept), np.where(np.isfinite(values), values, np.nan)[kept]
        positive = len(drawn) > 0 and np.nanmin(drawn) > 0
        low, middle, high = np.nanquantile(drawn, [0.0, 0.5, 1.0], axis=1) if len(drawn) else np.zeros((3, 0))
        marks = (Band(steps, low, high, group="all"), Line(steps, middle, group="all"))
        panels.append(Panel(Axis("iteration"), Axis(label, scale="log" if positive else "linear"), marks))
    caption = f"Median and range over {searched(loss.shape[1])}; one that has stopped keeps its last values."
    return Figure("search", "Course of the search", caption, tuple(panels), columns=1, share_x=True)


@short
@dataclass(frozen=True, eq=False)
class Search(BaseResult):
    """End points of a search, before anything is claimed about them.

    Attributes:
        theta: (R, P).
        iterations: (R,).
        index: The index that was searched for at the end (R,).
        history: One (loss (R,), ‖g‖ (R,)) per iteration; a replica that has stopped keeps its last values.
    """

    theta: Tensor
    iterations: Tensor
    index: Tensor
    history: tuple[tuple[Tensor, Tensor], ...] = ()

    def plot(self) -> Figure:
        """Loss and ‖g‖ at every iteration: median and range over the starts; without a history, ‖θ‖ and iterations."""
        if not self.history:
            columns = [Quantity("iterations", flat(self.iterations)), Quantity("‖θ‖", flat(self.theta.norm(dim=1)))]
            return pictured("search", "Ends of the search", "No history was kept.", columns, axis="start")
        return course_figure(*(torch.stack([step[k] for step in self.history]).double().cpu().numpy() for k in (0, 1)))

    def table(self) -> pl.DataFrame:
        """One row per start: iterations, index and ‖θ‖ at the end, and the last loss and ‖g‖ of the history."""
        last = dict(zip(("loss", "gradient"), self.history[-1], strict=True)) if self.history else {}
        found = {"iterations": self.iterations, "index": self.index, "norm": self.theta.norm(dim=1), **last}
        return tabled(found, axis="start")

    def summary(self) -> str:
        """How many iterations, and where the loss and its gradient stand."""
        steps = f"{searched(len(self.theta))}, iterations: {range_words(flat(self.iterations))}"
        if not self.history:
            return f"{steps}. Nothing is certified yet."
        loss, norm = self.history[-1]
        return (
            f"{steps}; at their ends the loss is {range_words(flat(loss))} and ‖g‖ {range_words(flat(norm))}. "
            "Nothing is certified yet."
        )


class LargeStatus(StrEnum):
    """What is known of a point without its whole spectrum."""

    CONVERGED = "converged"  # ‖g‖ within the tolerance and the lowest Ritz values as demanded
    WRONG_INDEX = "wrong index"  # ‖g‖ within the tolerance, but the lowest Ritz values say another index
    UNDECIDED = "undecided index"  # ‖g‖ within the tolerance, but the lowest Ritz values may be zero
    BUDGET = "budget exhausted"
    DIVERGED = "diverged"


@short
@dataclass(frozen=True, eq=False)
class LargeSearch(BaseResult):
    """End points of a matrix-free search.

    Attributes:
        theta: (R, P).
        status: Of each.
        gradient: ‖g‖ (R,).
        lowest: The two lowest Ritz values (R, 2) with
        residuals: their residuals (R, 2): each is an eigenvalue to that accuracy.
        products: Hessian-vector products spent (R,).
        history: Per replica (loss, ‖g‖) of every iteration.
    """

    theta: Tensor
    status: tuple[LargeStatus, ...]
    gradient: Tensor
    lowest: Tensor
    residuals: Tensor
    products: Tensor
    history: tuple[tuple[tuple[float, float], ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", tuple(map(LargeStatus, self.status)))  # a file holds them as text

    def plot(self) -> Figure:
        """Loss and ‖g‖ at every iteration: median and range over the starts."""
        longest = max(map(len, self.history))
        padded = np.full((longest, len(self.history), 2), np.nan)
        for r, rows in enumerate(self.history):
            if rows:
                padded[:, r] = rows[-1]
                padded[: len(rows), r] = rows
        return course_figure(padded[..., 0], padded[..., 1])

    def table(self) -> pl.DataFrame:
        """One row per start: status, ‖g‖, the two lowest Ritz values with residuals, products."""
        ritz = {f"lowest {k + 1}": self.lowest[:, k] for k in range(self.lowest.shape[1])}
        ritz |= {f"residual {k + 1}": self.residuals[:, k] for k in range(self.residuals.shape[1])}
        status = {"status": [str(one) for one in self.status], "gradient": self.gradient}
        return tabled({**status, **ritz, "products": self.products}, axis="start")

    def summary(self) -> str:
        """What became of the searches, and what they cost."""
        said = [str(one) for one in self.status]
        fates = ", ".join(f"{said.count(one)} {one}" for one in dict.fromkeys(said))
        return (
            f"{searched(len(said))}: {fates}. ‖g‖ is {range_words(flat(self.gradient))}, the lowest Ritz value "
            f"{range_words(flat(self.lowest[:, 0]))} (residual at most {number(float(flat(self.residuals).max()))}), "
            "for "
            f"{range_words(flat(self.products))} products."
        )
