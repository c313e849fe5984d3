"""Recognised stacks equal the general path; activations' derivatives equal autograd's; kinks are named."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thalweg.objective import Objective, activations
from thalweg.objective.activations import of_module
from thalweg.objective.structure import linear_stack, loss_kind

ACTIVATIONS = [
    nn.Identity(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.SiLU(),
    nn.GELU(),
    nn.Softplus(),
    nn.ReLU(),
    nn.LeakyReLU(0.2),
    nn.ELU(1.0),
    nn.ELU(0.7),
]


class Own(nn.Module):
    """A user's own class with functions in its forward pass."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 5)
        self.second = nn.Linear(5, 4, bias=False)
        self.third = nn.Linear(4, 3)

    def forward(self, x):
        h = torch.sin(self.first(torch.flatten(x, 1)))
        return self.third(F.relu(self.second(h)))


@pytest.mark.parametrize("module", ACTIVATIONS, ids=repr)
def test_derivatives_equal_autograd(module):
    phi = of_module(module)
    # Far ends as well: softplus is linear above its threshold, the exponentials must not overflow.
    z = torch.cat([torch.linspace(-40, 40, 401), torch.tensor([-1e3, 1e3])]).double().requires_grad_()
    value = module(z)
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    second = torch.autograd.grad(first.sum(), z)[0] if first.requires_grad else torch.zeros_like(z)
    torch.testing.assert_close(phi.value(z), value)
    torch.testing.assert_close(phi.first(z), first, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(phi.second(z), second, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("own_batch", [False, True])
@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (nn.MSELoss(), torch.randn(6, 3)),
        (nn.CrossEntropyLoss(), torch.tensor([0, 1, 2, 2, 1, 0])),
        (nn.CrossEntropyLoss(), torch.tensor([0, 1, -100, 2, 1, -100])),
        (nn.CrossEntropyLoss(label_smoothing=0.1), torch.tensor([0, 1, 2, 2, 1, 0])),
        (nn.L1Loss(), torch.randn(6, 3)),
    ],
)
def test_stack_equals_the_general_path(loss, target, replicas, own_batch):
    x = torch.randn(6, 3, 4)
    objective = Objective(Own(), loss, (x, target)).double()
    program = objective.program
    assert program.stack is not None
    params = objective.layout.unravel(objective.initial(replicas))
    batch = (x.double(), target.double() if target.is_floating_point() else target)
    if own_batch:
        batch = tuple(torch.stack([leaf.roll(r, 0) for r in range(replicas)]) for leaf in batch)
    fast = program.losses(params, batch, own_batch=own_batch), program.outputs(params, batch, own_batch=own_batch)
    program.stack = None
    slow = program.losses(params, batch, own_batch=own_batch), program.outputs(params, batch, own_batch=own_batch)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-14)


def test_own_class_is_recognised():
    stack = linear_stack(Own())
    assert stack.weights == ("first.weight", "second.weight", "third.weight")
    assert stack.biases == ("first.bias", None, "third.bias")
    assert [phi.name for phi in stack.activations] == ["sine", "relu", "identity"]
    assert stack.flatten


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.linear(x)


@pytest.mark.parametrize(
    "model",
    [
        tied(),
        Residual(),
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.GELU("tanh"), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(4, 2)),
        nn.Sequential(nn.Tanh(), nn.Linear(3, 4)),
        nn.Linear(3, 4).register_forward_hook(lambda *_: None) and nn.Bilinear(2, 2, 2),
    ],
)
def test_other_networks_are_not_mistaken_for_stacks(model):
    assert linear_stack(model) is None


def test_dropout_in_evaluation_is_the_identity():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)).eval()
    assert len(linear_stack(model).weights) == 2


def altered():
    hooked, before, patched = (nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)) for _ in range(3))
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    before[2].register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    patched[1].forward = torch.sigmoid
    single = nn.Linear(12, 3)
    single.register_forward_hook(lambda module, inputs, output: 2 * output)
    return {"hook": hooked, "pre-hook": before, "own forward": patched, "a hooked layer": single}


@pytest.mark.parametrize("name", altered())
def test_hooks_are_part_of_the_model(name):
    model = altered()[name].double()
    x, y = torch.randn(8, 12, dtype=torch.float64), torch.randint(3, (8,))
    made = Objective(model, nn.CrossEntropyLoss(), (x, y))
    torch.testing.assert_close(made.value(made.theta), F.cross_entropy(model(x), y).detach())


def test_kinks_are_those_of_model_and_loss():
    def found(model, loss, *shape):
        x = torch.randn(2, *shape)
        return Objective(model, loss, (x, torch.zeros_like(model(x)).detach())).kinks

    assert found(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), nn.HuberLoss(), 3) == ()
    assert found(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.L1Loss(), 3) == ("ReLU", "abs")
    assert found(nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)), nn.MSELoss(), 1, 6, 6) == ("max pooling",)
    assert found(nn.Sequential(nn.Linear(3, 2), nn.ELU()), nn.MSELoss(), 3) == ()
    assert found(nn.Sequential(nn.Linear(3, 2), nn.SELU()), nn.MSELoss(), 3) == ("ELU",)
    layer = nn.TransformerEncoderLayer(4, 1, 4, dropout=0.0, batch_first=True)  # its relu is neither module nor traced
    assert found(layer, nn.MSELoss(), 3, 4) == ("ReLU",)


class Tripled(nn.MSELoss):
    """A loss that is one by name only."""

    def forward(self, output, target):
        return 3 * super().forward(output, target)


def test_only_plain_losses_have_formulas():
    assert loss_kind(F.mse_loss) == loss_kind(nn.MSELoss()) == "mse"
    assert loss_kind(F.cross_entropy) == loss_kind(nn.CrossEntropyLoss()) == "cross_entropy"
    hooked = nn.MSELoss()
    hooked.register_forward_hook(lambda module, inputs, output: 3 * output)
    for other in (
        nn.MSELoss(reduction="sum"),
        nn.CrossEntropyLoss(weight=torch.ones(3)),
        nn.L1Loss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(ignore_index=0),
        Tripled(),
        hooked,
    ):
        assert loss_kind(other) is None


@pytest.mark.parametrize("name", [*activations.SMOOTH, "relu"])
def test_the_jet_is_value_and_both_derivatives(name):
    phi = activations.RELU if name == "relu" else activations.SMOOTH[name]
    z = torch.linspace(-25, 25, 201, dtype=torch.float64)
    for found, expected in zip(phi.jet(z), (phi.value(z), phi.first(z), phi.second(z)), strict=True):
        assert torch.allclose(found, expected, rtol=1e-14, atol=1e-300)
