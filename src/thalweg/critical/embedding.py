"""Exact saddles of a wide network made of the minima of a narrow one.

*Dead units* (Fukumizu & Amari 2000; here with weight decay): units whose incoming and outgoing weights are all zero
give and receive no gradient if φ(0) = 0, so a critical point of the narrow network stays one. *Split units* (any φ, no
weight decay): a unit is doubled and its outgoing weights shared out as λ and 1 − λ.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective
from thalweg.objective.structure import LinearStack

__all__ = ["embed", "split", "subnetwork", "widths"]

VANISHING = {"tanh": nn.Tanh, "identity": nn.Identity, "sine": None, "silu": nn.SiLU, "gelu": nn.GELU}  # φ(0) = 0
OTHERS = {"sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "relu": nn.ReLU}


class _Sine(nn.Module):
    """The sine as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies it elementwise."""
        return torch.sin(x)


@declared
def widths(objective: Objective) -> tuple[int, ...]:
    """Numbers of units of a stack, inputs and outputs included.

    Raises:
        InputError: The model is no stack of linear layers.
    """
    stack = _stack(objective)
    shapes = dict(zip(objective.layout.names, objective.layout.shapes, strict=True))
    return shapes[stack.weights[0]][1], *(shapes[name][0] for name in stack.weights)


@declared
def subnetwork(objective: Objective, hidden: tuple[int, ...]) -> Objective:
    """The same loss and data for a narrower network of the same depth.

    Args:
        objective: One whose model is a stack of linear layers.
        hidden: Numbers of hidden units, each at most those of the model.

    Raises:
        InputError: The depth differs, or a layer would be wider or empty.
    """
    stack, wide = _stack(objective), widths(objective)
    if len(hidden) != len(wide) - 2 or any(not 1 <= n <= w for n, w in zip(hidden, wide[1:-1], strict=True)):
        raise InputError(f"hidden must be {len(wide) - 2} numbers from 1 to {wide[1:-1]}, found {tuple(hidden)}")
    sizes = (wide[0], *hidden, wide[-1])
    modules: list[nn.Module] = [nn.Flatten()] if stack.flatten else []
    for (inputs, outputs), bias, phi in zip(itertools.pairwise(sizes), stack.biases, stack.activations, strict=True):
        modules.append(nn.Linear(inputs, outputs, bias=bias is not None))
        make = {**VANISHING, **OTHERS}.get(phi.name, nn.Identity)
        if phi.name not in {**VANISHING, **OTHERS}:
            raise InputError(f"activation must be one of {', '.join({**VANISHING, **OTHERS})}, found {phi.name}")
        modules.append(_Sine() if make is None else make())
    return Objective(
        nn.Sequential(*modules),
        objective.loss,
        _data(objective),
        l2=objective.l2,
        dtype=objective.dtype,
        device=objective.device,
        memory=objective.memory,
    )


@declared
def embed(narrow: Objective, wide: Objective, theta: Tensor) -> Tensor:
    """Pads narrow networks with dead units: θ (R, P_narrow) -> (R, P_wide), critical where θ is.

    Raises:
        InputError: An activation with φ(0) ≠ 0, or networks of different depth.
    """
    source, target = _stack(narrow), _stack(wide)
    bad = [phi.name for phi in target.activations[:-1] if phi.name not in VANISHING]
    if bad:
        raise InputError(f"activation must vanish at 0 for dead units, found {bad[0]}")
    if len(source.weights) != len(target.weights):
        raise InputError(f"narrow must have the {len(target.weights)} layers of wide, found {len(source.weights)}")
    theta = torch.atleast_2d(narrow.as_theta(theta))
    parts = narrow.layout.unravel(theta)
    shapes = dict(zip(wide.layout.names, wide.layout.shapes, strict=True))
    out = {name: theta.new_zeros(len(theta), *shape) for name, shape in shapes.items()}
    for old, new in zip(source.weights, target.weights, strict=True):
        value = parts[old]
        out[new][:, : value.shape[1], : value.shape[2]] = value
    for old, new in zip(source.biases, target.biases, strict=True):
        if old is not None and new is not None:
            out[new][:, : parts[old].shape[1]] = parts[old]
    return wide.layout.ravel(out)


@declared
def split(objective: Objective, theta: Tensor, layer: int, unit: int, share: float) -> tuple[Objective, Tensor]:
    """Doubles a hidden unit: λ of its outgoing weights stay, 1 − λ go to the copy; critical where θ is.

    Args:
        objective: One whose model is a stack, without weight decay (which a copy would count twice).
        theta: (R, P).
        layer: Hidden layer, 0-based.
        unit: Unit in it.
        share: λ, neither 0 nor 1.

    Returns:
        The objective of the network with one more unit, and its θ (R, P').
    """
    if as_objective(objective).l2 > 0:
        raise InputError(f"objective must have l2 = 0 for split units (a copy is penalised anew), found {objective.l2}")
    stack, sizes = _stack(objective), widths(objective)
    if not 0 <= layer < len(sizes) - 2 or not 0 <= unit < sizes[layer + 1]:
        raise InputError(f"layer and unit must name one of the hidden units {sizes[1:-1]}, found {layer} and {unit}")
    if share in (0.0, 1.0):
        raise InputError(f"share must be neither 0 nor 1, found {share}")
    theta = torch.atleast_2d(objective.as_theta(theta))
    parts = {name: value.clone() for name, value in objective.layout.unravel(theta).items()}
    first, bias, second = stack.weights[layer], stack.biases[layer], stack.weights[layer + 1]
    parts[first] = torch.cat([parts[first], parts[first][:, unit : unit + 1]], 1)
    if bias is not None:
        parts[bias] = torch.cat([parts[bias], parts[bias][:, unit : unit + 1]], 1)
    outgoing = parts[second][:, :, unit : unit + 1]
    parts[second] = torch.cat([parts[second], (1 - share) * outgoing], 2)
    parts[second][:, :, unit] *= share
    hidden = list(sizes[1:-1])
    hidden[layer] += 1
    wide = _widened(objective, tuple(hidden))
    renamed = dict(zip(_names(stack), _names(_stack(wide)), strict=True))
    return wide, wide.layout.ravel({renamed[name]: value for name, value in parts.items()})


def _widened(objective: Objective, hidden: tuple[int, ...]) -> Objective:
    same = subnetwork(objective, widths(objective)[1:-1])
    modules = list(same.module(same.theta).children())
    sizes = iter(itertools.pairwise((widths(objective)[0], *hidden, widths(objective)[-1])))
    made = [nn.Linear(*next(sizes), bias=m.bias is not None) if isinstance(m, nn.Linear) else m for m in modules]
    return Objective(
        nn.Sequential(*made),
        objective.loss,
        _data(objective),
        l2=objective.l2,
        dtype=objective.dtype,
        device=objective.device,
        memory=objective.memory,
    )


def _names(stack: LinearStack) -> list[str]:
    return [name for pair in zip(stack.weights, stack.biases, strict=True) for name in pair if name is not None]


def _data(objective: Objective) -> Any:
    held = objective.batches.held
    if not held:
        raise InputError("objective must hold all its data in memory, in one process, found a loader or a sharded one")
    return held[0] if len(held) == 1 else list(held)


def _stack(objective: Objective) -> LinearStack:
    stack = as_objective(objective).stack
    if stack is None or any(name not in objective.layout.slices for name in _names(stack)):
        raise InputError("objective must be of a stack of linear layers with all parameters in theta, found another")
    return stack
