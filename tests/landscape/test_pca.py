"""Principal components against numpy's SVD of the full matrix, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import PCA, explained_ratio, matched_walk, pca
from thalweg.runs.snapshots import MemoryShard, Snapshots


def reference(snapshots: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All coordinates (S·R, rank), variances and directions by the SVD of the centred float64 matrix."""
    rows = snapshots.double().flatten(0, 1).numpy()
    u, s, vt = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return u * s, s**2 / (len(rows) - 1), vt


def aligned(found: PCA, count: int, expected: np.ndarray) -> np.ndarray:
    """Coordinates with the signs of the reference, whose convention is another."""
    mine = found.coordinates(count).flatten(0, 1).numpy()
    return mine * np.sign((mine * expected[:, :count]).sum(0))


def graded(decay: float, s: int, r: int, p: int, rank: int) -> torch.Tensor:
    """Trajectories with singular values 1, decay, decay², … about a mean far from zero."""
    g = torch.Generator().manual_seed(3)
    left = torch.linalg.qr(torch.randn(s * r, rank, generator=g, dtype=torch.float64)).Q
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(torch.randn(p, rank, generator=g, dtype=torch.float64)).Q
    matrix = left @ torch.diag(decay ** torch.arange(rank, dtype=torch.float64)) @ right.T
    return (matrix + 10 * torch.randn(p, generator=g, dtype=torch.float64)).unflatten(0, (s, r))


@pytest.mark.parametrize("shape", [(7, 3, 500), (30, 4, 9), (2, 1, 6), (11, 8, 88)], ids=str)
@pytest.mark.parametrize("memory", [2**30, 2**19])
def test_equals_the_svd(shape: tuple[int, int, int], memory: int) -> None:
    snapshots = torch.randn(shape, dtype=torch.float64).cumsum(0) + 5
    found = pca(snapshots, memory=memory)
    scores, variance, directions = reference(snapshots)
    assert found.rank == min(shape[0] * shape[1] - 1, shape[2])
    count = min(3, found.rank)
    np.testing.assert_allclose(aligned(found, count, scores), scores[:, :count], atol=1e-10 * np.abs(scores).max())
    np.testing.assert_allclose(found.variance, variance[: found.rank], rtol=1e-8, atol=1e-13 * variance[0])
    assert found.total == pytest.approx(variance.sum(), rel=1e-12)
    components = found.components(count, memory=memory)
    np.testing.assert_allclose(np.abs((components.numpy() * directions[:count]).sum(1)), 1, atol=1e-10)
    # coordinates and components belong together, sign included
    projected = (snapshots - found.mean) @ components.T
    torch.testing.assert_close(projected, found.coordinates(count), atol=1e-9, rtol=0)


@pytest.mark.parametrize("decay", [0.5, 1e-2])
def test_ill_conditioned(decay: float) -> None:
    snapshots = graded(decay, 6, 2, 400, rank=8)
    found = pca(snapshots)
    _, variance, _ = reference(snapshots)
    # what is reported is right relative to the largest variance, and what is not resolved is not reported
    np.testing.assert_allclose(found.variance, variance[: found.rank], atol=1e-14 * variance[0])
    assert variance[found.rank :].max(initial=0) <= 1e-14 * variance[0]
    assert found.rank == (8 if decay == 0.5 else 4)


def test_blocks_and_lazy_reading_change_nothing() -> None:
    snapshots = torch.randn(6, 4, 300)
    shards = Snapshots([MemoryShard(snapshots[:2]), MemoryShard(snapshots[2:])], (4, 300), torch.float32)
    whole, pieces = pca(snapshots), pca(shards, memory=40_000)
    torch.testing.assert_close(whole.scores, pieces.scores, atol=1e-10, rtol=0)
    torch.testing.assert_close(whole.steps, snapshots.double().diff(dim=0).norm(dim=-1))
    torch.testing.assert_close(pieces.steps, whole.steps)


