"""Whether L is computed from the θ that is put in, from all of it, and from nothing else that is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import copying
from thalweg.objective.graph import nodes
from thalweg.objective.program import Program

if TYPE_CHECKING:
    from thalweg.objective.assembly import Assembly

__all__ = ["on_theta", "on_theta_alone"]

log = logging.getLogger("thalweg")


def on_theta_alone(objective: Assembly, program: Program, loss: Tensor, model: nn.Module, given: nn.Module) -> None:
    """Looks for parameters in the graph of a loss that the copy it was computed with does not have.

    Args:
        objective: Whose loss it is.
        program: What was copied.
        loss: With its graph.
        model: The copy.
        given: The model that the user handed over.

    Raises:
        InputError: They are those of the model that was handed over. Others are named in the log: they stay constant.
    """
    own = {id(one) for one in (*model.parameters(), *program.model.parameters())}
    variables = {id(node.variable): node.variable for node in nodes(loss) if hasattr(node, "variable")}
    strangers = {key: one for key, one in variables.items() if isinstance(one, nn.Parameter) and key not in own}
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
    names = [known.get(key, f"one of shape {tuple(one.shape)}") for key, one in strangers.items()]
    count = sum(one.numel() for one in strangers.values())
    log.warning(
        "theta has the %d parameters of the model; %d more in %s, which the loss is computed from, are left out and "
        "stay constant: make them part of the model to have them in theta",
        objective.layout.size,
        count,
        _names(names),
    )


def on_theta(objective: Assembly, parts: Mapping[str, Tensor | None], same: bool) -> None:
    """Looks for parameters that the loss is not computed from.

    Args:
        objective: Whose θ it is.
        parts: Gradients by name, None for a parameter that is not in the graph of the loss.
        same: Whether L at another θ is the same to the last digit.

    Raises:
        InputError: No parameter takes part, or none of those that a glob chose. Single ones are named in the log.
    """
    absent = [name for name, part in parts.items() if part is None]
    cause = (
        "a closure that evaluates another model than its argument, a forward pass that was replaced by one of the "
        "original model, or outputs kept from an earlier forward pass"
    )
    if len(absent) == len(parts):
        if same:
            raise InputError(f"loss must depend on theta, found the same L with other {_names(absent)}: likely {cause}")
        return  # it depends on θ without a derivative, which `slope` names
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
