"""Curves of low loss: they find a known way, end where they must, and treat every pair as if it were alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.cases import mlp
from thalweg.errors import InputError
from thalweg.landscape import Path, connect, follow, interpolate
from thalweg.objective import Objective
from thalweg.training import Recipe


class Point(nn.Module):
    """Two parameters, whatever the input: a loss in the plane."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.place.expand(len(x), 2)


def ring(output, target):
    """A circular valley of radius 1 around a hill."""
    return (output.square().sum(-1) - 1).square().mean()


def ring_objective() -> Objective:
    return Objective(Point().double(), ring, (torch.zeros(8, 1).double(), torch.zeros(8)), init=lambda: Point())


def classifier(**options) -> Objective:
    torch.manual_seed(2)
    x = torch.randn(80, 2).double()
    return Objective(mlp(2, 12, 2)().double(), nn.CrossEntropyLoss(), (x, (x.prod(1) > 0).long()), **options)


LONG = Recipe(lr=0.1, steps=400, schedule="linear", final=0.01)


def test_the_curve_goes_round_the_hill() -> None:
    """From (−1, 0) to (1, 0) the straight line climbs to 1 at the origin; a quadratic curve can stay below 0.1."""
    objective = ring_objective()
    a, b = torch.tensor([-1.0, 0.0]).double(), torch.tensor([1.0, 1e-3]).double()
    straight = follow(objective, Path(torch.stack([a, b])))
    assert float(straight.values["train"]["loss"].max()) > 0.98
    for kind, bends in (("bezier", 1), ("polygon", 1), ("polygon", 3), ("bezier", 2)):
        found = connect(objective, a, b, LONG, kind=kind, bends=bends)
        curve = follow(objective, found.path)
        assert float(curve.values["train"]["loss"].max()) < (0.35 if kind == "polygon" else 0.1)
        assert float(curve.mean()) < (0.1 if kind == "polygon" else 0.03)
        assert float(found.loss[-100:].mean()) < 0.1


def test_a_bend_finds_the_best_place_of_a_quadratic_loss() -> None:
    """E_t of a convex quadratic is convex in the bends: the optimum is where the mean over t of wₖ∇L vanishes."""
    x = 3**0.5 * torch.eye(3).double()
    objective = Objective(nn.Linear(3, 1, bias=False).double(), nn.MSELoss(), (x, torch.zeros(3, 1).double()))
    a, b = torch.tensor([2.0, 0.0, 1.0]).double(), torch.tensor([0.0, 2.0, -1.0]).double()
    recipe = Recipe(optimizer="sgd", lr=0.4, steps=2500, schedule="linear", final=0.001)
    path = connect(objective, a, b, recipe).path
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    w = path.weights(t)
    best = -(w[:, 1] @ w[:, [0, 2]]) / w[:, 1].square().sum()  # ⟨w₁(w₀a + w₁p + w₂b)⟩ = 0
    torch.testing.assert_close(path.points[1], best[0] * a + best[1] * b, atol=0.1, rtol=0)


def test_curves_lower_the_loss_between_trained_networks() -> None:
    from thalweg import train

    objective = classifier()
    theta = train(objective, None, Recipe(lr=0.03, steps=400), replicas=6, seed=1).snapshots[-1]
    a, b = theta[:3], theta[3:]
    line = interpolate(objective, a, b)
    curve = follow(objective, connect(objective, a, b, Recipe(lr=0.03, steps=600)).path)
    assert bool((curve.mean() < 0.5 * line.mean()).all())
    highest = curve.values["train"]["loss"].amax(0)
    assert bool((highest < 0.5 * line.values["train"]["loss"][20:41].amax(0)).all())


def test_pairs_are_independent_and_seeded() -> None:
    objective, recipe = classifier(), Recipe(lr=0.02, steps=30, batch_size=16)
    theta = objective.initial(replicas=6)
    together = connect(objective, theta[:3], theta[3:], recipe, bends=2, seed=7)
    alone = connect(objective, theta[:1], theta[3:4], recipe, bends=2, seed=7)
    torch.testing.assert_close(together.path.points[:, :1], alone.path.points)
    torch.testing.assert_close(together.loss[:, :1], alone.loss)
    single = connect(objective, theta[0], theta[3], recipe, bends=2, seed=7)
    assert single.path.points.shape == (4, objective.size)
    assert torch.equal(single.path.points, alone.path.points[:, 0])
    again, other = (connect(objective, theta[:3], theta[3:], recipe, bends=2, seed=seed) for seed in (7, 8))
    assert torch.equal(again.path.points, together.path.points)
    assert not torch.equal(other.path.points, together.path.points)


