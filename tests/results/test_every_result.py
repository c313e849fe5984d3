"""The contract of results, for every result of an instrument: saved, drawn twice, tabled, told, printed, reported."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import critical, curvature, report, results
from thalweg.curvature import hessian_operator
from thalweg.objective import Objective
from thalweg.results import BaseResult, Result

torch.manual_seed(0)
X = torch.randn(60, 3, dtype=torch.float64)
OBJECTIVE = Objective(
    nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), nn.MSELoss(), (X, X[:, :2].sin()), l2=0.01
)
ONE, MANY = OBJECTIVE.theta, OBJECTIVE.initial(replicas=5)
LOST = torch.cat([MANY[:2], torch.full_like(MANY[:1], torch.nan)])  # the last replica has diverged
BOWLS = critical.FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
SADDLE = critical.certify(BOWLS, torch.zeros(1, 2))
DESCENTS = critical.descend(BOWLS, SADDLE)
MINIMUM = critical.minimise(critical.as_problem(OBJECTIVE), MANY[:1])


def hessian(theta: torch.Tensor = ONE) -> curvature.Operator:
    return hessian_operator(OBJECTIVE, theta)


def nowhere() -> curvature.Operator:
    return curvature.Operator.dense(torch.full((4, 4), torch.nan, dtype=torch.float64))


MADE: dict[str, tuple[Callable[[], Any], str]] = {  # and the number that the summary must tell
    "pairs": (lambda: curvature.eigenpairs(hessian(), 4), "values"),
    "pair": (lambda: curvature.eigenpairs(hessian(), 1, samples=30, subsets=3), "values"),
    "pairs, lost": (lambda: curvature.eigenpairs(nowhere(), 2), ""),
    "trace": (lambda: curvature.trace(hessian(), products=12), "value"),
    "trace, drawn": (lambda: curvature.trace(hessian(), products=8, samples=30, subsets=3), "value"),
    "trace, lost": (lambda: curvature.trace(nowhere()), ""),
    "diagonal": (lambda: curvature.diagonal(hessian(), products=8), ""),
    "diagonal, drawn": (lambda: curvature.diagonal(hessian(), products=8, samples=30, subsets=3), ""),
    "density, drawn": (lambda: curvature.spectral_density(hessian(), samples=30, subsets=3), ""),
    "counts": (lambda: curvature.estimate_counts(hessian(), 1e-3), "positive"),
    "counts, drawn": (lambda: curvature.estimate_counts(hessian(), 1e-3, samples=30, subsets=3), "positive"),
    "counts, lost": (lambda: curvature.estimate_counts(nowhere(), 1.0), ""),
    "signs": (lambda: curvature.count_signs(OBJECTIVE.hessian(ONE)), ""),
    "signs of many": (lambda: curvature.count_signs(torch.stack([torch.eye(3), torch.full((3, 3), torch.nan)])), ""),
    "ratio": (lambda: curvature.minimal_ratio(OBJECTIVE, ONE), ""),
    "ratios": (lambda: curvature.minimal_ratio(OBJECTIVE, LOST), ""),
    "ratio, estimated": (lambda: curvature.minimal_ratio(OBJECTIVE, MANY[:2], method="estimate"), ""),
    "neighbours": (lambda: curvature.neighbour_ratio(OBJECTIVE, ONE, [0.01, 1.0], samples=20), ""),
    "neighbours of many": (lambda: curvature.neighbour_ratio(OBJECTIVE, LOST, [0.01, 1.0], samples=20), ""),
    "neighbours of a hundred": (
        lambda: curvature.neighbour_ratio(OBJECTIVE, OBJECTIVE.initial(replicas=100), [0.1], samples=5),
        "",
    ),
    "matrix": (lambda: curvature.exact_curvature(OBJECTIVE, ONE), ""),
    "matrices": (lambda: curvature.exact_curvature(OBJECTIVE, LOST, kind="ggn"), ""),
    "subsets": (lambda: curvature.over_subsets(OBJECTIVE, lambda part: part.value(ONE), 10, subsets=4), "mean"),
    "subsets of a gradient": (
        lambda: curvature.over_subsets(OBJECTIVE, lambda part: part.gradient(ONE), 10, subsets=4),
        "",
    ),
    "certificate": (lambda: critical.certify(OBJECTIVE, MANY).certificate, ""),
    "points": (lambda: critical.certify(OBJECTIVE, MINIMUM), ""),
    "points, some lost": (lambda: critical.certify(OBJECTIVE, LOST), ""),
    "points, all lost": (lambda: critical.certify(OBJECTIVE, LOST[2:]), ""),
    "search": (lambda: critical.steepest_descent(OBJECTIVE, MANY, steps=5), ""),
    "search without history": (lambda: critical.Search(MANY, torch.ones(5), torch.zeros(5)), ""),
    "large search": (lambda: critical.newton_cg(OBJECTIVE, MANY[:2], steps=2, products=3), ""),
    "continuation": (lambda: critical.continue_in_decay(OBJECTIVE, MINIMUM.theta, [0.01, 0.02], steps=5), ""),
    "descents": (lambda: DESCENTS, ""),
    "landscape": (lambda: critical.solution_landscape(SADDLE, DESCENTS), ""),
}


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest) -> tuple[Any, str]:
    make, principal = MADE[request.param]
    return make(), principal


def test_it_comes_back_equal(made: tuple[Any, str], tmp_path: Path) -> None:
    result, _ = made
    found = results.load(result.save(tmp_path / "result.safetensors"))
    assert type(found) is type(result)
    assert found == result
    assert (found.summary(), found.plot()) == (result.summary(), result.plot())


def test_it_is_drawn_tabled_and_told(made: tuple[Any, str], tmp_path: Path) -> None:
    result, principal = made
    assert isinstance(result, Result)
    figure = result.plot()
    for suffix in ("png", "html"):  # matplotlib, plotly
        assert figure.save(tmp_path / f"figure.{suffix}").stat().st_size > 1000
    assert result.table().height > 0
    said = result.summary()
    assert 1 <= len(re.findall(r"\.(?:\s|$)", said)) <= 3
    assert len(repr(result)) < 300
    bundle, _ = result._repr_mimebundle_()
    assert said in bundle["text/plain"]
    if principal:
        number = float(torch.as_tensor(getattr(result, principal)).reshape(-1)[0])
        numbers = [float(one.replace("−", "-").replace(",", "")) for one in re.findall(r"−?\d[\d,]*\.?\d*", said)]
        assert any(abs(one - number) <= 1e-2 * abs(number) for one in numbers), said


def test_all_together_make_a_report(tmp_path: Path) -> None:
    made = [make() for make, _ in MADE.values()]
    text = report.write(tmp_path / "all.html", *made, title="Everything").read_text()
    for result in made:
        first = re.split(r"[&<'‖]", result.summary())[0][:60]
        assert first in text


def test_no_result_is_forgotten() -> None:
    public = {
        value for package in (curvature, critical) for value in (getattr(package, n) for n in package.__all__)
        if dataclasses.is_dataclass(value) and isinstance(value, type)
    }  # fmt: skip
    objects = {  # no results, but what they are made from and of
        curvature.Operator, curvature.Quadrature, curvature.Inertia,
        critical.FunctionProblem, critical.ObjectiveProblem, critical.Edge,
    }  # fmt: skip
    forgotten = {one.__name__ for one in public - objects if not issubclass(one, BaseResult)}
    assert forgotten == set()
    shown = {type(make()) for make, _ in MADE.values()} | {curvature.SpectralDensity}
    assert {one.__name__ for one in public - objects - shown} == set()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_told(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    rough = Objective(model, nn.MSELoss(), (X.to(dtype), X[:, :2].to(dtype)), dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    for result in (
        curvature.eigenpairs(rough, 1, max_products=15, check=False),
        curvature.trace(rough, products=10),
        curvature.spectral_density(rough, probes=2, steps=5),
        curvature.estimate_counts(rough, 1e-2, probes=2, steps=5),
    ):
        assert result.precision == name
        assert f"computed in {name}" in result.summary()
    assert "computed in" not in curvature.trace(OBJECTIVE, products=10).summary()
    np.testing.assert_equal(curvature.trace(OBJECTIVE.double(), products=10).precision, "float64")


def test_autocast_is_told() -> None:
    class Lowered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.inner(x).float()

    objective = Objective(Lowered(), nn.MSELoss(), (X.float(), X[:, :2].float()))
    found = curvature.trace(objective, products=8)
    assert found.precision == "float32, in part bfloat16"
    assert "computed in float32, in part bfloat16" in found.summary()
