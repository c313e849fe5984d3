"""Many largest eigenvalues in lock-step: against one search after the other, and against the whole matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg.curvature import eigenpairs, hessian_operator, leading_eigenvalues
from thalweg.objective import Objective


def network(normalised: bool = False) -> Objective:
    between = [nn.LayerNorm(12)] if normalised else []
    model = nn.Sequential(nn.Linear(6, 12), *between, nn.Tanh(), nn.Linear(12, 3)).double()
    return Objective(model, nn.CrossEntropyLoss(), (torch.randn(50, 6).double(), torch.randint(0, 3, (50,))), l2=0.01)


@pytest.mark.parametrize("normalised", [False, True])
def test_the_same_as_one_search_after_the_other(normalised: bool) -> None:
    objective = network(normalised)
    theta = objective.initial(9, seed=3) * torch.linspace(0.3, 4, 9).double()[:, None]  # they settle at different steps
    values, residuals = leading_eigenvalues(objective, theta)
    alone = [eigenpairs(hessian_operator(objective, one), check=False) for one in theta]
    assert len({pairs.products for pairs in alone}) > 3
    torch.testing.assert_close(values, torch.cat([p.values for p in alone]), rtol=1e-10, atol=0)
    torch.testing.assert_close(residuals, torch.cat([p.residuals for p in alone]), rtol=1e-5, atol=1e-12)
    exact = torch.linalg.eigvalsh(objective.hessian(theta))[:, -1]
    assert ((values - exact).abs() <= residuals + 1e-12).all()
    few = 2 * 2 * 40 * objective.size * 8  # memory for two at a time
    torch.testing.assert_close(
        leading_eigenvalues(objective, theta, steps=40, memory=few)[0], values, rtol=1e-10, atol=0
    )


def test_what_has_not_converged_is_searched_alone() -> None:
    objective = network()
    theta = objective.initial(4)
    values, residuals = leading_eigenvalues(objective, theta, steps=3)
    for row in range(4):
        pairs = eigenpairs(hessian_operator(objective, theta[row]), check=False)
        assert (values[row], residuals[row]) == (pairs.values[0], pairs.residuals[0])


def test_what_is_not_finite_leaves_the_others_alone() -> None:
    objective = network()
    theta = objective.initial(3)
    good = leading_eigenvalues(objective, theta)[0]
    theta[1, 5] = torch.nan
    values, residuals = leading_eigenvalues(objective, theta)
    assert values[1].isnan()
    assert residuals[1].isnan()
    torch.testing.assert_close(values[[0, 2]], good[[0, 2]], rtol=1e-12, atol=0)


def test_a_flat_loss() -> None:
    objective = Objective(nn.Linear(2, 1), lambda output, _: output.mean(), (torch.randn(5, 2), torch.zeros(5, 1)))
    values, residuals = leading_eigenvalues(objective.double(), objective.initial(2).double())
    assert values.tolist() == residuals.tolist() == [0.0, 0.0]
