"""Instruments straight from modules give the numbers of an objective that is made by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from thalweg import Objective, curvature, generalization, landscape
from thalweg.errors import InputError

LOSS = nn.CrossEntropyLoss()


def _model(seed: int, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(3, 5), *([nn.BatchNorm1d(5)] if norm else []), nn.Tanh(), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double()


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(24, 3, dtype=torch.float64), torch.arange(24) % 3


def test_ratio_and_sensitivity_are_those_of_the_objective(data: tuple[Tensor, Tensor]) -> None:
    model = _model(1)
    objective = Objective(model, LOSS, data)
    theta = objective.ravel(model)
    assert curvature.minimal_ratio(model, LOSS, data) == curvature.minimal_ratio(objective, theta)
    parameters = dict(model.named_parameters())
    flat = torch.nn.utils.parameters_to_vector(parameters.values()).detach()

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in parameters.values()])
        named = {name: part.view_as(p) for part, (name, p) in zip(parts, parameters.items(), strict=True)}
        return LOSS(torch.func.functional_call(model, named, (data[0],)), data[1])

    hessian = torch.autograd.functional.hessian(loss, flat)
    signs = torch.linalg.eigvalsh(hessian)
    assert int(curvature.minimal_ratio(model, loss=LOSS, data=data).positive) == int((signs > 1e-12).sum())
    jacobians = torch.stack([torch.func.jacrev(model)(one) for one in data[0]])
    norms = torch.linalg.matrix_norm(jacobians)
    torch.testing.assert_close(generalization.sensitivity(model, LOSS, data).norms, norms)
    torch.testing.assert_close(generalization.input_norms(model, LOSS, data, p=1.0), jacobians.abs().sum((1, 2)))


def test_arguments_after_the_data_keep_their_places(data: tuple[Tensor, Tensor]) -> None:
    model = _model(1)
    objective = Objective(model, LOSS, data)
    directions = torch.randn(1, objective.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    line = landscape.surface(model, LOSS, data, directions, 5)
    torch.testing.assert_close(
        line.values["loss"], landscape.surface(objective, objective.ravel(model), directions, 5).values["loss"]
    )


def test_a_line_between_two_models_keeps_the_statistics_of_both(data: tuple[Tensor, Tensor]) -> None:
    models = [_model(seed, norm=True) for seed in (1, 2)]
    for model in models:
        for _ in range(4):
            model(data[0] * 2 + 1)  # running statistics of other inputs
        model.eval()
    kept = copy.deepcopy([model.state_dict() for model in models])
    line = landscape.interpolate(*models, LOSS, data, [0.0, 0.5, 1.0], batchnorm="interpolated")
    ends = torch.stack([LOSS(model(data[0]), data[1]).detach() for model in models])
    torch.testing.assert_close(line.values["train"]["loss"][[0, -1]], ends, rtol=1e-12, atol=0)
    for model, before in zip(models, kept, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_alone_is_refused(data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="after the model must come loss and data, found no data"):
        curvature.minimal_ratio(_model(1), LOSS)
    with pytest.raises(InputError, match="after 2 models must come loss and data, found no loss"):
        landscape.interpolate(_model(1), _model(2))
    with pytest.raises(InputError, match="argument 2 must be a model like the first, found"):
        landscape.interpolate(_model(1), 3, LOSS, data)
