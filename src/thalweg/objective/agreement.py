"""L is one function however it is called: what a model needs for that is found out once, or it is refused.

Code of a user's may look at more than the values of its parameters: whether they require gradients, whether gradients
are on, whether two tensors are the same object; it may keep parameters in lists of its own, evaluate parts again in the
backward pass, or compute with another model than the one it is given. So the ways of evaluation that this package uses
(parameters put in for a moment, many at once, without gradients) are compared with the plain one on a few samples: a
copy of the module that holds θ, differentiated by ordinary autograd, at a θ that is not the model's own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import batches as data_batches
from thalweg.objective import containers, copying, differentiable
from thalweg.objective.derivatives import Evaluation
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.program import Needs, Program, check_scalar, nodes

if TYPE_CHECKING:
    from thalweg.objective.assembly import Assembly

__all__ = ["Plain", "moved", "needs", "probe", "settle"]

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

    def loss(self, theta: Tensor) -> tuple[Tensor, nn.Module]:
        """L (with its graph) at θ (P,), and the copy that holds it."""
        program, model = self.program, copying.copied(self.program.model)
        own = dict(model.named_parameters())
        for name, value in self.layout.unravel(theta).items():
            own[name].data = value.clone()
        with torch.inference_mode(False), torch.enable_grad(), program.surroundings(), _same_numbers(theta.device):
            batch = containers.fresh(self.batch)
            if program.on_batch:
                return program.loss(model, batch), model
            args, kwargs = containers.arguments(batch[0])
            return program.loss(model(*args, **kwargs), batch[1]), model

    def value(self, theta: Tensor) -> float:
        """L at θ (P,)."""
        return float(self.loss(theta)[0].detach())

    def gradients(self, loss: Tensor, model: nn.Module, *, create_graph: bool = False) -> dict[str, Tensor | None]:
        """∂L/∂parameter by name; None for a parameter that the loss was not computed from."""
        own = dict(model.named_parameters())
        if not loss.requires_grad:
            return dict.fromkeys(self.layout.names)
        with self.program.surroundings(twice=create_graph), differentiable.naming_refusals():
            found = torch.autograd.grad(
                loss, [own[name] for name in self.layout.names], create_graph=create_graph, allow_unused=True
            )
        return dict(zip(self.layout.names, found, strict=True))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """L and ∇L at θ: scalar, (P,)."""
        loss, model = self.loss(theta)
        parts = self.gradients(loss, model)
        return loss.detach(), self.flat(parts)

    def flat(self, parts: Mapping[str, Tensor | None]) -> Tensor:
        """Joins gradients by name; zeros for None."""
        shapes = zip(self.layout.names, self.layout.shapes, strict=True)
        like = next(iter(self.program.model.parameters()))
        full = {name: like.new_zeros(shape) if parts[name] is None else parts[name] for name, shape in shapes}
        return self.layout.ravel({name: value for name, value in full.items() if value is not None}).detach()


def settle(objective: Assembly, given: nn.Module) -> None:
    """Finds out how the objective must be evaluated so that it is what plain PyTorch computes.

    Args:
        objective: Gets its `needs`.
        given: The model that the user handed over, whose parameters must not be in use.

    Raises:
        InputError: L does not depend on θ, is computed from parameters of the model that was given instead of those of
            its copy, or cannot be evaluated as plain PyTorch does; with both numbers.
    """
    objective.__dict__.pop("program", None)  # models may keep what they computed: one that has not been evaluated
    plain = Plain(objective.program, objective.layout, probe(objective))
    theta = objective.theta
    other = moved(plain, theta)
    loss, model = plain.loss(other)
    check_scalar(loss)
    objective.needs = replace(objective.needs, mutates=_writes(objective.program.model, model))
    _foreign(objective, plain, loss, model, given)
    parts = plain.gradients(loss, model)
    _depends(objective, plain, parts, loss, theta)
    objective.needs = needs(objective, plain, torch.stack([theta, other]), loss.detach(), plain.flat(parts))
    objective.__dict__.pop("program", None)


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


def needs(objective: Assembly, plain: Plain, theta: Tensor, loss: Tensor, gradient: Tensor) -> Needs:
    """The least that makes evaluations agree with plain ones.

    Args:
        objective: Builds the programs that are tried, and has the needs that are known.
        plain: The plain evaluation.
        theta: Two θ, (2, P).
        loss: The plain loss at the second one.
        gradient: And its gradient, (P,).

    Raises:
        InputError: Nothing does.
    """
    known, right = objective.needs, (loss, gradient)
    said = ""
    for more in ({}, {"graded": True}, {"held": True}, {"held": True, "graded": True}):
        tried = replace(known, **more)
        values, slopes, error = _one(objective, tried, plain, theta[1:])
        if error is None and _same(values, right[0], 0) and _same(slopes, right[1], 1):
            break
        said = said or _difference(values, slopes, error, right)
    else:
        raise InputError(
            "model and loss must give with parameters that are put in for theta what they give in a copy of the model "
            f"that has them, found {said}: something computes with other parameters (a forward pass or hook that closes "
            "over the original model, a table kept from an earlier forward pass)"
        )
    if tried.vectorized and not tried.held and not _two(objective, tried, plain, theta, right):
        tried = replace(tried, vectorized=False)
    if tried != known:
        log.debug("evaluated with %s", tried)
    return tried


def _evaluation(objective: Assembly, tried: Needs, plain: Plain) -> Evaluation:
    changed = objective._changed(needs=tried)
    batches = data_batches.Batches((plain.batch,), (1,), False, None, lambda _: 1, lambda batch: batch)
    return Evaluation(changed.program, objective.layout, batches, 0.0, 64, 2**40, lambda _: {})


def _one(
    objective: Assembly, tried: Needs, plain: Plain, theta: Tensor
) -> tuple[list[Tensor], list[Tensor], Exception | None]:
    """Values without and with derivatives, and the gradient, at one θ (1, P)."""
    values, slopes = [], []
    try:
        evaluation = _evaluation(objective, tried, plain)
        with _same_numbers(theta.device):
            value, slope = evaluation.value_and_gradient(theta)
        values.append(value[0])
        slopes.append(slope[0])
        with _same_numbers(theta.device):
            values.append(evaluation.value(theta)[0])
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises where plain PyTorch does not
        return values, slopes, error
    return values, slopes, None


def _two(objective: Assembly, tried: Needs, plain: Plain, theta: Tensor, right: tuple[Tensor, Tensor]) -> bool:
    """Whether two θ at once (2, P) give what the second gives alone."""
    try:
        evaluation = _evaluation(objective, tried, plain)
        with _same_numbers(theta.device):
            values, slopes = evaluation.value_and_gradient(theta)
        with _same_numbers(theta.device):
            again = evaluation.value(theta)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises under vmap
        log.info("replicas are evaluated in a loop: together they give %s", differentiable.first_line(error))
        return False
    if _same([values[1], again[1]], right[0], 0) and _same([slopes[1]], right[1], 1):
        return True
    log.info(
        "replicas are evaluated in a loop: together they give %s",
        _difference([values[1], again[1]], [slopes[1]], None, right),
    )
    return False


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
    return differentiable.first_line(error) if error is not None else "no difference"


def _writes(before: nn.Module, after: nn.Module) -> bool:
    """Whether the forward pass of a copy wrote into its buffers."""
    old = dict(before.named_buffers())
    return any(
        name in old and old[name].shape == value.shape and not _equal(old[name], value)
        for name, value in after.named_buffers()
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or (a.is_floating_point() and torch.equal(a.nan_to_num(), b.nan_to_num()))


def _foreign(objective: Assembly, plain: Plain, loss: Tensor, model: nn.Module, given: nn.Module) -> None:
    """Parameters in the graph of the loss that the copy does not have: those of the original, or of the loss."""
    own = {id(one) for one in (*model.parameters(), *plain.program.model.parameters())}
    variables = {id(node.variable): node.variable for node in nodes(loss) if hasattr(node, "variable")}
    strangers = {key: one for key, one in variables.items() if isinstance(one, nn.Parameter) and key not in own}
    if not strangers:
        return
    originals = {id(one): name for name, one in copying.plain(given).named_parameters()}
    captured = [originals[key] for key in strangers if key in originals]
    if captured:
        raise InputError(
            "model and loss must compute with the parameters that they are given, "
            f"found {_names(captured)} of the original model in use: a closure or hook evaluates the model that was "
            "handed over instead of its argument, so that L does not depend on theta there"
        )
    inside = plain.program.loss if isinstance(plain.program.loss, nn.Module) else nn.Module()
    known = {id(one): f"loss.{name}" for name, one in inside.named_parameters()}
    names = [known.get(key, f"one of shape {tuple(one.shape)}") for key, one in strangers.items()]
    count = sum(one.numel() for one in strangers.values())
    log.warning(
        "theta has the %d parameters of the model; %d more in %s, which the loss is computed from, are left out and "
        "stay constant: make them part of the model to have them in theta",
        objective.layout.size,
        count,
        _names(names),
    )


def _depends(
    objective: Assembly, plain: Plain, parts: Mapping[str, Tensor | None], loss: Tensor, theta: Tensor
) -> None:
    """Refuses a loss in which no parameter, or none of those that were chosen, takes part; names single ones."""
    absent = [name for name, part in parts.items() if part is None]
    cause = (
        "a closure that evaluates another model than its argument, a forward pass that was replaced by one of the "
        "original model, or outputs kept from an earlier forward pass"
    )
    if len(absent) == len(parts):
        same = plain.value(theta) == float(loss.detach())
        if same:
            raise InputError(f"loss must depend on theta, found the same L with other {_names(absent)}: likely {cause}")
        return  # it depends on theta without a derivative: `slope` names that
    for glob in objective.globs:
        chosen = objective.layout.only(glob).names
        if glob != "*" and set(chosen) <= set(absent):
            raise InputError(
                f"parameters must be such that the loss depends on them, found '{glob}', of which {_names(chosen)} "
                f"take no part in it: likely {cause}"
            )
    if absent:
        count = sum(objective.layout.slices[name].stop - objective.layout.slices[name].start for name in absent)
        log.warning(
            "L does not depend on %d of the %d parameters of theta (%s): its derivatives are zero there; choose the "
            "others with parameters=",
            count,
            objective.layout.size,
            _names(absent),
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


@contextmanager
def _same_numbers(device: torch.device) -> Iterator[None]:
    """The same random numbers inside, whatever was drawn before; the generators outside stay as they are."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield
