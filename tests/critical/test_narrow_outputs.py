"""Gauss–Newton matrices from the Jacobian equal the reference, and apply only where they should."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import reference
from tests.critical.cases import sinc
from thalweg.critical.narrow_outputs import narrow_outputs, one_pass
from thalweg.objective import Objective

CASES = {
    "mse": (lambda: nn.MSELoss(), lambda: torch.randn(9, 2)),
    "classes": (lambda: nn.CrossEntropyLoss(), lambda: torch.randint(2, (9,))),
    "shares": (lambda: nn.CrossEntropyLoss(), lambda: torch.rand(9, 2)),
}


def build(name, **options):
    loss, target = CASES[name]
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
    torch.manual_seed(1)
    data = (torch.randn(9, 2, 2), target())
    return Objective(model, loss(), data, l2=0.03, dtype=torch.float64, **options)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    objective = build(name)
    assert narrow_outputs(objective)
    theta = objective.initial(2, seed=3)
    value, gradient, matrix = one_pass(objective, theta)
    torch.testing.assert_close(value, objective.value(theta))
    torch.testing.assert_close(gradient, objective.gradient(theta))
    for r in range(2):
        torch.testing.assert_close(matrix[r], reference.ggn(objective, theta[r]), atol=1e-12, rtol=1e-9)


def test_nan_stays_in_its_replica():
    objective = sinc(3)
    theta = objective.initial(3)
    clean = one_pass(objective, theta)
    theta[1] = torch.nan
    value, gradient, matrix = one_pass(objective, theta)
    assert value.isnan().tolist() == [False, True, False]
    for ours, before in zip((value, gradient, matrix), clean, strict=True):
        torch.testing.assert_close(ours[[0, 2]], before[[0, 2]])


def test_does_not_apply():
    x = torch.randn(9, 4)
    wide = Objective(nn.Linear(4, 4), nn.MSELoss(), (x, x))
    batched = Objective(nn.Linear(4, 1), nn.MSELoss(), [(x, x[:, :1]), (x, x[:, :1])])
    ignored = Objective(nn.Linear(4, 2), nn.CrossEntropyLoss(), (x, torch.tensor([0, 1, -100] * 3)))
    part = Objective(nn.Linear(4, 1), nn.MSELoss(), (x, x[:, :1]), parameters="weight")
    other = Objective(nn.Linear(4, 1), nn.L1Loss(), (x, x[:, :1]))
    assert [narrow_outputs(o) for o in (wide, batched, ignored, part, other)] == [False] * 5
