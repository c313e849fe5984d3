"""One parameter moved at a time: against plain evaluation, the Hessian's diagonal, and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import reference
from tests.cases import CASES, mlp
from thalweg.errors import InputError
from thalweg.landscape import fine_offsets, perturb
from thalweg.objective import Objective


@pytest.mark.parametrize("name", ["mlp-mse", "mlp-l2", "batchnorm-eval", "attention"])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_against_plain_pytorch(name: str, lead: tuple[int, ...]) -> None:
    objective = CASES[name].build()
    theta = objective.theta.expand(*lead, -1) * torch.linspace(1, 0.5, 2).double()[: len(lead) + 1].reshape(-1, 1)[-1]
    offsets = [-0.7, 0.0, 0.2]
    found = perturb(objective, theta, offsets)
    plain = reference.plain_loss(objective)
    assert found.values.shape == (*lead, objective.size, 3)
    with torch.no_grad():
        for p in range(objective.size):
            for m, offset in enumerate(offsets):
                moved = theta.reshape(-1, objective.size)[-1].clone()
                moved[p] += offset
                value = found.values.reshape(-1, objective.size, 3)[-1, p, m]
                torch.testing.assert_close(value, plain(moved), rtol=1e-10, atol=1e-12)
    centre = objective.value(theta)[..., None].expand(*lead, objective.size)
    assert torch.equal(found.values[..., 1], centre)


@pytest.mark.parametrize("name", ["mlp-mse", "mlp-ce", "cnn"])
def test_second_derivatives_are_the_diagonal_of_the_hessian(name: str) -> None:
    objective = CASES[name].build()
    h = 1e-3
    values = perturb(objective, objective.theta, [-h, 0.0, h]).values
    curvature = (values[:, 0] - 2 * values[:, 1] + values[:, 2]) / h**2
    slope = (values[:, 2] - values[:, 0]) / (2 * h)
    torch.testing.assert_close(curvature, objective.hessian(objective.theta).diagonal(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slope, objective.gradient(objective.theta), rtol=1e-4, atol=1e-6)


def test_parabolas_of_a_linear_model() -> None:
    """L = mean (θx − y)² is a parabola in every parameter, whose curvature is 2 mean x²."""
    x, y = torch.randn(40, 3).double(), torch.randn(40, 1).double()
    objective = Objective(nn.Linear(3, 1, bias=False).double(), nn.MSELoss(), (x, y))
    found = perturb(objective, objective.theta)
    gradient, second = objective.gradient(objective.theta), 2 * x.square().mean(0)
    d = found.offsets
    expected = objective.value(objective.theta) + gradient[:, None] * d + second[:, None] * d**2 / 2
    torch.testing.assert_close(found.values, expected)


def test_chunks_change_nothing() -> None:
    objective = CASES["mlp-ce"].build()
    theta = objective.initial(replicas=2)
    whole, cut = perturb(objective, theta), perturb(CASES["mlp-ce"].build(memory=200_000), theta)
    torch.testing.assert_close(cut.values, whole.values)


def test_a_large_network_is_sampled_and_says_so() -> None:
    model = mlp(30, 20, 3)().double()
    objective = Objective(model, nn.CrossEntropyLoss(), (torch.randn(9, 30).double(), torch.randint(0, 3, (9,))))
    found, again = (perturb(objective, objective.theta, [0.0, 0.1], seed=4) for _ in range(2))
    other = perturb(objective, objective.theta, [0.0, 0.1], seed=5)
    assert found.note == "300 of 683 parameters"
    assert torch.equal(found.parameters, again.parameters)
    assert not torch.equal(found.parameters, other.parameters)
    assert bool((found.parameters.diff() > 0).all())
    names = [name for name, value in model.named_parameters() for _ in range(value.numel())]
    assert [name.partition("[")[0] for name in found.names] == [names[p] for p in found.parameters.tolist()]
    few = perturb(objective, objective.theta, [0.0, 0.1], parameters=torch.tensor([682, 30]))
    assert few.names == ("0.weight[1, 0]", "2.bias[2]")
    assert few.sampled


def test_lost_replicas_stay_lost() -> None:
    objective = CASES["mlp-mse"].build()
    theta = objective.initial(replicas=2)
    theta[1] = torch.nan
    found = perturb(objective, theta, [-0.1, 0.0])
    assert found.values[1].isnan().all()
    assert found.values[0].isfinite().all()


def test_offsets() -> None:
    offsets = fine_offsets(2.0, 0.1, 101)
    assert len(offsets) == 101
    assert torch.equal(offsets, -offsets.flip(0))
    assert bool((offsets.diff() > 0).all())
    assert int((offsets.abs() <= 0.1).sum()) == 51
    assert (float(offsets[50]), float(offsets[-1])) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: perturb(o, torch.zeros(3).double()), r"theta must have shape \(…, 53\)"),
        (lambda o: perturb(o, o.theta, []), "offsets must be a list of at least one number"),
        (lambda o: perturb(o, o.theta, parameters=torch.tensor([53])), "parameters must lie in 0 … 52, found 53"),
        (lambda o: perturb(o, o.theta, parameters=torch.tensor([1, 1])), "must name each parameter once"),
        (lambda o: perturb(o, o.theta, parameters=torch.tensor([0.5])), "must be a non-empty list of numbers"),
        (lambda o: fine_offsets(1.0, 2.0), "fine must lie between 0 and radius, found fine 2 and radius 1"),
        (lambda o: fine_offsets(1.0, 0.1, 40), "points must be odd and at least 5, found 40"),
    ],
)
def test_refusals(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(CASES["mlp-mse"].build())
