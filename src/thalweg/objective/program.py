"""Evaluates a model and its loss for many parameter sets at once, by the fastest way that the model allows.

Three ways, tried in this order and equal to rounding: the layer-by-layer formula of a `LinearStack`; `torch.vmap` over
`functional_call`; a plain loop. The first call that `vmap` refuses switches to the loop and says so in the log.

Code that looks at more than the values of its parameters (whether they require gradients, whether gradients are on) or
that computes with them after the forward pass (checkpoints) must not notice any of this: `Program.held` and
`Program.graded` say what such a model needs, and construction finds it out (`thalweg.objective.agreement`).
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from thalweg.errors import InputError
from thalweg.objective import containers, copying
from thalweg.objective.kernels import exact_kernels
from thalweg.objective.structure import LinearStack
from thalweg.objective.tensors import cloned

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


@dataclass(frozen=True)
class Needs:
    """How a model must be evaluated so that its code computes what it computes in plain PyTorch; see `Program`."""

    mutates: bool = False
    vectorized: bool = True
    held: bool = False
    graded: bool = False
    exact: bool = False
    writes: bool = False


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
        theta: Names of the parameters that θ consists of.
        held: Whether every evaluation needs a copy of the model that really holds θ, as parameters that stay in it.
        graded: Whether values are computed as derivatives are, with gradients on and parameters that require them.
        exact: Whether fused kernels are replaced by operations whose derivatives are right to every order.
        writes: Whether model or loss write into the tensors of a batch; then every evaluation gets a copy of them.
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
    theta: frozenset[str] = frozenset()
    held: bool = False
    graded: bool = False
    exact: bool = False
    writes: bool = False
    _closure: LossOnBatch | None = field(default=None, init=False, repr=False)
    _tried: set[str] = field(default_factory=set, init=False, repr=False)  # functions that vmap takes
    _looped: set[str] = field(default_factory=set, init=False, repr=False)  # and those it refused
    _closures: dict[str, Program] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.on_batch:
            self._closure = LossOnBatch(self.model, self.loss)

    @contextmanager
    def surroundings(self, *, twice: bool = False) -> Iterator[None]:
        """What forward and backward passes both need around them, as the backward pass may evaluate parts again.

        Args:
            twice: Whether second derivatives are asked for.
        """
        with ExitStack() as entered:
            entered.enter_context(twice_differentiable() if twice else without_fused_layers())
            if self.exact:
                entered.enter_context(exact_kernels())
            yield

    def output_one(self, params: Params, batch: Any) -> Any:
        """The model's output at one parameter set (name -> shape), buffers included in `params` or `fixed`."""
        inputs, values = batch[0], self._values(params)
        args, kwargs = containers.arguments(cloned(inputs) if self.writes else inputs)
        if self.held:
            return copying.holding(self.model, values)(*args, **kwargs)
        return functional_call(self.model, values, args, kwargs)

    def loss_one(self, params: Params, batch: Any) -> Tensor:
        """The mean loss at one parameter set."""
        batch = cloned(batch) if self.writes else containers.fresh(batch)
        if self._closure is None:
            return self.loss(self.output_one(params, batch), batch[1])
        if self.held:
            return self.loss(copying.holding(self.model, self._values(params)), batch)
        values = {f"model.{name}": value for name, value in self._values(params).items()}
        return functional_call(self._closure, values, (batch,))

    def loss_alone(self, params: Params, batch: Any) -> Tensor:
        """The mean loss at one parameter set by the model's own forward pass, even where there is a formula."""
        return self._each(self.loss_one, {name: value[None] for name, value in params.items()}, batch, False)[0]

    def output_alone(self, params: Params, batch: Any) -> Any:
        """The model's output at one parameter set, likewise."""
        out = self._each(self.output_one, {name: value[None] for name, value in params.items()}, batch, False)
        return next(pytree_rows(out))

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
                self.model,
                number,
                True,
                self.fixed,
                mutates=self.mutates,
                vectorized=self.vectorized,
                writes=self.writes,
            )
        return self._closures[name]

    def _values(self, params: Params) -> dict[str, Tensor]:
        values = {**self.fixed, **params}
        if self.mutates:
            values = {name: value.clone() if name in self.fixed else value for name, value in values.items()}
        if not self.held:
            return values
        own = dict(self.model.named_parameters())  # those outside theta stay the parameters that they are
        for name, value in list(values.items()):
            if name in own and value is self.fixed.get(name):
                values[name] = own[name]
            elif name in own and not isinstance(value, nn.Parameter):
                values[name] = _parameter(value, name in self.theta)
        return values

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
        general = self.stack is None or self.on_batch or self.held
        return not general and self.stack is not None and self.stack.accepts(batch[0], 1 + own_batch)

    def _stack_output(self, params: Params, inputs: Tensor, own_batch: bool) -> Tensor:
        assert self.stack is not None  # noqa: S101 - narrows the type; callers asked _uses_stack
        return self.stack({**self.fixed, **params}, inputs, 1 + own_batch)

    def _each(self, function: Callable[[Params, Any], Any], params: Params, batch: Any, own_batch: bool) -> Any:
        replicas, name = pytree.tree_leaves(params)[0].shape[0], function.__name__
        if self.graded and not torch.is_grad_enabled():
            with torch.inference_mode(False), torch.enable_grad():
                out = self._each(function, params, batch, own_batch)
            return pytree.tree_map_only(Tensor, Tensor.detach, out)
        if self.graded:
            params = {name: _trainable(value, name in self.theta) for name, value in params.items()}
        texts = own_batch and any(isinstance(leaf, containers.Column) for leaf in containers.leaves(batch))
        if not self.vectorized or replicas == 1 or name in self._looped or texts:
            with without_fused_layers():
                return self._loop(function, params, batch, own_batch, replicas)
        with twice_differentiable():  # the fused attention kernels have no batching rule
            mapped = _vmapped(function, own_batch, self.randomness)
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
            one = {name: _row(value, r) for name, value in params.items()}
            own = containers.mapped(lambda leaf, r=r: leaf[r], batch) if own_batch else batch
            out.append(function(one, own))
        return pytree.tree_map(
            lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], Tensor) else Rows(leaves), *out
        )


