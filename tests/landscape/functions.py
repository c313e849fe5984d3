"""Objectives with closed forms: modules whose parameters are the coordinates of a function."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from thalweg.objective import Objective


class Coordinates(nn.Module):
    """Returns its parameters for every sample."""

    def __init__(self, theta: Tensor):
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.theta.expand(len(x), -1)


def objective_of(function: Callable[[Tensor], Tensor], theta: Tensor, **options) -> Objective:
    """An objective in float64 that is a function (…, P) -> (…) of its parameters."""
    data = torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    model = Coordinates(theta.double())
    return Objective(model, lambda output, _: function(output).mean(), data, check=False, **options)


def rosenbrock(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def relu_network(*widths: int, samples: int = 20, seed: int = 0, bias: bool = False) -> Objective:
    """A ReLU network in float64 under cross-entropy on noise."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    data = torch.randn(samples, widths[0]).double(), torch.randint(0, widths[-1], (samples,))
    return Objective(nn.Sequential(*layers[:-1]).double(), nn.CrossEntropyLoss(), data)
