"""Random walks against the published values and against walks drawn step by step in all dimensions."""

from __future__ import annotations

import pytest
import torch

from thalweg.errors import InputError
from thalweg.landscape import matched_walk, pca, random_walk, walk_ratio


def test_published_values_of_a_long_walk_in_many_dimensions() -> None:
    found = pca(random_walk(torch.ones(999, 1), size=10**8, seed=4))
    expected = 6 / torch.pi**2 / torch.arange(1, 6, dtype=torch.float64) ** 2  # 0.608, 0.152, 0.068, …
    torch.testing.assert_close(found.ratio(5), expected, atol=3e-4, rtol=0)
    torch.testing.assert_close(walk_ratio(1000, 5), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [2, 5, 40])
def test_closed_form_at_finite_length(length: int) -> None:
    found = pca(random_walk(torch.full((length - 1, 1), 0.3), size=10**11))
    torch.testing.assert_close(found.ratio(6), walk_ratio(length, 6), atol=1e-4, rtol=0)
    assert walk_ratio(length, length).sum().item() == pytest.approx(1)


def test_cosines() -> None:
    """The coordinates of a walk are cosines of time: the first falls monotonously, the second is a parabola."""
    x = pca(random_walk(torch.ones(199, 1), size=10**8)).coordinates(1)[:, 0, 0]
    expected = -torch.cos(torch.pi * (torch.arange(200, dtype=torch.float64) + 0.5) / 200)
    assert torch.corrcoef(torch.stack([x, expected]))[0, 1] > 0.9999


@pytest.mark.parametrize(("size", "starts"), [(50, False), (50, True), (7, True), (3, True)])
def test_distribution_equals_a_walk_in_all_dimensions(size: int, starts: bool) -> None:
    """Mean and spread of the explained variances over 200 seeds, for P above, near and below the number of steps."""
    lengths = torch.rand(6, 2, dtype=torch.float64) + 0.5
    first = 2 * torch.eye(2, size, dtype=torch.float64) if starts else None
    mine, plain = [], []
    for seed in range(200):
        mine.append(pca(random_walk(lengths, size, starts=None if first is None else first[:, :2], seed=seed)).ratio(3))
        noise = torch.randn(6, 2, size, dtype=torch.float64)
        path = (noise / noise.norm(dim=-1, keepdim=True) * lengths[..., None]).cumsum(0)
        whole = torch.cat([torch.zeros(1, 2, size, dtype=torch.float64), path])
        plain.append(pca(whole + (0 if first is None else first)).ratio(3))
    mine, plain = torch.stack(mine), torch.stack(plain)
    error = ((mine.var(0) + plain.var(0)) / 200).sqrt()
    assert ((mine.mean(0) - plain.mean(0)).abs() < 4 * error).all()
    assert ((mine.std(0) / plain.std(0)).log().abs() < 0.3).all()


def test_matched_walk_keeps_starts_and_step_lengths() -> None:
    snapshots = torch.randn(12, 4, 3000, dtype=torch.float64).cumsum(0) * torch.tensor([1, 2, 3, 4])[:, None]
    snapshots[3, 2, 0] = torch.nan
    found = pca(snapshots)
    walk = matched_walk(found, seed=5)
    assert walk.shape[:2] == (12, 3)
    used = [0, 1, 3]
    torch.testing.assert_close(walk.diff(dim=0).norm(dim=-1), found.steps[:, used])
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    torch.testing.assert_close(torch.cdist(walk[0], walk[0], **exact), torch.cdist(*[snapshots[0, used]] * 2, **exact))
    assert torch.equal(walk, matched_walk(found, seed=5))
    assert not torch.equal(walk, matched_walk(found, seed=6))


def test_a_straight_path_differs_from_its_control() -> None:
    path = torch.linspace(0, 1, 30, dtype=torch.float64)[:, None, None] * torch.randn(1, 1, 5000, dtype=torch.float64)
    found = pca(path)
    control = pca(matched_walk(found))
    assert found.ratio(1).item() > 0.999
    assert control.ratio(1).item() == pytest.approx(walk_ratio(30, 1).item(), abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(4), 10), r"lengths must have shape \(S - 1, R\)"),
        ((torch.tensor([[-1.0]]), 10), "finite and not negative"),
        ((torch.ones(4, 1), 0), "at least 1 dimension, found 0"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        random_walk(*arguments)


def test_bad_starts() -> None:
    with pytest.raises(InputError, match=r"shape \(2, D\) with D ≤ 10, found \(3, 1\)"):
        random_walk(torch.ones(4, 2), 10, starts=torch.zeros(3, 1))


def test_a_walk_of_one_point() -> None:
    with pytest.raises(InputError, match="at least 2 points, found 1"):
        walk_ratio(1)
