"""Stacks of parameter sets: one set is a leaf as users know it, several are rows, and derivatives pass through both."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg.objective.stacking import Rows, as_parameter, leaf_stack, pytree_rows, row, trainable


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
def test_a_stack_of_one_is_a_leaf_that_gradients_reach(shape):
    value = torch.randn(1, *shape)
    leaf, stack = leaf_stack(value)
    assert leaf.is_leaf
    assert isinstance(leaf, nn.Parameter)
    assert torch.equal(stack, value)
    assert row(stack, 0) is leaf
    (slope,) = torch.autograd.grad(stack.square().sum(), leaf)
    assert torch.equal(slope, 2 * value[0])
    leaf.data.add_(1)
    assert torch.equal(stack, value + 1)  # a view of the leaf
    assert not torch.equal(stack, value)  # which is a copy of what was given


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_rows_of_a_stack_are_links_to_it(replicas):
    stack = torch.randn(replicas, 3, requires_grad=True)
    for r in range(replicas):
        assert torch.equal(row(stack, r), stack[r])
    (slope,) = torch.autograd.grad(row(stack, replicas - 1).square().sum(), stack)
    assert torch.equal(slope[-1], 2 * stack[-1].detach())
    assert not slope[:-1].any()


@pytest.mark.parametrize(
    "stack",
    [
        lambda leaf: leaf[:1],  # another shape than (1, *shape of the leaf)
        lambda leaf: leaf.reshape(1, 6),
        lambda leaf: 2 * leaf.unsqueeze(0),
    ],
)
def test_other_views_of_a_parameter_are_not_taken_for_it(stack):
    leaf = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    found = row(stack(leaf), 0)
    assert found is not leaf
    assert torch.equal(found, stack(leaf)[0])


class Own(nn.Parameter):
    """A parameter of a class of its own."""


def marked(kind):
    like = kind(torch.zeros(3))
    like.decays = True
    return like


@pytest.mark.parametrize("kind", [nn.Parameter, Own])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("value", [torch.ones(3), torch.arange(3), torch.ones(3, dtype=torch.float64)])
def test_values_become_parameters(value, trained, kind):
    found = as_parameter(value, marked(kind), trained)
    assert type(found) is kind
    assert found.decays
    assert found.requires_grad == (trained and value.is_floating_point())
    assert found.dtype == value.dtype
    assert torch.equal(found, value)


@pytest.mark.parametrize("kind", [nn.Parameter, Own])
def test_a_parameter_keeps_the_link_to_what_it_was_computed_from(kind):
    start = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    found = as_parameter(start.square(), marked(kind), True)
    assert type(found) is kind
    assert found.decays
    (slope,) = torch.autograd.grad((found * torch.tensor([1.0, 10.0, 100.0])).sum(), start)
    assert slope.tolist() == [2.0, 40.0, 600.0]


def test_what_is_trained_requires_gradients_and_links_stay():
    plain, linked = torch.ones(2), torch.ones(2, requires_grad=True) * 2
    assert trainable(plain, True).requires_grad
    assert not plain.requires_grad
    assert trainable(plain, False) is plain
    assert trainable(linked, True) is linked


def test_outputs_of_any_structure_are_cut_into_rows():
    tensors = torch.arange(6.0).reshape(3, 2)
    output = {"scores": tensors, "more": [tensors + 10, Rows(("a", None, 3))]}
    rows = list(pytree_rows(output))
    assert len(rows) == 3
    for r, other in enumerate(("a", None, 3)):
        assert torch.equal(rows[r]["scores"], tensors[r])
        assert torch.equal(rows[r]["more"][0], tensors[r] + 10)
        assert rows[r]["more"][1] == other
