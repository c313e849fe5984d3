"""Eigenvalues of a batch: one matrix for which LAPACK fails costs no other replica anything."""

from __future__ import annotations

import pytest
import torch
from scipy import linalg

from tests.critical.cases import sinc
from thalweg.critical import METHODS, Status, as_problem, certify, same_points, search
from thalweg.critical.modes import symmetric_modes

EIGH, SCIPY = torch.linalg.eigh, linalg.eigh


def failing(monkeypatch, bad, everywhere):
    """LAPACK gives up on matrices of this trace, as it does for the whole batch; `everywhere`: QR iteration too."""

    def gives_up(matrix):
        traces = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
        return bool(((traces - bad).abs() <= 1e-9 * abs(bad)).any())

    def torch_eigh(matrix):
        if gives_up(matrix):
            raise torch.linalg.LinAlgError("the algorithm failed to converge")
        return EIGH(matrix)

    def scipy_eigh(matrix, **options):
        if everywhere and gives_up(torch.from_numpy(matrix)):
            raise linalg.LinAlgError("the algorithm failed to converge")
        return SCIPY(matrix, **options)

    monkeypatch.setattr(torch.linalg, "eigh", torch_eigh)
    monkeypatch.setattr(linalg, "eigh", scipy_eigh)


def symmetric(*shape, dtype=torch.float64):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
    return matrix + matrix.mT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_qr_iteration_takes_over(monkeypatch, dtype):
    matrix = symmetric(3, 6, 6, dtype=dtype)
    expected = EIGH(matrix)[0]
    failing(monkeypatch, float(matrix[1].trace()), everywhere=False)
    values, modes, exist = symmetric_modes(matrix)
    assert values.dtype == dtype
    assert exist.tolist() == [True] * 3
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(matrix @ modes, modes * values[:, None])


def test_what_has_no_modes_is_nan_and_alone(monkeypatch):
    matrix = symmetric(4, 5, 5)
    matrix[3, 0, 0] = torch.nan
    expected = EIGH(matrix[:3])[0]
    failing(monkeypatch, float(matrix[1].trace()), everywhere=True)
    values, modes, exist = symmetric_modes(matrix)
    assert exist.tolist() == [True, False, True, False]
    assert bool(values[~exist].isnan().all())
    assert torch.equal(values[[0, 2]], expected[[0, 2]])
    assert bool(modes.isfinite().all())


USING = [method for method in METHODS if method in ("minimise", "newton", "follow", "natural", "saddle-free")]
FEW = {"minimise": {"first": 5, "second": 5}}


@pytest.mark.parametrize("method", [*USING, "levenberg-on-gradient"])
def test_a_replica_without_modes_stops_alone(monkeypatch, method):
    objective = sinc(3, points=32, l2=1e-3)
    theta = objective.initial(3, seed=4)
    options = FEW.get(method, {"steps": 8} | ({"index": 1, "restarts": 0} if method == "follow" else {}))
    clean = search(objective, theta, method, **options)
    begin = objective.hessian(theta[1])
    failing(monkeypatch, float(begin.trace()), everywhere=True)
    points = search(objective, theta, method, **options)
    for r in (0, 2):
        torch.testing.assert_close(points.theta[r], clean.theta[r], rtol=1e-9, atol=1e-9)
        assert points.status[r] is clean.status[r]
    if method != "minimise":  # that one begins with Gauss–Newton, which needs no modes
        assert torch.equal(points.theta[1], theta[1])
        assert points.status[1] is Status.DIVERGED
        assert "has no eigenvalues" in points.message[1]


def test_a_point_without_modes_is_certified_as_nothing(monkeypatch):
    problem = as_problem(sinc(3, points=32, l2=1e-3))
    points = search(problem, problem.objective.initial(6, seed=4))
    assert set(points.status) == {Status.MINIMUM}
    copies = [r for r in range(6) if same_points(points, 0, points, r)]
    assert len(copies) < 6
    failing(monkeypatch, float(problem.hessian(points.theta[:1])[2].diagonal(dim1=1, dim2=2).sum()), everywhere=True)
    again = certify(problem, points.theta, polish=False)
    for r, status in enumerate(again.status):
        assert status is (Status.DIVERGED if r in copies else Status.MINIMUM)
        assert bool(again.minimal_ratio[r].isnan()) == (r in copies)
