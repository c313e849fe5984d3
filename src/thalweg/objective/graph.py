"""The graph that autograd keeps of a value: its nodes, and how many bytes it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["lowest_precision", "nodes", "saved_bytes"]


def saved_bytes(function: Callable[[], Tensor], ignore: Mapping[str, Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of `function`, parameters apart: its memory for activations."""
    known = {value.untyped_storage().data_ptr() for value in ignore.values()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad():
        try:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                kept = function()
        except RuntimeError:  # torch.func inside refuses such hooks: what the nodes of the graph show is counted
            kept = function()
            for node in nodes(kept):
                for name in (one for one in dir(node) if one.startswith("_saved_")):
                    with suppress(RuntimeError):  # freed by a derivative that was taken inside
                        for tensor in pytree.tree_leaves(getattr(node, name)):
                            if isinstance(tensor, Tensor):
                                pack(tensor)
    del kept
    return sum(seen.values())


def nodes(value: Tensor) -> Iterator[Any]:
    """All nodes of the graph of a value."""
    seen: set[object] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [following for following, _ in node.next_functions]


def lowest_precision(value: Tensor) -> torch.dtype:
    """The least precise floating type among everything that a value was computed from and depends on.

    Example:
        >>> x = torch.ones(2, dtype=torch.float64, requires_grad=True)
        >>> lowest_precision((x.double() + x.float()).sum()), lowest_precision(x.sum())
        (torch.float32, torch.float64)
    """
    found = {value.dtype}
    for node in nodes(value):
        for following, number in node.next_functions:  # along edges: outputs that nothing uses are called float32
            if following is not None and not hasattr(following, "variable"):  # a leaf counts by what is made of it
                found.add(following._input_metadata[number].dtype)
    real = {dtype.to_real() if dtype.is_complex else dtype for dtype in found}
    return max((dtype for dtype in real if dtype.is_floating_point), key=lambda dtype: torch.finfo(dtype).eps)
