"""Images with their channels last in memory: the same numbers, and only where nobody can notice."""

import pytest
import torch
from torch import nn

from thalweg.objective import Objective
from thalweg.objective.channels import channels_last, takes_channels_last


def network(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 3)
    )


class Viewing(nn.Module):
    """Refuses images in another order, as many models of users do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4 * 64, 3)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_value_and_gradient_are_those_of_plain_pytorch(channels):
    model, x, y = network(channels), torch.randn(20, channels, 8, 8), torch.randint(3, (20,))
    loss = nn.CrossEntropyLoss()
    objective = Objective(model, loss, (x, y))
    assert objective.program._laid_out
    plain = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
    right = torch.cat([part.flatten() for part in plain])
    value, gradient = objective.value_and_gradient(objective.theta)
    torch.testing.assert_close(value, loss(model(x), y).detach())
    torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-6)
    assert x.is_contiguous()
    assert objective.outputs(objective.theta).shape == (20, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_lie_last_also_where_there_is_one(channels):
    x = torch.randn(2, channels, 5, 4)
    new, _ = channels_last((x, None))
    assert torch.equal(new, x)
    assert new.stride() == (20 * channels, 1, 4 * channels, channels)


def test_other_batches_stay_as_they_are():
    for images in (torch.randn(2, 3), torch.randn(2, 1, 4, 4).double(), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)):
        batch = (images, None)
        assert channels_last(batch) is batch


def test_models_and_losses_that_may_notice_are_left_alone():
    loss = nn.CrossEntropyLoss()
    assert takes_channels_last(network(), loss)
    assert not takes_channels_last(Viewing(), loss)
    assert not takes_channels_last(network(), lambda output, target: loss(output.view(-1, 3), target))
    hooked = network()
    hooked[0].register_forward_hook(lambda module, args, out: out.view(len(out), -1).view_as(out))
    assert not takes_channels_last(hooked, loss)
    x, y = torch.randn(12, 2, 8, 8), torch.randint(3, (12,))
    objective = Objective(Viewing(), loss, (x, y))
    assert objective.value(objective.theta).isfinite()
