"""Gauss–Newton and Fisher products do not depend on the containers of inputs, outputs and targets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests import structures
from tests.structures import INPUTS, OUTPUTS, TARGETS, tensors
from thalweg.curvature.gauss_newton import fisher_products, ggn_products
from thalweg.errors import InputError
from thalweg.objective import Objective

PRODUCTS = {"ggn": ggn_products, "fisher": fisher_products}


def dense(theta: Tensor, kind: str, *, texts: bool) -> Tensor:
    """The matrix (8, 8): Jᵀ Λ J by the full Jacobian of the outputs, Λ = 12 (f − y)² / 2N of the fourth powers."""
    y = tensors()[2]
    jacobian = torch.autograd.functional.jacobian(lambda theta: structures.outputs(theta, texts=texts), theta)
    rest = structures.outputs(theta, texts=texts) - y
    if kind == "ggn":
        return torch.einsum("nci,nc,ncj->ij", jacobian, 6 * rest.square() / len(y), jacobian)
    slopes = torch.einsum("nci,nc->ni", jacobian, 2 * rest.pow(3))
    return slopes.T @ slopes / len(y)


def check(objective: Objective, kind: str, *, texts: bool) -> None:
    theta = torch.stack([objective.theta, 0.5 * objective.theta + 0.1])
    v = torch.randn(2, objective.size, dtype=torch.float64)
    matrices = [dense(point, kind, texts=texts) for point in theta]
    expected = torch.stack([matrix @ one for matrix, one in zip(matrices, v, strict=True)])
    for points, along, right in ((theta, v, expected), (theta[0], v[0], expected[0])):
        torch.testing.assert_close(PRODUCTS[kind](objective, points)(along), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("texts", [False, True], ids=["plain", "texts"])
@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("inputs", INPUTS)
def test_inputs_in_any_container(inputs: str, kind: str, texts: bool) -> None:
    check(structures.objective(inputs, texts=texts), kind, texts=texts)


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_and_targets_in_any_container(output: str, target: str, kind: str) -> None:
    check(structures.objective("dataclass", output, target, texts=True), kind, texts=True)


@pytest.mark.parametrize("kind", PRODUCTS)
def test_texts_stay_beside_their_samples_in_chunks(kind: str) -> None:
    check(structures.objective("UserDict", target="UserDict", texts=True, memory=2000), kind, texts=True)


class Summed(nn.Module):
    """Outputs beside a number that belongs to no sample."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        """(N, 3) -> (N, 2) and a number."""
        return self.linear(x), self.linear.weight.square().sum()


def test_outputs_that_belong_to_no_sample() -> None:
    """A Fisher matrix needs losses of single samples; the Gauss–Newton matrix is that of all outputs."""
    x, _, y = tensors()
    objective = Objective(Summed().double(), lambda out, goal: (out[0] - goal).square().mean() + out[1], (x, y))
    with pytest.raises(InputError, match="one row for each sample for an empirical Fisher matrix"):
        fisher_products(objective, objective.theta)
    v = torch.ones(objective.size, dtype=torch.float64)
    inputs = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    expected = (inputs.T @ inputs @ torch.ones(4, 2, dtype=torch.float64) / len(x)).T
    found = ggn_products(objective, objective.theta)(v)
    torch.testing.assert_close(found, torch.cat([expected[:, :3].flatten(), expected[:, 3]]))
