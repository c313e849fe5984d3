"""Slips in arguments: a number as text, half a replica, a class for its object, a path for a run; each one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg import InputError, Objective, Recipe, Recorder, critical, curvature, generalization, landscape, train
from thalweg.experiments.framework.options import read_toml
from thalweg.limits import check_memory
from thalweg.tasks import TaskConfig
from thalweg.training import Cadence

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(12) % 2


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


NET, LOSS = net(), nn.CrossEntropyLoss()
OBJECTIVE = Objective(NET, LOSS, (X, Y))
THETA = OBJECTIVE.theta
OPERATOR = curvature.hessian_operator(OBJECTIVE, THETA)
DIRECTIONS = landscape.random_directions(OBJECTIVE, THETA, 2)


def made(**given: Any) -> Objective:
    return Objective(NET, LOSS, (X, Y), **given)


def recorder(**given: Any) -> Recorder:
    return Recorder("never-made", NET, **given)


SLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    "loss": (lambda: Objective(NET, nn.MSELoss, (X, Y)), r"loss .*found the class MSELoss: MSELoss\(\)"),
    "device": (lambda: made(device="gpu:0"), "device must be one of this machine, found 'gpu:0'"),
    "device number": (lambda: OBJECTIVE.to(device="cuda:99"), "device must be one of this machine, found 'cuda:99'"),
    "dtype": (lambda: made(dtype="double"), "dtype must be a torch.dtype, found 'double': take torch.double"),
    "dtype of numpy": (lambda: OBJECTIVE.to(dtype=np.float64), "dtype must be a torch.dtype, found <class"),
    "no names": (lambda: made(parameters=()), "parameters must hold at least one name, found none"),
    "parameters": (lambda: made(parameters=NET.parameters()), "parameters must be text or a list of texts, found <gen"),
    "only": (lambda: OBJECTIVE.layout.only(3), "parameters must be text or a list of texts, found 3"),
    "metrics": (lambda: made(metrics=["accuracy"]), r"metrics must be a mapping of names, found \['accuracy'\]"),
    "metric": (lambda: made(metrics={"a": 3}), r"metrics\['a'\] must be a function, found 3"),
    "observe": (lambda: train(OBJECTIVE, observe="norms"), "observe must be a function, found 'norms'"),
    "permuted": (lambda: OBJECTIVE.permuted(None), "seed must be a whole number, found None"),
    "index": (lambda: critical.search(OBJECTIVE, THETA, "follow", index=1.0), "index must be a whole number, found 1"),
    "points": (lambda: landscape.Grid(points=3.0), "points must be whole numbers of at least 2, found 3"),
    "alphas": (lambda: landscape.interpolate(OBJECTIVE, THETA, -THETA, "ab"), "must be a list of numbers, found 'ab'"),
    "unnamed field": (lambda: Recipe("adam"), "Recipe must be given its fields by name, found 'adam'"),
    "count": (lambda: made(count=12), "count must be a function, found 12"),
    "init": (lambda: made(init=THETA[:1]), "init must be a function, found tensor"),
    "batch_size": (lambda: made(batch_size="8"), "batch_size must be a whole number, found '8'"),
    "batch_size 0": (lambda: made(batch_size=np.int64(0)), "batch_size must be at least 1, found 0"),
    "l2": (lambda: made(l2=[0.1]), r"l2 must be a number, found \[0.1\]"),
    "with_l2": (lambda: OBJECTIVE.with_l2(None), "l2 must be a number, found None"),
    "several l2": (lambda: OBJECTIVE.with_l2(np.ones(2)), r"l2 must be a single number, found ndarray of shape \(2,\)"),
    "memory": (lambda: made(memory=2.5e9), "memory must be a whole number, found 2500000000.0"),
    "check": (lambda: made(check="no"), "check must be True or False, found 'no'"),
    "loss_on": (lambda: made(loss_on=1), "loss_on must be one of output, batch, found 1"),
    "sample": (lambda: OBJECTIVE.subset([0, 12]), "index must lie between 0 and 11, found 12"),
    "sample below": (lambda: OBJECTIVE.subset(torch.tensor([-1])), "index must lie between 0 and 11, found -1"),
    "no sample": (lambda: OBJECTIVE.subset(Y > 5), "index must choose at least one sample, found none"),
    "mask": (lambda: OBJECTIVE.subset(Y[:5] == 0), "index must be a mask of all 12 samples, found one of 5"),
    "shares": (lambda: OBJECTIVE.subset(X[:, 0]), "index must be a list of whole numbers or a mask, found float64"),
    "words": (lambda: OBJECTIVE.subset(["a"]), "index must be numbers of samples, found"),
    "initial": (lambda: OBJECTIVE.initial("3"), "replicas must be a whole number, found '3'"),
    "initial seed": (lambda: OBJECTIVE.initial(2, seed=None), "seed must be a whole number, found None"),
    "first": (lambda: OBJECTIVE.initial(2, first=0.5), "first must be a whole number, found 0.5"),
    "sparse": (lambda: OBJECTIVE.value(THETA.to_sparse()), "theta must be a dense tensor, found torch.sparse_coo"),
    "k": (lambda: curvature.eigenpairs(OPERATOR, True), "k must be a whole number, found True"),
    "huge k": (lambda: curvature.eigenpairs(OPERATOR, 10**400), r"k must be a whole number below 2\*\*63, found 1000"),
    "largest": (lambda: curvature.eigenpairs(OPERATOR, 2, which=None), "which must be one of largest, .*, found None"),
    "seed": (lambda: curvature.trace(OPERATOR, seed=0.5), "seed must be a whole number, found 0.5"),
    "tolerance": (lambda: critical.minimise(problem(), THETA[None], tolerance="1e-8"), "tolerance must be a number"),
    "steps": (
        lambda: critical.search(OBJECTIVE, THETA, "newton", steps=10.0),
        "steps must be a whole number, found 10.0",
    ),
    "method": (lambda: critical.search(OBJECTIVE, THETA, 3), "method must be text, found 3"),
    "grid": (lambda: landscape.surface(OBJECTIVE, THETA, DIRECTIONS, "5"), "grid must be a Grid, .*, found '5'"),
    "axis": (lambda: landscape.surface(OBJECTIVE, THETA, DIRECTIONS, [["a"], [0]]), r"grid\[0\] must be a list of co"),
    "refine": (lambda: landscape.Grid(refine=1.5), "refine must be a whole number, found 1.5"),
    "change": (lambda: landscape.Grid(change=None), "change must be a number, found None"),
    "run": (lambda: landscape.surface(OBJECTIVE, THETA, DIRECTIONS, 3, run=Path("a")), "run must be a thalweg Run, fo"),
    "recipe": (lambda: landscape.connect(OBJECTIVE, THETA, -THETA, "adam"), "recipe must be a thalweg Recipe, found"),
    "bends": (lambda: landscape.connect(OBJECTIVE, THETA, -THETA, bends=1.0), "bends must be a whole number, found 1"),
    "radius": (
        lambda: generalization.sam_sharpness(OBJECTIVE, THETA, radius="0.1"),
        "radius must be a number, found '0.1'",
    ),
    "replicas": (lambda: train(OBJECTIVE, replicas=2.0), "replicas must be a whole number, found 2.0"),
    "evaluate": (lambda: train(OBJECTIVE, evaluate=OBJECTIVE), "evaluate must be a mapping of names, found"),
    "every": (lambda: recorder(every=0.5), "every must be a whole number, found 0.5"),
    "recorder seed": (lambda: recorder(seed="0"), "seed must be a whole number, found '0'"),
    "config": (lambda: recorder(config="lr=0.1"), "config must be a mapping of names, found 'lr=0.1'"),
    "path": (lambda: Recorder(None, NET), "path must be a path, found None"),
    "optimizer": (lambda: Recipe(optimizer="sdg"), "optimizer must be .*found 'sdg', did you mean 'sgd'?"),
    "lr": (lambda: Recipe(lr="fast"), "lr must be .*number.*found 'fast'"),
    "two faults": (lambda: Recipe(lr=-1, speed=3), "lr must be greater than 0, found -1; unknown field 'speed'"),
    "contradiction": (lambda: Recipe(epochs=1, steps=1), "^epochs and steps exclude each other, found 1 and 1"),
    "inner": (lambda: Recipe(record={"every": 0}), "record.every must be greater than or equal to 1, found 0"),
    "unit": (lambda: Cadence(unit="epochs"), "unit must be .*found 'epochs', did you mean 'epoch'?"),
    "task": (lambda: TaskConfig(name="minst"), "name must be .*found 'minst', did you mean 'mnist'?"),
    "bytes": (lambda: check_memory("replicas", "so many", 10**400), r"replicas must fit .*more than 1e\+285 PB"),
}


def problem() -> critical.Problem:
    return critical.as_problem(OBJECTIVE)


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_one_sentence(name: str) -> None:
    call, sentence = SLIPS[name]
    with pytest.raises(InputError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["a", 1 + 2j, np.complex64(1), torch.tensor(1j), None, [1.0]])
def test_a_metric_is_one_real_number(value: object, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", NET) as taken, pytest.raises(InputError, match="metric 'loss' must be a"):
        taken.step(loss=value)


CHOICES = {
    "mask": Y == 1,
    "mask of numpy": (Y == 1).numpy(),
    "list of truths": [bool(one) for one in Y == 1],
    "slice": slice(1, None, 2),
    "range": range(1, 12, 2),
    "list": [1, 3, 5, 7, 9, 11],
    "reversed": np.arange(1, 12, 2)[::-1],
    "int32": torch.arange(1, 12, 2, dtype=torch.int32),
}


@pytest.mark.parametrize("name", CHOICES)
def test_samples_are_chosen_as_of_a_tensor(name: str) -> None:
    found = OBJECTIVE.subset(CHOICES[name])
    assert found.samples == 6
    torch.testing.assert_close(found.value(THETA), LOSS(NET(X[1::2]), Y[1::2]).detach(), rtol=1e-12, atol=0)


def test_numbers_of_other_libraries_are_numbers() -> None:
    assert torch.equal(OBJECTIVE.initial(np.int64(2), torch.tensor(3)), OBJECTIVE.initial(2, 3))
    assert made(l2=np.float32(0.5)).l2 == made(l2=torch.tensor(0.5)).l2 == 0.5
    found = curvature.eigenpairs(OPERATOR, np.int32(1), tolerance=torch.tensor(1e-6))
    torch.testing.assert_close(
        found.values, curvature.eigenpairs(OPERATOR, 1, tolerance=1e-6).values, rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("turned", [lambda a: a[::-1][::-1], lambda a: a.astype(">f8"), lambda a: a.repeat(2)[::2]])
def test_arrays_of_any_layout_are_theta(turned: Callable[[np.ndarray], np.ndarray]) -> None:
    assert torch.equal(OBJECTIVE.ravel(turned(THETA.numpy())), THETA)
    states = {name: turned(value.numpy()) for name, value in NET.state_dict().items() if value.dim() == 1}
    assert torch.equal(OBJECTIVE.ravel({**NET.state_dict(), **states}), THETA)


def test_values_that_are_stored_otherwise_are_theta() -> None:
    flipped = THETA.flip(0).numpy()[::-1]
    assert flipped.strides[0] < 0
    assert torch.equal(OBJECTIVE.ravel(flipped), THETA)
    assert torch.equal(OBJECTIVE.ravel({name: value.to_sparse() for name, value in NET.state_dict().items()}), THETA)


def test_a_solution_that_requires_gradients_is_joined() -> None:
    def joined(one: Tensor, other: Tensor) -> Tensor:
        return landscape.connect(OBJECTIVE, one, other, Recipe(steps=2)).path.points

    assert torch.equal(joined(THETA.clone().requires_grad_(), (-THETA).requires_grad_()), joined(THETA, -THETA))


def test_settings_are_read_from_files_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked.toml").symlink_to(tmp_path / "settings.toml")
    (tmp_path / "settings.toml").write_text("seed = 3")
    assert read_toml(tmp_path / "linked.toml") == {"seed": 3}
    for name, found in (("pipe", "must be a regular file, found a pipe"), ("absent", "cannot read")):
        with pytest.raises(InputError, match=found):
            read_toml(tmp_path / name)
    with pytest.raises(InputError, match="must be a regular file, found a device"):
        read_toml(Path(os.devnull))
