"""What plain PyTorch computes: the loss in a fresh copy of the model that holds θ, on a few samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import containers, copying, samples, tensors
from thalweg.objective.assembly import Assembly
from thalweg.objective.differentiable import naming_refusals
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.program import Program
from thalweg.objective.surroundings import own_numbers

__all__ = ["Plain", "drawn", "few", "looked_at", "moved", "probe", "remember", "same_numbers", "written"]

# Samples that ways of evaluation are compared on, parameters from which on fewer must do, and how many.
SAMPLES, MANY, FEWER = 8, 10**6, 4
_PERIOD = 2**16 + 1  # of drawn directions: as good as more for one look, and much cheaper for a large model


@dataclass(frozen=True)
class Plain:
    """The loss as the user's own code computes it: in a fresh copy of the model that holds θ.

    Args:
        program: Names model and loss; it is not evaluated.
        layout: Places parameters in θ.
        batch: What the loss is evaluated on.
    """

    program: Program
    layout: ParameterLayout
    batch: Any
    wrote: list[bool] = field(default_factory=list)  # whether an evaluation wrote into the tensors of its batch

    def loss(self, theta: Tensor, *, given_away: bool = False) -> tuple[Tensor, nn.Module]:
        """L (with its graph) at θ (P,), and the copy that holds it.

        Args:
            theta: (P,).
            given_away: Whether the copy may have θ itself, which its code may write into, and not a copy of it.
        """
        values = self.layout.parameters(theta.detach() if given_away else theta.detach().clone())
        model = copying.with_parameters(self.program.model, values)
        return self.loss_of(model), model

    def loss_of(self, model: nn.Module) -> Tensor:
        """L (with its graph) of any model, which is evaluated itself."""
        program, device = self.program, next(model.parameters()).device
        surroundings = program.surroundings(twice=True)
        with torch.inference_mode(False), torch.enable_grad(), surroundings, same_numbers(device):
            batch = tensors.cloned(self.batch)
            leaves = tensors.dense_parts(batch)
            before = [leaf._version for leaf in leaves]
            if program.on_batch:
                loss = program.loss(model, batch)
            else:
                args, kwargs = containers.arguments(batch[0])
                loss = program.loss(model(*args, **kwargs), batch[1])
            self.wrote.append([leaf._version for leaf in leaves] != before)
            return loss

    def value(self, theta: Tensor, *, given_away: bool = False) -> float:
        """L at θ (P,); see `loss`."""
        return float(self.loss(theta, given_away=given_away)[0].detach())

    def gradients(self, loss: Tensor, model: nn.Module, *, create_graph: bool = False) -> dict[str, Tensor | None]:
        """∂L/∂parameter by name; None for a parameter that the loss was not computed from."""
        own = dict(model.named_parameters())
        leaves = {name: own[name] for name in self.layout.names if own[name].requires_grad}  # code may switch it off
        out: dict[str, Tensor | None] = dict.fromkeys(self.layout.names)
        if not loss.requires_grad or not leaves:
            return out
        with self.program.surroundings(twice=True), naming_refusals():
            found = torch.autograd.grad(loss, list(leaves.values()), create_graph=create_graph, allow_unused=True)
        return out | dict(zip(leaves, found, strict=True))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """L and ∇L at θ: scalar, (P,)."""
        loss, model = self.loss(theta)
        parts = self.gradients(loss, model)
        return loss.detach(), self.flat(parts)

    def still(self, direction: dict[str, Tensor]) -> dict[str, Tensor]:
        """A direction in which rows of padding stay: they are constant in all derivatives, though L depends on them."""
        for name, module in self.program.model.named_modules():
            weight = f"{name}.weight".lstrip(".")
            padded = module.padding_idx if isinstance(module, nn.Embedding | nn.EmbeddingBag) else None
            if padded is not None and weight in direction:
                direction[weight][padded] = 0
        return direction

    def flat(self, parts: Mapping[str, Tensor | None]) -> Tensor:
        """Joins gradients by name; zeros for None."""
        shapes = zip(self.layout.names, self.layout.shapes, strict=True)
        like = next(iter(self.program.model.parameters()))
        full = {name: like.new_zeros(shape) if parts[name] is None else parts[name] for name, shape in shapes}
        return self.layout.ravel({name: value for name, value in full.items() if value is not None}).detach()


def few(objective: Assembly) -> tuple[Any, Tensor]:
    """Where ways of evaluation are compared: a few samples, and a θ beside the model's own, at which L is finite."""
    if "_few" not in objective.__dict__:
        plain = Plain(objective.program, objective.layout, probe(objective)[0])
        remember(objective, plain.batch, moved(plain, objective.theta))
    known = objective.__dict__["_few"]
    place = tensors.placer(objective.device, objective.dtype)
    return place(known[0]), known[1].to(objective.device, objective.dtype)


