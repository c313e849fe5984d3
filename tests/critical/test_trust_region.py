"""The subproblem's solution is the constrained minimum, also in the hard case."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from thalweg.critical import trust_region


def model(a, b, s):
    return float((b * s + 0.5 * a * s * s).sum())


def brute(a, b, radius):
    """The best of many constrained local searches."""
    generator = np.random.default_rng(0)
    best = 0.0
    for _ in range(12):
        start = generator.normal(size=len(a))
        start *= 0.7 * radius / np.linalg.norm(start)
        found = minimize(
            lambda s: model(a, b, s),
            start,
            jac=lambda s: b + a * s,
            method="SLSQP",
            constraints={"type": "ineq", "fun": lambda s: radius**2 - s @ s, "jac": lambda s: -2 * s},
            options={"maxiter": 200, "ftol": 1e-13},
        )
        if np.linalg.norm(found.x) <= radius * (1 + 1e-7):
            best = min(best, float(found.fun))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_the_model_is_as_low_as_brute_force_finds(seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(3, 5, generator=generator).double()
    a[0] = a[0].abs() + 0.1
    b = torch.randn(3, 5, generator=generator).double()
    radius = torch.tensor([10.0, 0.5, 2.0]).double()
    s, inside = trust_region.solve(a, b, radius)
    for r in range(3):
        lowest = brute(a[r].numpy(), b[r].numpy(), float(radius[r]))
        assert model(a[r], b[r], s[r]) <= lowest + 1e-6 * abs(lowest)
        assert float(s[r].norm()) <= float(radius[r]) * (1 + 1e-9)
        assert bool(inside[r]) or float(s[r].norm()) == pytest.approx(float(radius[r]), rel=1e-6)


@pytest.mark.parametrize("slope", [0.0, 1e-200, 1e-14])
def test_hard_case(slope):
    a = torch.tensor([[-2.0, 1.0, 3.0]]).double()
    b = torch.tensor([[slope, 0.3, 0.3]]).double()
    s, inside = trust_region.solve(a, b, torch.ones(1).double())
    across = torch.tensor([0.3 / 3, 0.3 / 5]).double()  # −b/(A + 2)
    assert not inside
    assert s[0, 1:].tolist() == pytest.approx((-across).tolist(), rel=1e-6)
    assert float(s.norm()) == pytest.approx(1.0, rel=1e-6)


def test_no_slope_at_all():
    s, inside = trust_region.solve(torch.tensor([[2.0, -1.0]]).double(), torch.zeros(1, 2).double(), torch.ones(1))
    assert s.abs().tolist() == [[0.0, 1.0]]
    assert not inside


def test_interior_step_is_newtons():
    a, b = torch.tensor([[2.0, 4.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
    s, inside = trust_region.solve(a, b, torch.ones(1).double())
    assert inside
    assert s.tolist() == [[-0.5, -0.25]]


def test_replicas_do_not_see_each_other():
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(7, 4, generator=generator).double(), torch.randn(7, 4, generator=generator).double()
    radius = torch.logspace(-3, 3, 7).double()
    together = trust_region.solve(a, b, radius)[0]
    alone = torch.cat([trust_region.solve(a[r : r + 1], b[r : r + 1], radius[r : r + 1])[0] for r in range(7)])
    assert torch.equal(together, alone)
