"""Model + loss + data -> L(θ): the one object that every instrument of the laboratory works on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from thalweg.errors import InputError, nearest
from thalweg.objective import batches as data_batches
from thalweg.objective import checks, differentiable, normalization
from thalweg.objective.derivatives import Evaluation
from thalweg.objective.initialization import initial_theta
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.normalization import BatchNormPolicy
from thalweg.objective.program import Program, saved_bytes
from thalweg.objective.structure import LinearStack, kinks, linear_stack, loss_kind

Metric = Callable[..., Tensor]


class Objective:
    """The loss of any module on any data as a function of one flat vector: L(θ) + ½·l2·‖θ‖².

    Every method takes θ of shape (…, P) and works on all leading axes at once: one checkpoint, a hundred replicas, a
    surface. The model is copied: neither its parameters nor its buffers ever change, and modules keep the mode (train
    or eval) that they have, except normalisation layers, which follow `batchnorm`.

    Args:
        model: Any module. Parameters with requires_grad=False are constants.
        loss: `(output, target) -> mean over the batch`, such as `nn.CrossEntropyLoss()`; or with `loss_on="batch"` a
            closure `(model, batch) -> mean`, for batches of any structure.
        data: A tuple of tensors (inputs, targets) whose first axis is the sample; a `Dataset`; a `DataLoader`; or a
            list of batches. Tensors and datasets are cut into chunks of any size; batches that you made are kept whole.
            Inputs that are tuples or dicts reach the model as positional or keyword arguments.
        loss_on: What the loss takes: "output" or "batch".
        metrics: name -> function with the loss's signature, averaged over samples. Default: accuracy for integer
            targets.
        l2: Weight of the penalty ½·l2·‖θ‖², part of L; default 0.
        dtype: Computes in this dtype; default: that of the model's parameters.
        device: Default: that of the model's parameters.
        parameters: Glob (or several) of the parameter names that make up θ; the others stay as they are.
        batchnorm: "frozen" (stored statistics), "batch" (those of each batch) or "recomputed" (those of the whole data
            at each θ, constant under differentiation). With the last two, `data` as tensors is one batch unless
            `batch_size` is given.
        batch_size: Fixed batches that are never cut further; default none.
        memory: Budget in bytes for activations and retained graphs; default 1 GiB.
        count: Counts a batch's samples; default: the length of its tensors' first axis. For a loss averaged over
            tokens, count tokens.
        init: Makes a freshly initialised model, for `initial`; default: every module's own `reset_parameters`.
        check: Evaluate twice at construction and refuse a loss that is stochastic, not scalar or a sum.

    Raises:
        InputError: What is said above does not hold.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> objective = Objective(model, nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> theta = objective.initial(replicas=5, seed=0)
        >>> theta.shape, objective.value(theta).shape, objective.gradient(theta).shape
        (torch.Size([5, 13]), torch.Size([5]), torch.Size([5, 13]))
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Tensor],
        data: Any,
        *,
        loss_on: Literal["output", "batch"] = "output",
        metrics: Mapping[str, Metric] | None = None,
        l2: float = 0.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        parameters: str | Sequence[str] = "*",
        batchnorm: BatchNormPolicy = "frozen",
        batch_size: int | None = None,
        memory: int = 2**30,
        count: Callable[[Any], int] | None = None,
        init: Callable[[], nn.Module] | None = None,
        check: bool = True,
    ) -> None:
        checks.arguments(model, loss, loss_on, l2, batchnorm, batch_size, memory)
        self.layout = ParameterLayout.of(model, parameters)
        reference = next(model.parameters())
        self.dtype = checks.floating(dtype or reference.dtype, "dtype")
        self.device = torch.empty(0, device=device or reference.device).device
        self.loss, self.loss_on = loss, loss_on
        self.l2, self.batchnorm, self.memory, self.init = float(l2), batchnorm, memory, init
        self._model, self._twice = copy.deepcopy(model), False
        self._metrics, self._check, self._batch_size, self._count = metrics, check, batch_size, count
        self.batches = self._gather(data)
        if check:
            checks.loss(self)

    # -- what it is made of

    @property
    def size(self) -> int:
        """P, the length of θ."""
        return self.layout.size

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return self.batches.samples

    @cached_property
    def program(self) -> Program:
        """Evaluates losses and outputs with normalisation layers under the policy."""
        return self.build_program(lambda model: normalization.apply_policy(model, self.batchnorm))

    @property
    def stack(self) -> LinearStack | None:
        """The stack of linear layers that the model is, or None."""
        return self.program.stack

    @property
    def loss_kind(self) -> str | None:
        """Either "mse" or "cross_entropy" where the loss is one of these plain means, else None."""
        return loss_kind(self.loss) if self.loss_on == "output" else None

    @cached_property
    def kinks(self) -> tuple[str, ...]:
        """Names of the piecewise-linear operations found: autograd's Hessian misses the jumps of the gradient there."""
        return kinks(self._model)

    @cached_property
    def metric_functions(self) -> dict[str, Metric]:
        """Named metrics; accuracy by default where targets are class numbers."""
        if self._metrics is not None:
            return dict(self._metrics)
        return checks.default_metrics(self)

    def build_program(self, prepare: Callable[[nn.Module], None]) -> Program:
        """Returns a program on a fresh copy of the model after `prepare(copy)`: trainings need other modes."""
        model = copy.deepcopy(self._model).to(self.device, self.dtype)
        prepare(model)
        outside = {name: p.detach() for name, p in model.named_parameters() if name not in self.layout.slices}
        fixed = {**outside, **{name: b.detach() for name, b in model.named_buffers()}}
        loss = copy.deepcopy(self.loss).to(self.device, self.dtype) if isinstance(self.loss, nn.Module) else self.loss
        stack = linear_stack(model) if self.loss_on == "output" else None
        return Program(model, loss, self.loss_on == "batch", fixed, stack, kind=self.loss_kind)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The pieces that the derivatives are computed from."""
        return Evaluation(self.program, self.layout, self.batches, self.l2, self._pair_bytes, self.memory, self._extra)

    # -- θ

    def ravel(self, model: nn.Module) -> Tensor:
        """Returns the parameters of a model of the same architecture as θ (P,)."""
        theta = self.layout.ravel({name: p.detach() for name, p in model.named_parameters()})
        return theta.to(self.device, self.dtype)

    @property
    def theta(self) -> Tensor:
        """θ (P,) of the model that the objective was made with."""
        return self.ravel(self._model)

    def module(self, theta: Tensor) -> nn.Module:
        """Returns a copy of the model with the parameters θ (P,)."""
        self.layout.check(theta)
        if theta.dim() != 1:
            raise InputError(f"theta must have shape ({self.size},) to make one module, found {tuple(theta.shape)}")
        model = copy.deepcopy(self._model).to(self.device, self.dtype)
        values = self.layout.unravel(theta.detach().to(self.device, self.dtype))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in values:
                    parameter.copy_(values[name])
        return model

    def initial(self, replicas: int | None = None, seed: int = 0, *, first: int = 0) -> Tensor:
        """Draws initial parameters by the modules' own rules: (P,), or (R, P) for `replicas`.

        Args:
            replicas: How many; None for a single θ without the axis, equal to replica `first`.
            seed: Replica r draws from `replica_seed(seed, r, "init")`, so that it is the same beside any others.
            first: Number of the first replica.

        Raises:
            InputError: A parameter belongs to a module without `reset_parameters` and no `init` was given.
        """
        checks.replicas(replicas)
        maker = self.init if self.init is not None else copy.deepcopy(self._model)
        theta = initial_theta(maker, self.layout, 1 if replicas is None else replicas, seed, first)
        theta = theta.to(self.device, self.dtype)
        return theta[0] if replicas is None else theta

    # -- functions of θ

    def value(self, theta: Tensor) -> Tensor:
        """L(θ): (…, P) -> (…)."""
        flat, lead = self._flat(theta)
        return self.evaluation.value(flat).reshape(lead)

    def gradient(self, theta: Tensor) -> Tensor:
        """∇L(θ): (…, P) -> (…, P)."""
        return self.value_and_gradient(theta)[1]

    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """L(θ) and ∇L(θ) from one pass: (…, P) -> (…), (…, P)."""
        flat, lead = self._flat(theta)
        value, gradient = self.evaluation.value_and_gradient(flat)
        return value.reshape(lead), gradient.reshape(*lead, self.size)

    def value_gradient_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L, g = ∇L and ∇²L g, the gradient of ½‖g‖²: (…, P) -> (…), (…, P), (…, P)."""
        flat, lead = self._flat(theta)
        with self.second_derivatives():
            value, *vectors = self.evaluation.value_gradient_product(flat)
        return value.reshape(lead), *(vector.reshape(*lead, self.size) for vector in vectors)

    def hvp(self, theta: Tensor, v: Tensor) -> Tensor:
        """∇²L(θ) v, exact: θ (…, P) with v (K…, …, P) -> (K…, …, P).

        Extra leading axes of v are several vectors at the same θ, which share one differentiated graph.
        """
        return self.products(theta, retain=False)(v)

    def products(self, theta: Tensor, *, retain: bool = True) -> Callable[[Tensor], Tensor]:
        """Returns v ↦ ∇²L(θ) v for many products at one θ.

        Args:
            theta: (…, P).
            retain: Keep the graph of the gradient between products where it fits the memory budget; a product then
                costs one backward pass. The result is the same to rounding.

        Returns:
            A function v (K…, …, P) -> (K…, …, P).
        """
        flat, lead = self._flat(theta)
        with self.second_derivatives():
            product = self.evaluation.products(flat, retain=retain)

        def apply(v: Tensor) -> Tensor:
            v = self._checked(v, "v")
            if v.shape[v.dim() - 1 - len(lead) : -1] != lead or v.dim() < len(lead) + 1:
                raise InputError(f"v must end in the shape of theta {(*lead, self.size)}, found {tuple(v.shape)}")
            with self.second_derivatives():
                return product(v.reshape(-1, *flat.shape)).reshape(v.shape)

        return apply

    def hessian(self, theta: Tensor, parameters: str | Sequence[str] = "*") -> Tensor:
        """∇²L(θ), exact and dense, in float64: (…, P) -> (…, P, P); see `thalweg.curvature.hessian` for choices.

        Args:
            theta: (…, P).
            parameters: Glob or globs: the block of these parameters.
        """
        from thalweg.curvature.exact import hessian  # above this package, and the one exception to "downwards"

        return hessian(self, theta, parameters=parameters)

    @contextmanager
    def second_derivatives(self) -> Iterator[None]:
        """Raises InputError where model or loss have no second derivative: found once, and on autograd's refusal."""
        with differentiable.naming_refusals():
            if not self._twice:
                differentiable.check(self.program, self.layout, self.theta, self.batches.first(8))
                self._twice = True
            yield

    def metrics(self, theta: Tensor, buffers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The data loss ("loss", without l2) and every metric, averaged over samples: name -> (…).

        Args:
            theta: (…, P).
            buffers: Buffers that belong to each θ, name -> (…, *shape), such as the running statistics of a training;
                default: those of the model that the objective was made with.
        """
        flat, lead = self._flat(theta)
        program, mean = self.program, self.evaluation.mean
        own = {name: value.reshape(-1, *value.shape[len(lead) :]) for name, value in (buffers or {}).items()}
        out = {"loss": mean(flat, program.losses, own).reshape(lead)}
        for name, metric in self.metric_functions.items():

            def one(params: dict[str, Tensor], batch: Any, metric: Metric = metric) -> Tensor:
                return program.map_metric(metric, params, batch)

            out[name] = mean(flat, one, own).reshape(lead)
        return out

    def outputs(self, theta: Tensor, inputs: Any = None) -> Tensor:
        """The model's outputs: (…, P) -> (…, N, *output).

        Args:
            theta: (…, P).
            inputs: Inputs like those of the data; default: all of the data's.
        """
        if self.loss_on == "batch":
            raise InputError("outputs needs an objective whose loss takes (output, target), found loss_on='batch'")
        flat, lead = self._flat(theta)
        if inputs is None:
            parts = [batch for batch, _ in self.batches.chunks(self.evaluation.plan(len(flat), 1).samples)]
        else:
            parts = [(self.batches.place(inputs), None)]
        rows = []
        for theta_part in flat.split(self.evaluation.plan(len(flat), 1).replicas):
            params = {**self.layout.unravel(theta_part), **self._extra(theta_part)}
            with torch.no_grad():
                rows.append(torch.cat([self.program.outputs(params, batch) for batch in parts], dim=1))
        out = torch.cat(rows)
        return out.reshape(*lead, *out.shape[1:])

    # -- the same objective, changed

    def with_data(self, data: Any) -> Objective:
        """The same model and loss on other data (a test set)."""
        return self._changed(batches=self._gather(data))

    def with_l2(self, l2: float) -> Objective:
        """The same objective with another weight of the penalty."""
        checks.penalty(l2)
        return self._changed(l2=float(l2))

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Objective:
        """The same objective in another dtype or on another device."""
        new_dtype = checks.floating(dtype or self.dtype, "dtype")
        new_device = torch.empty(0, device=device or self.device).device
        place = data_batches.placer(new_device, new_dtype)
        return self._changed(dtype=new_dtype, device=new_device, batches=self.batches.moved(place))

    def double(self) -> Objective:
        """The same objective in float64, as curvature and critical points need it."""
        return self if self.dtype == torch.float64 else self.to(dtype=torch.float64)

    def permuted(self, seed: int = 0) -> Objective:
        """The same objective with its samples in another order: equal but for rounding, which it measures."""
        return self._changed(batches=self.batches.permuted(seed))

    def _changed(self, **changes: Any) -> Objective:
        new = copy.copy(self)
        for name in ("program", "evaluation", "_pair_bytes"):
            new.__dict__.pop(name, None)
        for name, value in changes.items():
            if name not in self.__dict__:
                raise InputError(f"unknown part '{name}'{nearest(name, self.__dict__)}")
            new.__dict__[name] = value
        return new

    # -- inside

    def _gather(self, data: Any) -> data_batches.Batches:
        gathered = data_batches.gather(
            data,
            batch_size=self._batch_size,
            memory=self.memory,
            count=self._count,
            place=data_batches.placer(self.device, self.dtype),
        )
        whole = self.batchnorm != "frozen" and bool(normalization.layers(self._model))
        return gathered.whole() if whole else gathered

    @cached_property
    def _pair_bytes(self) -> int:
        # Cloned: a view would be charged with the whole data that it looks at.
        batch = pytree.tree_map_only(Tensor, Tensor.clone, self.batches.first(8))
        count = max(1, self.batches.count(batch))
        theta = self.theta[None]
        leaves = {name: value.requires_grad_() for name, value in self.layout.unravel(theta).items()}
        params = {**leaves, **self._extra(theta)}
        return max(64, saved_bytes(lambda: self.program.losses(params, batch).sum(), params) // count)

    def _extra(self, theta: Tensor) -> dict[str, Tensor]:
        """Buffers that depend on θ: the recomputed statistics of normalisation layers, name -> (B, …)."""
        if self.batchnorm != "recomputed" or not normalization.layers(self.program.model):
            return {}
        rows = []
        for one in theta:
            params = self.layout.unravel(one)
            rows.append(
                normalization.statistics(
                    self.program.model,
                    lambda buffers, batch, p=params: self.program.loss_one({**p, **buffers}, batch),
                    dict(self.program.model.named_buffers()),
                    self.batches.chunks(None),
                )
            )
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _flat(self, theta: Tensor) -> tuple[Tensor, torch.Size]:
        theta = self._checked(theta, "theta")
        return theta.reshape(-1, self.size), theta.shape[:-1]

    def _checked(self, theta: Tensor, name: str) -> Tensor:
        self.layout.check(theta, name)
        checks.vector(theta, name, self.dtype, self.device)
        return theta.to(self.dtype)
