"""Norms against numpy on the matrices themselves, and a path norm by walking all paths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.cases import CASES, CE, classes, mlp
from thalweg.errors import InputError
from thalweg.generalization import distance, frobenius_product, path_norm, spectral_product
from thalweg.objective import Objective


@pytest.mark.parametrize("name", ["mlp-relu", "cnn"])
def test_products_against_numpy(name: str) -> None:
    objective = CASES[name].build()
    theta = torch.stack([objective.theta, 2 * objective.theta])
    spectral, frobenius = spectral_product(objective, theta), frobenius_product(objective, theta)
    for r in range(2):
        weights = [w.numpy().reshape(len(w), -1) for w in objective.layout.unravel(theta[r]).values() if w.dim() > 1]
        assert spectral[r].item() == pytest.approx(math.prod(np.linalg.norm(w, 2) for w in weights), rel=1e-12)
        assert frobenius[r].item() == pytest.approx(math.prod(np.linalg.norm(w) for w in weights), rel=1e-12)


def test_path_norm_by_walking_all_paths() -> None:
    torch.manual_seed(0)
    objective = Objective(mlp(3, 4, 2, phi=nn.ReLU, bias=False)().double(), CE, classes(5, 3, number=2))
    first, second = objective.layout.unravel(objective.theta).values()
    total = sum(float(first[j, i] * second[k, j]) ** 2 for i, j, k in itertools.product(range(3), range(4), range(2)))
    found = path_norm(objective, torch.stack([objective.theta, 3 * objective.theta]))
    assert found[0].item() == pytest.approx(math.sqrt(total), rel=1e-12)
    assert found[1].item() == pytest.approx(9 * math.sqrt(total), rel=1e-12)


@pytest.mark.parametrize("norm", [spectral_product, frobenius_product, path_norm])
def test_norms_are_those_of_the_whole_network_whatever_is_trained(norm) -> None:
    torch.manual_seed(0)
    model, data = mlp(3, 4, 2, phi=nn.ReLU)().double(), classes(5, 3, number=2)
    whole = Objective(model, CE, data)
    part = Objective(model, CE, data, parameters="2.*")
    expected = norm(whole, whole.theta)
    torch.testing.assert_close(norm(part, part.theta.repeat(2, 1)), expected.repeat(2), rtol=1e-12, atol=0)


def test_distance_and_theta_that_is_not_finite() -> None:
    objective = CASES["mlp-relu"].build()
    theta = objective.theta.repeat(2, 1)
    theta[1, 0] = math.nan
    moved = distance(theta, objective.theta)
    assert moved[0] == 0
    for found in (moved, spectral_product(objective, theta), frobenius_product(objective, theta)):
        assert found.isnan().tolist() == [False, True]


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="theta and initial must have one length, found 3 and 2"):
        distance(torch.ones(3), torch.ones(2))
    normalised = CASES["batchnorm-eval"].build()
    with pytest.raises(InputError, match="path_norm needs a model without normalisation layers"):
        path_norm(normalised, normalised.theta)
    tokens = CASES["attention"].build()
    with pytest.raises(InputError, match="path_norm needs one floating-point input"):
        path_norm(tokens, tokens.theta)

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * x

    scale = Objective(Scale(), nn.MSELoss(), (torch.randn(5, 3), torch.randn(5, 3)))
    with pytest.raises(InputError, match="the model must have at least one weight with two axes"):
        spectral_product(scale, scale.theta)
