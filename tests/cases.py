"""Models, losses and data as a dictionary of cases: whatever is said of "any model" is tested on all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg.objective import Objective


@dataclass(frozen=True)
class Case:
    """One problem, in float64.

    Args:
        model: Makes the model.
        loss: As for `Objective`.
        data: Makes the data.
        method: The way that its exact Hessian is expected to take.
        oracle: Whether other libraries can evaluate it: one tensor in, one target out, all parameters, no penalty.
        options: More arguments for `Objective`.
    """

    model: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    data: Callable[[], Any]
    method: str = "rows"
    oracle: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, **changes: Any) -> Objective:
        """Makes the objective, the same at every call."""
        torch.manual_seed(0)
        model = self.model().double()
        torch.manual_seed(1)
        return Objective(model, self.loss, self.data(), **{**self.options, **changes})

    @property
    def plain(self) -> bool:
        """Whether the loss takes (output, target), as Gauss–Newton and Fisher matrices need."""
        return self.options.get("loss_on", "output") == "output"


class Residual(nn.Module):
    """Two blocks with skip connections."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.head(h + F.softplus(self.second(h)))


class Tied(nn.Module):
    """An encoder and a decoder that share one weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4) / 2)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return torch.tanh(x @ self.weight.mT + self.bias) @ self.weight


class TwoInputs(nn.Module):
    """A model that takes named inputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x, context):
        return self.head(torch.sigmoid(self.left(x)) * torch.tanh(self.right(context)))


class Attention(nn.Module):
    """Embedding, fused attention, normalisation, a head: token classification, output (N, C, T)."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.mix = nn.Linear(4, 12)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens):
        x = self.embed(tokens)
        q, k, v = self.mix(x).chunk(3, dim=-1)
        x = x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0]
        return self.head(self.norm(x)).mT


def mlp(*widths: int, phi: Callable[[], nn.Module] = nn.Tanh, bias: bool = True) -> Callable[[], nn.Module]:
    """Makes a stack of linear layers with an activation between them."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=bias), phi()]
        return nn.Sequential(*layers[:-1])

    return make


def batchnorm_network() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    model[1].running_mean.copy_(torch.randn(3) / 5)
    model[1].running_var.copy_(torch.rand(3) + 0.5)
    return model.eval()


def frozen_first_layer() -> nn.Module:
    model = mlp(3, 4, 4, 2)()
    model[0].requires_grad_(False)
    return model


def vectors(samples: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, inputs).double(), torch.randn(samples, outputs).double()


def classes(samples: int, *shape: int, number: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, *shape).double(), torch.randint(0, number, (samples,))


def ragged(make: Callable[[], Any], sizes: Sequence[int] = (3, 4)) -> list[Any]:
    x, y = make()
    return list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True))


class Unused(nn.Module):
    """A stack beside a layer that nothing uses."""

    def __init__(self):
        super().__init__()
        self.first, self.idle, self.second = nn.Linear(3, 4), nn.Linear(2, 2), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def token_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["x"], batch["context"]), batch["y"])


MSE, CE = nn.MSELoss(), nn.CrossEntropyLoss()