def remember(objective: Assembly, batch: Any, theta: Tensor) -> None:
    """Keeps what `few` returns."""
    objective.__dict__["_few"] = batch, theta


def looked_at(objective: Assembly, samples: int) -> int:
    """How many samples to look at: `samples`, and fewer with a large model, where each costs."""
    return samples if objective.layout.size < MANY else FEWER


def probe(objective: Assembly) -> tuple[Any, tuple[Tensor, nn.Module] | None]:
    """A few samples from all over the data; a whole batch where a part of it makes no sense to the loss.

    Returns:
        The samples; and `Plain.loss` of them at the model's own θ, if it is known.
    """
    held, most = objective.batches, looked_at(objective, SAMPLES)
    if held.divisible and held.held:
        count = held.count(held.held[0])
        spread = torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long()
        part = held.take(spread) if held.indexable else held.first(most)
    else:
        part = held.first(most)
        try:
            part = samples.cut(part, slice(0, most)) if (samples.common_length(part) or 0) > most else part
        except InputError:
            return part, None
    try:
        found = Plain(objective.program, objective.layout, part).loss(objective.theta)
        if torch.isfinite(found[0]).all():
            return part, found
    except Exception:  # noqa: BLE001 - a part of a graph, say; the fault of a model shows on the whole batch as well
        pass
    return held.first(64), None


def moved(plain: Plain, theta: Tensor, look: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """A θ that is not the model's own, at which L is finite, if there is one near: every parameter moves by a fifth.

    Args:
        plain: Evaluates L.
        theta: The model's own, (P,).
        look: Evaluates L in place of `plain`, for its own purposes as well.
    """
    look = look or (lambda other: plain.loss(other)[0])
    step = drawn(theta)
    for value, part in zip(plain.layout.unravel(theta).values(), plain.layout.unravel(step).values(), strict=True):
        if value.numel():
            part *= (torch.linalg.vector_norm(value) / math.sqrt(value.numel())).clamp(min=1e-2)
    for share in (0.2, 0.02, 0.002):
        other = theta + share * step
        try:
            if bool(torch.isfinite(look(other)).all()):
                return other
        except Exception:  # noqa: BLE001 - outside of where the model can be evaluated (a Cholesky factor, say)
            continue
    return theta.clone()


def drawn(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A normally distributed tensor like another, which repeats itself where that is large."""
    size = min(like.numel(), _PERIOD)
    some = torch.randn(size, generator=generator or torch.Generator().manual_seed(0), dtype=torch.float64).to(like)
    return some.repeat(-(-like.numel() // max(1, size)))[: like.numel()].reshape(like.shape)


def written(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """The buffers that the forward pass of a copy wrote into, as they were before it."""
    old = dict(before.named_buffers())
    return {
        name: old[name]
        for name, value in after.named_buffers()
        if name in old and old[name].shape == value.shape and not _equal(old[name], value)
    }


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or (a.is_floating_point() and torch.equal(a.nan_to_num(), b.nan_to_num()))


@contextmanager
def same_numbers(device: torch.device) -> Iterator[None]:
    """The same random numbers inside, whatever was drawn before; the generators outside stay as they are."""
    with own_numbers([device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.manual_seed(0)
        torch.default_generator.manual_seed(0)
        yield
