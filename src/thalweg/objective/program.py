"""Evaluates a model and its loss for many parameter sets at once, by the fastest way that the model allows.

Three ways, tried in this order and equal to rounding: the layer-by-layer formula of a `LinearStack`; `torch.vmap` of
the model with swapped parameters; a plain loop. The first call that `vmap` refuses switches to the loop and says so.

Code that looks at more than the values of its parameters (whether they require gradients, whether gradients are on) or
that computes with them after the forward pass (checkpoints) must not notice any of this: `Program.held` and
`Program.graded` say what such a model needs, and construction finds it out (`thalweg.objective.agreement`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from thalweg._short import short
from thalweg.errors import first_line
from thalweg.objective import containers, copying
from thalweg.objective.channels import channels_last, takes_channels_last
from thalweg.objective.kernels import exact_kernels
from thalweg.objective.needs import Needs
from thalweg.objective.scalars import number
from thalweg.objective.stacking import Rows, as_parameter, pytree_rows, row, trainable
from thalweg.objective.structure import LinearStack, linear_stack, only_linear
from thalweg.objective.surroundings import ALONE, twice_differentiable, without_fused_layers
from thalweg.objective.swapping import Place, places, swapped, uncounted
from thalweg.objective.tensors import cloned

log = logging.getLogger("thalweg")
Params = Mapping[str, Tensor]
_ON_BATCHES = ("loss_one", "output_one", "_loss_and_output")  # functions of (images, targets)


class LossOnBatch(nn.Module):
    """A closure (model, batch) -> mean loss as a module, which takes hooks and which functional_call can evaluate."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """Evaluates the closure."""
        return self.loss(self.model, batch)


@short
@dataclass
class Program:
    """Loss and outputs of one model as functions of its parameters.

    Args:
        model: A private copy of the user's model.
        loss: (output, target) -> mean, or (model, batch) -> mean.
        on_batch: Whether `loss` takes (model, batch).
        fixed: Parameters outside theta, and all buffers, by name.
        theta: Names of the parameters that θ consists of.
        needs: How it is evaluated; what vmap refuses is added.
        randomness: vmap's rule for random operations: "error" in analyses; a training may allow "different".
        kind: "mse" or "cross_entropy" where the loss has a closed formula (`loss_kind`), else None.
        said: What the log says once, shared by all programs of an objective.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    on_batch: bool
    fixed: dict[str, Tensor]
    theta: frozenset[str] = frozenset()
    needs: Needs = field(default_factory=Needs)
    randomness: str = "error"
    kind: str | None = None
    said: set[str] = field(default_factory=set, repr=False)
    _closure: LossOnBatch | None = field(default=None, init=False, repr=False)
    _tried: set[str] = field(default_factory=set, init=False, repr=False)  # functions that vmap takes
    _looped: set[str] = field(default_factory=set, init=False, repr=False)  # and those it refused
    _closures: dict[str, Program] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def stack(self) -> LinearStack | None:
        """The formula, if the model is one. Tracing runs its forward pass: on a copy, which may keep what it saw."""
        if self.on_batch or self.needs.held or not only_linear(self.model):
            return None
        return linear_stack(copying.copied(self.model))

    @cached_property
    def _laid_out(self) -> bool:
        """Whether images get their channels last in memory."""
        odd = self.on_batch or self.needs != Needs(vectorized=self.needs.vectorized)
        return not odd and takes_channels_last(self.model, self.loss)

    @cached_property
    def _places(self) -> list[Place]:
        return places(self.model)

    @contextmanager
    def _swapped(self, values: Params) -> Iterator[None]:
        with swapped(self._places, values), uncounted(self.model) if self.needs.counts else nullcontext():
            yield

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
            if twice or self.needs.twice:
                entered.enter_context(twice_differentiable())
            elif self.needs.held:
                entered.enter_context(without_fused_layers())
            if self.needs.exact:
                entered.enter_context(exact_kernels())
            yield

    def again(self) -> AbstractContextManager[None]:
        """What a backward pass by itself needs, if it evaluates parts of the model again."""
        needs = self.needs
        return self.surroundings(twice=True) if needs.held or needs.exact or needs.twice else nullcontext()

    def output_one(self, params: Params, batch: Any) -> Any:
        """The model's output at one parameter set (name -> shape), buffers included in `params` or `fixed`."""
        inputs, values = batch[0], self._values(params)
        args, kwargs = containers.arguments(cloned(inputs) if self.needs.writes else inputs)
        if self.needs.held:
            return copying.holding(self.model, values)(*args, **kwargs)
        if torch.compiler.is_compiling():
            return functional_call(self.model, values, args, kwargs)
        with self._swapped(values):
            return self.model(*args, **kwargs)

    def loss_one(self, params: Params, batch: Any) -> Tensor:
        """The mean loss at one parameter set."""
        batch = cloned(batch) if self.needs.writes else containers.fresh(batch)
        if self._closure is None:
            return self.loss(self.output_one(params, batch), batch[1])
        if self.needs.held:
            return self.loss(copying.holding(self.model, self._values(params)), batch)
        values = self._values(params)
        if torch.compiler.is_compiling():
            return functional_call(self._closure, {f"model.{name}": value for name, value in values.items()}, (batch,))
        with self._swapped(values):
            return self._closure(batch)

    def loss_alone(self, params: Params, batch: Any) -> Tensor:
        """The mean loss at one parameter set by the model's own forward pass, even where there is a formula."""
        return self._each(self.loss_one, {name: value[None] for name, value in params.items()}, batch, False)[0]

    def output_alone(self, params: Params, batch: Any) -> Any:
        """The model's output at one parameter set, likewise."""
        many = {name: value[None] for name, value in params.items()}
        return next(pytree_rows(self._each(self.output_one, many, batch, False)))

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
            each = [number(name, metric(_copied(one), batch[1]), loss) for one in pytree_rows(output)]
            out[name] = torch.stack(each)
        return out

    def _loss_and_output(self, params: Params, batch: Any) -> tuple[Tensor, Any]:
        output = self.output_one(params, batch)
        return self.loss(_copied(output), batch[1]), output

    def _closed(self, name: str, metric: Callable[..., Tensor]) -> Program:
        """A metric on the batch as a program, which finds out once whether vmap takes it."""
        if name not in self._closures:

            def closed(model: nn.Module, batch: Any) -> Tensor:
                return number(name, metric(model, batch), next(model.parameters()))

            self._closures[name] = Program(self.model, closed, True, self.fixed, self.theta, self.needs, said=self.said)
        return self._closures[name]

    def _values(self, params: Params) -> dict[str, Tensor]:
        values = {**self.fixed, **params}
        if self.needs.mutates:
            values = {name: value.clone() if name in self.fixed else value for name, value in values.items()}
        if not self.needs.held:
            return values
        own = dict(self.model.named_parameters())  # those outside theta stay the parameters that they are
        for name, value in list(values.items()):
            if name in own and value is self.fixed.get(name):
                values[name] = own[name]
            elif name in own:
                values[name] = as_parameter(value, own[name], name in self.theta)
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
        general = self.stack is None or self.on_batch or self.needs.held
        return not general and self.stack is not None and self.stack.accepts(batch[0], 1 + own_batch)

    def _stack_output(self, params: Params, inputs: Tensor, own_batch: bool) -> Tensor:
        assert self.stack is not None  # noqa: S101 - narrows the type; callers asked _uses_stack
        return self.stack({**self.fixed, **params}, inputs, 1 + own_batch)

    def _each(self, function: Callable[[Params, Any], Any], params: Params, batch: Any, own_batch: bool) -> Any:
        replicas, name = pytree.tree_leaves(params)[0].shape[0], function.__name__
        if self.needs.graded and not torch.is_grad_enabled():
            with torch.inference_mode(False), torch.enable_grad():
                if self.needs.held:
                    out = self._loop(function, params, batch, own_batch, replicas, fresh=True)
                else:
                    out = self._each(function, params, batch, own_batch)
            return pytree.tree_map_only(Tensor, Tensor.detach, out)
        if self.needs.graded:
            params = {name: trainable(value, name in self.theta) for name, value in params.items()}
        texts = own_batch and any(isinstance(leaf, containers.Column) for leaf in containers.leaves(batch))
        if not self.needs.vectorized or replicas == 1 or name in self._looped or texts:
            with without_fused_layers():
                return self._loop(function, params, batch, own_batch, replicas)
        with twice_differentiable():  # the fused attention kernels have no batching rule
            mapped = _vmapped(function, own_batch, self.randomness)
            if name in self._tried:
                return mapped(dict(params), batch)
            try:
                with ALONE, warnings.catch_warnings():
                    # An operation without a batching rule runs in a hidden loop, slower than ours: count it as refused.
                    warnings.filterwarnings("error", message=".*batching rule")
                    out = mapped(dict(params), batch)
            except (RuntimeError, NotImplementedError, ValueError, UserWarning) as refusal:
                # A fault of the model itself would show in the loop as well: it is raised from there, plainly.
                out = self._loop(function, params, batch, own_batch, replicas)
                self._looped.add(name)
                if name == "loss_one":
                    self.needs = replace(self.needs, vectorized=False)
                if "loop" not in self.said:
                    self.said.add("loop")
                    log.info("vmap refused this model (%s): replicas are evaluated in a loop", first_line(refusal))
            else:
                self._tried.add(name)
            return out

    def _loop(
        self,
        function: Callable[[Params, Any], Any],
        params: Params,
        batch: Any,
        own_batch: bool,
        replicas: int,
        *,
        fresh: bool = False,
    ) -> Any:
        """One after the other; with `fresh`, as parameters of their own that nothing is differentiated in."""
        out, laid_out = [], self._laid_out and function.__name__ in _ON_BATCHES
        for r in range(replicas):
            one = {
                name: nn.Parameter(value[r].detach().clone()) if fresh and name in self.theta else row(value, r)
                for name, value in params.items()
            }
            own = containers.mapped(lambda leaf, r=r: leaf[r], batch) if own_batch else batch
            out.append(function(one, channels_last(own) if laid_out else own))
        return pytree.tree_map(
            lambda *leaves: torch.stack(leaves) if isinstance(leaves[0], Tensor) else Rows(leaves), *out
        )


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


def _copied(output: Any) -> Any:
    """A copy for a function of the user's, which may write into what it is given."""
    return pytree.tree_map_only(Tensor, Tensor.clone, output)
