"""How large the operations of a model are, counted on a few samples: what the number of threads is chosen by."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from thalweg import threads
from thalweg.objective.assembly import Assembly
from thalweg.objective.planning import GRADIENT

__all__ = ["ARITHMETIC", "Work", "counted", "seconds", "sized", "sized_by", "work_of"]

log = logging.getLogger("thalweg")

PROBE = 8  # samples
ARITHMETIC = 5e10
"""Nominal multiplications and additions per second of one core in float32; half as many in float64."""
ELEMENTS = 1e9
"""Nominal elements per second that one core writes, a tanh each."""

_SUMS = frozenset({"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "addbmm", "baddbmm"})
_VIEWS = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "expand",
        "expand_as",
        "transpose",
        "permute",
        "t",
        "mT",
        "T",
        "unsqueeze",
        "squeeze",
        "detach",
        "contiguous",
        "chunk",
        "split",
        "unbind",
        "movedim",
        "swapaxes",
        "narrow",
        "select",
        "__get__",
        "__getitem__",
        "to",
        "type",
        "requires_grad_",
        "is_floating_point",
        "size",
    ]
)

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """The operations of one forward pass.

    Both are nominal times, from fixed rates, so that they are the same whenever and wherever they are counted.

    Attributes:
        operations: Seconds of each, for one sample and one θ, with one thread.
    """

    operations: tuple[float, ...] = ()

    def typical(self, pairs: int) -> float:
        """Seconds of the operation in which most of the time goes by: the mean, weighted by time.

        Args:
            pairs: Samples times θ that are evaluated at once.

        >>> Work((1e-9, 1e-6, 1e-6)).typical(1000) > 0.9e-3
        True
        """
        total = sum(self.operations)
        return pairs * sum(one * one for one in self.operations) / total if total else 0.0


class _Counter(TorchFunctionMode):
    """Notes the nominal time of every function of torch that is called.

    A `TorchDispatchMode` would see more, and loads SymPy first: two seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name not in _VIEWS and isinstance(out, Tensor | tuple | list):
            written = [value for value in pytree.tree_leaves(out) if isinstance(value, Tensor)]
            rate = ARITHMETIC / 2 if any(value.dtype == torch.float64 for value in written) else ARITHMETIC
            entries = sum(value.numel() for value in written)
            given = [value for value in pytree.tree_leaves(args) if isinstance(value, Tensor)]
            self.found.append(_arithmetic(name, given, entries) / rate + entries / ELEMENTS)
        return out


def _arithmetic(name: str, given: list[Tensor], entries: int) -> float:
    """Multiplications and additions of a function of torch: 0 where they are as few as the entries that it writes.

    Args:
        name: Of the function.
        given: Its tensors.
        entries: Number of entries of its result.
    """
    if name in _SUMS and len(given) > 1:  # one sum over the rows for each entry
        return 2.0 * entries * (given[-2].shape[-1] if given[-2].dim() else 1)
    if name == "linear" and len(given) > 1:
        return 2.0 * entries * given[1].shape[-1]
    if name.startswith("conv_transpose") and len(given) > 1:
        return 2.0 * given[0].numel() * given[1][0].numel()
    if name.startswith("conv") and len(given) > 1:
        return 2.0 * entries * given[1][0].numel()
    if name == "scaled_dot_product_attention":
        return 4.0 * given[0].numel() * given[1].shape[-2]
    if name == "multi_head_attention_forward":
        query = given[0]
        return (8.0 * query.shape[-1] + 4.0 * given[1].shape[0]) * query.numel()
    if name == "einsum" and len(given) > 1:  # exact for a product of two matrices
        return 2.0 * math.sqrt(given[0].numel() * given[1].numel() * entries)
    return 0.0


def counted(function: Callable[[], Result], pairs: int) -> tuple[Result, Work]:
    """The result of a function that evaluates a model, and its operations; none where they cannot be counted.

    Args:
        function: Called once; a second time if counting is what it does not bear.
        pairs: Samples times θ that it evaluates.

    >>> rows = torch.ones(4, 100, 100)
    >>> counted(lambda: rows @ rows, 4)[1].operations
    (5e-05,)
    """
    try:
        with _Counter() as counter:
            result = function()
    except Exception:  # whatever a model refuses here: what it refuses without counting is raised below
        log.debug("the operations of the model cannot be counted", exc_info=True)
        return function(), Work()
    return result, Work(tuple(one / max(1, pairs) for one in counter.found))


_known: WeakKeyDictionary[nn.Module, Work] = WeakKeyDictionary()


def work_of(objective: Assembly) -> Work:
    """The operations of the loss of an objective, counted when they are first asked for."""
    program = objective.program
    if (found := _known.get(program.model)) is not None:
        return found
    batch = objective.batches.first(PROBE)
    params = objective.layout.parameters(objective.theta)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), program.surroundings():
        _, work = counted(lambda: program.loss_one(params, batch), objective.batches.count(batch))
    _known[program.model] = work
    return work


def seconds(objective: Assembly, rows: int) -> float:
    """What a typical operation takes with one thread when an objective is evaluated at `rows` θ; 0 off the CPU."""
    if objective.device.type != "cpu":
        return 0.0
    cut = objective.evaluation.plan(max(1, rows), GRADIENT)
    return work_of(objective).typical(cut.replicas * cut.samples)


def sized(function: Function) -> Function:
    """A function of (objective, theta, …) that takes as many threads as the size of its operations pays for."""
    return sized_by(seconds)(function)


def sized_by(rule: Callable[[Any, int], float]) -> Callable[[Function], Function]:
    """The same by another rule.

    Args:
        rule: Maps (objective, number of θ) to what a typical operation takes with one thread, in seconds.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_threads(objective: Any, theta: Any, *args: Any, **kwargs: Any) -> Any:
            if threads.decided() or not isinstance(objective, Assembly):
                return function(objective, theta, *args, **kwargs)
            rows = theta.numel() // objective.size if isinstance(theta, Tensor) else 1
            with threads.chosen(0.0):  # what is asked for the first time evaluates a few samples
                expected = rule(objective, rows)
            with threads.chosen(expected):
                return function(objective, theta, *args, **kwargs)

        return cast("Function", with_threads)

    return decorate
