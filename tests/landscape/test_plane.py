"""Trajectories on a plane: distances by hand, losses at the weights and at their shadows."""

from __future__ import annotations

import pytest
import torch

from tests.landscape.functions import objective_of, relu_network, rosenbrock
from thalweg.errors import InputError
from thalweg.landscape import Directions, path_on_plane, pca_directions
from thalweg.runs.snapshots import MemoryShard, Snapshots


def test_off_plane_distance_and_both_losses() -> None:
    def function(p: torch.Tensor) -> torch.Tensor:
        return rosenbrock(p) + 5 * p[..., 2] ** 2

    center = torch.tensor([0.2, 0.1, 0.5], dtype=torch.float64)
    plane = Directions(torch.tensor([[2.0, 0, 0], [1, 1, 0]], dtype=torch.float64), ("a", "b"))
    path = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = path_on_plane(objective_of(function, center), path, center, plane)
    shadow = path.clone()
    shadow[..., 2] = 0.5
    assert found.coordinates.shape == (7, 2, 2)
    torch.testing.assert_close(plane.points(center, found.coordinates), shadow)
    torch.testing.assert_close(found.off_plane, (path[..., 2] - 0.5).abs())
    torch.testing.assert_close(found.distance, (path - center).norm(dim=-1))
    torch.testing.assert_close(found.off_plane_share, found.off_plane / found.distance)
    torch.testing.assert_close(found.true["loss"], function(path))
    torch.testing.assert_close(found.plane["loss"], function(shadow))


def test_a_path_in_its_own_plane_has_no_distance() -> None:
    objective = relu_network(4, 5, 3)
    ends = torch.stack([objective.theta, objective.theta * 1.5, objective.theta.flip(0)])
    path = torch.cat([ends, ends.mean(0, keepdim=True)])
    found = path_on_plane(objective, path, path[-1], pca_directions(path), metrics=("loss", "accuracy"))
    assert found.off_plane.max() < 1e-12
    for name in ("loss", "accuracy"):
        torch.testing.assert_close(found.true[name], found.plane[name])
        torch.testing.assert_close(found.true[name], objective.metrics(path)[name])


def test_blocks_and_several_objectives() -> None:
    train = relu_network(4, 5, 3)
    test = train.subset(torch.arange(7))
    path = torch.randn(9, 3, train.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plane = Directions(torch.eye(2, train.size).double(), ("a", "b"))
    whole = path_on_plane({"train": train, "test": test}, path, path[-1, 0], plane)
    recorded = Snapshots([MemoryShard(path[:4]), MemoryShard(path[4:])], (3, train.size), torch.float64)
    pieces = path_on_plane({"train": train, "test": test}, recorded, path[-1, 0], plane, memory=1)
    assert set(whole.true) == {"train_loss", "test_loss"}
    for name in whole.true:
        torch.testing.assert_close(whole.true[name], pieces.true[name])
        torch.testing.assert_close(whole.plane[name], pieces.plane[name])
    torch.testing.assert_close(whole.coordinates, pieces.coordinates)


def test_a_replica_that_diverged_does_not_touch_the_others() -> None:
    objective = relu_network(4, 5, 3)
    path = torch.randn(4, 2, objective.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plane = Directions(torch.eye(2, objective.size).double(), ("a", "b"))
    clean = path_on_plane(objective, path, path[-1, 0], plane)
    broken = path.clone()
    broken[2:, 1] = torch.inf
    found = path_on_plane(objective, broken, path[-1, 0], plane)
    torch.testing.assert_close(found.true["loss"][:, 0], clean.true["loss"][:, 0])
    torch.testing.assert_close(found.coordinates[:, 0], clean.coordinates[:, 0])
    assert found.coordinates[2:, 1].isnan().all()
    assert not found.true["loss"][2:, 1].isfinite().any()


def test_bad_input() -> None:
    objective = relu_network(4, 5, 3)
    plane = Directions(torch.eye(2, objective.size).double(), ("a", "b"))
    with pytest.raises(InputError, match=r"path must have shape \(S, 35\) or \(S, R, 35\), none empty, found \(4, 3\)"):
        path_on_plane(objective, torch.zeros(4, 3), objective.theta, plane)
    with pytest.raises(InputError, match=r"center and directions must have length 35 like the path, found \(3,\)"):
        path_on_plane(objective, torch.zeros(4, 35), torch.zeros(3), plane)
    with pytest.raises(InputError, match="found 'acuracy', did you mean 'accuracy'"):
        path_on_plane(objective, torch.zeros(4, 35), objective.theta, plane, metrics=("acuracy",))
