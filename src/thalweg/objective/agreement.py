"""L is one function however it is called: what a model needs for that is found out once, or it is refused.

Code of a user's may look at more than the values of its parameters: whether they require gradients, whether gradients
are on, whether two tensors are the same object; it may keep parameters in lists of its own, evaluate parts again in the
backward pass, or compute with another model than the one it is given. So the ways of evaluation that this package uses
(parameters put in for a moment, many at once, without gradients) are compared with the plain one on a few samples: a
copy of the module that holds θ, differentiated by ordinary autograd, at a θ that is not the model's own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, first_line
from thalweg.objective import batches as data_batches
from thalweg.objective import containers, copying, dependence, differentiable, tensors
from thalweg.objective.derivatives import Evaluation
from thalweg.objective.kernels import observed
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.program import Needs, Program
from thalweg.objective.scalars import check_scalar

if TYPE_CHECKING:
    from thalweg.objective.assembly import Assembly

__all__ = ["Plain", "Way", "few", "moved", "needs", "settle", "written"]

log = logging.getLogger("thalweg")
SAMPLES = 8
# Relative differences that rounding can make: of a value, of a gradient (vmap and a loop add up in other orders).
TOLERANCE = {torch.float32: (1e-4, 1e-2), torch.float64: (1e-10, 1e-7)}


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

    def loss(self, theta: Tensor) -> tuple[Tensor, nn.Module]:
        """L (with its graph) at θ (P,), and the copy that holds it."""
        model = copying.copied(self.program.model)
        own = dict(model.named_parameters())
        for name, value in self.layout.unravel(theta).items():
            own[name].data = value.clone()
        return self.loss_of(model), model

    def loss_of(self, model: nn.Module) -> Tensor:
        """L (with its graph) of any model, which is evaluated itself."""
        program, device = self.program, next(model.parameters()).device
        surroundings = program.surroundings(twice=True)
        with torch.inference_mode(False), torch.enable_grad(), surroundings, _same_numbers(device):
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

    def value(self, theta: Tensor) -> float:
        """L at θ (P,)."""
        return float(self.loss(theta)[0].detach())

    def gradients(self, loss: Tensor, model: nn.Module, *, create_graph: bool = False) -> dict[str, Tensor | None]:
        """∂L/∂parameter by name; None for a parameter that the loss was not computed from."""
        own = dict(model.named_parameters())
        leaves = {name: own[name] for name in self.layout.names if own[name].requires_grad}  # code may switch it off
        out: dict[str, Tensor | None] = dict.fromkeys(self.layout.names)
        if not loss.requires_grad or not leaves:
            return out
        with self.program.surroundings(twice=True), differentiable.naming_refusals():
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


@dataclass(frozen=True)
class Way:
    """How a model may be evaluated: what builds its programs, and where the ways are compared.

    Args:
        build: Makes a program that nothing has evaluated.
        layout: Places parameters in θ.
        batch: A few samples.
        theta: Two θ, (2, P): the model's own and another.
        buffers: What the forward pass writes into where that is meant to stay (a training), name -> (*shape).
    """

    build: Callable[[Needs], Program]
    layout: ParameterLayout
    batch: Any
    theta: Tensor
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def evaluation(self, needs: Needs) -> Evaluation:
        """The pieces of all derivatives, on the few samples."""
        batches = data_batches.Batches((self.batch,), (1,), False, None, lambda _: 1, lambda batch: batch)

        def own(theta: Tensor) -> dict[str, Tensor]:
            return {name: value.expand(len(theta), *value.shape).clone() for name, value in self.buffers.items()}

        return Evaluation(self.build(needs), self.layout, batches, 0.0, 64, 2**40, own)


def settle(objective: Assembly, given: nn.Module) -> None:
    """Finds out how the objective must be evaluated so that it is what plain PyTorch computes.

    Args:
        objective: Gets its `needs`, and `doubtful`: whether its second derivatives are to be looked at closely.
        given: The model that the user handed over, whose parameters must not be in use.

    Raises:
        InputError: L does not depend on θ, is computed from parameters of the model that was given instead of those of
            its copy, or cannot be evaluated as plain PyTorch does; with both numbers.
    """

    def build(tried: Needs) -> Program:
        return objective._changed(needs=tried).program

    batch, other = few(objective)
    plain, theta = Plain(build(objective.needs), objective.layout, batch), objective.theta
    (loss, model), seen = observed(lambda: plain.loss(other))
    check_scalar(loss)
    mutates = bool(written(plain.program.model, model))
    found = {"mutates": mutates, "exact": seen.needs_exact, "twice": seen.differentiates, "writes": any(plain.wrote)}
    objective.needs = replace(objective.needs, **found)
    if seen.needs_exact:
        plain = replace(plain, program=build(objective.needs))
        loss, model = plain.loss(other)
    again, copy = plain.loss(theta)
    dependence.on_theta_alone(objective, plain.program, [(loss, model), (again, copy)], given)
    parts = plain.gradients(loss, model)
    dependence.on_theta(objective, parts, float(again.detach()) == float(loss.detach()))
    dependence.on_the_copy(objective, plain, again, given)
    way = Way(build, objective.layout, plain.batch, torch.stack([theta, other]))
    objective.needs = needs(way, objective.needs, loss.detach(), plain.flat(parts))
    hooked = any(module._backward_hooks or module._backward_pre_hooks for module in model.modules())
    objective.doubtful = mutates or seen.hooks or seen.differentiates or hooked
    objective.__dict__.pop("program", None)  # one that has not been evaluated: models may keep what they computed


def few(objective: Assembly) -> tuple[Any, Tensor]:
    """Where ways of evaluation are compared: a few samples, and a θ beside the model's own, at which L is finite."""
    known = objective.__dict__.get("_few")
    if known is None:
        batch = probe(objective)
        known = batch, moved(Plain(objective.program, objective.layout, batch), objective.theta)
        objective.__dict__["_few"] = known
    place = tensors.placer(objective.device, objective.dtype)
    return place(known[0]), known[1].to(objective.device, objective.dtype)