def test_gradient_of_the_bends_is_that_of_autograd() -> None:
    """One step of plain gradient descent against autograd through the curve, clipping and l2 included."""
    objective = classifier(l2=0.1)
    a, b = objective.initial(replicas=2)
    for clip in (None, 0.01):
        step = Recipe(optimizer="sgd", lr=1.0, steps=1, clip=clip)
        before = connect(objective, a, b, step.model_copy(update={"steps": 0}), kind="polygon", bends=2).path
        after = connect(objective, a, b, step, kind="polygon", bends=2)
        pull = before.points[1:-1] - after.path.points[1:-1]
        fine = torch.linspace(0, 1, 4001, dtype=torch.float64)  # the t that was drawn is not told: the loss tells it
        t = float(fine[(objective.value(before.at(fine)) - after.loss[0]).abs().argmin()])
        weights = before.weights([t])[0, 1:-1]
        expected = weights[:, None] * objective.gradient(before.at([t])[0])
        if clip is not None:
            expected *= clip / expected.norm()
        torch.testing.assert_close(pull, expected, rtol=2e-2, atol=2e-4)


def test_ends_of_normalised_networks_after_reestimation() -> None:
    """Bit for bit the two solutions, with the statistics that their own weights have on the training data."""
    torch.manual_seed(3)
    layers = (nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(60, 2).double()
    objective = Objective(nn.Sequential(*layers).double(), nn.CrossEntropyLoss(), (x, (x[:, 0] > 0).long()))
    theta = objective.initial(replicas=2)
    found = connect(objective, theta[0], theta[1], Recipe(lr=0.05, steps=50, batch_size=20))
    curve = follow(objective, found.path, [0.0, 0.5, 1.0])
    reestimated = objective.with_batchnorm("recomputed")
    assert float(curve.values["train"]["loss"][0]) == float(reestimated.value(theta[0]))
    assert float(curve.values["train"]["loss"][2]) == float(reestimated.value(theta[1]))
    torch.testing.assert_close(curve.values["train"]["loss"][1], reestimated.value(found.path.at([0.5])[0]))
    assert "recomputed" in curve.batchnorm
    with pytest.raises(InputError, match="batchnorm 'interpolated' needs a line: a bend of a bezier has no statistics"):
        follow(objective, found.path, batchnorm="interpolated")


def test_a_pair_that_diverges_leaves_the_others_alone() -> None:
    objective, recipe = classifier(), Recipe(lr=0.02, steps=30)
    theta = objective.initial(replicas=4)
    alone = connect(objective, theta[:1], theta[2:3], recipe)
    theta[1] = torch.inf
    found = connect(objective, theta[:2], theta[2:], recipe)
    torch.testing.assert_close(found.path.points[:, :1], alone.path.points)
    assert not found.path.points[1, 1].isfinite().any()
    assert torch.equal(found.path.points[-1], theta[2:])
    barrier = follow(objective, found.path).barriers["train"]
    assert barrier.height[0].isfinite()
    assert barrier.height[1].isnan()


def test_mean_over_length_and_over_t() -> None:
    """On a path that spends half its t on a short stretch, the two means differ as they must."""
    objective = ring_objective()
    points = torch.tensor([[0.0, 0.0], [0.0, 0.01], [0.0, 1.0]]).double()
    found = follow(objective, Path(points, "polygon"), torch.linspace(0, 1, 401, dtype=torch.float64))
    primitive = 8 / 15  # ∫₀¹ (r²−1)² dr
    assert float(found.mean(over="arc")) == pytest.approx(primitive, abs=1e-3)
    assert float(found.mean(over="position")) == pytest.approx((1 + (primitive - 0.01) / 0.99) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, a: connect(o, a, a[:-1]), r"theta_b must have shape \(…, 62\)"),
        (lambda o, a: connect(o, a, a.expand(2, -1)), "theta_a and theta_b must have the same shape"),
        (lambda o, a: connect(o, a, -a, bends=0), "bends must be at least 1, found 0"),
        (lambda o, a: connect(o, a, -a, Recipe(steps=1), kind="bezir"), "kind must be one of .*did you mean 'bezier'"),
    ],
)
def test_refusals(call, message: str) -> None:
    objective = classifier()
    with pytest.raises(InputError, match=message):
        call(objective, objective.theta)
