"""Hessians and Gauss–Newton matrices against two other libraries, over the dictionary of cases."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.cases import CASES, Case
from thalweg.curvature.exact import exact_curvature
from thalweg.objective import Objective

REASON = "the oracles extra is not installed"
BEYOND_CURVLINOPS = {
    "mlp-no-bias": "torch has no forward mode of SiLU's backward pass",
    "attention": "torch's forward mode of LayerNorm's backward pass is wrong: the rows of the scale miss a term",
}
NAMES = [name for name, case in CASES.items() if case.oracle]


@pytest.fixture(params=NAMES)
def case(request) -> Case:
    return CASES[request.param]


def parts(objective: Objective, theta: Tensor) -> tuple[nn.Module, list[nn.Parameter], list[tuple[Tensor, Tensor]]]:
    """A plain model at theta, its parameters and the batches."""
    model = objective.module(theta)
    chosen = [parameter for name, parameter in model.named_parameters() if name in objective.layout.slices]
    return model, chosen, [batch for batch, _ in objective.batches.chunks(None)]


def same(found: Tensor, expected: Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) < 1e-12 * scale


def curvlinops_matrix(name: str, objective: Objective, theta: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's imports
        curvlinops = pytest.importorskip("curvlinops", reason=REASON)
        model, chosen, batches = parts(objective, theta)
        with sdpa_kernel(SDPBackend.MATH):
            operator = getattr(curvlinops, name)(model, objective.loss, chosen, batches, check_deterministic=False)
            return (operator @ torch.eye(objective.size, dtype=theta.dtype)).detach()


def eigenthings_matrix(objective: Objective, theta: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operators = pytest.importorskip("hessian_eigenthings.operators.hessian", reason=REASON)
        model, _, batches = parts(objective, theta)
        names = set(objective.layout.names)
        with sdpa_kernel(SDPBackend.MATH):
            operator = operators.HessianOperator(
                model, batches, lambda m, b: objective.loss(m(b[0]), b[1]), param_filter=lambda name, _: name in names
            )
            return torch.stack([operator.matvec(row) for row in torch.eye(objective.size, dtype=theta.dtype)]).detach()


@pytest.mark.parametrize("name", NAMES)
def test_hessian_equals_curvlinops(name):
    if name in BEYOND_CURVLINOPS:
        pytest.skip(BEYOND_CURVLINOPS[name])
    case = CASES[name]
    objective = case.build()
    theta = objective.theta + 0.2 * torch.randn(objective.size, dtype=torch.float64)
    result = exact_curvature(objective, theta)
    assert result.method == case.method
    same(result.matrix, curvlinops_matrix("HessianLinearOperator", objective, theta))


def test_hessian_equals_eigenthings(case):
    objective = case.build()
    if len(objective.batches.counts) > 1:
        pytest.skip("it averages ragged batches without weights")
    theta = objective.theta + 0.2 * torch.randn(objective.size, dtype=torch.float64)
    same(exact_curvature(objective, theta).matrix, eigenthings_matrix(objective, theta))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "other-loss"])
def test_gauss_newton_matrix_equals_curvlinops(name):
    objective = CASES[name].build()
    theta = objective.theta + 0.2 * torch.randn(objective.size, dtype=torch.float64)
    same(exact_curvature(objective, theta, kind="ggn").matrix, curvlinops_matrix("GGNLinearOperator", objective, theta))


@pytest.mark.parametrize("name", ["mlp-ce", "mlp-wide", "mlp-ragged", "cnn"])
def test_fisher_matrix_equals_curvlinops(name):
    objective = CASES[name].build()
    theta = objective.theta + 0.2 * torch.randn(objective.size, dtype=torch.float64)
    same(
        exact_curvature(objective, theta, kind="fisher").matrix, curvlinops_matrix("EFLinearOperator", objective, theta)
    )