def probe(objective: Assembly) -> Any:
    """A few samples from all over the data; a whole batch where a part of it makes no sense to the loss."""
    held = objective.batches
    if held.divisible and held.held:
        count = held.count(held.held[0])
        spread = torch.linspace(0, count - 1, min(SAMPLES, count), dtype=torch.float64).round().long()
        part = held.take(spread) if held.indexable else held.first(SAMPLES)
    else:
        part = held.first(SAMPLES)
        try:
            part = data_batches.cut(part, slice(0, SAMPLES)) if data_batches.sample_count(part) > SAMPLES else part
        except InputError:
            return part
    try:
        if torch.isfinite(Plain(objective.program, objective.layout, part).loss(objective.theta)[0]).all():
            return part
    except Exception:  # noqa: BLE001 - a part of a graph, say; the fault of a model shows on the whole batch as well
        pass
    return held.first(64)


def moved(plain: Plain, theta: Tensor) -> Tensor:
    """A θ that is not the model's own, at which L is finite, if there is one near: every parameter moves by a fifth."""
    drawn = torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    parts = plain.layout.unravel(theta)
    sizes = [value.square().mean().sqrt().clamp(min=1e-2) if value.numel() else value.sum() for value in parts.values()]
    scale = torch.cat([size.expand(value.numel()) for size, value in zip(sizes, parts.values(), strict=True)])
    for share in (0.2, 0.02, 0.002):
        other = theta + share * scale * drawn
        try:
            if bool(torch.isfinite(plain.loss(other)[0]).all()):
                return other
        except RuntimeError:  # outside of where the model can be evaluated (a Cholesky factor, say)
            continue
    return theta.clone()


def needs(way: Way, known: Needs, loss: Tensor, gradient: Tensor) -> Needs:
    """The least that makes evaluations agree with plain ones.

    Args:
        way: What is tried.
        known: The needs that are known.
        loss: The plain loss at the second θ.
        gradient: And its gradient, (P,).

    Raises:
        InputError: Nothing does.
    """
    right = loss, gradient
    said = ""
    for more in ({}, {"graded": True}, {"held": True}, {"held": True, "graded": True}):
        tried = replace(known, **more)
        evaluation = way.evaluation(tried)
        values, slopes, error = _tried(evaluation, way.theta[:1], way.theta[1:])
        if error is None and _same(values, loss, 0) and _same(slopes, gradient, 1):
            break
        said = said or _difference(values, slopes, error, right)
    else:
        raise InputError(
            "model and loss must give with parameters that are put in for theta what they give in a copy of the model "
            f"that has them, found {said}: something computes with other parameters (a forward pass or hook that "
            "closes over the original model, a table kept from an earlier forward pass)"
        )
    if not tried.vectorized or tried.held:
        return replace(tried, vectorized=False)
    values, slopes, error = _tried(evaluation, way.theta[:1], way.theta)
    if error is None and _same(values, loss, 0) and _same(slopes, gradient, 1):
        return tried
    log.info("replicas are evaluated in a loop: together they give %s", _difference(values, slopes, error, right))
    return replace(tried, vectorized=False)


def _tried(
    evaluation: Evaluation, before: Tensor, theta: Tensor
) -> tuple[list[Tensor], list[Tensor], Exception | None]:
    """Values with and without derivatives, and the gradient, at the last of some θ (B, P)."""
    values: list[Tensor] = []
    slopes: list[Tensor] = []
    try:
        with _same_numbers(theta.device):
            if len(theta) == 1:  # a table that is kept from an earlier forward pass belongs to another θ
                evaluation.value(before)
        with _same_numbers(theta.device):
            value, slope = evaluation.value_and_gradient(theta)
        values.append(value[-1])
        slopes.append(slope[-1])
        with _same_numbers(theta.device):
            values.append(evaluation.value(theta)[-1])
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises where plain PyTorch does not
        return values, slopes, error
    return values, slopes, None


def _same(found: Sequence[Tensor], right: Tensor, kind: int) -> bool:
    tolerance = TOLERANCE[right.dtype][kind]
    if not bool(torch.isfinite(right).all()):
        return True
    scale = float(torch.linalg.vector_norm(right))
    return all(float(torch.linalg.vector_norm(one - right)) <= tolerance * scale + 1e-300 for one in found)


def _difference(
    values: Sequence[Tensor], slopes: Sequence[Tensor], error: Exception | None, right: tuple[Tensor, Tensor]
) -> str:
    """What two evaluations disagree in, with both numbers."""
    for value in values:
        if not _same([value], right[0], 0):
            return f"L = {float(value):.8g} and {float(right[0]):.8g}"
    for slope in slopes:
        if not _same([slope], right[1], 1):
            share = float(torch.linalg.vector_norm(slope - right[1]) / torch.linalg.vector_norm(right[1]))
            norms = float(torch.linalg.vector_norm(slope)), float(torch.linalg.vector_norm(right[1]))
            return f"gradients of norm {norms[0]:.6g} and {norms[1]:.6g} that differ by {share:.2g} (relative)"
    return first_line(error) if error is not None else "no difference"


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
def _same_numbers(device: torch.device) -> Iterator[None]:
    """The same random numbers inside, whatever was drawn before; the generators outside stay as they are."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.manual_seed(0)
        torch.default_generator.manual_seed(0)
        yield