CASES: dict[str, Case] = {
    "mlp-mse": Case(mlp(3, 4, 5, 2), MSE, lambda: vectors(7, 3, 2), "stack", oracle=True),
    "mlp-deep": Case(mlp(2, 3, 4, 3, 3, 1), MSE, lambda: vectors(9, 2, 1), "stack", oracle=True),
    "mlp-wide": Case(mlp(12, 9, 3, phi=nn.GELU), CE, lambda: classes(8, 12), "stack", oracle=True),
    "mlp-ce": Case(mlp(4, 5, 4, 3, phi=nn.Softplus), CE, lambda: classes(7, 4), "stack", oracle=True),
    "mlp-relu": Case(mlp(4, 6, 5, 3, phi=nn.ReLU), CE, lambda: classes(7, 4), "stack", oracle=True),
    "mlp-elu": Case(mlp(4, 6, 3, phi=nn.ELU), MSE, lambda: vectors(7, 4, 3), "stack", oracle=True),
    "mlp-no-bias": Case(mlp(3, 4, 4, 2, phi=nn.SiLU, bias=False), MSE, lambda: vectors(6, 3, 2), "stack", oracle=True),
    "linear-network": Case(mlp(3, 4, 3, 2, phi=nn.Identity), MSE, lambda: vectors(7, 3, 2), "stack", oracle=True),
    "mlp-images": Case(
        lambda: nn.Sequential(nn.Flatten(), mlp(6, 4, 3)()), CE, lambda: classes(7, 2, 3), "stack", oracle=True
    ),
    "mlp-final-activation": Case(
        lambda: nn.Sequential(mlp(3, 4, 2)(), nn.Sigmoid()), MSE, lambda: vectors(7, 3, 2), "stack", oracle=True
    ),
    "mlp-soft-targets": Case(
        mlp(3, 4, 3),
        CE,
        lambda: (torch.randn(7, 3).double(), torch.rand(7, 3).double().softmax(1)),
        "stack",
        oracle=True,
    ),
    "mlp-ragged": Case(mlp(3, 4, 3), CE, lambda: ragged(lambda: classes(7, 3)), "stack", oracle=True),
    "mlp-l2": Case(mlp(3, 4, 2), MSE, lambda: vectors(7, 3, 2), "stack", options={"l2": 0.3}),
    "frozen-parameters": Case(frozen_first_layer, MSE, lambda: vectors(7, 3, 2), "stack"),
    "chosen-parameters": Case(
        mlp(3, 4, 4, 2), MSE, lambda: vectors(7, 3, 2), "stack", options={"parameters": ["0.weight", "2.bias", "4.*"]}
    ),
    "unused-parameters": Case(Unused, MSE, lambda: vectors(7, 3, 2), "stack"),
    "only-last-bias": Case(mlp(3, 4, 2), MSE, lambda: vectors(7, 3, 2), "stack", options={"parameters": "2.bias"}),
    "one-parameter": Case(mlp(1, 1, bias=False), MSE, lambda: vectors(5, 1, 1), "stack", oracle=True),
    "cnn": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)),
        CE,
        lambda: classes(6, 2, 3, 3),
        oracle=True,
    ),
    "batchnorm-eval": Case(
        batchnorm_network, MSE, lambda: (torch.randn(6, 1, 3, 3).double(), vectors(6, 1, 2)[1]), oracle=True
    ),
    "residual": Case(Residual, MSE, lambda: vectors(7, 3, 2), oracle=True),
    "tied": Case(Tied, MSE, lambda: vectors(7, 4, 4), oracle=True),
    "dict-input": Case(
        TwoInputs,
        CE,
        lambda: ({"x": torch.randn(7, 3).double(), "context": torch.randn(7, 2).double()}, torch.randint(0, 2, (7,))),
    ),
    "attention": Case(Attention, CE, lambda: (torch.randint(0, 6, (5, 4)), torch.randint(0, 3, (5, 4))), oracle=True),
    "other-loss": Case(mlp(3, 4, 2), nn.HuberLoss(delta=0.5), lambda: vectors(7, 3, 2), oracle=True),
    "residual-ragged": Case(Residual, MSE, lambda: ragged(lambda: vectors(7, 3, 2)), oracle=True),
    "residual-l2": Case(Residual, MSE, lambda: vectors(7, 3, 2), options={"l2": 0.3}),
    "loss-on-batch": Case(
        TwoInputs,
        token_loss,
        lambda: [
            {"x": torch.randn(n, 3).double(), "context": torch.randn(n, 2).double(), "y": torch.randint(0, 2, (n,))}
            for n in (3, 4)
        ],
        options={"loss_on": "batch"},
    ),
}
