"""The state of a training as a recording has kept it: taken up only if it is one, else refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.runs import Recording
from thalweg.training.recipe import Recipe
from thalweg.training.stack import make_optimizer

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "first_rows", "reading"]

_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Whatever goes wrong with a state that was read is a sentence that names its place.

    Raises:
        InputError: In place of the errors of code that meets something else than it has written.
    """
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise _corrupt(place, f"it does not fit this training ({type(error).__name__}: {error})"[:300]) from error


def first_rows(recording: Recording, replicas: int) -> pl.DataFrame:
    """What was recorded of the first step, a row for every replica with its loss and the norm of its gradient.

    Raises:
        InputError: It was not.
    """
    rows = recording.metrics
    rows = rows.filter(rows["step"] == 0).sort("replica")
    for name in ("loss", "grad_norm"):
        if len(rows) != replicas or name not in rows.columns or rows[name].has_nulls():
            raise InputError(
                f"the metrics beside {recording.place} are corrupt: they must hold '{name}' of {replicas} replicas "
                "at step 0"
            )
    return rows


def check(
    state: Mapping[str, Tensor], meta: Mapping[str, Any], fresh: Mapping[str, Tensor], recipe: Recipe, place: str
) -> None:
    """Look whether a state is one that this training could have kept.

    Args:
        state: As it was read.
        meta: Likewise.
        fresh: The state before the first step, without the optimiser's part.
        recipe: How the replicas are trained.
        place: What holds the state, for the message.

    Raises:
        InputError: It is not; the message says what was expected and what was found.
    """
    for name, own in fresh.items():
        if name not in state:
            raise _corrupt(place, f"it holds no '{name}'")
        found = state[name]
        if found.dtype != own.dtype or (found.shape != own.shape and name != "alive"):
            was = f"{tuple(found.shape)} of {found.dtype}"
            raise _corrupt(place, f"'{name}' must be {tuple(own.shape)} of {own.dtype}, found {was}")
    step, total, status = meta.get("step"), meta.get("total"), meta.get("status")
    if type(step) is not int or type(total) is not int or not 0 <= step <= total:
        raise _corrupt(place, f"the step must be one of {total!r}, found {step!r}")
    _check_replicas(state["alive"], status, len(fresh["alive"]), place)
    if len(state["alive"]):
        _check_optimizer(state, recipe, (len(state["alive"]), *fresh["theta"].shape[1:]), step, place)


def _check_replicas(alive: Tensor, status: object, replicas: int, place: str) -> None:
    """Those that still train are those that are said to."""
    if not isinstance(status, list) or len(status) != replicas or not all(map(_is_status, status)):
        raise _corrupt(place, f"it must say what became of each of {replicas} replicas, found {status!r}"[:300])
    going = [r for r, entry in enumerate(status) if entry["status"] == "running"]
    closed = not going  # of a finished recording all have come to an end
    if alive.dim() != 1 or not (closed or alive.tolist() == going):
        raise _corrupt(place, f"replicas {going} are said to train, found {alive.tolist()}"[:300])
    if closed and not set(alive.tolist()) <= set(range(replicas)):
        raise _corrupt(place, f"it knows no such replicas: {alive.tolist()}"[:300])


def _is_status(entry: object) -> bool:
    kinds = {"status": str, "step": int, "message": str}
    return isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())


def _check_optimizer(
    state: Mapping[str, Tensor], recipe: Recipe, shape: tuple[int, ...], step: int, place: str
) -> None:
    found = {name: value for name, value in state.items() if name.startswith("optimizer/")}
    expected = _optimizer_state(recipe)
    if not found and step == 0:
        return
    if found.keys() != expected.keys():
        raise _corrupt(place, f"it must hold {sorted(expected)} of the optimiser, found {sorted(found)}")
    for name, value in found.items():
        wanted = shape if expected[name] else ()
        if tuple(value.shape) != wanted or not value.is_floating_point():
            raise _corrupt(place, f"'{name}' must be {wanted} of floats, found {tuple(value.shape)} of {value.dtype}")


def _optimizer_state(recipe: Recipe) -> dict[str, bool]:
    """What the recipe's optimiser keeps after a step, by name: whether it is as large as θ, else one number."""
    tiny = torch.zeros(1, 1)
    optimizer = make_optimizer(recipe, tiny)
    tiny.grad = torch.zeros(1, 1)
    optimizer.step()
    kept = optimizer.state[tiny].items()
    return {f"optimizer/{name}": value.dim() == 2 for name, value in kept if isinstance(value, Tensor)}


def _corrupt(place: str, reason: str) -> InputError:
    return InputError(f"{place} is corrupt: {reason}")
