"""t-SNE: the same picture twice, neighbours kept, bounds on the perplexity."""

from __future__ import annotations

import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import pca, tsne


def clusters() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    offsets = 20 * torch.eye(3, 400, dtype=torch.float64)
    return torch.randn(10, 3, 400, generator=generator, dtype=torch.float64) * 0.3 + offsets


def test_same_input_gives_the_same_picture_and_the_seed_matters() -> None:
    found = pca(clusters())
    first, second = tsne(found, seed=2), tsne(found, seed=2)
    assert torch.equal(first.coordinates, second.coordinates)
    assert not torch.equal(first.coordinates, tsne(found, seed=3).coordinates)
    assert first.dimensions == 29
    assert first.kept == pytest.approx(1)


def test_neighbours_stay_neighbours() -> None:
    placed = tsne(pca(clusters()), perplexity=5).coordinates.flatten(0, 1)  # (30, 2), replica fastest
    distances = torch.cdist(placed, placed) + 1e9 * torch.eye(30)
    assert (distances.argmin(1) % 3 == torch.arange(30) % 3).all()


def test_points_on_a_line_do_not_stay_on_one() -> None:
    line = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None, None] * torch.ones(1, 1, 6, dtype=torch.float64)
    placed = tsne(pca(line)).coordinates[:, 0]
    assert torch.linalg.svdvals(placed - placed.mean(0))[1] > 1


def test_excluded_replicas_are_nan_and_the_rest_is_as_without_them() -> None:
    snapshots = clusters()
    snapshots[4, 1] = torch.inf
    placed = tsne(pca(snapshots), seed=2).coordinates
    assert placed[:, 1].isnan().all()
    torch.testing.assert_close(placed[:, [0, 2]], tsne(pca(clusters()[:, [0, 2]]), seed=2).coordinates)


def test_a_run_that_stands_still_stays_in_one_place() -> None:
    snapshots = clusters()
    snapshots[:, 1] = snapshots[:1, 1]
    found = tsne(pca(snapshots))
    assert found.places == 21
    assert (found.coordinates[:, 1] == found.coordinates[0, 1]).all()
    assert (found.coordinates[:, 0].diff(dim=0).norm(dim=-1) > 0).all()
    snapshots[0] = snapshots[0, :1]  # and runs that start together start in one place
    start = tsne(pca(snapshots)).coordinates[0]
    assert torch.equal(start, start[:1].expand(3, 2))


def test_gently_curved_runs_are_not_folded() -> None:
    """Runs that leave one place in different directions and bend on the way, as trainings do."""
    away = torch.linspace(0, 1, 21, dtype=torch.float64).sqrt()[:, None]
    directions = torch.eye(12, dtype=torch.float64)
    paths = [6 * away * directions[r] + 3 * away**3 * directions[r + 6] + directions[r] for r in range(6)]
    placed = tsne(pca(torch.stack(paths, dim=1))).coordinates
    steps = placed.diff(dim=0)
    assert (torch.cosine_similarity(steps[:-1], steps[1:], dim=-1) > 0).all()  # no step goes back


def test_many_points_are_approximated() -> None:
    """Above 800 points Barnes-Hut takes over; the neighbour of a point is still of its own cluster."""
    offsets = 50 * torch.eye(3, 60, dtype=torch.float64)
    found = tsne(pca(torch.randn(280, 3, 60, dtype=torch.float64) + offsets), iterations=300)
    placed = found.coordinates.flatten(0, 1)  # (840, 2), replica fastest
    nearest = (torch.cdist(placed, placed) + 1e9 * torch.eye(840)).argmin(1)
    assert (nearest % 3 == torch.arange(840) % 3).all()


def test_perplexity_rule() -> None:
    found = pca(clusters())
    for length, runs, expected in ((10, 3, 3), (40, 3, 5), (250, 1, 30), (6, 1, 5 / 3)):
        walk = torch.randn(length, runs, 20, dtype=torch.float64).cumsum(0)
        assert tsne(pca(walk), iterations=250).perplexity == pytest.approx(expected)
    for bad in (0.5, 10.0):
        with pytest.raises(InputError, match=rf"perplexity must lie in 1 … 9.667 for 30 different points, found {bad}"):
            tsne(found, perplexity=bad)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least 4 different points, found 3"):
        tsne(pca(torch.randn(3, 1, 5)))
    with pytest.raises(InputError, match="iterations must be at least 250, found 10"):
        tsne(pca(clusters()), iterations=10)
