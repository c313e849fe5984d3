"""Ordinary models: nothing is said, nothing is evaluated in a special way, and no derivative is refused."""

from __future__ import annotations

import itertools
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.objective.plainly import CE, MLP, ce, close, ordinary
from thalweg.objective import Objective
from thalweg.training import Recipe, train

MSE = nn.MSELoss()


def relu(*widths):
    layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*[layer for pair in layers for layer in pair][:-1])


def conv():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


class Recurrent(nn.Module):
    def __init__(self, cell, **options):
        super().__init__()
        self.cell = cell(3, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options else 5, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 9, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.body(self.embed(x))).transpose(1, 2)


class SharedLayer(nn.Module):
    """The same layer twice, under two names."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)])
        self.again = self.layers[0]

    def forward(self, x):
        return self.layers[2](torch.sin(self.again(self.layers[1](torch.sin(self.layers[0](x))))))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def scaled(model, factor, name=""):
    with torch.no_grad():
        for own, parameter in model.named_parameters():
            if name in own:
                parameter.mul_(factor)
    return model


def pairs(samples=40, inputs=4, classes=3):
    return torch.randn(samples, inputs), torch.randint(classes, (samples,))


def images():
    return torch.randn(12, 1, 8, 8), torch.randint(3, (12,))


def sequences():
    return torch.randn(10, 6, 3), torch.randint(3, (10,))


def tokens():
    return torch.randint(7, (10, 5)), torch.randint(3, (10,))


def fit(size):
    """Targets that the model meets but for a distance."""
    model, x = MLP(), torch.randn(40, 4)
    return model, MSE, (x, model(x).detach() + size * torch.randn(40, 3))


def confident():
    model, x = scaled(MLP(), 30.0), torch.randn(40, 4)
    return model, CE, (x, model(x).argmax(1))


def frozen():
    model = MLP()
    model.a.requires_grad_(False)
    return model, CE, pairs()


NARROW = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(4, 4), nn.Tanh())])
CASES = {
    "MLP": lambda: (MLP(), CE, pairs()),
    "many samples": lambda: (MLP(), CE, pairs(3000)),
    "linear": lambda: (nn.Linear(4, 1), MSE, (pairs()[0], torch.randn(40, 1))),
    "CNN in evaluation mode": lambda: (conv().eval(), CE, images()),
    "CNN in training mode": lambda: (conv(), CE, images()),
    "CNN by its batch": lambda: (conv(), CE, images(), {"batchnorm": "batch"}),
    "CNN recomputed": lambda: (conv(), CE, images(), {"batchnorm": "recomputed"}),
    "LSTM": lambda: (Recurrent(nn.LSTM), CE, sequences()),
    "GRU": lambda: (Recurrent(nn.GRU, num_layers=2, bidirectional=True), CE, sequences()),
    "tied transformer": lambda: (Tied().eval(), CE, (torch.randint(9, (10, 5)), torch.randint(9, (10, 5)))),
    "padded embedding": lambda: (nn.Sequential(nn.Embedding(7, 4, 0), Mean(), nn.Linear(4, 3)), CE, tokens()),
    "a layer of two names": lambda: (SharedLayer(), CE, pairs()),
    "wide ReLU": lambda: (relu(4, 300, 300, 3), CE, pairs(400)),
    "deep ReLU": lambda: (relu(4, *[30] * 20, 3), CE, pairs()),
    "activations of 1e5": lambda: (scaled(relu(4, 300, 300, 1), 10.0), MSE, (100 * pairs()[0], torch.randn(40, 1))),
    "activations of 1e8": lambda: (scaled(relu(4, 30, 30, 3), 100.0), CE, (100 * pairs()[0], pairs()[1])),
    "scores of 1e4": lambda: (scaled(MLP(), 3e4, "c."), CE, pairs()),
    "inputs of 1e8": lambda: (MLP(), CE, (1e8 * pairs()[0], pairs()[1])),
    "no loss": lambda: fit(0.0),
    "a loss of 1e-12": lambda: fit(1e-6),
    "a loss of 1e-16": lambda: fit(1e-8),
    "confident": confident,
    "targets of 1e6": lambda: (MLP(), MSE, (pairs()[0], 1e6 + torch.randn(40, 3))),
    "all zeros": lambda: (scaled(MLP(), 0.0), CE, pairs()),
    "weights of 1e-8": lambda: (scaled(MLP(), 1e-8), CE, pairs()),
    "vanishing gradients": lambda: (scaled(NARROW, 0.1), MSE, (pairs()[0], torch.randn(40, 4))),
    "an offset": lambda: (MLP(), lambda model, batch: ce(model, batch) + 1000, pairs(), {"loss_on": "batch"}),
    "about zero": lambda: (MLP(), lambda model, batch: ce(model, batch) - 1.1, pairs(), {"loss_on": "batch"}),
    "hinge": lambda: (relu(4, 20, 3), lambda out, y: (1 + out - out.gather(1, y[:, None])).relu().mean(), pairs()),
    "absolute": lambda: (relu(4, 20, 3), nn.L1Loss(), (pairs()[0], torch.randn(40, 3))),
    "binary": lambda: (relu(4, 20, 1), nn.BCEWithLogitsLoss(), (pairs()[0], torch.rand(40, 1))),
    "variance": lambda: (MLP(), lambda o, y: (o[:, 0].square() * torch.exp(-o[:, 1]) + o[:, 1]).mean(), pairs()),
    "sorted": lambda: (relu(4, 20, 3), lambda out, y: out.relu().sort(1)[0][:, 1:].mean(), pairs()),
    "norms": lambda: (nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)), CE, pairs()),
    "class weights": lambda: (MLP(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), pairs()),
    "a frozen layer": frozen,
}

# torch has no second derivative of it.
ONCE = {"padded bag": lambda: (nn.Sequential(nn.EmbeddingBag(7, 4, padding_idx=0), nn.Linear(4, 3)), CE, tokens())}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_said_and_nothing_is_refused(case, dtype, caplog):
    caplog.set_level(logging.WARNING, "thalweg")
    model, loss, (x, y), *options = CASES[case]()
    x, y = (part.to(dtype) if part.is_floating_point() else part for part in (x, y))
    objective = Objective(model.to(dtype), loss, (x, y), **(options[0] if options else {}))
    theta = torch.stack([objective.theta, 1.01 * objective.theta])
    products = objective.hvp(theta, torch.ones_like(theta))
    ordinary(objective, caplog)
    assert bool(products.isfinite().all())
    scale = products[1].norm().clamp(min=1e-12)
    if dtype == torch.float64:
        assert float((objective.hvp(theta[1], torch.ones_like(theta[1])) - products[1]).norm() / scale) < 1e-6


@pytest.mark.parametrize(
    "case", ["MLP", "CNN in training mode", "LSTM", "a layer of two names", "padded embedding", *ONCE]
)
def test_nothing_is_said_of_float64_and_of_trainings(case, caplog):
    model, loss, data, *_ = (CASES | ONCE)[case]()
    objective = Objective(model, loss, data)
    ordinary(objective.double(), caplog)
    train(objective, recipe=Recipe(optimizer="sgd", lr=0.01, steps=2), replicas=3)
    ordinary(objective, caplog)


def test_a_layer_of_two_names_is_one_layer():
    model = SharedLayer().double()
    x, y = pairs()
    objective = Objective(model, CE, (x.double(), y))
    assert objective.size == sum(parameter.numel() for parameter in model.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(model(x.double()), y), list(model.parameters()))
    for _ in range(2):
        close(objective.gradient(objective.theta), torch.cat([slope.flatten() for slope in slopes]), "gradient")
    assert isinstance(objective.program.model.again.weight, nn.Parameter)
