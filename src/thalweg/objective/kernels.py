"""Which functions of torch a computation calls, and the exact ones in place of fused kernels with wrong derivatives.

Both are modes of `__torch_function__`: for a `with` block, every call of a torch function in this thread passes through
them, from modules, inside of `torch.vmap` and `torch.func`, and in what runs during a backward pass (checkpointed
segments, custom functions). A mode costs some microseconds for each call of torch: use one only where it is needed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from thalweg.objective.algebra import ALGEBRA
from thalweg.objective.attention import ATTENTION
from thalweg.objective.compositions import COMPOSITIONS
from thalweg.objective.graph import nodes
from thalweg.objective.products import PRODUCTS

__all__ = ["Observed", "exact_kernels", "observed", "unreached"]

Result = TypeVar("Result")
EXACT = COMPOSITIONS | ALGEBRA | PRODUCTS | ATTENTION
# Functions whose second derivative is wrong already; of the others it takes a loss that itself differentiates.
FROM_SECOND = frozenset({"weight_norm", "linear_cross_entropy"})
# Other names of arguments, in the manner of NumPy, which torch takes as well.
ALIASES = {"axis": "dim", "keepdims": "keepdim", "x": "input"}
# Nodes that the fused kernels leave in a graph of autograd, as `unreached` finds them.
NODES = {
    "NativeLayerNormBackward": "layer_norm",
    "NativeBatchNormBackward": "batch_norm",
    "NativeBatchNormLegitBackward": "batch_norm",
    "BatchNormWithUpdateBackward": "batch_norm",
    "CudnnBatchNormBackward": "batch_norm",
    "MiopenBatchNormBackward": "batch_norm",
    "WeightNormInterfaceBackward": "weight_norm",
}


@dataclass(frozen=True)
class Observed:
    """What a computation called.

    Args:
        fused: Names of the functions with wrong higher derivatives, which `exact_kernels` computes rightly.
        differentiates: Whether it differentiates anything, in reverse or forward mode.
        backward: Whether it does so by `backward`, which writes into `.grad`.
        forward: Whether it does so in forward mode (`torch.func.jvp`, `jacfwd`, dual numbers).
        hooks: Whether it registers hooks on tensors, which may change gradients.
    """

    fused: frozenset[str] = frozenset()
    differentiates: bool = False
    backward: bool = False
    forward: bool = False
    hooks: bool = False

    @property
    def needs_exact(self) -> bool:
        """Whether a value, gradient or Hessian of the computation is wrong without `exact_kernels`."""
        return bool(self.fused) and (self.differentiates or bool(self.fused & FROM_SECOND))


def exact_kernels() -> AbstractContextManager[object]:
    """Within `with`, in this thread: computes the functions of `EXACT` so that every derivative is right.

    The derivatives too must be taken inside: a checkpointed segment runs again in the backward pass.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
        >>> with exact_kernels():
        ...     y = torch.nn.functional.layer_norm(x, (3,))
        >>> torch.allclose(y, torch.nn.functional.layer_norm(x, (3,)))
        True
    """
    return _Exact()


def observed(function: Callable[[], Result]) -> tuple[Result, Observed]:
    """Calls a function once and reports what it called; what it computes stays as it is.

    Args:
        function: Takes nothing.

    Returns:
        What the function returned, and the report.

    Example:
        >>> x = torch.ones(3, requires_grad=True)
        >>> observed(lambda: torch.autograd.grad(x.square().sum(), x))[1].differentiates
        True
    """
    with _Observer() as observer:
        result = function()
    differentiates = observer.reverse or observer.backward or observer.forward
    return result, Observed(
        frozenset(observer.fused), differentiates, observer.backward, observer.forward, observer.hooks
    )


def unreached(value: Tensor) -> frozenset[str]:
    """Names of the fused kernels in the graph of a value that was computed under `exact_kernels`.

    Calls from compiled code (TorchScript, extensions in C++) do not pass through a mode.
    """
    found: set[str] = set()
    for node in nodes(value):
        name = NODES.get(type(node).__name__.rstrip("0123456789"))
        if name and getattr(node, "_saved_training", True):
            found.add(name)
    return frozenset(found)


class _Everywhere(TorchFunctionMode):
    """A mode that stays on inside of a backward pass: torch takes a mode off for a call of `grad` or `backward`."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.autograd.grad:
            return self._differentiate(func, "grad_outputs", 2, args, kwargs)
        if func is torch.autograd.backward:
            return self._differentiate(func, "grad_tensors", 1, args, kwargs)
        if func is Tensor.backward:
            tensor, *rest = args
            names = ("gradient", "retain_graph", "create_graph", "inputs")
            kwargs = dict(zip(names, rest, strict=False)) | kwargs
            return self._differentiate(
                torch.autograd.backward, "grad_tensors", 1, (tensor, kwargs.pop("gradient", None)), kwargs
            )
        return self.called(func, args, kwargs)

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answers a call."""
        raise NotImplementedError

    def _differentiate(
        self, func: Callable[..., Any], name: str, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Calls `grad` or `backward` so that this mode is on again as soon as torch reads the outer gradients.

        That is the first thing which torch does after it has asked for modes, and before it runs the backward pass.
        """
        given = args[place] if len(args) > place else kwargs.pop(name, None)
        one = isinstance(args[0], Tensor | torch.autograd.graph.GradientEdge)
        if isinstance(given, Tensor):
            given = (given,)
        elif given is None:
            given = (None,) * (1 if one else len(args[0]))
        entered = False

        def entering() -> Iterator[Tensor | None]:
            nonlocal entered
            self.__enter__()
            entered = True
            yield from given

        before, after = args[:place], args[place + 1 :]
        try:
            return func(*before, entering(), *after, **kwargs)
        finally:
            if entered:
                self.__exit__(None, None, None)


class _Exact(_Everywhere):
    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = EXACT.get(func)
        bound = _bound(found[1], args, kwargs) if found is not None else None
        if found is not None and bound is not None:
            out = found[1](*bound.args, **bound.kwargs)
            if out is not NotImplemented:
                return out
        return func(*args, **kwargs)


class _Observer(_Everywhere):
    def __init__(self) -> None:
        super().__init__()
        self.fused: set[str] = set()
        self.reverse = self.backward = self.forward = self.hooks = False

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.reverse = self.reverse or func is torch.autograd.grad
        self.backward = self.backward or func in (torch.autograd.backward, Tensor.backward)
        self.forward = self.forward or func is torch._make_dual
        self.hooks = self.hooks or func is Tensor.register_hook
        return super().__torch_function__(func, types, args, kwargs)

    def called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = EXACT.get(func)
        if found is not None and _is_affected(_bound(found[1], args, kwargs)):
            self.fused.add(found[0])
        return func(*args, **kwargs)


_signature = functools.cache(inspect.signature)


def _bound(
    composition: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments | None:
    """The arguments of a call, or None where torch takes what the composition does not (`out`, named axes)."""
    renamed = {ALIASES.get(name, name): value for name, value in kwargs.items()}
    try:
        return _signature(composition).bind(*args, **renamed)
    except TypeError:
        return None


def _is_affected(bound: inspect.BoundArguments | None) -> bool:
    """Whether a call has wrong derivatives: constant statistics and a loss in one piece leave the kernels right."""
    if bound is None:
        return False
    bound.apply_defaults()
    given = bound.arguments
    return bool(given.get("training", given.get("use_input_stats", True))) and given.get("options", True) is not None
