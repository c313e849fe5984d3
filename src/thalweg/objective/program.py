"""Evaluates a model and its loss for many parameter sets at once, by the fastest way that the model allows.

Three ways, tried in this order and equal to rounding: the layer-by-layer formula of a `LinearStack`; `torch.vmap` over
`functional_call`; a plain loop. The first call that `vmap` refuses switches to the loop and says so in the log.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from thalweg.errors import InputError
from thalweg.objective.structure import LinearStack

log = logging.getLogger("thalweg")
Params = Mapping[str, Tensor]


class LossOnBatch(nn.Module):
    """A closure (model, batch) -> mean loss as a module, so that functional_call reaches the model inside."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """Evaluates the closure."""
        return self.loss(self.model, batch)


@dataclass
class Program:
    """Loss and outputs of one model as functions of its parameters.

    Args:
        model: A private copy of the user's model.
        loss: (output, target) -> mean, or (model, batch) -> mean.
        on_batch: Whether `loss` takes (model, batch).
        fixed: Parameters outside theta, and all buffers, by name.
        stack: The formula, if the model is one.
        vectorized: True where vmap works, False once it was refused.
        randomness: vmap's rule for random operations: "error" in analyses; a training may allow "different".
        kind: "mse" or "cross_entropy" where the loss has a closed formula (`loss_kind`), else None.
        mutates: Whether the forward pass writes into buffers; then every evaluation gets a copy of all of them.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    on_batch: bool
    fixed: dict[str, Tensor]
    stack: LinearStack | None = None
    vectorized: bool = True
    randomness: str = "error"
    kind: str | None = None
    mutates: bool = False
    _closure: LossOnBatch | None = field(default=None, init=False, repr=False)
    _tried: set[str] = field(default_factory=set, init=False, repr=False)  # functions that vmap takes
    _looped: set[str] = field(default_factory=set, init=False, repr=False)  # and those it refused
    _closures: dict[str, Program] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.on_batch:
            self._closure = LossOnBatch(self.model, self.loss)

    def output_one(self, params: Params, batch: Any) -> Any:
        """The model's output at one parameter set (name -> shape), buffers included in `params` or `fixed`."""
        inputs = batch[0]
        values = self._values(params)
        if isinstance(inputs, Mapping):
            return functional_call(self.model, values, (), dict(inputs))
        return functional_call(self.model, values, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,))

    def loss_one(self, params: Params, batch: Any) -> Tensor:
        """The mean loss at one parameter set."""
        if self._closure is None:
            return self.loss(self.output_one(params, batch), batch[1])
        values = {f"model.{name}": value for name, value in self._values(params).items()}
        return functional_call(self._closure, values, (batch,))

    def losses(self, params: Params, batch: Any, *, own_batch: bool = False) -> Tensor:
        """Mean losses of R parameter sets.

        Args:
            params: name -> (R, *shape); parameters, and buffers that differ between replicas.
            batch: One batch for all, or with `own_batch` leaves (R, N, …), a batch for each.
            own_batch: Whether every replica has its own batch.

        Returns:
            (R,), differentiable in `params`.
        """
        if self._uses_stack(batch, own_batch):
            return self.losses_of(self._stack_output(params, batch[0], own_batch), batch[1], own_batch)
        return self._each(self.loss_one, params, batch, own_batch)

    def outputs(self, params: Params, batch: Any, *, own_batch: bool = False) -> Any:
        """Outputs of R parameter sets: (R, N, …). Only for losses on (output, target)."""
        if self._uses_stack(batch, own_batch):
            return self._stack_output(params, batch[0], own_batch)
        return self._each(self.output_one, params, batch, own_batch)

    def scores(self, metrics: Mapping[str, Callable[..., Tensor]], params: Params, batch: Any) -> dict[str, Tensor]:
        """The loss ("loss") and metrics with its signature at R parameter sets: name -> (R,).

        One forward pass serves them all where they take outputs; a closure on the batch runs the model itself.
        """
        if self.on_batch:
            loss = self.losses(params, batch)
            each = {name: self._closed(name, metric).losses(params, batch) for name, metric in metrics.items()}
            return {"loss": loss, **each}
        if not metrics:
            return {"loss": self.losses(params, batch)}
        if self._uses_stack(batch, False):
            output = self._stack_output(params, batch[0], False)
            loss = self.losses_of(output if self.kind else _copied(output), batch[1])
        else:
            loss, output = self._each(self._loss_and_output, params, batch, False)
        out = {"loss": loss}
        for name, metric in metrics.items():
            each = [_number(name, metric(_copied(one), batch[1]), loss) for one in pytree_rows(output)]
            out[name] = torch.stack(each)
        return out

    def _loss_and_output(self, params: Params, batch: Any) -> tuple[Tensor, Any]:
        output = self.output_one(params, batch)
        return self.loss(_copied(output), batch[1]), output

    def _closed(self, name: str, metric: Callable[..., Tensor]) -> Program:
        """A metric on the batch as a program, which finds out once whether vmap takes it."""
        if name not in self._closures:

            def number(model: nn.Module, batch: Any) -> Tensor:
                return _number(name, metric(model, batch), next(model.parameters()))

            self._closures[name] = Program(
                self.model, number, True, self.fixed, mutates=self.mutates, vectorized=self.vectorized
            )
        return self._closures[name]

    def _values(self, params: Params) -> dict[str, Tensor]:
        values = {**self.fixed, **params}
        if not self.mutates:
            return values
        return {name: value.clone() if name in self.fixed else value for name, value in values.items()}

    def losses_of(self, output: Any, target: Any, own_batch: bool = False) -> Tensor:
        """Mean losses (R,) of outputs (R, N, C): a few kernels for the common losses, vmap for any other."""
        if self.kind == "mse" and output.shape[1:] == target.shape[own_batch:]:
            return (output - target).square().flatten(1).mean(1)
        if self.kind == "cross_entropy" and output.dim() == 3 and not target.is_floating_point():
            target = target.expand(output.shape[:2])
            each = nn.functional.cross_entropy(output.flatten(0, 1), target.flatten(), reduction="none")
            valid = (target != -100).sum(1)  # torch's ignore_index
            return each.reshape(target.shape).sum(1) / valid
        return self._each(self._loss_of, {"output": output}, target, own_batch)

    def _loss_of(self, found: Params, target: Any) -> Tensor:
        return self.loss(found["output"], target)

    def has_products(self, batch: Any) -> bool:
        """Whether Hessian-vector products on this batch have closed formulas: a stack under a plain mean loss."""
        if self.kind is None or self.stack is None or not self._uses_stack(batch, False):
            return False
        target = batch[1]
        outputs = dict(self.model.named_parameters())[self.stack.weights[-1]].shape[0]
        if self.kind == "cross_entropy" and not target.is_floating_point():
            return target.dim() == 1
        return target.dim() == 2 and target.shape[1] == outputs

    def _uses_stack(self, batch: Any, own_batch: bool) -> bool:
        return self.stack is not None and not self.on_batch and self.stack.accepts(batch[0], 1 + own_batch)

    def _stack_output(self, params: Params, inputs: Tensor, own_batch: bool) -> Tensor:
        assert self.stack is not None  # noqa: S101 - narrows the type; callers asked _uses_stack
        return self.stack({**self.fixed, **params}, inputs, 1 + own_batch)

    def _each(self, function: Callable[[Params, Any], Any], params: Params, batch: Any, own_batch: bool) -> Any:
        replicas, name = pytree.tree_leaves(params)[0].shape[0], function.__name__
        if not self.vectorized or replicas == 1 or name in self._looped:
            with without_fused_layers():
                return self._loop(function, params, batch, own_batch, replicas)
        with twice_differentiable():  # the fused attention kernels have no batching rule
            mapped = torch.vmap(function, in_dims=(0, 0 if own_batch else None), randomness=self.randomness)
            if name in self._tried:
                return mapped(dict(params), batch)
            try:
                with warnings.catch_warnings():
                    # An operation without a batching rule runs in a hidden loop, slower than ours: count it as refused.
                    warnings.filterwarnings("error", message=".*batching rule")
                    out = mapped(dict(params), batch)
            except (RuntimeError, NotImplementedError, ValueError, UserWarning) as refusal:
                # A fault of the model itself would show in the loop as well: it is raised from there, plainly.
                out = self._loop(function, params, batch, own_batch, replicas)
                self._looped.add(name)
                self.vectorized = self.vectorized and name != "loss_one"
                log.info("vmap refused this model (%s): replicas are evaluated in a loop", _first_line(refusal))
            else:
                self._tried.add(name)
            return out

    @staticmethod
    def _loop(
        function: Callable[[Params, Any], Any], params: Params, batch: Any, own_batch: bool, replicas: int
    ) -> Any:
        out = []
        for r in range(replicas):
            one, own = (
                pytree.tree_map(lambda leaf, r=r: leaf[r], tree) for tree in (params, batch if own_batch else ())
            )
            out.append(function(one, own if own_batch else batch))
        return pytree.tree_map(
            lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], Tensor) else Rows(leaves), *out
        )


