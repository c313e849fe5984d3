"""Stacks of R parameter sets or outputs, and one of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["Rows", "as_parameter", "evenly", "leaf_stack", "pytree_rows", "row", "trainable"]


def as_parameter(value: Tensor, like: nn.Parameter, trained: bool) -> nn.Parameter:
    """A tensor as a parameter of the same class, with the same marks on it.

    The link to what it was computed from stays, so that derivatives pass.
    """
    if not value.requires_grad:
        value = nn.Parameter(value, requires_grad=trained and value.is_floating_point())
    found = value if type(value) is type(like) else value.as_subclass(type(like))
    vars(found).update(vars(like))
    return found


def leaf_stack(value: Tensor) -> tuple[nn.Parameter, Tensor]:
    """A stack of one (1, *shape) as a parameter of its own, which is a leaf, and its view as a stack."""
    leaf = nn.Parameter(value.detach()[0].clone())
    return leaf, leaf.unsqueeze(0)


def trainable(value: Tensor, trained: bool) -> Tensor:
    """A tensor that requires gradients if it stands for a trained parameter."""
    return value.detach().requires_grad_() if trained and not value.requires_grad else value


def row(value: Tensor, r: int) -> Tensor:
    """Row r of a stack; where the stack is a view of one parameter, that parameter: a leaf, as users know them."""
    base = value._base
    if isinstance(base, nn.Parameter) and value.shape == (1, *base.shape):
        return base
    return evenly(value[r])


def evenly(value: Tensor) -> Tensor:
    """Pairs of numbers (…, 2) at an even place in memory, where a model may read them as complex numbers."""
    if value.shape[-1:] != (2,):
        return value
    odd = value.storage_offset() % 2 or any(stride % 2 for stride in value.stride()[:-1])
    return value.clone(memory_format=torch.contiguous_format) if odd else value


class Rows(tuple[Any, ...]):
    """What each replica returned beside tensors (None, an object of the model's own): one leaf, without an axis."""


def pytree_rows(output: Any) -> Iterator[Any]:
    """Cuts leaves (R, …) into R trees of leaves."""
    leaves, spec = pytree.tree_flatten(output)
    for row in zip(*leaves, strict=True):
        yield pytree.tree_unflatten(list(row), spec)
