"""Searches by products alone end at the same points as the dense ones."""

from __future__ import annotations

import pytest
import torch

from tests.critical.cases import linear, product, rotation, sinc
from thalweg.critical import LargeStatus, ObjectiveProblem, Status, certify, follow, newton_cg, search
from thalweg.errors import InputError
from thalweg.objective import Objective


def test_minima_near_dense_minima():
    objective = sinc(4, l2=1e-2, points=32)
    dense = search(objective, objective.initial(4, seed=1))
    assert set(dense.status) == {Status.MINIMUM}
    generator = torch.Generator().manual_seed(0)
    near = dense.theta + 1e-2 * torch.randn(4, objective.size, generator=generator, dtype=torch.float64)
    found = newton_cg(objective, near)
    assert set(found.status) == {LargeStatus.CONVERGED}
    assert float(found.gradient.max()) <= 1e-8
    torch.testing.assert_close(found.theta, dense.theta, atol=1e-4, rtol=0)
    lowest = dense.certificate.eigenvalues[:, :2]
    assert bool(((found.lowest - lowest).abs() <= found.residuals + 1e-5).all())
    assert all(history[-1][1] <= 1e-8 for history in found.history)
    assert int(found.products.min()) > 0


def test_minima_from_initial_weights():
    objective = sinc(4, l2=1e-2, points=32)
    found = newton_cg(objective, objective.initial(4, seed=1))
    assert found.status.count(LargeStatus.CONVERGED) >= 3
    points = certify(ObjectiveProblem(objective), found.theta, tolerance=1e-8)
    assert points.status.count(Status.MINIMUM) >= 3


def test_saddles_of_index_one_near_dense_ones():
    objective = sinc(4, l2=1e-3, points=32)
    problem = ObjectiveProblem(objective)
    dense = certify(problem, follow(problem, objective.initial(5, seed=1), 1, steps=100))
    rows = [r for r, s in enumerate(dense.status) if s is Status.SADDLE][:2]
    assert rows
    generator = torch.Generator().manual_seed(0)
    near = dense.theta[rows] + 1e-3 * torch.randn(len(rows), objective.size, generator=generator, dtype=torch.float64)
    found = newton_cg(objective, near, 1)
    assert LargeStatus.CONVERGED in found.status
    points = certify(problem, found.theta, tolerance=1e-8)
    for r, status in enumerate(found.status):
        if status is LargeStatus.CONVERGED:
            assert int(points.certificate.negative[r]) == 1


def test_a_minimum_is_no_saddle_of_index_one():
    objective = sinc(4, l2=1e-2, points=32)
    dense = search(objective, objective.initial(1, seed=1))
    found = newton_cg(objective, dense.theta, 1)
    assert found.status == (LargeStatus.WRONG_INDEX,)


def test_a_flat_valley_has_no_index():
    """One eigenvalue is exactly zero: whatever sign its rounding has, that is no wrong index."""
    for seed in range(3):
        torch.manual_seed(seed)
        data = torch.randn(2, 3).double(), torch.zeros(2, 1).double()
        objective = Objective(torch.nn.Linear(3, 1, bias=False).double(), torch.nn.MSELoss(), data)
        assert newton_cg(objective, objective.initial(1, seed=seed)).status == (LargeStatus.UNDECIDED,)


def test_matrix_factorisation_with_decay():
    left, right = rotation(6, 3), rotation(6, 4)
    sizes, decay = torch.tensor([3.0, 2.5, 2.0, 1.5, 1.0, 0.9]).double(), 0.02
    objective = linear(6, 6, 6, target=(left @ torch.diag(sizes) @ right.mT).mT, inputs=torch.eye(6).double(), l2=decay)
    found = newton_cg(objective, objective.initial(1, seed=2))
    assert float(found.gradient[0]) <= 1e-8
    expected = torch.diag(sizes - decay * 36 / 2)
    torch.testing.assert_close(left.mT @ product(objective, found.theta)[0] @ right, expected, atol=1e-6, rtol=0)


def test_faults_stay_in_their_replica():
    objective = sinc(4, points=32)
    theta = objective.initial(2, seed=1)
    theta[0] = torch.nan
    found = newton_cg(objective, theta, steps=2)
    assert found.status == (LargeStatus.DIVERGED, LargeStatus.BUDGET)
    with pytest.raises(InputError, match="index must be 0 or 1 without a dense Hessian, found 2"):
        newton_cg(objective, theta, 2)
