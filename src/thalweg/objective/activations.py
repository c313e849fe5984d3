"""Elementwise activations with their exact first and second derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """An elementwise function phi with phi' and phi'' as functions of the pre-activation z.

    Args:
        name: The field's name ("tanh", "relu", …).
        value: phi(z).
        first: phi'(z), as autograd computes it (also at kinks).
        second: phi''(z), as autograd computes it.
        kink: Whether phi is piecewise linear or has a jump in its first derivative, which autograd's H misses.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    kink: bool = False

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (phi, phi', phi'') at z; for tanh and sigmoid from one evaluation of phi."""
        if self.name not in ("tanh", "sigmoid"):
            return self.value(z), self.first(z), self.second(z)
        value = self.value(z)
        if self.name == "tanh":
            first = 1 - value * value
            return value, first, -2 * value * first
        first = value * (1 - value)
        return value, first, first * (1 - 2 * value)


def _tanh_first(z: Tensor) -> Tensor:
    t = torch.tanh(z)
    return 1 - t * t


def _tanh_second(z: Tensor) -> Tensor:
    t = torch.tanh(z)
    return -2 * t * (1 - t * t)


def _sigmoid_first(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s)


def _sigmoid_second(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s) * (1 - 2 * s)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu_first(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _silu_second(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 - s) * (2 + z * (1 - 2 * s))


def _leaky(slope: float) -> Activation:
    return Activation(
        "leaky_relu",
        lambda z: F.leaky_relu(z, slope),
        lambda z: torch.where(z > 0, torch.ones_like(z), slope),
        torch.zeros_like,
        kink=True,
    )


def _elu(alpha: float) -> Activation:
    # phi' is continuous only for alpha = 1; phi'' jumps at 0 even then, which is no kink of the gradient.
    return Activation(
        "elu",
        lambda z: F.elu(z, alpha),
        lambda z: torch.where(z > 0, 1.0, alpha * torch.exp(z.clamp(max=0))),
        lambda z: torch.where(z > 0, 0.0, alpha * torch.exp(z.clamp(max=0))),
        kink=alpha != 1.0,
    )


# torch's softplus is linear above its threshold (20): its derivatives follow.
SMOOTH: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("identity", lambda z: z, torch.ones_like, torch.zeros_like),
        Activation("tanh", torch.tanh, _tanh_first, _tanh_second),
        Activation("sigmoid", torch.sigmoid, _sigmoid_first, _sigmoid_second),
        Activation(
            "gelu",
            F.gelu,
            lambda z: 0.5 * torch.erfc(-z / math.sqrt(2)) + z * _density(z),
            lambda z: (2 - z * z) * _density(z),
        ),
        Activation("silu", F.silu, _silu_first, _silu_second),
        Activation(
            "softplus",
            F.softplus,
            lambda z: torch.where(z > 20, 1.0, torch.sigmoid(z)),
            lambda z: torch.where(z < 20, _sigmoid_first(z), 0.0),
        ),
        Activation("sine", torch.sin, torch.cos, lambda z: -torch.sin(z)),
    )
}
RELU = Activation("relu", torch.relu, lambda z: (z > 0).to(z.dtype), torch.zeros_like, kink=True)


def of_module(module: nn.Module) -> Activation | None:
    """Returns the activation that a module of torch.nn computes, or None if it is none of those known here."""
    match module:
        case nn.Identity():
            return SMOOTH["identity"]
        case nn.Tanh():
            return SMOOTH["tanh"]
        case nn.Sigmoid():
            return SMOOTH["sigmoid"]
        case nn.SiLU():
            return SMOOTH["silu"]
        case nn.GELU() if module.approximate == "none":
            return SMOOTH["gelu"]
        case nn.Softplus() if module.beta == 1 and module.threshold == 20:
            return SMOOTH["softplus"]
        case nn.ReLU():
            return RELU
        case nn.LeakyReLU():
            return _leaky(module.negative_slope)
        case nn.ELU():
            return _elu(module.alpha)
    return None


def of_function(name: str) -> Activation | None:
    """Returns the activation that a function or tensor method of torch with this name computes by default."""
    names = {
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "silu": "silu",
        "gelu": "gelu",
        "softplus": "softplus",
        "sin": "sine",
    }
    if name in names:
        return SMOOTH[names[name]]
    return RELU if name in ("relu", "relu_") else None
