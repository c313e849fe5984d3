"""Every number that a note says, against a count made from the tensors; and why flat pictures are flat."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.landscape import (
    Directions,
    Grid,
    gradient_direction,
    hessian_directions,
    interpolate,
    pca_directions,
    perturb,
    random_directions,
    scatter_surface,
    solution_directions,
    surface,
)
from thalweg.landscape.flatness import flat_value
from thalweg.objective import Objective


class Adapter(nn.Module):
    """Low-rank adaptation: the second factor starts at zero, the layer itself is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(6, 3), nn.Linear(6, 2, bias=False), nn.Linear(2, 3, bias=False)
        self.base.requires_grad_(False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


def dead_filters() -> nn.Module:
    model = nn.Sequential(nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)).eval()
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].weight[3] = 0.0
    return model


def unreached() -> nn.Module:
    """The second unit is never positive: its weights have no gradient."""
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1] = -5.0
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "adapter": Adapter,
    "filters": dead_filters,
    "dead unit": unreached,
    "embedding": lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(18, 3)),
    "plain": lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)),
}


def objective_of(name: str, dtype: torch.dtype = torch.float64) -> Objective:
    torch.manual_seed(0)
    model = MODELS[name]().to(dtype)
    inputs = torch.randint(0, 5, (20, 6)) if name == "embedding" else torch.randn(20, 6, dtype=dtype)
    inputs = inputs[:, None] if name == "filters" else inputs
    return Objective(model, nn.CrossEntropyLoss(), (inputs, torch.randint(0, 3, (20,))))


def said(directions: Directions) -> tuple[int, int]:
    """The numbers of the note on what moves; all, without a note."""
    found = re.search(r"(\d+) of (\d+) parameters move", " ".join(directions.notes))
    return (directions.size, directions.size) if found is None else (int(found[1]), int(found[2]))


def counted(directions: Directions) -> tuple[int, int]:
    return int((directions.vectors != 0).any(0).sum()), directions.vectors.shape[1]


