"""Whether L is computed from the θ that is put in, from all of it, and from nothing else that is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, first_line
from thalweg.objective import copying, normalization, tensors
from thalweg.objective.assembly import Assembly
from thalweg.objective.graph import nodes
from thalweg.objective.plain import Plain
from thalweg.objective.program import Program
from thalweg.objective.untouched import untouched

__all__ = ["on_theta", "on_theta_alone"]

log = logging.getLogger("thalweg")
_LEAVING = "a copy of a module, nn.Parameter(…) of one, no_grad, detach, state_dict, .data, NumPy"
_IDENTITY = (
    "something knows parameters or modules by identity, or what a hook of the original keeps; use names, and outputs "
    "of the model"
)


def on_theta_alone(
    objective: Assembly,
    program: Program,
    found: Sequence[tuple[Tensor, nn.Module]],
    given: nn.Module,
    points: Sequence[Tensor],
) -> None:
    """Looks for trained tensors in the graph of a loss that the copy it was computed with does not have.

    Args:
        objective: Whose loss it is.
        program: What was copied.
        found: The loss with its graph, and the copy; several times, as what an evaluation makes anew does not count.
        given: The model that the user handed over.
        points: Tensors of the batch, which may require gradients.

    Raises:
        InputError: They are those of the model that was handed over. Others are named in the log: they stay constant.
    """
    own = {id(one) for model in (program.model, *(copy for _, copy in found)) for one in model.parameters()}
    each = [
        {id(node.variable): node.variable for node in nodes(loss) if hasattr(node, "variable")} for loss, _ in found
    ]
    own |= {id(leaf) for batch in objective.batches.held for leaf in tensors.dense_parts(batch)} | {
        id(x) for x in points
    }
    strangers = {key: one for key, one in each[0].items() if key not in own and all(key in other for other in each)}
    if not strangers:
        return
    originals = {id(one): name for name, one in copying.plain(given).named_parameters()}
    captured = [name for key, name in originals.items() if key in strangers]
    if captured:
        raise InputError(
            "model and loss must compute with the parameters that they are given, "
            f"found {_names(captured)} of the original model in use: a closure or hook evaluates the model that was "
            "handed over instead of its argument, so that L does not depend on theta there"
        )
    inside = program.loss if isinstance(program.loss, nn.Module) else nn.Module()
    known = {id(one): f"loss.{name}" for name, one in inside.named_parameters()}
    names = [known.get(key, f"a tensor of shape {tuple(one.shape)}") for key, one in strangers.items()]
    count = sum(one.numel() for one in strangers.values())
    log.warning(
        "theta has the %d parameters of the model; %d more in %s, which the loss is computed from, are left out and "
        "stay constant: make them part of the model to have them in theta",
        objective.layout.size,
        count,
        _names(names),
    )


def on_theta(objective: Assembly, parts: Mapping[str, Tensor | None], moves: Callable[[Sequence[str]], bool]) -> None:
    """Looks for parameters that the loss is not computed from.

    Args:
        objective: Whose θ it is.
        parts: Gradients by name, None for a parameter that is not in the graph of the loss.
        moves: Whether L is another where the parameters of these names are others.

    Raises:
        InputError: No parameter takes part, or none of those that a glob chose. Single ones are named in the log.
    """
    absent = [name for name, part in parts.items() if part is None]
    cause = (
        "a closure that evaluates another model than its argument, a forward pass that was replaced by one of the "
        "original model, or outputs kept from an earlier forward pass"
    )
    if len(absent) == len(parts):
        if not moves(absent):
            raise InputError(f"loss must depend on theta, found the same L with other {_names(absent)}: likely {cause}")
        raise InputError(
            "loss must have a gradient in theta, found another L with other parameters and no derivative: something "
            f"between them leaves the graph ({_LEAVING})"
        )
    for glob in objective.globs:
        chosen = objective.layout.only(glob).names
        if glob != "*" and set(chosen) <= set(absent):
            if moves(chosen):
                raise InputError(
                    f"parameters must be such that the loss has a gradient in them, found '{glob}': L is another with "
                    f"other {_names(chosen)}, but something between them leaves the graph ({_LEAVING})"
                )
            raise InputError(
                f"parameters must be such that the loss depends on them, found '{glob}', of which {_names(chosen)} "
                f"take no part in it: likely {cause}"
            )
    if not absent:
        return
    unseen = [name for name in absent if moves([name])] if moves(absent) else []
    constant = (
        "L does not depend on %d of the %d parameters of theta (%s): its derivatives are zero there; choose the others "
        "with parameters="
    )
    hidden = (
        "L depends on %d of the %d parameters of theta (%s) in a way that autograd does not see, as something between "
        f"them leaves the graph ({_LEAVING}): its gradient is zero there, though L is not constant"
    )
    for what, names in ((constant, [name for name in absent if name not in unseen]), (hidden, unseen)):
        if names:
            count = sum(objective.layout.slices[name].stop - objective.layout.slices[name].start for name in names)
            log.warning(what, count, objective.layout.size, _names(names))


def on_a_copy_at_all(plain: Plain, theta: Tensor, given: nn.Module) -> tuple[Tensor, nn.Module]:
    """Returns L (with its graph) at θ (P,), and the copy that holds it.

    Raises:
        InputError: The loss can be computed with the model itself, but not with a copy of it.
    """
    try:
        return plain.loss(theta)
    except Exception as error:
        try:
            with untouched(given):
                plain.loss_of(given)
        except Exception:  # noqa: BLE001 - a fault of the model, then, which is raised as it is
            raise error from None
        raise InputError(
            "loss must work with a copy of the model as with the model itself, "
            f"found {type(error).__name__} ({first_line(error)}): {_IDENTITY}"
        ) from error


def on_the_copy(objective: Assembly, plain: Plain, value: Tensor, theta: Tensor, given: nn.Module) -> None:
    """Compares the loss with a copy of the model with that of the model itself, which stays as it is.

    A loss may know parameters by identity (a set of those that decay, say) or look at what a hook of the original
    keeps: it finds none of that in a copy.

    Args:
        objective: Whose loss it is.
        plain: The evaluation of a copy.
        value: What that gave at the model's own θ.
        theta: That θ, (P,).
        given: The model that the user handed over.

    Raises:
        InputError: They differ.
    """
    first = next(iter(given.parameters()))
    changed = normalization.layers(given) or (first.dtype, first.device) != (objective.dtype, objective.device)
    if changed or objective.needs.mutates:
        return
    try:
        with untouched(given):
            here = plain.loss_of(given)
    except Exception:  # noqa: BLE001 - compiled, or on its own terms in another way: nothing to compare with
        return
    right, found = float(here.detach()), float(value.detach())
    if abs(found - right) > (1e-4 if objective.dtype == torch.float32 else 1e-9) * abs(right):
        again = plain.value(theta)
        if again != found:
            raise InputError(
                f"the objective must be deterministic, found {found:.8g} and {again:.8g} at the same theta: the model "
                "or the loss is stochastic, or counts its calls"
            )
        raise InputError(
            "loss must give with a copy of the model what it gives with the model itself, "
            f"found {found:.8g} and {right:.8g}: {_IDENTITY}"
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name if " " in name else f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
