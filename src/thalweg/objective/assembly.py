"""The parts of an objective: model, loss and data checked, placed and copied; θ of a model and a model of θ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from thalweg import limits
from thalweg.declared import declared, whole
from thalweg.errors import InputError
from thalweg.objective import batches as data_batches
from thalweg.objective import checks, copying, differentiable, naming, normalization, targets
from thalweg.objective.derivatives import Evaluation, activation_bytes
from thalweg.objective.gathering import gather
from thalweg.objective.initialization import initial_theta
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.needs import Needs, Slope
from thalweg.objective.normalization import BatchNormPolicy
from thalweg.objective.program import Program
from thalweg.objective.saved_names import Names
from thalweg.objective.structure import LinearStack, loss_kind

__all__ = ["Assembly", "Metric"]

Metric = Callable[..., Tensor]
MEMORY = 2**30  # bytes for the activations of one piece, and for data that a loader gives


class Assembly:
    """Model, loss and data put together: what is evaluated, and what θ is. See `Objective` for the arguments.

    Nothing is compared or refused here but the arguments themselves; the checks work on this class (`Checked`).
    """

    @torch.inference_mode(False)
    @declared
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
        memory: int | None = None,
        count: Callable[[Any], int] | None = None,
        init: Callable[[], nn.Module] | None = None,
        check: bool = True,
    ) -> None:
        checks.arguments(model, loss, loss_on, l2, batchnorm, batch_size, memory)
        original, model = model, copying.plain(model)
        self._model, self.needs = copying.copied(model), Needs()
        self.layout = ParameterLayout.of(self._model, parameters)
        reference = self._model.get_parameter(self.layout.names[0])
        given = "dtype" if dtype else "dtype (give it for a model of another precision)"
        self.dtype = checks.floating(dtype or reference.dtype, given, half=dtype is not None)
        self.device = checks.place(device or reference.device)
        self.loss, self.loss_on = loss, loss_on
        self.l2, self.batchnorm, self.init = float(l2), batchnorm, init
        self.memory, self._limit = MEMORY if memory is None else memory, memory
        self.globs = (parameters,) if isinstance(parameters, str) else tuple(parameters)
        self._twice, self.doubtful, self.told, self._confirmed = False, False, False, not check
        self._said: set[str] = set()  # shared with the objectives that are made of this one
        self.slope: Slope | None = None
        self.lowest: torch.dtype | None = None  # the lowest precision in the graph of L
        self._metrics, self._check, self._batch_size, self._count = metrics, check, batch_size, count
        self.batches = self._gather(data)
        if check:
            self._confirm(original)

    # -- what it is made of

    def __repr__(self) -> str:
        """Model, loss and sizes in a line, whatever they are."""
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        penalty = f", l2={self.l2:g}" if self.l2 else ""
        count = f"N={self.batches.rows}" if self.batches.indexable else "streamed"  # counting would read all data
        sizes = f"P={self.size}, {count}{penalty}, {str(self.dtype).removeprefix('torch.')}, {self.device}"
        return f"{type(self).__name__}({type(self._model).__name__}, {loss}, {sizes})"

    @property
    def size(self) -> int:
        """P, the length of θ."""
        return self.layout.size

    @property
    def names(self) -> Names:
        """What its model's parameters and buffers are called, for whatever finds them by name."""
        return Names.of(self._model, self.layout)

    @property
    def checked(self) -> bool:
        """Whether it was compared with plain PyTorch at construction."""
        return self._check

    def epsilon(self, dtype: torch.dtype | None = None) -> float:
        """Relative rounding error of L in a dtype, by default its own, or of the lower precision found inside."""
        own = torch.finfo(dtype or self.dtype).eps
        if self.slope is None:
            return own
        return max(own, self.slope.epsilon, 0.0 if (dtype or self.dtype) == torch.float64 else self.slope.autocast)

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return self.batches.rows if self.batches.indexable else self.batches.samples

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
        params = {name: nn.Parameter(value.clone()) for name, value in self.layout.unravel(self.theta).items()}
        with torch.enable_grad(), self.program.surroundings(twice=True):
            return differentiable.kinks(self.program.loss_one(params, self.batches.first(8)))

    @cached_property
    def metric_functions(self) -> dict[str, Metric]:
        """Named metrics; accuracy by default where targets are class numbers."""
        if self._metrics is not None:
            return dict(self._metrics)
        if self.loss_on == "batch":
            return {}
        batch = self.batches.first(2)
        with torch.no_grad():
            output = self.program.output_alone(self.layout.parameters(self.theta), batch)
        return targets.of_classes(self.loss, self.batches, output, batch[1])

    def build_program(self, prepare: Callable[[nn.Module], None], needs: Needs | None = None) -> Program:
        """Returns a program on a fresh copy of the model after `prepare(copy)`: trainings need other modes."""
        model = copying.placed(self._model, self.device, self.dtype)
        copying.amend(model)
        prepare(model)
        outside = {name: p.detach() for name, p in model.named_parameters() if name not in self.layout.slices}
        fixed = {**outside, **{name: b.detach() for name, b in model.named_buffers()}}
        loss = self.loss
        if isinstance(loss, nn.Module):
            loss = copying.placed(loss, self.device, self.dtype)
        names = frozenset(self.layout.names)
        on_batch, needs = self.loss_on == "batch", needs or self.needs
        return Program(model, loss, on_batch, fixed, names, needs, kind=self.loss_kind, said=self._said)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The pieces that the derivatives are computed from."""
        return Evaluation(
            self.program, self.layout, self.batches, self.l2, self._pair_bytes, self.memory, self.budget, self._extra
        )

    def budget(self) -> int:
        """Bytes for what is kept between calls (graphs of gradients, Lanczos vectors): `memory` where it was given.

        By default half of the memory that is free when it is asked for, and at least what one piece may take.
        """
        return max(MEMORY, limits.budget(self.device)) if self._limit is None else self._limit

    # -- θ

    def ravel(self, model: Any) -> Tensor:
        """Returns θ (P,) of a model of the same architecture, in the dtype and on the device of the objective.

        Args:
            model: A model; or its state_dict, as it is or as wrappers write it ("module.", "model.", "_orig_mod."
                anywhere in the names, nested under "state_dict", "model_state_dict", "model"); or a list of these,
                which becomes (R, P). Parameters are found by name. Buffers, and parameters that θ does not hold, stay
                those of the objective's own model; where others are found, a warning is logged.

        Raises:
            InputError: Names that are missing or unexpected, or other shapes than the model's.
        """
        return self.as_theta(model, "model").to(self.device, self.dtype)

    def as_theta(self, value: Any, name: str = "theta") -> Tensor:
        """Returns θ (…, P) of what every function and instrument takes for θ; a tensor comes back as it is.

        Args:
            value: A tensor or a floating-point array (…, P), or whatever `ravel` takes.
            name: Of the argument, for messages.

        Raises:
            InputError: Something else, or another length than P.
        """
        if not isinstance(value, Tensor):
            unread = () if self.batchnorm == "frozen" else ("running_mean", "running_var")
            value = naming.theta_of(self.names, value, name, self.device, self.dtype, unread)
        self.layout.check(value, name)
        return value

    @property
    def theta(self) -> Tensor:
        """θ (P,) of the model that the objective was made with."""
        return self.ravel(self._model)

    def module(self, theta: Any) -> nn.Module:
        """Returns a copy of the model with the parameters θ (P,), given as a tensor or as `as_theta` takes it."""
        theta = self.as_theta(theta)
        if theta.dim() != 1:
            raise InputError(f"theta must have shape ({self.size},) to make one module, found {tuple(theta.shape)}")
        model = copying.placed(self._model, self.device, self.dtype)
        values = self.layout.unravel(theta.detach().to(self.device, self.dtype))
        model.load_state_dict(values, strict=False)
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
        seed, first = whole("seed", seed), whole("first", first, 0)
        maker = self.init if self.init is not None else copying.copied(self._model)
        theta = initial_theta(maker, self.layout, 1 if replicas is None else replicas, seed, first)
        theta = theta.to(self.device, self.dtype)
        return theta[0] if replicas is None else theta

    # -- inside

    def _confirm(self, given: nn.Module) -> None:
        """Compares L with plain PyTorch on the model that was given, when all parts are there."""

    def _changed(self, **changes: Any) -> Self:
        new = copy.copy(self)
        stale = {"evaluation", "_pair_bytes"}
        stale |= {"program"} if {"dtype", "device", "batchnorm", "_model", "needs"} & set(changes) else set()
        stale |= {"metric_functions"} if "_metrics" in changes else set()
        new.__dict__.update(changes)
        for name in stale:
            new.__dict__.pop(name, None)
        return new

    def _gather(self, data: Any) -> data_batches.Batches:
        gathered = gather(
            data,
            batch_size=self._batch_size,
            memory=self.memory,
            count=self._count or (targets.counted(self.loss) if self.loss_on == "output" else None),
            divisible=self._count is None,
            prepare=targets.prepared(self.loss) if self.loss_on == "output" else None,
            place=data_batches.placer(self.device, self.dtype),
        )
        whole = self.batchnorm != "frozen" and bool(normalization.layers(self._model))
        return gathered.whole() if whole else gathered

    @cached_property
    def _pair_bytes(self) -> int:
        return activation_bytes(self.program, self.layout, self.theta[None], self.batches, self._extra)

    def _extra(self, theta: Tensor) -> dict[str, Tensor]:
        """Buffers that depend on θ: the recomputed statistics of normalisation layers, name -> (B, …)."""
        if self.batchnorm != "recomputed":
            return {}
        return normalization.recomputed(self.program, self.layout.unravel(theta), self.batches)
