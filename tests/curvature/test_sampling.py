"""Errors from subsets: exact where the subsets are all data, covering where they are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg.curvature import eigenpairs, hessian_operator, over_subsets
from thalweg.errors import InputError
from thalweg.objective import Objective


def problem(samples=400):
    torch.manual_seed(0)
    return Objective(nn.Linear(3, 1), nn.MSELoss(), (torch.randn(samples, 3), torch.randn(samples, 1))).double()


def test_standard_error_covers_the_value_on_all_data():
    objective = problem()
    whole = objective.value(objective.theta)
    hits = 0
    for seed in range(200):
        found = over_subsets(objective, lambda part: part.value(part.theta), 20, subsets=8, linear=True, seed=seed)
        hits += bool((found.mean - whole).abs() <= 2.365 * found.standard_error)  # Student's t, 7 degrees: 95 %
    assert 180 <= hits <= 199


def test_an_eigenvalue_on_all_of_the_data_in_parts_is_not_exact():
    """No mean over samples: another partition gives another mean, whose scatter the error must cover."""
    objective = problem(80)

    def sharpness(part):
        return eigenpairs(hessian_operator(part, part.theta), 1).values[0]

    found = [over_subsets(objective, sharpness, 10, seed=seed) for seed in range(30)]
    means = torch.stack([f.mean for f in found])
    claimed = torch.stack([f.standard_error for f in found])
    assert means.std() > 0
    assert ((means - means.mean()).abs() <= 2 * claimed).double().mean() >= 0.9


def test_spread_of_a_mean_falls_with_the_root_of_the_size():
    objective = problem(4000)
    small, large = (
        over_subsets(objective, lambda part: part.value(part.theta), size, subsets=40).spread for size in (10, 90)
    )
    assert 2 < float(small / large) < 4.5  # 3 in expectation


def test_largest_eigenvalue_is_measured_on_each_subset():
    objective = problem()

    def sharpness(part):
        return eigenpairs(hessian_operator(part, part.theta), 1).values[0]

    found = over_subsets(objective, sharpness, 50)
    inputs = objective.batches.held[0][0]
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))[:50]
    rows = torch.cat([inputs[order], torch.ones(50, 1).double()], 1)
    torch.testing.assert_close(found.values[0], torch.linalg.eigvalsh(2 / 50 * rows.T @ rows)[-1], rtol=1e-4, atol=0)
    assert found.mean > sharpness(objective)  # biased upwards, as the docstring says


def test_bad_arguments_are_named():
    objective = problem()
    with pytest.raises(InputError, match="from 1 to 50 for 8 disjoint subsets of 400 samples, found 51"):
        over_subsets(objective, lambda part: part.value(part.theta), 51)
    with pytest.raises(InputError, match="subsets must be at least 2"):
        over_subsets(objective, lambda part: part.value(part.theta), 10, subsets=1)
    batches = [(torch.randn(4, 3), torch.randn(4, 1))] * 3
    listed = Objective(nn.Linear(3, 1), nn.MSELoss(), batches)
    with pytest.raises(InputError, match="batches that were handed over"):
        over_subsets(listed, lambda part: part.value(part.theta), 2, subsets=2)
