"""Sensitivity does not depend on the containers of inputs, outputs and targets; texts beside tensors are no inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from tests import structures
from tests.structures import INPUTS, OUTPUTS, TARGETS, TEXTS, scale, tensors
from thalweg.errors import InputError
from thalweg.generalization import input_norms, sensitivity
from thalweg.objective import Objective


def expected(theta: Tensor, of: str, *, texts: bool) -> Tensor:
    """Norm of every sample's Jacobian in (x_n, w_n), by autograd on plain functions of one sample."""
    x, w, y = tensors()
    out = []
    for n in range(len(x)):
        factor = scale(TEXTS)[n] if texts else 1.0

        def one(x: Tensor, w: Tensor, n: int = n, factor=factor) -> Tensor:
            found = torch.tanh(theta[:6].view(2, 3) @ x + theta[6:]) * w * factor
            return (found - y[n]).pow(4).mean() if of == "loss" else found

        parts = torch.autograd.functional.jacobian(one, (x[n], w[n]))
        out.append(torch.cat([part.flatten() for part in parts]).norm())
    return torch.stack(out)


@pytest.mark.parametrize("texts", [False, True], ids=["plain", "texts"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_inputs_in_any_container(inputs: str, texts: bool) -> None:
    objective = structures.objective(inputs, texts=texts)
    for of in ("outputs", "loss"):
        found = input_norms(objective, objective.theta, of=of)
        torch.testing.assert_close(found, expected(objective.theta, of, texts=texts), rtol=1e-12, atol=0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_losses_of_any_container(output: str, target: str) -> None:
    objective = structures.objective("UserDict", output, target, texts=True)
    found = input_norms(objective, objective.theta, of="loss")
    torch.testing.assert_close(found, expected(objective.theta, "loss", texts=True), rtol=1e-12, atol=0)


@pytest.mark.parametrize("of", ["outputs", "loss"])
def test_texts_stay_beside_their_samples_in_chunks(of: str) -> None:
    objective = structures.objective("dataclass", target="UserDict", texts=True, memory=500)
    found = input_norms(objective, torch.stack([objective.theta, 2 * objective.theta]), of=of)
    for row, theta in zip(found, (objective.theta, 2 * objective.theta), strict=True):
        torch.testing.assert_close(row, expected(theta, of, texts=True), rtol=1e-12, atol=0)


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 3, batch_first=True)

    def forward(self, sequences):
        """Packed or padded sequences -> (N, 3)."""
        return self.rnn(sequences)[1][0]


class Mixed(nn.Module):
    """A layer behind a matrix that all samples share."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x, mix):
        """(N, 3), (3, 3) -> (N, 2)."""
        return self.linear(x @ mix)


def test_inputs_without_rows_are_named() -> None:
    packed = pack_sequence([torch.randn(3, 2), torch.randn(2, 2)])
    objective = Objective(Last(), nn.CrossEntropyLoss(), [(packed, torch.tensor([0, 1]))], count=lambda _: 2)
    with pytest.raises(InputError, match=r"inputs must be floating-point tensors .*, found PackedSequence"):
        sensitivity(objective, objective.theta)
    shared = {"x": torch.randn(5, 3), "mix": torch.eye(3)}
    objective = Objective(Mixed(), nn.MSELoss(), [(shared, torch.randn(5, 2))], count=lambda _: 5)
    with pytest.raises(InputError, match=r"one row for each sample, found shapes \(5, 3\), \(3, 3\)"):
        sensitivity(objective, objective.theta)
