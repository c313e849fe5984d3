"""Problems whose critical points are known, and the course's small networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.critical import CriticalPoints, FunctionProblem
from thalweg.objective import Objective

# Müller & Brown (1979), Theor. Chim. Acta 53: positions as commonly quoted, to nine digits.
MINIMA = ((-0.558223635, 1.441725842), (-0.050010823, 0.466694105), (0.623499404, 0.028037759))
SADDLES = ((-0.822001558, 0.624312802), (0.212486582, 0.292988325))


def sinc(*hidden: int, l2: float = 1e-4, points: int = 128, phi: Callable[[], nn.Module] = nn.Tanh) -> Objective:
    """A network on sin(5πx)/(5πx)."""
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((1, *hidden, 1)):
        layers += [nn.Linear(inputs, outputs), phi()]
    return Objective(nn.Sequential(*layers[:-1]), nn.MSELoss(), (x, torch.sinc(5 * x)), l2=l2, dtype=torch.float64)


def rotation(size: int, seed: int) -> Tensor:
    """A random orthogonal matrix."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def linear(*widths: int, target: Tensor, inputs: Tensor, l2: float = 0.0) -> Objective:
    """A deep linear network without biases."""
    layers = [nn.Linear(i, o, bias=False) for i, o in itertools.pairwise(widths)]
    return Objective(nn.Sequential(*layers), nn.MSELoss(), (inputs, target), l2=l2, dtype=torch.float64)


def product(objective: Objective, theta: Tensor) -> Tensor:
    """The matrix that a deep linear network computes, (R, outputs, inputs)."""
    parts = objective.layout.unravel(theta)
    total = None
    for name in objective.layout.names:
        total = parts[name] if total is None else parts[name] @ total
    assert total is not None
    return total


def subset_index(kept: list[int], strengths: Tensor, width: int) -> int:
    """Negative modes at the critical point that keeps these components of a linear network of two layers.

    Baldi & Hornik (1989): each kept component can be exchanged for each stronger one left out, and each unused unit can
    take each component left out.
    """
    out = [j for j in range(len(strengths)) if j not in kept]
    swaps = sum(bool(strengths[j] > strengths[i]) for i in kept for j in out)
    return swaps + (width - len(kept)) * len(out)


def mueller_brown() -> FunctionProblem:
    """Three minima and two saddles in the plane."""
    rows = zip(
        (-200.0, -100.0, -170.0, 15.0),
        (-1.0, -1.0, -6.5, 0.7),
        (0.0, 0.0, 11.0, 0.6),
        (-10.0, -10.0, -6.5, 0.7),
        (1.0, 0.0, -0.5, -1.0),
        (0.0, 0.5, 1.5, 1.0),
        strict=True,
    )
    terms = list(rows)

    def energy(p: Tensor) -> Tensor:
        total = p.new_zeros(())
        for height, a, b, c, x, y in terms:
            dx, dy = p[0] - x, p[1] - y
            total = total + height * torch.exp(a * dx * dx + b * dx * dy + c * dy * dy)
        return total

    return FunctionProblem(energy, 2)


def nearest_of(points: CriticalPoints, r: int, places: tuple[tuple[float, float], ...]) -> tuple[int, float]:
    """Which of the places a point is at, and how far from it."""
    distances = (torch.tensor(places, dtype=torch.float64) - points.theta[r]).norm(dim=1)
    return int(distances.argmin()), float(distances.min())
