"""Margins: by how much the score of the right class beats the best other one (Bartlett et al. 2017; Jiang et al. 2019).

Scores alone can be multiplied by any number; divided by the product of the layers' spectral norms they are a property
of the function's shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.generalization.norms import spectral_product
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta, floating

__all__ = ["margin_percentile", "margins", "normalized_margin"]


@declared
def margins(objective: Objective, theta: Tensor) -> Tensor:
    """The margin of every sample, f_y − max over the other classes: (…, P) -> (…, N), float64; negative where wrong.

    Raises:
        InputError: The objective is no classification: its outputs must be (N, C), its targets class numbers (N,).

    Example:
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> objective = Objective(model, torch.nn.CrossEntropyLoss(), (torch.eye(2), torch.tensor([0, 0])))
        >>> margins(objective, torch.tensor([1.0, 0.0, 0.0, 3.0]))  # scores are the rows of diag(1, 3)
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
    return (right - others).double()


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
    return margin_percentile(margins(objective, theta), percentile) / spectral_product(objective, theta)