@pytest.mark.parametrize("normalize", ["filter", "layer", "whole", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_random_directions_say_how_many_parameters_move(name: str, normalize: str) -> None:
    objective = objective_of(name)
    for options in ({}, {"biases": "keep"}, {"biases": "keep", "normalization": "keep"}, {"orthogonal": True}):
        found = random_directions(objective, objective.theta, normalize=normalize, **options)
        assert said(found) == counted(found)
        words = " ".join(found.notes)
        still = {n: (v == 0).all(0) for n, v in objective.layout.unravel(found.vectors).items()}
        norms = {"1.weight", "1.bias"} if name == "filters" else set()
        asked = {n: s.dim() > 1 or options.get("normalization" if n in norms else "biases") for n, s in still.items()}
        zero = any(bool(s.any()) for n, s in still.items() if asked[n] in (True, "keep"))
        assert ("of zeros stay" in words) == zero
        held = any(bool(s.any()) for n, s in still.items() if not asked[n] and n not in norms)
        assert ("biases" in words) == held


def test_what_was_not_chosen_is_named() -> None:
    objective = objective_of("plain")
    found = random_directions(objective, objective.theta, parameters="0.*")
    assert "24 of 36 parameters move (parameters that were not chosen stay where they are)." in found.notes
    assert "36 of 36 parameters move." in random_directions(objective, objective.theta).notes


@pytest.mark.parametrize("name", MODELS)
def test_other_directions_say_how_many_parameters_move(name: str) -> None:
    objective = objective_of(name)
    theta, layout = objective.theta, objective.layout
    other = theta.clone()
    other[layout.slices[layout.names[-1]]] += 1.0  # only the last layer differs
    path = torch.stack([theta, other, 2 * other - theta, theta])
    path[2, layout.slices[layout.names[0]]] += torch.linspace(0, 1, layout.sizes[0]).double()
    block = layout.names[-1]
    for found in (
        gradient_direction(objective, theta),
        gradient_direction(objective, theta, block),
        solution_directions(theta, other),
        pca_directions(path),
        pca_directions(path[:2], 1),
        pca_directions(path, columns=layout.select(block)),
        hessian_directions(objective, theta, count=1),
        hessian_directions(objective, theta, count=1, parameters=block),
    ):
        assert said(found) == counted(found)


def test_a_parameter_that_never_moved_has_no_component() -> None:
    """Its mean over three equal numbers rounds, and must not make a step of 1e-17 of it."""
    path = torch.full((3, 4), 0.1, dtype=torch.float64)
    path[:, 2] = torch.tensor([0.0, 1.0, 3.0])
    found = pca_directions(path, 1)
    assert found.vectors[0].abs().tolist() == pytest.approx([0, 0, 1, 0], abs=1e-12)
    assert int(found.vectors.count_nonzero()) == 1
    assert "1 of 4 parameters move." in found.notes


def test_the_steepest_direction_is_that_of_what_was_chosen() -> None:
    objective = objective_of("plain")
    assert "steepest of all directions" in gradient_direction(objective, objective.theta).notes[0]
    assert (
        "direction of the 12 parameters that were chosen"
        in gradient_direction(objective, objective.theta, "2.*").notes[0]
    )
    found = hessian_directions(objective, objective.theta, count=2, parameters="2.*")
    assert found.notes[0].startswith("2 of 36 dimensions")


def test_surfaces_count_what_is_not_finite() -> None:
    objective = objective_of("plain", torch.float32)
    line = Directions(objective.theta[None], ("outwards",))
    found = surface(objective, objective.theta, line, [[-1e38, -1e20, 0.0, 1e30, 1e38]], metrics=("loss", "accuracy"))
    for name, values in found.values.items():
        bad = int((~np.isfinite(values)).sum())
        assert (f"{bad} of 5 values of {name} are not finite." in found.notes) == (bad > 0)
    profile = interpolate(objective, objective.theta, 1e30 * objective.theta, [0.0, 0.5, 1.0], subsets=0)
    bad = int((~profile.values["train"]["loss"].isfinite()).sum())
    assert (f"{bad} of 3 values of train loss are not finite." in profile.notes) == (bad > 0)


def test_scattered_points_are_counted() -> None:
    objective = objective_of("plain")
    path = torch.stack([objective.initial(seed=k) for k in range(4)])
    path[1] = torch.nan
    found = scatter_surface(objective, path, method="pca", last=2, neighbours=3)
    snapshots, neighbours = int((~found.neighbour).sum()), int(found.neighbour.sum())
    assert found.notes[0].startswith(f"{snapshots} snapshots and {neighbours} neighbours")
    lost = int((~found.points.isfinite().all(-1)).sum())
    assert lost == 1
    assert f"{lost} of {len(found.points)} points have no place, because their weights are not finite." in found.notes
    still = scatter_surface(
        objective,
        torch.zeros(3, objective.size).double() + torch.eye(3, objective.size),
        method="pca",
        last=1,
        neighbours=2,
    )
    assert "not finite" not in " ".join(still.notes)


@pytest.mark.parametrize("chosen", [None, [0, 5, 7]])
def test_perturbations_count_their_curves(chosen: list[int] | None) -> None:
    objective = objective_of("plain")
    parameters = None if chosen is None else torch.tensor(chosen)
    found = perturb(objective, objective.theta, [0.0, 0.1], parameters=parameters)
    curves = found.values.shape[-2]
    assert found.note == ("all 36 parameters" if curves == 36 else f"{curves} of 36 parameters")


def flat(objective: Objective, directions: Directions, span: float = 1.0, **options: object) -> str:
    found = surface(objective, objective.theta, directions, Grid(points=5, span=span), **options)
    return " ".join(note for note in found.notes if "same number" in note)


def test_a_flat_picture_of_a_dead_unit_says_so() -> None:
    objective = objective_of("dead unit")
    vector = torch.zeros(objective.size, dtype=torch.float64)
    vector[6:12] = 1e-3  # the weights of the dead unit
    words = flat(objective, Directions(vector[None], ("dead",)))
    assert words.startswith("5 of 5 values of loss are the same number, ")
    assert "no gradient with respect to any weight that moves (dead units" in words
    assert f"{float(objective.value(objective.theta)):.6g}" in words


def test_a_flat_picture_of_steps_too_small_says_so() -> None:
    objective = objective_of("plain", torch.float32)
    directions = random_directions(objective, objective.theta)
    assert "the steps are below the rounding of float32 at these weights" in flat(objective, directions, 1e-12)
    double = objective_of("plain")
    directions = random_directions(double, double.theta)
    words = flat(double, directions, 3e-16)
    assert "below the rounding of float64" in words or "less than the rounding of float64" in words


def test_a_flat_metric_over_a_loss_with_relief_says_so() -> None:
    objective = objective_of("plain")
    directions = random_directions(objective, objective.theta)
    words = flat(objective, directions, 1e-6, metrics=("loss", "accuracy"))
    assert words.startswith("25 of 25 values of accuracy are the same number")
    assert "it does not change within this range, although the loss has a gradient" in words


def test_a_constant_loss_says_so() -> None:
    x = torch.randn(9, 6, dtype=torch.float64)
    objective = Objective(nn.Linear(6, 2).double(), lambda output, _: (0 * output).sum() + 3.0, (x, x), check=False)
    directions = random_directions(objective, objective.theta)
    words = flat(objective, directions)
    assert "values of loss are the same number, 3: the loss has no gradient" in words
    line = interpolate(objective, objective.theta, objective.theta + 1, [0.0, 0.5, 1.0], subsets=0)
    assert line.notes == (words.replace("25 of 25", "3 of 3").replace("values of loss", "values of train loss"),)


def test_pictures_with_relief_say_nothing_of_it() -> None:
    objective = objective_of("plain")
    assert flat(objective, random_directions(objective, objective.theta)) == ""
    line = interpolate(objective, objective.theta, 2 * objective.theta, [0.0, 1.0], subsets=0)
    assert "train loss" not in " ".join(line.notes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0 + 1e-16], 1.0), ([0.0, 0.0], 0.0), ([1.0, np.nan], None), ([0.0, 1e-30], None), ([-2.0, -2.0], -2.0)],
)
def test_flat_values(values: list[float], expected: float | None) -> None:
    assert flat_value(np.array(values), 2.2e-16) == expected
