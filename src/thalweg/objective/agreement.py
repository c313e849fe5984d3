"""L is one function however it is called: what a model needs for that is found out once, or it is refused.

Code of a user's may look at more than the values of its parameters: whether they require gradients, whether gradients
are on, whether two tensors are the same object; it may keep parameters in lists of its own, evaluate parts again in the
backward pass, or compute with another model than the one it is given. So the ways of evaluation that this package uses
(parameters put in for a moment, many at once, without gradients) are compared with the plain one on a few samples: a
copy of the module that holds θ, differentiated by ordinary autograd, at a θ that is not the model's own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, first_line
from thalweg.objective import batches as data_batches
from thalweg.objective import dependence, tensors
from thalweg.objective.assembly import Assembly
from thalweg.objective.derivatives import Evaluation
from thalweg.objective.graph import lowest_precision
from thalweg.objective.kernels import observed
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.needs import Needs
from thalweg.objective.plain import Plain, moved, probe, remember, same_numbers, written
from thalweg.objective.planning import VALUE
from thalweg.objective.program import Program
from thalweg.objective.scalars import check_scalar
from thalweg.objective.swapping import state

__all__ = ["Way", "needs", "settle"]

log = logging.getLogger("thalweg")
# Relative differences that rounding can make: of a value, of a gradient (vmap and a loop add up in other orders).
TOLERANCE = {
    torch.float32: (1e-4, 1e-2),
    torch.float64: (1e-10, 1e-7),
    torch.bfloat16: (5e-2, 0.3),
    torch.float16: (1e-2, 0.1),
}


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

        return Evaluation(self.build(needs), self.layout, batches, 0.0, 64, 2**40, lambda: 0, own)


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

    theta, looks = objective.theta, []
    before = state(objective.program.loss)
    batch, first = probe(objective)
    plain = Plain(objective.program, objective.layout, batch)
    again, copy = first or dependence.on_a_copy_at_all(plain, theta, given)

    def look(at: Tensor) -> Tensor:
        looks.append((at, observed(lambda: plain.loss(at))))
        return looks[-1][1][0][0]

    other = moved(plain, theta, look)
    remember(objective, plain.batch, other)
    at, found = looks[-1] if looks else (None, None)
    (loss, model), seen = found if at is other and found else observed(lambda: plain.loss(other))
    check_scalar(loss)
    counted = [name for name, value in state(plain.program.loss).items() if before.get(name) != value]
    if counted:
        log.warning("the loss keeps '%s', which every evaluation changes: L may be another at every call", counted[0])
    mutates = bool(written(plain.program.model, model))
    known = {"mutates": mutates, "exact": seen.needs_exact, "twice": seen.differentiates, "writes": any(plain.wrote)}
    both = zip(model.modules(), plain.program.model.modules(), strict=False)
    counts = any(state(new) != state(old) for new, old in both)
    objective.needs = replace(objective.needs, counts=counts, **known)
    if seen.needs_exact:
        plain = replace(plain, program=build(objective.needs))
        (loss, model), (again, copy) = plain.loss(other), plain.loss(theta)
    points = tensors.dense_parts(plain.batch)
    dependence.on_theta_alone(objective, plain.program, [(loss, model), (again, copy)], given, points)
    parts, objective.lowest = plain.gradients(loss, model), lowest_precision(loss)

    def moves(names: Sequence[str]) -> bool:
        at = {
            name: value if name in names else here[name] for name, value in objective.layout.parameters(other).items()
        }
        try:
            now, then = plain.value(objective.layout.ravel(at)), float(again.detach())
        except Exception:  # noqa: BLE001 - outside of where the model can be evaluated, which these parameters decide
            return True
        return now != then and not (math.isnan(now) and math.isnan(then))

    here = objective.layout.parameters(theta)
    dependence.on_theta(objective, parts, moves)
    dependence.on_the_copy(objective, plain, again, theta, given)
    way = Way(build, objective.layout, plain.batch, torch.stack([theta, other]))
    objective.needs = needs(way, objective.needs, loss.detach(), plain.flat(parts))
    hooked = any(module._backward_hooks or module._backward_pre_hooks for module in model.modules())
    objective.doubtful = mutates or seen.hooks or seen.differentiates or hooked
    objective.__dict__.pop("program", None)  # one that has not been evaluated: models may keep what they computed


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
    if not tried.vectorized or tried.held or evaluation.plan(2, VALUE).replicas == 1:
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
        with same_numbers(theta.device):
            if len(theta) == 1:  # a table that is kept from an earlier forward pass belongs to another θ
                evaluation.value(before)
        with same_numbers(theta.device):
            value, slope = evaluation.value_and_gradient(theta)
        values.append(value[-1])
        slopes.append(slope[-1])
        with same_numbers(theta.device):
            values.append(evaluation.value(theta)[-1])
        if len(theta) == 1 and evaluation.program.stack is not None:  # checks evaluate the model itself as well
            with torch.no_grad():
                values.append(
                    evaluation.program.loss_alone(evaluation.layout.parameters(theta[0]), evaluation.batches.held[0])
                )
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
