"""Directions of a trajectory and of the curvature: what they are, and that missing ones are said to be missing."""

from __future__ import annotations

import pytest
import torch

from tests.landscape.functions import objective_of, relu_network
from thalweg.errors import InputError
from thalweg.landscape import hessian_directions, pca_directions


def quadratic(eigenvalues: list[float]):
    """Half a quadratic form with these eigenvalues, its eigenvectors as rows, and a point."""
    generator = torch.Generator().manual_seed(3)
    size = len(eigenvalues)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    matrix = basis.T @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis
    theta = torch.randn(size, generator=generator, dtype=torch.float64)
    return objective_of(lambda p: 0.5 * ((p @ matrix) * p).sum(-1), theta), basis, theta


def test_components_of_a_flat_trajectory() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(30, 2, generator=generator, dtype=torch.float64)).Q.T
    time = torch.linspace(-1, 1, 11, dtype=torch.float64)
    path = torch.stack([3 * time, time**2], dim=1) @ basis + 5
    found = pca_directions(path)
    torch.testing.assert_close(found.vectors.abs(), basis.abs())
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(2, dtype=torch.float64))
    assert found.labels[0].startswith("component 1 (9")
    assert "100.0 % of the variance" in found.notes[0]
    assert found.project(path - path[-1])[1].max() < 1e-12


def test_joint_over_replicas_without_those_that_diverged() -> None:
    path = torch.randn(6, 3, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean = pca_directions(path[:, [0, 2]])
    path[2, 1] = torch.nan
    found = pca_directions(path)
    torch.testing.assert_close(found.vectors, clean.vectors)
    assert any("replicas 1" in note for note in found.notes)


def test_of_some_parameters() -> None:
    path = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    columns = torch.tensor([1, 4, 5, 8])
    found = pca_directions(path, columns=columns)
    torch.testing.assert_close(found.vectors[:, columns], pca_directions(path[:, columns]).vectors)
    assert found.vectors[:, [0, 2, 3, 6, 7]].abs().max() == 0
    assert "4 of 9 parameters move." in found.notes


def test_a_straight_trajectory_has_one_direction() -> None:
    path = torch.linspace(0, 1, 8)[:, None] * torch.randn(1, 50, generator=torch.Generator().manual_seed(2))
    found = pca_directions(path)
    assert found.vectors.shape == (1, 50)
    assert any("Only 1 of 2 components exist" in note for note in found.notes)


def test_a_weak_component_is_said_to_be_weak() -> None:
    time = torch.linspace(-1, 1, 9, dtype=torch.float64)
    found = pca_directions(torch.stack([time, 0.05 * time**2, 0 * time], dim=1))
    assert found.vectors.shape == (2, 3)
    assert any("Component 2 is weak" in note for note in found.notes)


@pytest.mark.parametrize(
    ("path", "message"),
    [(torch.randn(1, 2, 5), "snapshot"), (torch.ones(4, 5), "must differ from each other"), (torch.ones(5), "axes")],
)
def test_bad_trajectories(path: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pca_directions(path)


@pytest.mark.parametrize(
    ("which", "count", "expected"),
    [
        ("top", 2, [0, 1]),
        ("bottom", 2, [5, 4]),
        ("mixed", 2, [0, 5]),
        ("mixed", 3, [0, 1, 5]),
        ("top", 1, [0]),
        ("mixed", 1, [0]),
    ],
)
def test_eigenvectors(which: str, count: int, expected: list[int]) -> None:
    eigenvalues = [7.0, 3.0, 1.0, 0.2, -0.5, -2.0]
    objective, basis, theta = quadratic(eigenvalues)
    found = hessian_directions(objective, theta, which, count)
    for k, index in enumerate(expected):
        assert f"λ = {eigenvalues[index]:.3g}" in found.labels[k]
        assert abs(float(found.vectors[k] @ basis[index])) == pytest.approx(1, abs=1e-6)
        assert float(objective.gradient(theta) @ found.vectors[k]) >= 0  # uphill
        assert any(f"Eigenvalue {eigenvalues[index]:.6g} with residual" in note for note in found.notes)
    assert found.kind == f"Hessian, {which}"


def test_flat_and_repeated_eigenvalues_are_named() -> None:
    objective, _, theta = quadratic([4.0, 4.0, 0.0, 0.0])
    repeated = hessian_directions(objective, theta).notes
    assert any("are one within their residuals" in note for note in repeated)
    flat = hessian_directions(objective, theta, "bottom", 1).notes
    assert any("shows no curvature that is certain" in note for note in flat)


def test_more_directions_than_dimensions() -> None:
    objective, _, theta = quadratic([2.0])
    found = hessian_directions(objective, theta)
    assert found.vectors.shape == (1, 1)
    assert any("Only 1 of 2 directions exist" in note for note in found.notes)


def test_one_layer_against_the_dense_hessian() -> None:
    objective = relu_network(4, 5, 3)
    found = hessian_directions(objective, objective.theta, parameters="2.*")
    block = objective.hessian(objective.theta, "2.*")
    values, vectors = torch.linalg.eigh(block)
    assert not found.vectors[:, :20].any()
    for k in range(2):
        assert abs(float(found.vectors[k, 20:] @ vectors[:, -1 - k])) == pytest.approx(1, abs=1e-4)
        assert f"{float(values[-1 - k]):.3g}" in found.labels[k]
    assert any("ReLU" in note for note in found.notes)


def test_bad_input() -> None:
    objective, _, theta = quadratic([2.0, 1.0])
    with pytest.raises(InputError, match="which must be one of top, bottom, mixed, found 'tops', did you mean 'top'"):
        hessian_directions(objective, theta, "tops")
    with pytest.raises(InputError, match="count must be a whole number of at least 1 direction, found 0"):
        hessian_directions(objective, theta, "top", 0)
    with pytest.raises(InputError, match="theta must have a finite Hessian"):
        hessian_directions(objective_of(lambda p: p.log().sum(-1), theta), torch.zeros(2, dtype=torch.float64))
