"""Several parameter sets of a convolutional network, evaluated one by one where that is faster."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from thalweg.objective import Objective
from thalweg.objective.together import at_once
from thalweg.training import Recipe, train


def convolutional(samples: int) -> Objective:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 64, 3))
    x = torch.linspace(-2, 2, samples * 144, dtype=torch.float64).sin().reshape(samples, 1, 12, 12)
    return Objective(model.double(), nn.CrossEntropyLoss(), (x, torch.arange(samples) % 3))


@pytest.mark.parametrize("saved", [1, 10**5, 10**6, 10**7, 10**9])
@pytest.mark.parametrize("convolutions", [True, False])
def test_groups_are_no_larger_than_what_there_is_and_never_empty(saved, convolutions):
    for replicas in (1, 7, 1000):
        found = at_once(replicas, saved, convolutional=convolutions)
        assert 1 <= found <= replicas
        assert found == 1 or found * saved <= 2**25


@pytest.mark.parametrize("samples", [5, 900])  # small: by one vmap; large: one by one
def test_values_and_gradients_are_those_of_plain_torch(samples):
    objective = convolutional(samples)
    theta = objective.initial(replicas=3)
    values, gradients = objective.value_and_gradient(theta)
    x, y = objective.batches.held[0]
    for r in range(3):
        leaf = theta[r].clone().requires_grad_()
        loss = nn.functional.cross_entropy(
            functional_call(objective.module(leaf), objective.layout.unravel(leaf), x), y
        )
        (slope,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(values[r], loss.detach(), rtol=1e-10, atol=0)
        torch.testing.assert_close(gradients[r], slope, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(objective.value(theta)[r], loss.detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("batch", [4, 600])
def test_a_convolutional_replica_is_the_same_alone(batch):
    objective = convolutional(1200)
    recipe = Recipe(steps=3, batch_size=batch, lr=1e-2)
    together = train(objective, recipe=recipe, replicas=4, seed=3).snapshots[-1]
    alone = train(objective, recipe=recipe, replicas=1, seed=3, first=2).snapshots[-1]
    torch.testing.assert_close(together[2], alone[0], rtol=1e-8, atol=1e-10)
