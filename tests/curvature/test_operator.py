"""The operator against the dense matrix it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from thalweg.curvature.lanczos import eigenpairs
from thalweg.curvature.operator import Operator, hessian_operator
from thalweg.errors import InputError
from thalweg.objective import Objective


@pytest.fixture
def matrix() -> torch.Tensor:
    a = torch.randn(7, 7, dtype=torch.float64)
    return a + a.mT


def test_multiplies_rows_on_any_leading_axes_and_counts_them(matrix: torch.Tensor) -> None:
    operator = Operator.dense(matrix)
    rows = torch.randn(2, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(operator(rows), torch.einsum("ij,abj->abi", matrix, rows))
    assert operator.products == 6
    operator(rows[0, 0])
    assert operator.products == 7


def test_to_dense_keeps_an_asymmetry_as_it_is() -> None:
    a = torch.randn(7, 7, dtype=torch.float64)
    torch.testing.assert_close(Operator.dense(a).to_dense(block=3), a)


def test_restriction_is_the_diagonal_block(matrix: torch.Tensor) -> None:
    operator = Operator.dense(matrix)
    index = torch.tensor([5, 0, 2])
    block = operator.restrict(index)
    torch.testing.assert_close(block.to_dense(), matrix[index][:, index])
    assert block.products == operator.products == 3


def test_scipy_sees_the_same_matrix(matrix: torch.Tensor) -> None:
    linear = Operator.dense(matrix.float()).to_scipy()
    assert linear.dtype == np.float64
    np.testing.assert_allclose(linear @ np.eye(7), matrix.numpy(), rtol=1e-6)
    np.testing.assert_allclose(linear.T @ np.eye(7), matrix.numpy(), rtol=1e-6)
    np.testing.assert_allclose(linear.matvec(np.ones((7, 1))), matrix.sum(1, keepdim=True).numpy(), rtol=1e-5)
    found = scipy.sparse.linalg.eigsh(Operator.dense(matrix).to_scipy(), k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(found), torch.linalg.eigvalsh(matrix)[-2:].numpy(), rtol=1e-10)


def test_bad_input(matrix: torch.Tensor) -> None:
    operator = Operator.dense(matrix)
    with pytest.raises(InputError, match=r"matrix must have shape \(P, P\), found \(7, 3\)"):
        Operator.dense(matrix[:, :3])
    with pytest.raises(InputError, match=r"vectors must have shape \(…, 7\), found \(2, 6\)"):
        operator(torch.zeros(2, 6, dtype=torch.float64))
    with pytest.raises(InputError, match=r"must be torch\.float64 on cpu like the operator, found torch\.float32"):
        operator(torch.zeros(7))
    with pytest.raises(InputError, match="index must lie in 0 … 6, found 1 … 7"):
        operator.restrict(torch.tensor([1, 7]))
    with pytest.raises(InputError, match="index must be a non-empty list"):
        operator.restrict(torch.tensor([], dtype=torch.int64))
    with pytest.raises(InputError, match="size must be at least 1, found 0"):
        Operator.dense(matrix[:0, :0])
    with pytest.raises(InputError, match=r"real floating-point numbers, found torch\.int64"):
        Operator.dense(matrix.long())


@pytest.fixture
def network() -> Objective:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    x = torch.randn(11, 3, dtype=torch.float64)
    return Objective(model, torch.nn.CrossEntropyLoss(), (x, torch.arange(11) % 2), l2=0.01)


def test_hessian_operator_is_the_hessian_whole_or_of_some_parameters(network: Objective) -> None:
    theta = network.theta.requires_grad_()
    exact = network.hessian(theta.detach())
    whole = hessian_operator(network, theta)
    torch.testing.assert_close(whole.to_dense(), exact, rtol=0, atol=1e-14)
    assert not whole(theta.detach()).requires_grad
    index = network.layout.select(["2.*", "0.bias"])
    block = hessian_operator(network, theta, ["2.*", "0.bias"])
    torch.testing.assert_close(block.to_dense(), exact[index][:, index], rtol=0, atol=1e-14)
    found = eigenpairs(block, 3)
    expected = torch.linalg.eigvalsh(exact[index][:, index]).flip(0)[:3]
    torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=0)


def test_a_diverged_network_has_a_status_not_an_exception(network: Objective) -> None:
    found = eigenpairs(hessian_operator(network, network.theta * math.nan), 2)
    assert found.status == "nonfinite"


def test_hessian_operator_names_bad_input(network: Objective) -> None:
    with pytest.raises(InputError, match=r"theta must be one vector of shape \(26,\), found \(2, 26\)"):
        hessian_operator(network, torch.zeros(2, 26).double())
    with pytest.raises(InputError, match=r"parameters must match at least one parameter name, '5\.\*' matches none"):
        hessian_operator(network, network.theta, "5.*")