class Rows(tuple[Any, ...]):
    """What each replica returned beside tensors (None, an object of the model's own): one leaf, without an axis."""


def pytree_rows(output: Any) -> Iterator[Any]:
    """Cuts leaves (R, …) into R trees of leaves."""
    leaves, spec = pytree.tree_flatten(output)
    for row in zip(*leaves, strict=True):
        yield pytree.tree_unflatten(list(row), spec)


def _copied(output: Any) -> Any:
    """A copy for a function of the user's, which may write into what it is given."""
    return pytree.tree_map_only(Tensor, Tensor.clone, output)


def _number(name: str, value: Any, like: Tensor) -> Tensor:
    """A metric's value as a tensor without axes."""
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.to(like).reshape(())
    try:
        return torch.tensor(float(value), dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"metric '{name}' must return a number (the mean over the batch), found {found}") from None


def check_scalar(loss: Tensor) -> None:
    """Raises InputError unless a loss is one number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.dim() > 0:
        found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss must return a scalar tensor (the mean over the batch), found shape {found}")


def saved_bytes(function: Callable[[], Tensor], ignore: Params) -> int:
    """Bytes that autograd keeps for the backward pass of `function`, parameters apart: its memory for activations."""
    known = {value.untyped_storage().data_ptr() for value in ignore.values()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = function()
    del kept
    return sum(seen.values())


@contextmanager
def without_fused_layers() -> Iterator[None]:
    """Switches off the fused transformer layers of inference, which vmap cannot batch, and restores them after."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Chooses attention kernels that can be differentiated twice, and restores the choice after."""
    with without_fused_layers(), sdpa_kernel(SDPBackend.MATH):
        yield


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
