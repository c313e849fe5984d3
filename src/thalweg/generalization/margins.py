"""Margins: by how much the score of the right class beats the best other one (Bartlett et al. 2017; Jiang et al. 2019).

Scores alone can be multiplied by any number; divided by the product of the layers' spectral norms they are a property
of the function's shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Line, Panel, VLine
from thalweg.generalization.norms import spectral_product
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta, floating
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Margins", "margin_percentile", "margins", "normalized_margin"]

MOST = 50  # curves; more cannot be told apart


@short
@dataclass(frozen=True, eq=False)
class Margins(BaseResult):
    """By how much the score of the right class beats the best other one, at every θ (…) and sample.

    Args:
        values: (…, N) float64; negative where the network is wrong.
    """

    values: Tensor

    @property
    def wrong(self) -> Tensor:
        """(…), the share of samples with a margin that is not positive."""
        return (~(self.values > 0)).double().mean(-1)

    def percentile(self, percentile: float = 10.0) -> Tensor:
        """(…), see :func:`margin_percentile`."""
        return margin_percentile(self.values, percentile)

    def plot(self) -> Figure:
        """The share of samples below every margin, one curve per network."""
        rows = np.sort(self.values.reshape(-1, self.values.shape[-1]).cpu().numpy(), axis=1)[:MOST]
        share = (np.arange(rows.shape[1]) + 1) / rows.shape[1]
        few = len(rows) <= 8
        lines = [Line(row, share, label=f"network {r}" if few else "", steps=True) for r, row in enumerate(rows)]
        marks = (*lines, VLine(0.0, text="wrong | right", style="dotted", colour="muted"))
        caption = "Share of the samples whose margin is at most so large: those left of 0 are classified wrongly."
        panel = Panel(Axis("margin"), Axis("share of samples", limits=(0.0, 1.02)), marks)
        return Figure("margins", "Margins", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row per network: percentiles of its margins, and the share of samples that are wrong."""
        columns = {f"{p} %": self.percentile(float(p)) for p in (0, 10, 50, 90, 100)}
        return tabled(columns | {"share wrong": self.wrong})

    def summary(self) -> str:
        """A low percentile and the median of the margins, and how many samples are wrong."""
        low, middle = (range_words(flat(self.percentile(p))) for p in (10.0, 50.0))
        wrong = flat(self.wrong)
        return (
            f"A tenth of the margins lie below {low}, half of them below {middle}; {range_words(wrong, percent)} of "
            f"{counted(self.values.shape[-1], 'sample')} are wrong ({counted(len(wrong), 'network')})."
        )


@declared
def margins(objective: Objective, theta: Tensor) -> Margins:
    """The margin of every sample, f_y − max over the other classes; negative where the network is wrong.

    Args:
        objective: A classification.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.

    Raises:
        InputError: The objective is no classification: its outputs must be (N, C), its targets class numbers (N,).

    Example:
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> objective = Objective(model, torch.nn.CrossEntropyLoss(), (torch.eye(2), torch.tensor([0, 0])))
        >>> margins(objective, torch.tensor([1.0, 0.0, 0.0, 3.0])).values  # scores are the rows of diag(1, 3)
        tensor([ 1., -3.], dtype=torch.float64)
    """
    theta = as_theta(objective, theta)
    scores = objective.outputs(theta).detach()  # (…, N, C)
    target = torch.cat([batch[1] for batch, _ in objective.batches.chunks()])
    if target.dim() != 1 or target.is_floating_point() or scores.dim() != theta.dim() + 1 or scores.shape[-1] < 2:
        raise InputError(
            "margins need outputs (N, C) with C at least 2 and class numbers (N,) as targets, found outputs "
            f"{tuple(scores.shape[theta.dim() - 1 :])} and targets {tuple(target.shape)}"
        )
    index = target.expand(scores.shape[:-1]).unsqueeze(-1)
    right = scores.gather(-1, index).squeeze(-1)
    others = scores.scatter(-1, index, -torch.inf).amax(-1)
    return Margins((right - others).double())


@declared
def margin_percentile(margins: Tensor, percentile: float = 10.0) -> Tensor:
    """A low percentile of the margins (…, N) -> (…): the smallest but for outliers; default 10 (Jiang et al. 2020).

    Example:
        >>> margin_percentile(torch.arange(11.0).double(), 10).item()
        1.0
    """
    if not 0 <= percentile <= 100:
        raise InputError(f"percentile must be from 0 to 100, found {percentile}")
    return torch.quantile(floating(margins, "margins"), percentile / 100, dim=-1)


@declared
def normalized_margin(objective: Objective, theta: Tensor, percentile: float = 10.0) -> Tensor:
    """`margin_percentile` over the product of spectral norms (Bartlett et al. 2017): (…, P) -> (…), float64."""
    return margins(objective, theta).percentile(percentile) / spectral_product(objective, theta)
