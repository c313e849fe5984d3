"""What a network holds beside its parameters (running statistics, a temperature, a mask), along a path.

Both ends have buffers of their own, and there the values are exactly those. Between them, what is a real or complex
number is interpolated linearly in t; whole numbers and truth values have no mean and are those of the nearer end (in
the middle those of the first one). Beyond an end they are those of the end: a variance or a temperature that were
continued in a straight line would become negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError, nearest
from thalweg.objective import Objective, normalization

__all__ = ["Ends", "pair", "recomputed"]

Buffers = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Ends:
    """The buffers of the two ends of a path, those of the network itself where none were given.

    Args:
        first: name -> (…, *shape).
        last: The same names.
        statistics: Which of them are running statistics of normalisation layers.
    """

    first: dict[str, Tensor]
    last: dict[str, Tensor]
    statistics: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module, given: Sequence[Buffers | None], lead: torch.Size) -> Ends:
        """Checks what was given, for every pair of the leading axes, and fills in what was not.

        Args:
            model: The network.
            given: The buffers of the two ends, as :func:`pair` returns them.
            lead: The leading axes (…).

        Raises:
            InputError: A name or a shape that the model does not have.
        """
        own = dict(model.named_buffers())
        norms = normalization.layers(model)
        statistics = {f"{name}.running_{kind}".lstrip(".") for name in norms for kind in ("mean", "var")}
        for number, one in enumerate(given):
            for name, value in (one or {}).items():
                _check(number, name, value, own, lead)
        named = statistics.union(*(one or {} for one in given))
        ends = [
            {name: (one or {}).get(name, own[name].expand(lead + own[name].shape)) for name in own if name in named}
            for one in given
        ]
        return cls(ends[0], ends[1], frozenset(statistics))

    def at(self, t: Tensor, how: str, lead: torch.Size, *, statistics: bool = True) -> dict[str, Tensor]:
        """The buffers at positions t of a path: name -> (*t.shape, *shape).

        Args:
            t: (…), or (T, …).
            how: Those of the "first" or the "last" end; anything else interpolates.
            lead: The leading axes (…) of the path.
            statistics: With the running statistics.
        """
        names = [name for name in self.first if statistics or name not in self.statistics]
        out = {}
        for name in names:
            a, b = self.first[name], self.last[name].to(self.first[name].device)
            shape = t.shape + a.shape[len(lead) :]
            share = t.clamp(0, 1).to(a.device).reshape(t.shape + (1,) * (a.dim() - len(lead)))
            if how in ("first", "last"):
                out[name] = (a if how == "first" else b).expand(shape)
            elif a.is_floating_point() or a.is_complex():
                share = share.to(a.real.dtype)
                mixed = torch.where(share == 0, a, (1 - share) * a + share * b)  # an infinity at the other end is not 0
                out[name] = torch.where(share == 1, b, mixed).to(a.dtype)
            else:
                out[name] = torch.where(share <= 0.5, a, b)
        return out

    @property
    def note(self) -> str:
        """A sentence on the buffers that are no statistics; empty if none differ between the ends."""
        differing = [
            name
            for name, value in self.first.items()
            if name not in self.statistics and not torch.equal(value.cpu(), self.last[name].to(value.dtype).cpu())
        ]
        if not differing:
            return ""
        whole = [n for n in differing if not (self.first[n].is_floating_point() or self.first[n].is_complex())]
        some = " where they are whole numbers or truth values" if len(whole) < len(differing) else ""
        said = ["linear between the ends"] * (len(whole) < len(differing))
        said += [f"those of the nearer end{some}"] * bool(whole)
        return f"Buffers that differ between the ends ({', '.join(differing)}) are {' and '.join(said)}."


def pair(buffers: Any) -> tuple[Buffers | None, Buffers | None]:
    """The buffers of two ends.

    Raises:
        InputError: Not two, or one that is neither a mapping of names to tensors nor None.
    """
    if buffers is None:
        return None, None
    if isinstance(buffers, Mapping | Tensor) or not isinstance(buffers, Sequence) or len(buffers) != 2:
        found = f"{len(buffers)} of them" if isinstance(buffers, list | tuple) else type(buffers).__name__
        raise InputError(f"buffers must be two mappings, of the first end and of the last one (or None), found {found}")
    for number, one in enumerate(buffers):
        if one is not None and not isinstance(one, Mapping):
            raise InputError(f"buffers[{number}] must be a mapping of names to tensors, found {type(one).__name__}")
    return buffers[0], buffers[1]


def _check(number: int, name: Any, value: Any, own: Buffers, lead: torch.Size) -> None:
    if name not in own:
        known = ", ".join(own) or "none"
        near = nearest(name, tuple(own)) if isinstance(name, str) else ""
        raise InputError(f"buffers[{number}] must hold buffers of the model ({known}), found '{name}'{near}")
    expected = tuple(lead + own[name].shape)
    if not isinstance(value, Tensor) or tuple(value.shape) != expected:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"buffers[{number}]['{name}'] must be a tensor of shape {expected}, found {found}")


def recomputed(objective: Objective, theta: Tensor, buffers: Buffers, size: int) -> dict[str, Tensor]:
    """The running statistics of the data at every θ, where each θ has buffers of its own besides.

    Args:
        objective: The network and the data.
        theta: (…, P) in its dtype.
        buffers: name -> (…, *shape), those that are no statistics.
        size: Greatest number of samples in a batch.

    Returns:
        name -> (…, *shape) of the statistics alone; nothing for a network without normalisation layers.
    """
    # Every batch has buffers of its own here, in which the layers leave their statistics: no further copy of them.
    program, lead = objective.program, theta.shape[:-1]
    program = replace(program, needs=replace(program.needs, mutates=False))
    if not normalization.layers(program.model):
        return {}
    params = objective.layout.unravel(theta.reshape(-1, objective.size))
    own = dict(program.model.named_buffers())
    flat = {name: value.reshape(-1, *value.shape[len(lead) :]) for name, value in buffers.items()}
    rows = []
    for r in range(lead.numel()):
        one = {name: value[r] for name, value in params.items()}
        beside = own | {name: value[r].to(own[name]) for name, value in flat.items()}

        def forward(fresh: Buffers, batch: Any, one: Buffers = one) -> Tensor:
            return program.loss_one({**one, **fresh}, batch)

        rows.append(normalization.statistics(program.model, forward, beside, objective.batches.chunks(size)))
    return {name: torch.stack([row[name] for row in rows]).reshape(*lead, *rows[0][name].shape) for name in rows[0]}
