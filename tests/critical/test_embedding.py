"""Minima of narrow networks as exact saddles of wide ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.critical.cases import sinc
from thalweg.critical import ObjectiveProblem, Status, certify, embed, lower_saddles, search, split, subnetwork, widths
from thalweg.errors import InputError
from thalweg.objective import Objective


@pytest.mark.parametrize("hidden", [(1, 1), (2, 2), (3, 2), (3, 4)])
def test_embedded_minima_are_certified_saddles(hidden):
    wide = sinc(4, 4, l2=1e-3)
    narrow = subnetwork(wide, hidden)
    assert widths(narrow) == (1, *hidden, 1)
    minima = search(narrow, narrow.initial(8, seed=2))
    assert minima.status.count(Status.MINIMUM) >= 7
    theta = minima.only([r for r, s in enumerate(minima.status) if s is Status.MINIMUM]).theta
    padded = embed(narrow, wide, theta)
    torch.testing.assert_close(wide.value(padded), narrow.value(theta))
    points = certify(ObjectiveProblem(wide), padded, kind="embedded", polish=False)
    assert float(points.certificate.gradient.max()) <= 1e-10
    assert sum(s in (Status.SADDLE, Status.MINIMUM) for s in points.status) >= 0.9 * len(points.status)
    assert Status.SADDLE in points.status or hidden == (3, 4)
    assert set(points.kind) <= {"embedded", "constant predictor"}


def test_lower_saddles_of_embedded_ones():
    wide = sinc(4, 4, l2=1e-3)
    narrow = subnetwork(wide, (2, 2))
    minima = search(narrow, narrow.initial(3, seed=2))
    problem = ObjectiveProblem(wide)
    points = certify(problem, embed(narrow, wide, minima.theta))
    assert set(points.kind) <= {"embedded", "constant predictor"}, "recognised by their dead units"
    below = lower_saddles(problem, points)
    highest = int(points.certificate.negative.max())
    reached = [r for r, s in enumerate(below.status) if s in (Status.MINIMUM, Status.SADDLE)]
    assert len(reached) >= 0.5 * len(below.status)
    assert all(int(below.certificate.negative[r]) < highest for r in reached)
    assert all(float(below.certificate.loss[r]) < float(points.certificate.loss.max()) for r in reached)


def fitted(l2=0.0, phi=nn.Sigmoid):
    """A network of which θ is a critical point by construction: its target is its own output."""
    objective = sinc(3, 2, l2=l2, phi=phi)
    theta = objective.initial(2, seed=5)
    x = objective.batches.held[0][0]
    return objective.with_data((x, objective.outputs(theta[0])[:])), theta[:1]


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("share", [0.5, -0.7, 2.0])
def test_split_units_stay_critical(layer, share):
    objective, theta = fitted()
    wide, split_theta = split(objective, theta, layer, 1, share)
    assert widths(wide)[1 + layer] == widths(objective)[1 + layer] + 1
    torch.testing.assert_close(wide.outputs(split_theta), objective.outputs(theta))
    assert float(wide.gradient(split_theta).norm()) < 1e-12


def test_split_of_a_point_with_residual_stays_critical():
    """Not only at zero loss: a linear output layer alone has a solvable critical point."""
    objective = sinc(1, l2=0.0, phi=nn.Sigmoid, points=16)
    points = search(objective, objective.initial(20, seed=1), "newton", steps=400)
    there = [r for r in range(20) if float(points.certificate.gradient[r]) <= 1e-10]
    assert there, "no critical point of the single unit found"
    theta = points.theta[there[:1]]
    wide, split_theta = split(objective, theta, 0, 0, 0.3)
    assert float(wide.gradient(split_theta).norm()) < 1e-9
    assert float(wide.value(split_theta)) == pytest.approx(float(objective.value(theta)))


def test_bad_input():
    wide = sinc(4, 4)
    with pytest.raises(InputError, match=r"hidden must be 2 numbers from 1 to \(4, 4\), found \(5, 1\)"):
        subnetwork(wide, (5, 1))
    with pytest.raises(InputError, match="must vanish at 0 for dead units, found sigmoid"):
        embed(sinc(2, phi=nn.Sigmoid), sinc(3, phi=nn.Sigmoid), torch.zeros(1, 7).double())
    with pytest.raises(InputError, match="must have the 3 layers of wide, found 2"):
        embed(sinc(2), wide, torch.zeros(1, 7).double())
    with pytest.raises(InputError, match="l2 = 0 for split units"):
        split(wide, wide.initial(1), 0, 0, 0.5)
    free = sinc(4, 4, l2=0.0)
    with pytest.raises(InputError, match=r"one of the hidden units \(4, 4\), found 2 and 0"):
        split(free, free.initial(1), 2, 0, 0.5)
    with pytest.raises(InputError, match="share must be neither 0 nor 1, found 1"):
        split(free, free.initial(1), 0, 0, 1.0)
    x = torch.randn(4, 1, 5, 5)
    other = Objective(nn.Sequential(nn.Conv2d(1, 1, 5), nn.Flatten()), nn.MSELoss(), (x, torch.randn(4, 1)))
    with pytest.raises(InputError, match="stack of linear layers"):
        widths(other)


def test_a_narrow_network_has_all_the_data() -> None:
    x = torch.randn(10, 3).double()
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    wide = Objective(model, nn.MSELoss(), (x, x[:, :1]), batch_size=4)
    narrow = subnetwork(wide, (2,))
    assert narrow.samples == 10
    theta = narrow.initial(2)
    torch.testing.assert_close(wide.value(embed(narrow, wide, theta)), narrow.value(theta))
