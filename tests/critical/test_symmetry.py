"""Tangents of symmetry orbits: the loss is constant along them, and they are null vectors of H at critical points."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.critical.cases import linear, sinc
from thalweg.critical.symmetry import symmetry_of
from thalweg.objective import Objective

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)).double()
Y = torch.randint(4, (12,), generator=torch.Generator().manual_seed(1))


def network(phi, *, loss=None, target=None, l2=0.0, bias=True):
    model = nn.Sequential(nn.Linear(3, 5, bias=bias), phi(), nn.Linear(5, 4, bias=bias))
    data = (X, Y) if target is None else (X, target)
    return Objective(model, loss or nn.CrossEntropyLoss(), data, l2=l2, dtype=torch.float64)


CASES = {
    "GL of a linear network": lambda: network(nn.Identity, loss=nn.MSELoss(), target=torch.randn(12, 4)),
    "O of a linear network with decay": lambda: linear(3, 2, 3, target=X, inputs=X, l2=0.1),
    "rescaling of ReLU": lambda: network(nn.ReLU, loss=nn.MSELoss(), target=torch.randn(12, 4)),
    "rescaling of leaky ReLU and shift": lambda: network(nn.LeakyReLU),
    "shift of logits": lambda: network(nn.Tanh),
    "shift without bias": lambda: network(nn.Tanh, bias=False),
}
RANKS = {
    "GL of a linear network": 25 - 1,  # one combination of 5 units is used by neither factor of rank 4
    "O of a linear network with decay": 1,
    "rescaling of ReLU": 5,
    "rescaling of leaky ReLU and shift": 5 + 6,
    "shift of logits": 6,
    "shift without bias": 5,
}


@pytest.mark.parametrize("name", CASES)
def test_loss_is_constant_along_the_tangents(name):
    torch.manual_seed(0)
    objective = CASES[name]()
    symmetry = symmetry_of(objective)
    assert symmetry is not None
    theta = objective.initial(2)
    tangents = symmetry.tangents(theta)
    gradient = objective.gradient(theta)
    # g·t = 0 everywhere; differentiated along the orbit: t'Ht = −g·(dt/dt), so at critical points H t = 0.
    assert float((gradient[:, None] @ tangents).abs().max()) < 1e-12
    projector, rank = symmetry.projector(theta)
    assert rank.tolist() == [RANKS[name]] * 2
    torch.testing.assert_close(projector @ projector, projector, atol=1e-10, rtol=0)
    torch.testing.assert_close(projector @ tangents, tangents, atol=1e-9, rtol=0)


def test_tangents_are_null_vectors_of_the_hessian_at_critical_points():
    torch.manual_seed(0)
    target = torch.randn(12, 4).double()
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
    theta = Objective(model, nn.MSELoss(), (X, target), dtype=torch.float64).initial(1)
    # A target that the network fits exactly makes θ critical without any search.
    outputs = Objective(model, nn.MSELoss(), (X, target), dtype=torch.float64).outputs(theta)[0]
    fitted = Objective(model, nn.MSELoss(), (X, outputs), dtype=torch.float64)
    symmetry = symmetry_of(fitted)
    assert symmetry is not None
    assert float(fitted.gradient(theta).abs().max()) < 1e-14
    assert float((fitted.hessian(theta) @ symmetry.tangents(theta)).abs().max()) < 1e-12


def test_shift_of_logits_is_a_null_vector_everywhere():
    objective = network(nn.Tanh)
    symmetry = symmetry_of(objective)
    assert symmetry is not None
    theta = objective.initial(2)
    assert float((objective.hessian(theta) @ symmetry.tangents(theta)).abs().max()) < 1e-12


@pytest.mark.parametrize("objective", [sinc(3), sinc(3, phi=nn.ReLU), sinc(3, l2=0.0), network(nn.Tanh, l2=0.1)])
def test_none_where_there_is_none(objective):
    assert symmetry_of(objective) is None


def test_rebalanced_keeps_the_function():
    torch.manual_seed(0)
    target = torch.randn(12, 4).double()
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 4))
    objective = Objective(model, nn.MSELoss(), (X, target), dtype=torch.float64)
    symmetry = symmetry_of(objective)
    assert symmetry is not None
    assert symmetry.balances
    theta = objective.initial(3)
    theta[:, objective.layout.slices["0.weight"]] *= 50
    theta[2] = torch.nan
    moved = symmetry.rebalanced(theta)
    torch.testing.assert_close(objective.outputs(moved[:2]), objective.outputs(theta[:2]), atol=1e-10, rtol=1e-10)
    parts = objective.layout.unravel(moved)
    first = torch.cat([parts["0.weight"], parts["0.bias"][..., None]], -1)
    gram = first @ first.mT - parts["1.weight"].mT @ parts["1.weight"]
    assert float(gram[:2].abs().max()) < 1e-10
    assert bool(moved[2].isnan().all())


def test_projector_of_a_nan_replica():
    objective = network(nn.Tanh)
    theta = objective.initial(2)
    theta[0] = torch.nan
    symmetry = symmetry_of(objective)
    assert symmetry is not None
    projector, rank = symmetry.projector(theta)
    assert bool(projector[1].isfinite().all())
    assert int(rank[1]) == 6
