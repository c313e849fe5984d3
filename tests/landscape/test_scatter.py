"""Scatter surfaces: every point has its own loss, and the seed, replica and snapshot decide the neighbours."""

from __future__ import annotations

import pytest
import torch

from tests.landscape.functions import relu_network
from thalweg.errors import InputError
from thalweg.landscape import pca, scatter_surface

OBJECTIVE = relu_network(3, 4, 2)


def some_path(replicas: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, replicas, OBJECTIVE.size, generator=generator, dtype=torch.float64).cumsum(0)


def test_points_and_their_losses() -> None:
    path = some_path()
    found = scatter_surface(OBJECTIVE, path, last=3, neighbours=4, method="pca", metrics=("loss", "accuracy"))
    assert found.coordinates.shape == (8 * 2 + 3 * 2 * 4, 2)
    visited = ~found.neighbour
    assert visited.sum() == 16
    torch.testing.assert_close(found.values["loss"][visited], OBJECTIVE.value(path).flatten())
    assert set(found.snapshot[found.neighbour].tolist()) == {5, 6, 7}
    assert found.values["accuracy"].shape == found.values["loss"].shape
    assert "% of the variance" in found.notes[1]


def test_neighbours_are_as_far_as_they_should_be() -> None:
    """In the principal components of points around one, distances are kept but for what the plane hides."""
    path = some_path(1)[:, 0]
    spread = 0.01
    found = scatter_surface(OBJECTIVE, path, last=1, neighbours=400, spread=spread, method="pca")
    cloud = found.coordinates[found.neighbour]
    rms = path[-1].square().mean().sqrt()
    assert float(cloud.std(0).mean() / (spread * rms)) == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(cloud.mean(0), found.coordinates[7], atol=float(4 * spread * rms / 20), rtol=0)


def test_seeds() -> None:
    path = some_path()
    first = scatter_surface(OBJECTIVE, path, last=2, neighbours=3, method="pca", seed=1)
    again = scatter_surface(OBJECTIVE, path, last=2, neighbours=3, method="pca", seed=1)
    other = scatter_surface(OBJECTIVE, path, last=2, neighbours=3, method="pca", seed=2)
    alone = scatter_surface(OBJECTIVE, path[:, :1], last=1, neighbours=3, method="pca", seed=1)
    assert torch.equal(first.values["loss"], again.values["loss"])
    assert not torch.equal(first.values["loss"][16:], other.values["loss"][16:])
    mine = first.neighbour & (first.snapshot == 7) & (first.replica == 0)
    torch.testing.assert_close(first.values["loss"][mine], alone.values["loss"][alone.neighbour])


def test_another_plane_of_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    path = some_path()
    flat = scatter_surface(OBJECTIVE, path, last=2, neighbours=20, method="pca", seed=1)
    expected = scatter_surface(OBJECTIVE, path, last=2, neighbours=20, method="tsne", perplexity=8, seed=1)
    monkeypatch.setattr("thalweg.landscape.scatter.measure", None)  # nothing is evaluated again
    found = flat.embedded("tsne", perplexity=8, seed=1)
    assert found.method == "tsne"
    assert found.notes == expected.notes
    assert torch.equal(found.coordinates, expected.coordinates)
    assert torch.equal(found.values["loss"], expected.values["loss"])


def test_principal_components_of_the_path_alone() -> None:
    path = some_path()
    found = scatter_surface(OBJECTIVE, path, neighbours=0, method="pca")
    expected = pca(path.flatten(0, 1)[:, None]).coordinates(2)[:, 0]
    torch.testing.assert_close(found.coordinates, expected)


def test_neighbourhoods_by_tsne() -> None:
    path = 30 * some_path()
    found = scatter_surface(OBJECTIVE, path, last=2, neighbours=15, spread=0.001, perplexity=5)
    centre = {(int(s), int(r)): i for i, (s, r) in enumerate(zip(found.snapshot[:16], found.replica[:16], strict=True))}
    distances = torch.cdist(found.coordinates, found.coordinates[:16])
    nearest = distances[16:].argmin(1)
    own = torch.tensor([centre[int(s), int(r)] for s, r in zip(found.snapshot[16:], found.replica[16:], strict=True)])
    assert (nearest == own).float().mean() > 0.95
    assert "only neighbourhoods mean something" in found.notes[1]


def test_weights_that_are_not_finite_have_no_place() -> None:
    path = some_path()
    path[4:, 1] = torch.nan
    found = scatter_surface(OBJECTIVE, path, last=2, neighbours=3, method="pca")
    lost = (found.replica == 1) & (found.snapshot >= 4)
    assert found.coordinates[lost].isnan().all()
    assert found.coordinates[~lost].isfinite().all()
    assert found.values["loss"][~lost].isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"last": 0}, "last must be a whole number of at least 1, found 0"),
        ({"neighbours": -1}, "neighbours must be a whole number of at least 0, found -1"),
        ({"spread": 0.0}, "spread must be positive and finite, found 0"),
        ({"method": "umap"}, "method must be 'tsne' or 'pca', found 'umap'"),
        ({"metrics": ("los",)}, "did you mean 'loss'"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scatter_surface(OBJECTIVE, some_path(), **options)


def test_bad_paths() -> None:
    with pytest.raises(InputError, match=r"path must have shape \(S, 20\) or \(S, R, 20\), found \(4, 3\)"):
        scatter_surface(OBJECTIVE, torch.zeros(4, 3))
    with pytest.raises(InputError, match="finite weights, found none"):
        scatter_surface(OBJECTIVE, torch.full((3, 20), torch.nan), neighbours=1)
