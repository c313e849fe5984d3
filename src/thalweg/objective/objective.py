"""Model + loss + data -> L(θ): the one object that every instrument of the laboratory works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.declared import declared, whole
from thalweg.errors import InputError
from thalweg.objective import batches as data_batches
from thalweg.objective import checks, means
from thalweg.objective.checked import Checked
from thalweg.objective.dense import dense_curvature, seconds
from thalweg.objective.derivatives import Evaluation
from thalweg.objective.planning import GRADIENT, PRODUCT, VALUE, WorkPlan
from thalweg.objective.rows import row_hessian
from thalweg.objective.work import sized, sized_by

Buffers = Mapping[str, Tensor]


class Objective(Checked):
    """The loss of any module on any data as a function of one flat vector: L(θ) + ½·l2·‖θ‖².

    Every method takes θ of shape (…, P) and works on all leading axes at once: one checkpoint, a hundred replicas, a
    surface. The model is copied: neither its parameters nor its buffers ever change, and modules keep the mode (train
    or eval) that they have, except normalisation layers, which follow `batchnorm`.

    Args:
        model: Any module. Parameters with requires_grad=False are constants.
        loss: `(output, target) -> mean over the batch`, such as `nn.CrossEntropyLoss()`; or with `loss_on="batch"` a
            closure `(model, batch) -> mean`, for batches of any structure.
        data: Tensors or arrays in any container whose first axis is the sample, such as (inputs, targets), with lists
            of one text or number per sample beside them; a `Dataset`; a `DataLoader`; or a list of batches. Tensors and
            datasets are cut into chunks of any size; batches that you made are kept whole, and so are sparse and nested
            tensors, packed sequences and graphs. Inputs that are tuples or dicts reach the model as positional or
            keyword arguments.
        loss_on: What the loss takes: "output" or "batch".
        metrics: name -> function with the loss's signature, averaged over samples. Default: accuracy for integer
            targets.
        l2: Weight of the penalty ½·l2·‖θ‖², part of L; default 0.
        dtype: Computes in this dtype; default: that of the model's parameters. bfloat16 and float16 only where given:
            values, gradients and products are then those of the model as it is used.
        device: Default: that of the model's parameters.
        parameters: Glob (or several) of the parameter names that make up θ; the others stay as they are.
        batchnorm: "frozen" (stored statistics), "batch" (those of each batch) or "recomputed" (those of the whole data
            at each θ, constant under differentiation). With the last two, `data` as tensors is one batch unless
            `batch_size` is given.
        batch_size: Fixed batches that are never cut further; default none.
        memory: Budget in bytes for the activations of one piece, and for the graphs and Lanczos vectors that are kept
            between calls. Default: 1 GiB for a piece, so that numbers do not depend on what other programs use, and
            half of the memory that is free (of the GPU, of the container) for what is kept. `plan()` shows both.
        count: Weight of a batch that was made (a list, a loader, `batch_size`); default: its samples, or the targets
            that torch's cross-entropy averages over, so that padding does not count. For a loss of your own that
            averages over tokens, count tokens.
        init: Makes a freshly initialised model, for `initial`; default: every module's own `reset_parameters`.
        check: Compare L and ∇L with plain PyTorch on a few samples at construction, at a θ that is not the model's
            own; find out whether the gradient is that of L and how precise L is; refuse a loss that is stochastic, not
            scalar or a sum. Without it, odd models are evaluated like ordinary ones.

    Raises:
        InputError: What is said above does not hold.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> objective = Objective(model, nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> theta = objective.initial(replicas=5, seed=0)
        >>> theta.shape, objective.value(theta).shape, objective.gradient(theta).shape
        (torch.Size([5, 13]), torch.Size([5]), torch.Size([5, 13]))
    """

    @sized
    def value(self, theta: Tensor, buffers: Buffers | None = None) -> Tensor:
        """L(θ): (…, P) -> (…).

        Args:
            theta: (…, P).
            buffers: Buffers that belong to each θ, name -> (…, *shape), such as the running statistics of a training
                (`recording.snapshots.buffers(-1)`); default: those of the model that the objective was made with. The
                other functions of θ take them as well.

        Raises:
            InputError: θ of another length, dtype or device, or buffers of another name or shape than the model's.
        """
        flat, lead = self._flat(theta)
        return self._evaluation(buffers, lead).value(flat).reshape(lead)

    def gradient(self, theta: Tensor, buffers: Buffers | None = None) -> Tensor:
        """∇L(θ): (…, P) -> (…, P)."""
        return self.value_and_gradient(theta, buffers)[1]

    @sized
    def value_and_gradient(self, theta: Tensor, buffers: Buffers | None = None) -> tuple[Tensor, Tensor]:
        """L(θ) and ∇L(θ) from one pass: (…, P) -> (…), (…, P)."""
        flat, lead = self._flat(theta)
        value, gradient = self._evaluation(buffers, lead).value_and_gradient(flat)
        return value.reshape(lead), gradient.reshape(*lead, self.size)

    @sized
    def value_gradient_product(self, theta: Tensor, buffers: Buffers | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """L, g = ∇L and ∇²L g, the gradient of ½‖g‖²: (…, P) -> (…), (…, P), (…, P)."""
        flat, lead = self._flat(theta)
        with self.second_derivatives():
            value, gradient, product = self._evaluation(buffers, lead).value_gradient_product(flat)
        return value.reshape(lead), gradient.reshape(*lead, self.size), product.reshape(*lead, self.size)

    def hvp(self, theta: Tensor, v: Tensor, buffers: Buffers | None = None) -> Tensor:
        """∇²L(θ) v, exact: θ (…, P) with v (K…, …, P) -> (K…, …, P).

        Extra leading axes of v are several vectors at the same θ, which share one differentiated graph.
        """
        return self.products(theta, buffers, retain=False)(v)

    @sized
    def products(
        self, theta: Tensor, buffers: Buffers | None = None, *, retain: bool = True
    ) -> Callable[[Tensor], Tensor]:
        """Returns v ↦ ∇²L(θ) v for many products at one θ.

        Args:
            theta: (…, P).
            buffers: As for `value`.
            retain: Keep the graph of the gradient between products where it fits the budget; a product then
                costs one backward pass. The result is the same to rounding.

        Returns:
            A function v (K…, …, P) -> (K…, …, P).
        """
        flat, lead = self._flat(theta)
        with self.second_derivatives():
            product = self._evaluation(buffers, lead).products(flat, retain=retain)

        def apply(v: Tensor) -> Tensor:
            return multiplied(self, v)

        @sized
        def multiplied(self: Objective, v: Tensor) -> Tensor:
            v = self._checked(v, "v")
            if v.shape[v.dim() - 1 - len(lead) : -1] != lead or v.dim() < len(lead) + 1:
                raise InputError(f"v must end in the shape of theta {(*lead, self.size)}, found {tuple(v.shape)}")
            with self.second_derivatives():
                return product(v.reshape(-1, *flat.shape)).reshape(v.shape)

        return apply

    @declared
    @sized_by(seconds)
    def hessian(self, theta: Tensor, parameters: str | Sequence[str] = "*") -> Tensor:
        """∇²L(θ), exact and dense, in float64: (…, P) -> (…, P, P); see `thalweg.curvature.hessian` for choices.

        Args:
            theta: (…, P).
            parameters: Glob or globs: the block of these parameters.
        """
        return dense_curvature(self, self.as_theta(theta), "hessian", row_hessian, parameters=parameters).matrix

    @sized
    def metrics(self, theta: Tensor, buffers: Buffers | None = None) -> dict[str, Tensor]:
        """The data loss ("loss", without l2) and every metric, averaged over samples: name -> (…).

        One forward pass serves them all; where the loss is on the batch, each is a pass of its own.

        Args:
            theta: (…, P).
            buffers: As for `value`.
        """
        flat, lead = self._flat(theta)
        program, metrics = self.program, self.metric_functions
        found = self._evaluation(buffers, lead).means(
            flat, lambda params, batch: program.scores(metrics, params, batch)
        )
        return {name: value.reshape(lead) for name, value in found.items()}

    def outputs(self, theta: Tensor, inputs: Any = None, buffers: Buffers | None = None) -> Tensor:
        """The model's outputs: (…, P) -> (…, N, *output).

        Args:
            theta: (…, P).
            inputs: Inputs like those of the data; default: all of the data's.
            buffers: As for `value`.
        """
        if self.loss_on == "batch":
            raise InputError("outputs needs an objective whose loss takes (output, target), found loss_on='batch'")
        flat, lead = self._flat(theta)
        batches = self.batches if inputs is None else self.batches.inputs_only(inputs)
        out = self._evaluation(buffers, lead).outputs(flat, batches)
        return out.reshape(*lead, *out.shape[1:])

    def plan(self, replicas: int = 1) -> WorkPlan:
        """How values, gradients and products are cut into pieces, and whether graphs are kept; `print` shows it.

        Args:
            replicas: θ that are evaluated in one call.

        Example:
            >>> model = torch.nn.Linear(3, 1)
            >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(500, 3), torch.randn(500, 1)))
            >>> objective.plan(100).gradient
            Plan(replicas=100, samples=500)
        """
        replicas, evaluation = whole("replicas", replicas, 1), self.evaluation
        value, gradient, product = (evaluation.plan(replicas, factor) for factor in (VALUE, GRADIENT, PRODUCT))
        return WorkPlan(
            value=value,
            gradient=gradient,
            product=product,
            samples=self.samples,
            parameter_bytes=self.size * self.dtype.itemsize,
            sample_bytes=evaluation.pair_bytes,
            memory=self.memory,
            budget=self.budget(),
            graph_bytes=replicas * evaluation.graph_bytes,
        )

    # -- inside

    def _evaluation(self, buffers: Buffers | None, lead: torch.Size) -> Evaluation:
        """The pieces of all functions of θ, with buffers for each θ where they were given."""
        if not self._confirmed:
            self._confirmed = True
            with torch.inference_mode(False):
                means.over_batches(self)
        if not buffers:
            return self.evaluation
        given = checks.buffers(buffers, self._model, lead)
        place = data_batches.placer(self.device, self.dtype)
        own = {name: place(value).reshape(-1, *value.shape[len(lead) :]) for name, value in given.items()}
        return replace(self.evaluation, own=own)

    def _flat(self, theta: Tensor) -> tuple[Tensor, torch.Size]:
        theta = self._checked(theta, "theta")
        return theta.reshape(-1, self.size), theta.shape[:-1]

    def _checked(self, theta: Tensor, name: str) -> Tensor:
        theta = self.as_theta(theta, name)
        checks.vector(theta, name, self.dtype, self.device)
        self.batches.agree(theta, name)
        theta = theta.to(self.dtype)
        if not theta.is_inference():
            return theta
        with torch.inference_mode(False):  # autograd refuses what was made in that mode
            return theta.clone()
