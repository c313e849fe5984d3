"""Surfaces against closed forms at every cell; what is resumed, refused, and left untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import reference
from tests.cases import CASES
from tests.landscape.functions import objective_of, relu_network, rosenbrock
from thalweg.errors import InputError
from thalweg.landscape import Directions, Grid, measures, random_directions, surface
from thalweg.landscape import affine as affine_module
from thalweg.landscape import surface as surface_function
from thalweg.landscape.affine import AffineStack
from thalweg.landscape.cells import Cells
from thalweg.objective import Objective
from thalweg.runs import Run

surface_module = __import__("sys").modules[surface_function.__module__]
THETA = torch.tensor([0.3, -0.2], dtype=torch.float64)
SKEW = Directions(torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64), ("first", "second"))


def some_run(folder: Path) -> Run:
    return Run.create(folder, "surfaces", {"a": 1}, seed=0, device="cpu", data_checksum=None, command="test")


@pytest.mark.parametrize(
    "function", [rosenbrock, lambda p: p[..., 0] ** 2 + 0.1 * p[..., 1] ** 3 + p[..., 0] * p[..., 1]]
)
def test_every_cell_equals_the_closed_form(function) -> None:
    found = surface(objective_of(function, THETA), THETA, SKEW, Grid(points=(7, 12), span=((-1, 1), (-2, 0.5))))
    assert found.values["loss"].shape == found.shape == (7, 12)
    for i, a in enumerate(found.axes[0]):
        for j, b in enumerate(found.axes[1]):
            expected = float(function(THETA + a * SKEW.vectors[0] + b * SKEW.vectors[1]))
            assert found.values["loss"][i, j] == pytest.approx(expected, rel=1e-12)
    assert np.ptp(found.values["loss"]) > 1
    assert found.at_center("loss") == float(function(THETA))


def test_one_and_three_directions() -> None:
    theta = torch.tensor([0.1, -0.4, 0.7], dtype=torch.float64)
    objective = objective_of(lambda p: p[..., 0] + 10 * p[..., 1] ** 2 + 100 * p[..., 2] ** 3, theta)
    cube = surface(objective, theta, Directions(torch.eye(3).double(), ("x", "y", "z")), Grid(points=(3, 4, 5)))
    x, y, z = np.meshgrid(*cube.axes, indexing="ij")
    np.testing.assert_allclose(cube.values["loss"], (0.1 + x) + 10 * (y - 0.4) ** 2 + 100 * (0.7 + z) ** 3, atol=1e-12)
    line = surface(objective, theta, Directions(torch.tensor([[0.0, 2.0, 0.0]]).double(), ("y",)), 201)
    np.testing.assert_allclose(line.values["loss"], 34.4 + 10 * (2 * line.axes[0] - 0.4) ** 2, rtol=1e-12)


def test_penalty_gradient_and_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.tensor([[3.0, 1.0], [1.0, -2.0]], dtype=torch.float64)
    objective = objective_of(lambda p: 0.5 * ((p @ matrix) * p).sum(-1), THETA, l2=0.7)
    names = ("loss", "objective", "gradient_norm", "lambda_max")
    found = surface(objective, THETA, SKEW, 5, metrics=names)
    points = SKEW.points(THETA, torch.from_numpy(found.coordinates()))
    whole = matrix + 0.7 * torch.eye(2, dtype=torch.float64)
    expected = {
        "loss": 0.5 * ((points @ matrix) * points).sum(-1),
        "objective": 0.5 * ((points @ whole) * points).sum(-1),
        "gradient_norm": (points @ whole).norm(dim=-1),
        "lambda_max": torch.linalg.eigvalsh(whole)[-1].expand(5, 5),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found.values[name], value.numpy(), atol=1e-12)
    assert tuple(found.values) == (*names, "lambda_max_residual")
    monkeypatch.setattr(measures, "DENSE", 0)
    again = surface(objective, THETA, SKEW, 5, metrics=("lambda_max",))
    error = np.abs(again.values["lambda_max"] - found.values["lambda_max"])
    assert (error <= again.values["lambda_max_residual"] + 1e-12).all()


def test_infinite_and_undefined_values_stay() -> None:
    theta = torch.tensor([0.5, 0.0], dtype=torch.float64)
    objective = objective_of(lambda p: p[..., 0].sqrt() + (800 * p[..., 1]).exp(), theta)
    found = surface(objective, theta, Directions(torch.eye(2).double(), ("x", "y")), Grid(points=9))
    x, y = np.meshgrid(*found.axes, indexing="ij")
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_allclose(found.values["loss"], np.sqrt(0.5 + x) + np.exp(800 * y), rtol=1e-12)
    assert np.isnan(found.values["loss"]).sum() == 18
    assert np.isinf(found.values["loss"]).any()
    assert any("values of loss are not finite" in note for note in found.notes)


def test_range_by_the_rise_of_the_loss() -> None:
    theta = torch.zeros(2, dtype=torch.float64)
    objective = objective_of(lambda p: 2 * p[..., 0] ** 2 + 50 * p[..., 1] ** 2, theta)
    found = surface(objective, theta, Directions(torch.eye(2).double(), ("x", "y")), Grid(points=5, rise=0.5))
    for axis, exact in zip(found.axes, (0.5, 0.1), strict=True):
        assert exact <= axis[-1] < 1.05 * exact
        assert axis[0] == -axis[-1]
    assert any("risen by 0.5" in note for note in found.notes)


def test_refined_surfaces_are_evaluated_everywhere() -> None:
    found = surface(objective_of(rosenbrock, THETA), THETA, SKEW, Grid(points=6, refine=2, change=0.2))
    points = SKEW.points(THETA, torch.from_numpy(found.coordinates()))
    np.testing.assert_allclose(found.values["loss"], rosenbrock(points).numpy(), rtol=1e-12)
    assert min(found.shape) > 6
    assert sum("Refined to" in note for note in found.notes) == 2


def test_several_objectives() -> None:
    train = relu_network(5, 6, 3)
    torch.manual_seed(5)
    test = train.with_data((torch.randn(9, 5).double(), torch.randint(0, 3, (9,))))
    directions = random_directions(train, train.theta)
    found = surface({"train": train, "test": test}, train.theta, directions, 5, metrics=("loss", "accuracy"))
    assert list(found.values) == ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    for name, one in (("train", train), ("test", test)):
        alone = surface(one, train.theta, directions, 5, metrics=("accuracy", "loss"))
        for metric in ("loss", "accuracy"):
            np.testing.assert_array_equal(found.values[f"{name}_{metric}"], alone.values[metric])


@pytest.mark.parametrize("name", CASES)
def test_every_case_equals_the_plain_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, against functional_call on a plain copy; samples and points cut into several pieces."""
    case = CASES[name]
    objective = case.build(memory=1000)
    monkeypatch.setattr(affine_module, "WORKING_SET", 1500)
    torch.manual_seed(3)
    count = min(2, objective.size)
    directions = Directions(torch.randn(count, objective.size).double() / 3, ("first", "second")[:count])
    metrics = ("loss", "objective", *objective.metric_functions)
    found = surface(objective, objective.theta, directions, Grid(points=(4, 5)[:count]), metrics=metrics)
    slow = surface(objective, objective.theta, directions, Grid(points=(4, 5)[:count]), metrics=metrics, fast=False)
    assert AffineStack.accepts(objective) == (case.method == "stack" or name == "other-loss")
    plain = reference.plain_loss(objective)
    points = directions.points(objective.theta, torch.from_numpy(found.coordinates()))
    expected = torch.stack([plain(theta) for theta in points.flatten(0, -2)]).detach().numpy().reshape(found.shape)
    np.testing.assert_allclose(found.values["objective"], expected, rtol=1e-10, atol=1e-12)
    for metric in metrics:
        np.testing.assert_allclose(found.values[metric], slow.values[metric], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pieces", [False, True])
def test_single_precision_to_rounding(pieces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if pieces:  # 32 samples at a time, and none of the first layer kept
        monkeypatch.setattr(affine_module, "WORKING_SET", 1500)
    objective = relu_network(20, 30, 30, 5, samples=200, bias=True)
    single = objective.to(dtype=torch.float32)
    single.memory = 100_000 if pieces else single.memory
    theta = objective.theta.float()
    directions = random_directions(single, theta)
    exact = surface(objective, theta.double(), directions, 7).values["loss"]
    for fast in (True, False):
        np.testing.assert_allclose(surface(single, theta, directions, 7, fast=fast).values["loss"], exact, rtol=1e-5)


def batchnorm_objective(policy: str) -> Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
    model[1].running_mean.normal_()
    data = torch.randn(40, 4).double(), torch.randint(0, 3, (40,))
    return Objective(model, nn.CrossEntropyLoss(), data, batchnorm=policy)


def test_statistics_are_recomputed_at_every_cell() -> None:
    objective = batchnorm_objective("recomputed")
    x, y = objective.batches.held[0]
    before = {name: value.clone() for name, value in objective.program.model.named_buffers()}
    directions = random_directions(objective, objective.theta)
    found = surface(objective, objective.theta, directions, 3)
    frozen = surface(batchnorm_objective("frozen"), objective.theta, directions, 3)
    for index in np.ndindex(3, 3):
        model = objective.module(directions.points(objective.theta, torch.from_numpy(found.coordinates()[index])))
        model[1].momentum = 1.0
        with torch.no_grad():
            model.train()(x)
            expected = float(nn.functional.cross_entropy(model.eval()(x), y))
        assert found.values["loss"][index] == pytest.approx(expected, rel=1e-12)
    assert np.abs(found.values["loss"] - frozen.values["loss"]).min() > 1e-3
    assert all(torch.equal(before[name], value) for name, value in objective.program.model.named_buffers())
    assert "Statistics of normalisation layers: recomputed." in found.notes


class Stopped(BaseException):
    """A kill."""


@pytest.mark.parametrize(("refine", "stop"), [(0, 1), (0, 5), (1, 4), (1, 9)])
def test_interrupted_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refine: int, stop: int) -> None:
    """Finished rows stay, the rest is completed, and everything is the same to the last bit."""
    objective = relu_network(5, 6, 3)
    directions = random_directions(objective, objective.theta)
    grid = Grid(points=(6, 5), rise=1.0, refine=refine)
    arguments = (objective, objective.theta, directions, grid)
    whole = surface(*arguments, metrics=("loss", "lambda_max"))
    calls: list[np.ndarray] = []
    evaluate = Cells.values

    def values(self: Cells, coordinates: np.ndarray) -> dict[str, np.ndarray]:
        if len(self.metrics) == 2:  # the search for the range has one
            if len(calls) == stop:
                raise Stopped
            calls.append(coordinates)
        return evaluate(self, coordinates)

    monkeypatch.setattr(Cells, "values", values)
    run = some_run(tmp_path)
    with run.writing():
        with pytest.raises(Stopped):
            surface(*arguments, metrics=("loss", "lambda_max"), run=run)
        stop = 10**9
        done = len(calls)
        found = surface(*arguments, metrics=("loss", "lambda_max"), run=run)
        assert len(np.unique(np.concatenate(calls), axis=0)) == len(np.concatenate(calls))  # no cell twice
        assert len(calls) > done
        calls.clear()
        again = surface(*arguments, metrics=("loss", "lambda_max"), run=run)
        assert calls == []  # loaded
    for one in (found, again):
        assert one.notes == whole.notes
        for axis, expected in zip(one.axes, whole.axes, strict=True):
            np.testing.assert_array_equal(axis, expected)
        for name, expected in whole.values.items():
            np.testing.assert_array_equal(one.values[name], expected)
    assert sorted(run.results) == ["surface", "surface.settings"]


def test_a_kill_loses_only_what_is_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are on the disk while the next ones are evaluated, not only after an orderly end."""
    monkeypatch.setattr(surface_module, "SAVE_SECONDS", 0.0)
    run = some_run(tmp_path)
    done: list[int] = []
    evaluate = Cells.values

    def values(self: Cells, coordinates: np.ndarray) -> dict[str, np.ndarray]:
        done.append(int(run.load("s.part-round-0")["done"].sum()) if "s.part-round-0" in run.results else 0)
        return evaluate(self, coordinates)

    monkeypatch.setattr(Cells, "values", values)
    with run.writing():
        surface(objective_of(rosenbrock, THETA), THETA, SKEW, Grid(points=(4, 5)), run=run, name="s")
    assert done == [0, 5, 10, 15]


def test_another_surface_of_the_same_name_is_not_mixed_in(tmp_path: Path) -> None:
    run = some_run(tmp_path)
    objective = objective_of(rosenbrock, THETA)
    with run.writing():
        surface(objective, THETA, SKEW, 5, run=run)
        moved = surface(objective, THETA + 1, SKEW, 5, run=run)
    np.testing.assert_array_equal(moved.values["loss"], surface(objective, THETA + 1, SKEW, 5).values["loss"])


def bad(objective: Objective, theta: Tensor) -> dict[str, tuple[tuple, dict, str]]:
    line = Directions(torch.ones(1, objective.size).double(), ("a",))
    four = Directions(torch.eye(4, objective.size).double(), tuple("abcd"))
    return {
        "size": ((objective, theta, Directions(torch.ones(1, 4), ("a",))), {}, "directions must have length 33"),
        "theta": ((objective, theta[:-1], line), {}, r"theta must have shape \(…, 33\)"),
        "lead": ((objective, theta[None], line), {}, r"theta must be one vector of shape \(33,\)"),
        "four": ((objective, theta, four), {}, "directions must be at most 3, found 4"),
        "grid": ((objective, theta, line, [[]]), {}, "not empty"),
        "axes": ((objective, theta, line, [[0.0], [0.0]]), {}, "one axis for each of the 1 directions, found 2"),
        "metric": ((objective, theta, line), {"metrics": ("los",)}, "found 'los', did you mean 'loss'"),
        "none": ((objective, theta, line), {"metrics": ()}, "at least one quantity, found none"),
        "objectives": (({}, theta, line), {}, "found none"),
        "layouts": (({"a": objective, "b": relu_network(2, 2)}, theta, line), {}, "same parameters under every name"),
        "range": ((objective, theta * torch.nan, line, Grid(rise=1.0)), {}, "finite loss to choose the range"),
    }


@pytest.mark.parametrize("case", sorted(bad(relu_network(5, 4, 3, bias=False), torch.zeros(32).double())))
def test_bad_input(case: str) -> None:
    objective = relu_network(5, 4, 3, bias=False)
    assert objective.size == 32
    arguments, options, message = bad(objective, objective.theta)[case]
    with pytest.raises(InputError, match=message.replace("33", "32")):
        surface(*arguments, **options)


def test_other_data_of_the_same_size_are_another_surface(tmp_path: Path) -> None:
    first = relu_network(5, 6, 3)
    inputs, targets = first.batches.held[0]
    other = first.with_data((inputs.flip(0), targets))
    directions = random_directions(first, first.theta)
    run = some_run(tmp_path)
    with run.writing():
        surface(first, first.theta, directions, 3, run=run)
        found = surface(other, first.theta, directions, 3, run=run)
    np.testing.assert_array_equal(found.values["loss"], surface(other, first.theta, directions, 3).values["loss"])


@pytest.mark.parametrize("fast", [True, False])
def test_where_outputs_are_nan_there_is_no_accuracy(fast: bool) -> None:
    objective = relu_network(5, 6, 6, 3).to(dtype=torch.float32)
    directions = random_directions(objective, objective.theta)
    found = surface(
        objective, objective.theta, directions, Grid(points=3, span=1e30), metrics=("loss", "accuracy"), fast=fast
    )
    lost = np.isnan(found.values["loss"])
    assert lost.any()
    np.testing.assert_array_equal(np.isnan(found.values["accuracy"]), lost)
