"""Where ways of evaluation are compared: a few samples from all over the data, at a θ beside the model's own."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from tests.objective.plainly import CE, ce, close, data, made
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.plain import few


def test_another_l_at_every_call_is_refused_with_both_numbers():
    """A weight that grows with every call, as in an annealed loss."""
    calls = []

    def loss(output, target):
        calls.append(1)
        return len(calls) * CE(output, target)

    with pytest.raises(InputError, match=r"must be deterministic, found .* counts its calls") as refused:
        Objective(made(), loss, data())
    found = [float(number) for number in re.findall(r"\d+\.\d{4,}", str(refused.value))]
    objective = Objective(made(), CE, data())
    batch, moved = few(objective)
    known = [float(ce(objective.module(theta), batch).detach()) for theta in (objective.theta, moved)]
    counts = min(([one / value for one in found] for value in known), key=lambda c: sum(abs(x - round(x)) for x in c))
    assert counts == pytest.approx([round(one) for one in counts], rel=1e-6)
    assert len({round(one) for one in counts}) == 2


@pytest.mark.parametrize("samples", [3, 8, 200])
def test_the_few_samples_are_from_all_over_the_data(samples):
    x, y = torch.arange(4.0 * samples).reshape(samples, 4).double() / samples, torch.arange(samples) * 3 // samples
    objective = Objective(made(), CE, (x, y))
    batch, theta = few(objective)
    assert len(batch[1]) == min(8, samples)
    assert set(batch[1].tolist()) == {0, 1, 2}
    assert torch.equal(batch[0][[0, -1]], x[[0, -1]])
    shift = (theta - objective.theta).norm() / objective.theta.norm()
    assert 0.1 < float(shift) < 0.3


def test_l_that_is_finite_only_near_theta_is_compared_near_it():
    model = nn.Linear(4, 1, bias=False).double()
    nn.init.constant_(model.weight, 1.0)
    x = torch.eye(4, dtype=torch.float64)

    def loss(output, target):
        return -torch.log(0.05 - (output - target).square()).mean()  # nan where a weight has moved by 0.22 or more

    objective = Objective(model, loss, (x, torch.ones(4, 1, dtype=torch.float64)))
    shift = few(objective)[1] - objective.theta
    assert 0 < float(shift.abs().max()) < 0.23
    agrees_at = objective.theta + 0.1
    wanted = -torch.log(torch.tensor(0.04, dtype=torch.float64))
    close(objective.value(agrees_at), wanted, "value")
    close(objective.gradient(agrees_at), torch.full((4,), 0.05 / 0.04, dtype=torch.float64), "gradient")
