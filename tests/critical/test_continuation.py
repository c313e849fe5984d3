"""Critical points followed in the weight decay end where a search at that decay would."""

from __future__ import annotations

import pytest
import torch

from tests.critical.cases import linear, rotation, sinc
from thalweg.critical import Status, as_problem, certify, continue_in_decay, follow, search
from thalweg.errors import InputError

DECAYS = (1e-3, 6e-4, 4e-4, 2.5e-4, 1.6e-4, 1e-4)


def test_minima_of_a_factorisation_follow_the_closed_form():
    """W₂W₁ keeps the singular values s − l2·nm/2 along the whole path, whatever the decay."""
    left, right = rotation(3, 3), rotation(3, 4)
    sizes = torch.tensor([3.0, 2.0, 1.0]).double()
    objective = linear(3, 3, 3, target=(left @ torch.diag(sizes) @ right.mT).mT, inputs=torch.eye(3).double(), l2=0.01)
    start = search(objective, objective.initial(3, seed=1))
    assert set(start.status) == {Status.MINIMUM}
    path = continue_in_decay(objective, start.theta, (0.01, 0.03, 0.06, 0.1))
    assert path.lost.tolist() == [-1] * 3
    for decay, points in zip(path.decays, path.points, strict=True):
        parts = objective.layout.unravel(points.theta)
        found = torch.linalg.svdvals(parts["1.weight"] @ parts["0.weight"])
        torch.testing.assert_close(found, (sizes - decay * 9 / 2).expand(3, 3), atol=1e-8, rtol=0)


def test_points_stay_critical_and_keep_their_index():
    objective = sinc(3, l2=DECAYS[0])
    starts = objective.initial(4, seed=2)
    first = search(objective, starts)
    path = continue_in_decay(objective, first.theta, DECAYS)
    kept = (path.lost == -1).nonzero()[:, 0].tolist()
    assert len(kept) >= 3
    for decay, points in zip(DECAYS, path.points, strict=True):
        gradient = objective.with_l2(decay).gradient(points.theta[kept])
        assert float(gradient.norm(dim=1).max()) <= 1e-10
        assert all(points.status[r] in (Status.MINIMUM, Status.DEGENERATE, Status.UNCERTIFIED) for r in kept)


def test_first_decay_keeps_a_saddle():
    objective = sinc(4, 4, l2=1e-3, points=32)
    saddles = certify(as_problem(objective), follow(as_problem(objective), objective.initial(3, seed=2), 1))
    rows = [r for r, s in enumerate(saddles.status) if s is Status.SADDLE]
    assert rows
    path = continue_in_decay(objective, saddles.theta[rows], (1e-3, 9e-4))
    assert path.points[0].certificate.negative.tolist() == [1] * len(rows)
    assert path.points[1].certificate.negative.tolist() == [1] * len(rows)
    torch.testing.assert_close(path.points[0].theta, saddles.theta[rows], atol=1e-6, rtol=1e-6)


def test_a_point_close_to_a_saddle_stays_a_saddle():
    """The first corrector searched a minimum, and a saddle given with an error of 1e-8 fell off it."""
    objective = sinc(4, 4, l2=1e-3, points=32)
    saddles = certify(as_problem(objective), follow(as_problem(objective), objective.initial(3, seed=2), 1))
    rows = [r for r, s in enumerate(saddles.status) if s is Status.SADDLE]
    noise = torch.randn(len(rows), objective.size, generator=torch.Generator().manual_seed(0)).double()
    path = continue_in_decay(objective, saddles.theta[rows] + 1e-6 * noise, (1e-3, 9e-4))
    assert [points.certificate.negative.tolist() for points in path.points] == [[1] * len(rows)] * 2
    torch.testing.assert_close(path.points[0].theta, saddles.theta[rows], atol=1e-5, rtol=1e-5)


def test_bad_decays():
    objective = sinc(3)
    with pytest.raises(InputError, match=r"decays must be finite numbers, .* found \[\]"):
        continue_in_decay(objective, objective.initial(1), [])
    with pytest.raises(InputError, match=r"decays must .* found \[0.1, -1.0\]"):
        continue_in_decay(objective, objective.initial(1), [0.1, -1.0])