def _parameter(value: Tensor, trained: bool) -> nn.Parameter:
    """A tensor as a parameter: the link to what it was computed from stays, so that derivatives pass."""
    if value.requires_grad:
        return value.as_subclass(nn.Parameter)
    return nn.Parameter(value, requires_grad=trained and value.is_floating_point())


def _trainable(value: Tensor, trained: bool) -> Tensor:
    return value.detach().requires_grad_() if trained and not value.requires_grad else value


def _row(value: Tensor, r: int) -> Tensor:
    """Row r of a stack; where the stack is a view of one parameter, that parameter: a leaf, as users know them."""
    base = value._base
    if isinstance(base, nn.Parameter) and value.shape == (1, *base.shape):
        return base
    return value[r]


def _vmapped(
    function: Callable[[Params, Any], Any], own_batch: bool, randomness: str
) -> Callable[[dict[str, Tensor], Any], Any]:
    """Parameter sets at once; vmap sees tensors only, as it would take the containers of a batch apart."""

    def call(params: dict[str, Tensor], batch: Any) -> Any:
        if not own_batch:
            return torch.vmap(lambda one: function(one, batch), randomness=randomness)(params)
        each = torch.vmap(lambda one, own: function(one, containers.rebuilt(batch, own)), randomness=randomness)
        return each(params, containers.leaves(batch))

    return call


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


@contextmanager
def without_fused_layers() -> Iterator[None]:
    """Switches off what makes other kernels of a model's code: compilation, and the fused transformer layers.

    vmap cannot batch those layers, and compiled code has no second derivative. Both are restored after.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
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
