"""Models of a million parameters and more: checked on fewer samples, never copied, and as right as small ones."""

import pytest
import torch
from torch import nn

from thalweg import limits
from thalweg.curvature import Operator, trace
from thalweg.curvature.probes import sign_blocks, signs_of
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.plain import FEWER, MANY, few

WIDTH = 1024
X, Y = torch.randn(40, 1000, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3


class Wide(nn.Module):
    """1,028,099 parameters and no formula."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Linear(1000, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)) * 1.5)


class Clamped(Wide):
    """Writes into its parameters."""

    def forward(self, x):
        with torch.no_grad():
            self.first.weight.clamp_(-0.01, 0.01)
        return super().forward(x)


class Turned(torch.autograd.Function):
    """The identity, whose gradient is reversed."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Reversed(Wide):
    """A gradient that is not that of L."""

    def forward(self, x):
        return self.last(Turned.apply(torch.tanh(self.first(x))))


def plain(model, v=None):
    """Value, gradient and a product by ordinary autograd."""
    parameters = list(model.parameters())
    loss = nn.functional.cross_entropy(model(X.to(parameters[0].dtype)), Y)
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([part.flatten() for part in first])
    second = torch.autograd.grad(flat @ v, parameters)
    return loss.detach(), flat.detach(), torch.cat([part.flatten() for part in second])


def test_value_gradient_and_product_are_those_of_plain_pytorch():
    model = Wide().double()
    objective = Objective(model, nn.CrossEntropyLoss(), (X.double(), Y))
    assert objective.size >= MANY
    assert len(few(objective)[0][1]) == FEWER
    theta = objective.theta + 0.01 * torch.sin(torch.arange(objective.size, dtype=torch.float64))
    v = torch.cos(torch.arange(objective.size, dtype=torch.float64))
    value, gradient, product = plain(objective.module(theta), v)
    before = theta.clone()
    found, slope = objective.value_and_gradient(theta)
    torch.testing.assert_close(found, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, gradient, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(objective.hvp(theta, v), product, rtol=1e-8, atol=1e-11)
    both = objective.gradient(torch.stack([objective.theta, theta]))
    torch.testing.assert_close(both[1], gradient, rtol=1e-9, atol=1e-14)
    assert torch.equal(theta, before)


def test_what_is_refused_in_small_models_is_refused_in_large_ones(caplog):
    loss = nn.CrossEntropyLoss()
    with pytest.raises(InputError, match="must not write into its parameters"):
        Objective(Clamped(), loss, (X, Y))
    with pytest.raises(InputError, match="must be the mean over the batch, found a sum"):
        Objective(Wide(), nn.CrossEntropyLoss(reduction="sum"), (X, Y))
    with pytest.raises(InputError, match="must be deterministic"):
        Objective(nn.Sequential(Wide(), nn.Dropout(0.5)).train(), loss, (X, Y))
    assert not Objective(Reversed(), loss, (X, Y)).slope.agrees
    assert "the gradient is not that of L" in caplog.text


def test_the_plan_says_how_data_are_cut_and_what_is_kept(monkeypatch):
    objective = Objective(Wide(), nn.CrossEntropyLoss(), (X, Y))
    plan = objective.plan()
    assert (plan.value.samples, plan.gradient.samples, plan.samples) == (40, 40, 40)
    assert plan.parameter_bytes == 4 * objective.size
    assert plan.keeps_graph == (plan.graph_bytes <= plan.budget)
    assert "kept between products" in str(plan)
    monkeypatch.setattr(limits, "free", lambda device="cpu": 2**20)
    assert objective.plan().budget == 2**30  # what one piece may take is never too much
    small = Objective(Wide(), nn.CrossEntropyLoss(), (X, Y), memory=2**16)
    assert small.budget() == 2**16
    assert not small.plan().keeps_graph
    assert small.plan().gradient.samples < 40
    theta = objective.theta
    torch.testing.assert_close(small.gradient(theta), objective.gradient(theta), rtol=1e-4, atol=1e-7)


def test_the_budget_is_half_of_what_is_free_as_a_power_of_two(monkeypatch):
    for free, expected in ((3 * 2**30, 2**30), (2**32, 2**31), (0, 1)):
        monkeypatch.setattr(limits, "free", lambda device="cpu", free=free: free)
        assert limits.budget() == expected
    monkeypatch.undo()
    assert 0 < limits.free() <= limits.memory()


def test_blocks_of_signs_are_the_same_signs_and_give_the_same_trace():
    matrix = torch.randn(30, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    operator = Operator.dense(matrix + matrix.mT)
    whole = signs_of(operator, 19, torch.Generator().manual_seed(5))
    assert torch.equal(torch.cat(list(sign_blocks(operator, 19, torch.Generator().manual_seed(5)))), whole)
    one_by_one = torch.stack(
        [sign @ (matrix + matrix.mT) @ sign for sign in signs_of(operator, 19, torch.Generator().manual_seed(0))]
    )
    found = trace(operator, products=19, method="hutchinson", seed=0)
    assert float(found.value) == pytest.approx(float(one_by_one.mean()), rel=1e-12)
