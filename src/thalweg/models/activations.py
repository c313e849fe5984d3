"""The nonlinearities by name, as modules that are never in place: derivatives of every order must pass through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, nearest

__all__ = ["ACTIVATIONS", "Sine", "activation"]


class Sine(nn.Module):
    """sin(x), elementwise; the periodic activation of Sitzmann et al. 2020 with unit frequency.

    >>> Sine()(torch.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Sine of every element."""
        return torch.sin(x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "sine": Sine,
    "identity": nn.Identity,
}
"""name -> module with PyTorch's defaults (leaky_relu: slope 0.01; gelu: exact)."""


def activation(name: str) -> nn.Module:
    """A new module of this activation.

    Raises:
        InputError: If there is none of this name.

    >>> activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(f"activation must be one of {known}, found {name!r}{nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()
