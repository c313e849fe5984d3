"""Whatever the library returns prints in a few lines, with its numbers, whatever its size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, make_dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import critical, curvature, generalization, landscape, sweeps, training
from thalweg._short import short
from thalweg.experiments import Findings
from thalweg.objective import Objective
from thalweg.runs import MemoryRecording

REPLICAS = 12
torch.manual_seed(0)
X = torch.randn(40, 3, dtype=torch.float64)
OBJECTIVE = Objective(
    nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).double(),
    nn.CrossEntropyLoss(),
    (X, (X[:, 0] > 0).long()),
    l2=0.01,
)
ONE, MANY = OBJECTIVE.theta, OBJECTIVE.initial(replicas=REPLICAS)
OPERATOR = curvature.hessian_operator(OBJECTIVE, ONE)
DIRECTIONS = landscape.random_directions(OBJECTIVE, ONE, 2)
RECORDING = training.train(OBJECTIVE, recipe=training.Recipe(steps=30), replicas=3)
FOUND = landscape.pca(RECORDING)
LINE = landscape.Path(torch.stack([MANY, MANY.flip(0)]))
SADDLE = critical.certify(critical.FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2), torch.zeros(1, 2))
QUARTIC = critical.FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
DESCENTS = critical.descend(QUARTIC, SADDLE)
SURFACE = landscape.surface(OBJECTIVE, ONE, DIRECTIONS, 41)

SETTINGS: Any = {f"field {i}": "a long setting" for i in range(50)}
TASKS = tuple(sweeps.Task(f"run-{i}", {"training.lr": 0.1 * i}, SETTINGS) for i in range(300))

MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "CountEstimate": (lambda: curvature.estimate_counts(OPERATOR, 0.01), "size=100"),
    "DiagonalEstimate": (lambda: curvature.diagonal(OPERATOR), "values=(100,) float64"),
    "Eigenpairs": (lambda: curvature.eigenpairs(OPERATOR, 3), "vectors=(3, 100) float64"),
    "ExactCurvature": (lambda: curvature.exact_curvature(OBJECTIVE, MANY), "matrix=(12, 100, 100) float64"),
    "Inertia": (lambda: curvature.inertia(OBJECTIVE.hessian(ONE), 0.01), "negative="),
    "MinimalRatio": (lambda: curvature.minimal_ratio(OBJECTIVE, MANY), "ratio=(12,) float64"),
    "NeighbourRatio": (lambda: curvature.neighbour_ratio(OBJECTIVE, MANY, [0.1, 1.0], samples=3), "radii=[0.1, 1]"),
    "Operator": (lambda: OPERATOR, "size=100"),
    "Quadrature": (lambda: curvature.quadrature(OPERATOR), "nodes=(10, 80) float64"),
    "Signs": (lambda: curvature.count_signs(OBJECTIVE.hessian(MANY)), "positive=(12,) int64"),
    "SpectralDensity": (lambda: curvature.spectral_density(OPERATOR), "density=(1000,) float64"),
    "SubsetEstimate": (
        lambda: curvature.over_subsets(OBJECTIVE, lambda part: part.gradient(ONE), 5),
        "values=(8, 100) float64",
    ),
    "TraceEstimate": (lambda: curvature.trace(OPERATOR), "method='xtrace'"),
    "Certificate": (lambda: critical.certify(OBJECTIVE, MANY).certificate, "gradient=(12,) float64"),
    "Continuation": (lambda: critical.continue_in_decay(OBJECTIVE, MANY[:2], [0.1] * 30, steps=1), "… 27 more"),
    "CriticalPoints": (lambda: critical.certify(OBJECTIVE, MANY), "theta=(12, 100) float64"),
    "Descents": (lambda: DESCENTS, "sign=[1, -1]"),
    "Edge": (
        lambda: critical.solution_landscape(SADDLE, DESCENTS).edges[0],
        "Edge(source=0, target=1, mode=0, sign=1)",
    ),
    "LargeSearch": (lambda: critical.newton_cg(OBJECTIVE, MANY[:2], steps=2, products=3), "status=("),
    "Search": (lambda: critical.steepest_descent(OBJECTIVE, MANY, steps=40), "theta=(12, 100) float64"),
    "SolutionLandscape": (lambda: critical.solution_landscape(SADDLE, DESCENTS), "lost="),
    "PCA": (lambda: FOUND, "replicas=(0, 1, 2)"),
    "TSNE": (lambda: landscape.tsne(FOUND, iterations=250), "coordinates=(31, 3, 2) float64"),
    "Alignment": (lambda: landscape.align(OBJECTIVE, MANY, MANY.flip(0)), "index=(12, 100) int64"),
    "Barrier": (lambda: landscape.interpolate(OBJECTIVE, ONE, MANY[0]).barriers["train"], "height="),
    "Connection": (lambda: landscape.connect(OBJECTIVE, ONE, MANY[0], training.Recipe(steps=20)), "loss=(20,) float64"),
    "Directions": (lambda: DIRECTIONS, "labels=('random direction 1', 'random direction 2')"),
    "Grid": (lambda: landscape.Grid(points=(5, 9)), "points=(5, 9)"),
    "Path": (lambda: LINE, "points=(2, 12, 100) float64, kind='line'"),
    "PathOnPlane": (lambda: landscape.path_on_plane(OBJECTIVE, RECORDING, ONE, DIRECTIONS), "(31, 3, 2) float64"),
    "Perturbation": (lambda: landscape.perturb(OBJECTIVE, ONE), "'0.weight[0, 0]', '0.weight[0, 1]', "),
    "Profile": (lambda: landscape.follow(OBJECTIVE, LINE), "positions=(61,) float64"),
    "SavedSurface": (lambda: landscape.SavedSurface.of(SURFACE), "'loss': (41, 41) float64"),
    "ScatterSurface": (
        lambda: landscape.scatter_surface(OBJECTIVE, RECORDING, neighbours=3, method="pca"),
        "coordinates=(138, 2) float64",
    ),
    "Surface": (lambda: SURFACE, "values={'loss': (41, 41) float64}"),
    "AverageSharpness": (lambda: generalization.average_sharpness(OBJECTIVE, MANY, pairs=3), "pairs=3"),
    "BoxSharpness": (
        lambda: generalization.keskar_sharpness(OBJECTIVE, MANY, starts=1, iterations=1),
        "value=(12,) float64",
    ),
    "HessianSharpness": (lambda: generalization.hessian_sharpness(OBJECTIVE, ONE), "largest="),
    "Margins": (lambda: generalization.margins(OBJECTIVE, MANY), "values=(12, 40) float64"),
    "Norms": (lambda: generalization.norms(OBJECTIVE, MANY), "path_norm=(12,) float64"),
    "Pair": (lambda: generalization.rescalable_pairs(OBJECTIVE)[0], "divided='2.weight'"),
    "RankCorrelation": (lambda: generalization.rank_correlation(range(50), range(50)), "tau=1"),
    "RankCorrelations": (lambda: generalization.rank_correlations({"norm": range(9)}, {"gap": range(9)}), "groups=9"),
    "Rescaling": (lambda: generalization.rescaling(OBJECTIVE, ONE, count=3), "predicted="),
    "Sensitivity": (lambda: generalization.sensitivity(OBJECTIVE, MANY), "norms=(12, 40) float64"),
    "Batches": (lambda: OBJECTIVE.batches, "counts=(40,), divisible=True"),
    "Evaluation": (lambda: OBJECTIVE.evaluation, "batches=Batches(held="),
    "Program": (lambda: OBJECTIVE.program, "loss=CrossEntropyLoss()"),
    "Plan": (lambda: sweeps.Plan("digits", {"training.lr": (0.1,) * 300}, TASKS), "… 297 more"),
    "Task": (lambda: TASKS[0], "name='run-0'"),
    "ParameterLayout": (lambda: OBJECTIVE.layout, "names=('0.weight', '0.bias', '2.weight', … 3 more)"),
}


@pytest.mark.parametrize("name", MADE)
def test_results_print_short(name: str) -> None:
    make, part = MADE[name]
    shown = repr(make())
    assert shown.startswith(f"{name}(")
    assert part in shown
    assert len(shown) < 600
    assert "\n" not in shown
    assert "tensor(" not in shown
    assert "array(" not in shown


def test_no_public_result_is_missing() -> None:
    public = {
        name
        for package in (curvature, critical, landscape, generalization)
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) and is_dataclass(getattr(package, name))
    }
    assert public <= MADE.keys()


def test_numbers_of_one_point_are_shown() -> None:
    found = curvature.minimal_ratio(OBJECTIVE, ONE)
    assert f"positive={int(found.positive)}, negative={int(found.negative)}" in repr(found)
    assert f"loss={float(found.loss):.6g}" in repr(found)
    pairs = curvature.eigenpairs(OPERATOR, 2)
    assert f"values=[{pairs.values[0]:.6g}, {pairs.values[1]:.6g}]" in repr(pairs)


def test_an_objective_says_what_it_is_of() -> None:
    assert repr(OBJECTIVE.with_l2(0.5)) == "Objective(Sequential, CrossEntropyLoss, P=100, N=40, l2=0.5, float64, cpu)"


def test_recordings_and_findings() -> None:
    assert repr(RECORDING) == "MemoryRecording('training', S=31, R=3, P=100, float64, finished)"
    assert repr(MemoryRecording("mine")).startswith("MemoryRecording('mine', S=0, R=0, P=0, ")
    findings = Findings(statements=("A long sentence. " * 20,) * 50, numbers={f"number {i}": i / 7 for i in range(200)})
    assert "'number 1': 0.142857" in repr(findings)
    assert len(repr(findings)) < 600


class Kind(StrEnum):
    GOOD = "good"


@short
@dataclass(frozen=True)
class Anything:
    value: Any
    hidden: Any = field(default=None, repr=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (torch.tensor(1 / 3), "0.333333"),
        (torch.tensor([1, -2]), "[1, -2]"),
        (torch.zeros(0), "[]"),
        (torch.full((3,), torch.nan), "[nan, nan, nan]"),
        (torch.zeros(10**6, requires_grad=True), "(1000000,) float32"),
        (torch.zeros(2, device="meta"), "(2,) float32"),
        (np.arange(7.0), "(7,) float64"),
        (np.float64(0.1), "0.1"),
        (10**30, "1" + 30 * "0"),
        ("x" * 1000, "'" + 78 * "x" + "…"),
        ("two\nlines", r"'two\nlines'"),
        (Kind.GOOD, "good"),
        ((), "()"),
        ((1,), "(1,)"),
        ([[1, 2, 3, 4, 5]] * 5, "[[1, 2, 3, … 2 more], [1, 2, 3, … 2 more], [1, 2, 3, … 2 more], … 2 more]"),
        ({f"key {i}": torch.zeros(3, 3) for i in range(9)}, "{'key 0': (3, 3) float32, "),
        (Anything(Anything(Anything(1.0))), "Anything(value=Anything(value=Anything(value=1)))"),
        (torch.sum, "sum"),
        (torch.float64, "torch.float64"),
    ],
)
def test_every_kind_of_value(value: Any, shown: str) -> None:
    text = repr(Anything(value, hidden="secret"))
    assert text.startswith(f"Anything(value={shown}")
    assert len(text) < 600
    assert "secret" not in text


def test_many_fields_end_in_dots() -> None:
    wide = short(make_dataclass("Wide", [(f"field_{i}", float) for i in range(100)]))
    text = repr(wide(*range(100)))
    assert text.startswith("Wide(field_0=0, field_1=1, ")
    assert text.endswith(", …)")
    assert 500 < len(text) < 600
