"""What a user's file may hold: a plain convolutional network; an odd one with two inputs, dicts and a loss on them."""

import torch
from torch import nn
from torch.nn import functional as F


class Plain(nn.Module):
    """A convolution with batch normalization and a residual connection."""

    def __init__(self, width=2):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        inner = self.stem(x)
        return self.head((inner + torch.tanh(self.norm(inner))).mean((2, 3)))


def images(samples=36):
    x, y = torch.randn(samples, 1, 4, 4), torch.arange(samples) % 3
    x[range(samples), 0, y] += 1.0  # the row that is bright is the class
    return (x[12:], y[12:]), (x[:12], y[:12])


def smoothed(outputs, targets):
    return F.cross_entropy(outputs, targets, label_smoothing=0.1)


class Odd(nn.Module):
    """Two inputs, and a parameter that no layer would draw anew."""

    def __init__(self, width=3):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(width))
        self.left, self.right = nn.Linear(2, width), nn.Linear(3, width)
        self.last = nn.Linear(width, 1)

    def forward(self, left, right):
        return self.last(torch.tanh(self.left(left) + self.mix * self.right(right)))


def records(samples=24):
    batch = {"left": torch.randn(samples, 2), "right": torch.randn(samples, 3)}
    batch["goal"] = batch["left"].sum(1) * 0.3
    return {"train": batch, "test": {name: value[:6] for name, value in batch.items()}}


def loss(model, batch):
    return (model(batch["left"], batch["right"])[:, 0] - batch["goal"]).square().mean()


def metrics(model, batch):
    return (model(batch["left"], batch["right"])[:, 0] - batch["goal"]).abs().amax()
