"""Compares derivatives of torch operations, to the fourth order, with finite differences of the order below.

A derivative of order k is taken along k different directions, so that a wrong tensor cannot hide behind its symmetry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp
from torch.utils import _pytree as pytree

ORDERS = 4
REVERSE, FUNCTIONAL, OVER = "reverse", "functional reverse", "forward over reverse"
UNDER, FORWARD = "reverse over forward", "forward"
# Ways to the order k, by reverse mode (R), that of torch.func (G) and forward mode (F), the innermost first.
WAYS: dict[str, Callable[[int], str]] = {
    REVERSE: lambda order: "R" * order,
    FUNCTIONAL: lambda order: "G" * order,
    OVER: lambda order: "G" * (order - 1) + "F",
    UNDER: lambda order: "F" + "G" * (order - 1),
    FORWARD: lambda order: "F" * order,
}
Point = list[Tensor]
Scalar = Callable[[Point], Tensor]


@dataclass(frozen=True)
class Drawn:
    """An input drawn evenly between two numbers."""

    shape: tuple[int, ...]
    low: float = -1.5
    high: float = 1.5


def draw(*shape: int, low: float = -1.5, high: float = 1.5) -> Drawn:
    return Drawn(shape, low, high)


@dataclass(frozen=True)
class Operation:
    """A function of tensors, and where it is differentiated."""

    function: Callable[..., Any]
    inputs: tuple[Drawn | Tensor, ...]


def operation(function: Callable[..., Any], *inputs: Drawn | Tensor) -> Operation:
    return Operation(function, inputs)


def survey(op: Operation, seed: int = 0) -> tuple[dict[str, int], dict[str, int]]:
    """The first order at which each way is wrong, and at which torch refuses it, by an error or by NaN.

    The orders after one that is wrong in reverse have nothing to be compared with.
    """
    generator = torch.Generator().manual_seed(seed)
    double = {"generator": generator, "dtype": torch.float64}
    at = [
        one.double() if isinstance(one, Tensor) else one.low + (one.high - one.low) * torch.rand(one.shape, **double)
        for one in op.inputs
    ]
    along = [[torch.randn(x.shape, **double) / math.sqrt(x.numel()) for x in at] for _ in range(ORDERS)]
    value = _scalar(op.function, at, generator)
    wrong: dict[str, int] = {}
    refused: dict[str, int] = {}
    for order in range(1, ORDERS + 1):
        measure = _Measured(_nested("R" * (order - 1), value, along), at, along[order - 1])
        for way, kinds in WAYS.items():
            if way in wrong or way in refused or (order == 1 and way == UNDER):
                continue
            try:
                number = float(_nested(kinds(order), value, along)(at).detach())
            except (NotImplementedError, RuntimeError, ValueError):
                number = math.nan
            if math.isnan(number):
                refused[way] = order
            elif not measure.agrees(number):
                wrong[way] = order
        if REVERSE in wrong or REVERSE in refused:
            break
    return wrong, refused


def _scalar(function: Callable[..., Any], at: Point, generator: torch.Generator) -> Scalar:
    """A number that depends on all outputs, and not linearly."""

    def outputs(point: Point) -> list[Tensor]:
        torch.manual_seed(0)
        leaves = [one for one in pytree.tree_leaves(function(*point)) if isinstance(one, Tensor)]
        leaves = [torch.view_as_real(one.resolve_conj()) if one.is_complex() else one for one in leaves]
        return [one for one in leaves if one.dtype == torch.float64]

    weights = [0.5 + torch.rand(one.shape, generator=generator, dtype=one.dtype) for one in outputs(at)]

    def value(point: Point) -> Tensor:
        pairs = zip(weights, outputs(point), strict=True)
        return torch.stack([(w * (one + 0.5 * torch.sin(one))).sum() for w, one in pairs]).sum()

    return value


def _nested(kinds: str, function: Scalar, along: list[Point]) -> Scalar:
    """Differentiates once for each letter, along one direction after the other."""
    steps = {"R": _reverse, "G": _functional, "F": _forward}
    for kind, direction in zip(kinds, along[: len(kinds)], strict=True):
        function = steps[kind](function, direction)
    return function


def _reverse(function: Scalar, along: Point) -> Scalar:
    def slope(point: Point) -> Tensor:
        point = [x if x.requires_grad else x.clone().requires_grad_() for x in point]
        with torch.enable_grad():
            found = function(point)
            if not found.requires_grad:  # constant
                return torch.zeros_like(found)
            gradient = torch.autograd.grad(found, point, create_graph=True, materialize_grads=True)
            return _dot(gradient, along)

    return slope


def _functional(function: Scalar, along: Point) -> Scalar:
    return lambda point: _dot(grad(function)(point), along)


def _forward(function: Scalar, along: Point) -> Scalar:
    return lambda point: jvp(function, (point,), (along,))[1]


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()


class _Measured:
    """Central differences of fourth order, with three steps."""

    def __init__(self, function: Scalar, at: Point, along: Point) -> None:
        self.found: list[tuple[float, float]] = []
        self.steps = iter((4e-3, 1e-3, 1e-4))
        self.function, self.at, self.along = function, at, along

    def agrees(self, number: float) -> bool:
        """Whether a derivative equals one of them to their errors."""
        while True:
            for measured, noise in self.found:
                if abs(number - measured) <= 1e-6 * max(abs(number), abs(measured)) + noise:
                    return True
            step = next(self.steps, None)
            if step is None:
                return False
            places = ((8, 1), (-8, -1), (-1, 2), (1, -2))
            values = [
                float(self.function([x + m * step * v for x, v in zip(self.at, self.along, strict=True)]).detach())
                for _, m in places
            ]
            measured = sum(c * one for (c, _), one in zip(places, values, strict=True)) / (12 * step)
            self.found.append((measured, 1e-13 * max(map(abs, values)) / step))