class Guarded:
    """Snapshots made when they are asked for; notes the most bytes that were asked for at once."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape, self.most, self.asked = shape, 0, []

    def __getitem__(self, key: tuple[slice, slice, slice]) -> torch.Tensor:
        self.asked.append(key[1])
        columns = torch.arange(self.shape[2], dtype=torch.float64)[key[2]]
        time = torch.arange(self.shape[0], dtype=torch.float64)[key[0], None, None]
        replica = torch.arange(self.shape[1], dtype=torch.float64)[key[1], None]
        out = torch.sin(0.1 * time + replica + columns)
        self.most = max(self.most, out.nbytes)
        return out


def test_never_reads_more_than_the_budget() -> None:
    lazy = Guarded((20, 4, 100_000))  # 64 MB in float64
    found = pca(lazy, memory=2**20)
    assert lazy.most < 2**20
    assert found.rank == 2  # sin(a + b) = sin a cos b + cos a sin b
    lazy.asked.clear()
    pca(lazy, replicas=[2, 3])
    assert {(key.start, key.stop) for key in lazy.asked} == {(0, 1), (2, 4)}  # the first looks up the dtype


def test_float32_is_accumulated_in_float64() -> None:
    snapshots = 1e3 + torch.randn(8, 3, 2000)
    found = pca(snapshots)
    scores, variance, _ = reference(snapshots)
    np.testing.assert_allclose(found.variance[:3], variance[:3], rtol=1e-10)
    np.testing.assert_allclose(aligned(found, 3, scores), scores[:, :3], atol=1e-8)


def test_rotation_and_translation() -> None:
    snapshots = torch.randn(9, 3, 60, dtype=torch.float64).cumsum(0)
    rotation = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64)).Q
    before, after = pca(snapshots), pca(snapshots @ rotation + 100)
    torch.testing.assert_close(before.coordinates(3), after.coordinates(3), atol=1e-8, rtol=0)  # signs included
    torch.testing.assert_close(before.off_plane(2), after.off_plane(2), atol=1e-8, rtol=0)


def test_sign_points_the_way_of_training() -> None:
    found = pca(torch.randn(9, 3, 60, dtype=torch.float64).cumsum(0))
    moved = (found.scores[-1] - found.scores[0]).mean(0)
    assert (moved > 0).all()


def test_off_plane_is_what_the_projection_leaves() -> None:
    snapshots = torch.randn(8, 3, 50, dtype=torch.float64)
    found = pca(snapshots)
    centred = snapshots - snapshots.mean((0, 1))
    components = found.components(2)
    rest = centred - (centred @ components.T) @ components
    torch.testing.assert_close(found.off_plane(2), rest.norm(dim=-1))
    torch.testing.assert_close(found.off_plane_share(2), rest.norm(dim=-1) / centred.norm(dim=-1))
    explained = 1 - found.off_plane(2).square().sum() / found.distance.square().sum()
    torch.testing.assert_close(explained, found.ratio(2).sum())


def test_missing_component_is_reported_and_not_invented() -> None:
    line = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None, None] * torch.randn(1, 1, 40, dtype=torch.float64)
    found = pca(line + 3)
    assert found.rank == 1
    assert found.status(3) == ("resolved", "missing", "missing")
    assert found.coordinates(3)[..., 1:].abs().max() == 0
    assert found.components(3)[1:].abs().max() == 0
    assert found.ratio(3)[1:].abs().max() == 0
    assert found.ratio(1).item() == pytest.approx(1)
    assert found.off_plane(2).abs().max() == 0


def test_rounding_of_the_storage_is_no_component() -> None:
    line = 5 + torch.linspace(0, 1e-3, 6)[:, None, None] * torch.randn(1, 1, 4000)
    assert pca(line).rank == 1  # float32 rounding spreads the line over five dimensions
    assert pca(line.double()).rank == 5  # unless the caller says that these digits are meant


def test_one_layer() -> None:
    snapshots = torch.randn(5, 3, 90, dtype=torch.float64)
    columns = torch.tensor([7, 8, 9, 40, 41, 3])
    found, expected = pca(snapshots, columns=columns, memory=5000), pca(snapshots[..., columns])
    lazy = pca(Snapshots([MemoryShard(snapshots)], (3, 90), torch.float64), columns=columns)
    for one in (found, lazy):
        torch.testing.assert_close(one.scores, expected.scores)
        torch.testing.assert_close(one.components(2), expected.components(2))


def test_a_diverged_replica_leaves_the_others_alone() -> None:
    snapshots = torch.randn(6, 4, 200, dtype=torch.float64)
    broken = snapshots.clone()
    broken[3:, 1, 150] = torch.nan
    broken[5, 2, 10] = torch.inf
    found = pca(broken, memory=30_000)
    alone = pca(snapshots[:, [0, 3]])
    assert found.excluded == (1, 2)
    assert found.replicas == (0, 3)
    torch.testing.assert_close(found.coordinates(3)[:, [0, 3]], alone.coordinates(3))
    for value in (found.coordinates(3)[:, 1], found.off_plane()[:, 1], found.final_distances[1], found.steps[:, 2]):
        assert value.isnan().all()
    torch.testing.assert_close(found.final_distances[0, 3], (snapshots[-1, 0] - snapshots[-1, 3]).norm())
    assert pca(snapshots, replicas=[3, 0]).excluded == ()


def test_between_runs() -> None:
    offsets = 100 * torch.eye(3, 50, dtype=torch.float64)
    assert pca(torch.randn(20, 3, 50) + offsets).between > 0.98
    assert pca(torch.randn(20, 1, 50)).between == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("snapshots", "options", "message"),
    [
        (torch.zeros(1, 3, 5), {}, "at least 2 points of each trajectory, found 1"),
        (torch.ones(4, 2, 5), {}, "the same point throughout"),
        (torch.ones(4, 5), {}, r"axes \(snapshot, replica, parameter\), none empty, found \(4, 5\)"),
        (torch.full((4, 2, 5), torch.nan), {}, "at least one replica whose weights are finite"),
        (torch.randn(4, 2, 5), {"columns": [5]}, r"columns must lie in 0 … 4, found 5"),
        (torch.randn(4, 2, 5), {"columns": [1, 1]}, "repeated"),
        (torch.randn(4, 2, 5), {"columns": []}, "non-empty"),
        (torch.randn(4, 2, 5), {"replicas": [2]}, r"out of 0 … 1, found \[2\]"),
        (torch.randn(40, 20, 5000), {"memory": 10**6}, "memory must be at least 20,480,000 bytes for 800 points"),
        (torch.ones(4, 2, 5, dtype=torch.long), {}, "floating-point numbers, found torch.int64"),
        ([1.0], {}, "found list"),
    ],
)
def test_bad_input(snapshots: object, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pca(snapshots, **options)


def test_no_components_asked_for() -> None:
    with pytest.raises(InputError, match="at least 1 component, found 0"):
        pca(torch.randn(4, 2, 5)).coordinates(0)


@pytest.mark.parametrize("shape", [(7, 3, 500), (30, 4, 9), (2, 1, 6), (11, 8, 88), (2, 1, 1)], ids=str)
def test_shares_alone_are_those_of_the_components(shape: tuple[int, int, int]) -> None:
    snapshots = torch.randn(shape, dtype=torch.float64).cumsum(0) + 5
    variance = reference(snapshots)[1]
    share = np.zeros(12)
    share[: len(variance)] = (variance / variance.sum())[:12]
    np.testing.assert_allclose(explained_ratio(snapshots, 12), share, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(explained_ratio(snapshots, 12), pca(snapshots).ratio(12), rtol=1e-12, atol=1e-14)
    walk = matched_walk(pca(snapshots), seed=1)
    torch.testing.assert_close(explained_ratio(walk, 12), pca(walk).ratio(12), rtol=1e-12, atol=1e-14)


def test_shares_alone_of_some_parameters_and_replicas() -> None:
    snapshots = torch.randn(5, 4, 60)
    snapshots[2, 1, 7] = torch.nan
    options = {"columns": [3, 4, 5, 20, 59], "replicas": [0, 3]}
    torch.testing.assert_close(explained_ratio(snapshots, 3, **options), pca(snapshots, **options).ratio(3))
    expected = pca(snapshots[:, [0, 2, 3]]).ratio(3)  # a replica that is not finite is left out
    torch.testing.assert_close(explained_ratio(snapshots), expected)
    torch.testing.assert_close(explained_ratio(snapshots.half().float().half(), 2), pca(snapshots.half()).ratio(2))


def test_shares_below_rounding_are_zero() -> None:
    snapshots = graded(1e-3, 6, 2, 400, rank=8)
    found = pca(snapshots)
    assert found.rank < 8
    assert ((explained_ratio(snapshots, 10) > 0) == (torch.arange(10) < found.rank)).all()


@pytest.mark.parametrize(
    ("snapshots", "count", "message"),
    [
        (torch.ones(4, 2, 3), 3, "snapshots must differ from each other"),
        (torch.randn(1, 2, 3), 3, "snapshots must hold at least 2 points of each trajectory, found 1"),
        (torch.full((4, 2, 3), torch.inf), 3, "snapshots must hold at least one replica whose weights are finite"),
        (torch.randn(4, 2, 3), 0, "count must be a whole number of at least 1 component, found 0"),
    ],
)
def test_shares_of_nothing(snapshots: torch.Tensor, count: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explained_ratio(snapshots, count)
