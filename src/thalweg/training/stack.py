"""All replicas as one matrix θ (R, P) under one stock optimiser, whose arithmetic is element by element.

The optimiser sees a single tensor, so that a step costs the same few kernels however many replicas and layers there
are; the model sees views into it, one leaf per parameter name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.objective.layout import ParameterLayout
from thalweg.objective.planning import GRADIENT, Plan, plan
from thalweg.objective.seeds import replica_seed
from thalweg.objective.stacking import leaf_stack
from thalweg.objective.surroundings import own_numbers
from thalweg.objective.together import at_once, convolves, keep_memory
from thalweg.training.dropout import step_keys
from thalweg.training.feed import Feed
from thalweg.training.preparation import Prepared
from thalweg.training.recipe import Recipe

__all__ = ["Stack"]

_CPU_PIECE = 2**28  # bytes; on a CPU smaller and larger pieces of a full batch measured 10–25 % slower
_HELD = 8  # copies of θ that a step may hold: θ, gradients apart and joined, two averages, the snapshot, a spare


class Stack:
    """The replicas that are still training.

    Args:
        prepared: The model in training mode.
        layout: Places parameters in θ.
        feed: Their batches.
        recipe: How they are trained.
        theta: Initial parameters (R, P); copied.
        l2: The objective's.
        seed: The experiment's.
        numbers: The replicas' own numbers, (R,).
        memory: Budget in bytes.

    Attributes:
        theta: Parameters now, (R, P).
        buffers: Their running statistics, name -> (R, …).
        numbers: The replicas' own numbers, (R,).
    """

    def __init__(
        self,
        prepared: Prepared,
        layout: ParameterLayout,
        feed: Feed,
        recipe: Recipe,
        theta: Tensor,
        *,
        l2: float,
        seed: int,
        numbers: list[int],
        memory: int,
    ) -> None:
        self.prepared, self.layout, self.feed, self.recipe = prepared, layout, feed, recipe
        self.l2, self.seed, self.memory = l2, seed, memory
        self.numbers = list(numbers)
        self.theta = theta.detach().clone().contiguous()
        self.buffers = {n: v.expand(len(theta), *v.shape).clone() for n, v in prepared.buffers.items()}
        losses = prepared.program.losses
        self._losses = torch.compile(losses, dynamic=False) if recipe.compile else losses
        keep_memory()
        self._arrange({})

    def _arrange(self, state: Mapping[str, Tensor]) -> None:
        """Builds everything that depends on which replicas there are."""
        theta, replicas = self.theta, len(self.theta)
        self.optimizer = make_optimizer(self.recipe, theta)
        if state:
            self.optimizer.state[theta] = dict(state)
        budget = self.memory - _HELD * theta.nbytes
        self._plan = self._cut(replicas, min(budget, _CPU_PIECE) if theta.device.type == "cpu" else budget)
        size = self._plan.replicas
        self._parts = [slice(start, min(start + size, replicas)) for start in range(0, replicas, size)]
        views = [
            theta[:, place].view(replicas, *shape)
            for place, shape in zip(self.layout.slices.values(), self.layout.shapes, strict=True)
        ]
        self._leaves = [[view[part].detach().requires_grad_() for view in views] for part in self._parts]
        bases = [replica_seed(self.seed, number, "dropout") for number in self.numbers]
        self._bases = torch.tensor(bases, dtype=torch.int64, device=theta.device)

    @property
    def seconds(self) -> float:
        """Nominal time of a typical operation of a step with one thread; 0 off the CPU."""
        on_cpu = self.theta.device.type == "cpu"
        return self.prepared.work.typical(self._plan.replicas * self._plan.samples) if on_cpu else 0.0

    def _cut(self, replicas: int, budget: int) -> Plan:
        """How many replicas and samples of each are evaluated at once."""
        samples, pair = self.feed.samples, GRADIENT * self.prepared.pair_bytes
        program = self.prepared.program
        alone = self.prepared.stochastic or program.needs.held
        if self.theta.device.type == "cpu" and program.stack is None and not alone:
            saved = self.prepared.pair_bytes * samples
            replicas = at_once(replicas, saved, convolutional=convolves(program.model))
        cut = plan(replicas, samples, pair, 0, max(0, budget))
        if not self.prepared.cuttable:
            cut = Plan(plan(replicas, 1, pair * samples, 0, max(0, budget)).replicas, samples)
        return Plan(1, cut.samples) if alone else cut

    def gradient(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, gradient and its norm at θ on the batches of a step; running statistics are updated.

        Returns:
            (R,), (R, P), (R,).
        """
        keys = self._keys(step)
        losses, gradients = [], []
        for part, leaves in zip(self._parts, self._leaves, strict=True):
            one_loss, one_gradient = self._part(step, part, leaves, keys)
            losses.append(one_loss)
            gradients.append(one_gradient)
        loss = losses[0] if len(losses) == 1 else torch.cat(losses)
        gradient = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
        if self.l2:
            loss = loss + 0.5 * self.l2 * self.theta.square().sum(1)
            gradient.add_(self.theta, alpha=self.l2)
        return loss, gradient, torch.linalg.vector_norm(gradient, dim=1)

    def _part(self, step: int, part: slice, leaves: list[Tensor], keys: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        needs = self.prepared.program.needs
        if not (needs.held or needs.exact or needs.twice):
            return self._losses_and_slopes(step, part, leaves, dict(zip(self.layout.names, leaves, strict=True)), keys)
        params = dict(zip(self.layout.names, leaves, strict=True))
        if needs.held:  # one replica, as parameters that are leaves
            pairs = [leaf_stack(leaf) for leaf in leaves]
            leaves = [leaf for leaf, _ in pairs]
            params = {name: view for name, (_, view) in zip(self.layout.names, pairs, strict=True)}
        with self.prepared.program.surroundings():
            return self._losses_and_slopes(step, part, leaves, params, keys)

    def _losses_and_slopes(
        self, step: int, part: slice, leaves: list[Tensor], params: dict[str, Tensor], keys: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        for name, value in (*self.buffers.items(), *keys.items()):
            params[name] = value[part]
        loss = gradient = None
        for batch, weight, start, count in self.feed.pieces(step, part, self._plan.samples):
            for layer in self.prepared.dropouts.values():
                layer.start, layer.count = start, count
            if self.prepared.stochastic:
                with own_numbers([self.theta.device] if self.theta.is_cuda else []):
                    torch.manual_seed(replica_seed(self.seed, self.numbers[part.start], f"step:{step}:{start}"))
                    losses = self._losses(params, batch, own_batch=self.feed.own)
            else:
                losses = self._losses(params, batch, own_batch=self.feed.own)
            grads = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
            flat = torch.cat([grad.reshape(len(losses), -1) for grad in grads], dim=1)
            value = losses.detach()
            if weight != 1.0:
                flat.mul_(weight)
                value = value * weight
            loss = value if loss is None else loss + value
            gradient = flat if gradient is None else gradient.add_(flat)
        if loss is None or gradient is None:
            raise RuntimeError("the data gave no batch")
        return loss, gradient

    def _keys(self, step: int) -> dict[str, Tensor]:
        layers = self.prepared.dropouts
        if not layers:
            return {}
        keys = step_keys(self._bases, step, len(layers))
        return {f"{name}.key": row for name, row in zip(layers, keys, strict=True)}

    def update(self, gradient: Tensor, norm: Tensor, lr: float) -> None:
        """One step of the optimiser along `gradient` (R, P) of norm (R,), clipped for each replica alone."""
        if self.recipe.clip is not None:
            gradient.mul_((self.recipe.clip / (norm + 1e-6)).clamp(max=1.0)[:, None])
        self.theta.grad = gradient
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()

    def keep(self, alive: Tensor) -> None:
        """Goes on with the replicas at the positions `alive` only."""
        full = self.theta.shape
        state = {n: v[alive] if v.shape == full else v for n, v in self.optimizer.state[self.theta].items()}
        self.theta = self.theta[alive].contiguous()
        self.buffers = {name: value[alive].contiguous() for name, value in self.buffers.items()}
        self.numbers = [self.numbers[i] for i in alive.tolist()]
        self.feed.keep(alive)
        self._arrange(state)

    def state(self) -> dict[str, Tensor]:
        """The optimiser's state by name; θ and buffers are kept by their own names."""
        return {f"optimizer/{n}": v for n, v in self.optimizer.state[self.theta].items() if isinstance(v, Tensor)}

    def restore(self, theta: Tensor, buffers: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Goes on from θ (R, P), buffers (R, …) and a state that `state` returned."""
        device = self.theta.device
        self.theta.copy_(theta)
        for name, value in self.buffers.items():
            value.copy_(buffers[name])
        own = {n.removeprefix("optimizer/"): v.to(device) for n, v in state.items() if n.startswith("optimizer/")}
        self.optimizer.state[self.theta] = {n: v.clone() for n, v in own.items()}


def make_optimizer(recipe: Recipe, theta: Tensor) -> torch.optim.Optimizer:
    """Returns the stock optimiser of a recipe over one tensor; fused where torch has it."""
    common: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    eps = 1e-8 if recipe.eps is None else recipe.eps
    betas = (0.9, 0.999) if recipe.betas is None else recipe.betas
    fused = theta.device.type in ("cpu", "cuda")
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam([theta], betas=betas, eps=eps, fused=fused, **common)
        case "adamw":
            return torch.optim.AdamW([theta], betas=betas, eps=eps, fused=fused, **common)
        case "rmsprop":
            smoothing = 0.99 if recipe.smoothing is None else recipe.smoothing
            return torch.optim.RMSprop(
                [theta], alpha=smoothing, eps=eps, momentum=recipe.momentum or 0.0, foreach=True, **common
            )
    momentum = 0.0 if recipe.optimizer == "sgd" else 0.9 if recipe.momentum is None else recipe.momentum
    return torch.optim.SGD([theta], momentum=momentum, nesterov=recipe.optimizer == "nesterov", fused=fused, **common)


def all_finite(losses: Tensor, norms: Tensor) -> bool:
    """Whether every replica's loss and gradient norm is finite: one number is read from the device."""
    return math.isfinite(float((losses + norms).sum()))
