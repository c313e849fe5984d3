"""What a recording holds of a model, decided once; and whether anything else of the model has begun to train.

Layers are thawed, added, replaced and tied while a loop runs. Recorded snapshots have one length, so that what θ holds
cannot follow; but weights that move must never be missing unseen. Parameters outside θ are therefore watched: by what
requires a gradient at every step, and by their numbers at every snapshot (what an average or a clipping moves requires
none).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.layout import ParameterLayout

__all__ = ["Coverage", "UncoveredError"]

SHOWN = 3  # names in a message
WORD = 8  # bytes
BLOCKS = 7


class UncoveredError(InputError):
    """The model has weights that the recording cannot hold."""


@dataclass(frozen=True)
class Mark:
    """What tells the numbers of a tensor from others without a copy of them."""

    shape: tuple[int, ...]
    sums: tuple[int, ...]

    @classmethod
    def of(cls, value: Tensor) -> Mark:
        """Reads a tensor once: sums of its bit patterns, modulo 2⁶⁴, over a few blocks.

        A single change is always seen, several unless their bits cancel. Floating-point sums and norms were 25 times
        slower, and miss what is below their rounding.
        """
        if value.is_meta or isinstance(value, nn.UninitializedParameter):
            return cls((), ())
        plain = torch.view_as_real(value.detach()) if value.is_complex() else value.detach()
        flat = plain.contiguous().view(-1)
        if flat.storage_offset() * flat.element_size() % WORD:
            flat = flat.clone()
        raw = flat.view(torch.uint8)
        whole = len(raw) // WORD * WORD
        words = torch.tensor_split(raw[:whole].view(torch.int64), BLOCKS)
        return cls(tuple(value.shape), tuple(int(part.sum()) for part in (*words, raw[whole:])))


@dataclass(frozen=True)
class Coverage:
    """The parameters that make up θ, and those that do not.

    Args:
        layout: θ.
        shared: Other names of parameters in θ, which are tied -> the name in θ.
        outside: Every other parameter: name -> its numbers when the recording began.
    """

    layout: ParameterLayout
    shared: dict[str, str]
    outside: dict[str, Mark]

    @classmethod
    def of(cls, model: nn.Module, parameters: str | Sequence[str] | None) -> Coverage:
        """Decides what θ holds: what requires a gradient now, or whatever matches the globs, frozen or not.

        Raises:
            InputError: There is no such parameter.
        """
        chosen = "*" if parameters is None else parameters
        layout = ParameterLayout.of(model, chosen, frozen=parameters is not None)
        every = _named(model)
        inside = {id(every[name]): name for name in layout.names}
        shared = {name: inside[id(p)] for name, p in every.items() if id(p) in inside and name not in layout.slices}
        rest = {name: Mark.of(p) for name, p in every.items() if id(p) not in inside}
        return cls(layout, shared, rest)

    def theta(self, model: nn.Module) -> Tensor:
        """The recorded parameters as they are now, (P,), a copy on the CPU."""
        every = _named(model)
        return self.layout.ravel({name: every[name].detach().cpu() for name in self.layout.names})

    def check(self, model: nn.Module, *, numbers: bool) -> None:
        """Compares the model with what θ can hold.

        Args:
            model: As it is now.
            numbers: Whether the numbers outside θ are read as well.

        Raises:
            UncoveredError: Parameters are gone, have another shape, began to train, came, or moved.
        """
        every, layout = _named(model), self.layout
        shapes = dict(zip(layout.names, layout.shapes, strict=True))
        inside = {id(every[name]) for name in layout.names if name in every}
        gone = [name for name in (*layout.names, *self.outside) if name not in every]
        reshaped = [name for name, shape in shapes.items() if name in every and tuple(every[name].shape) != shape]
        other = {name: p for name, p in every.items() if name not in shapes and id(p) not in inside}
        new = [name for name in other if name not in self.outside and name not in self.shared]
        untied = [name for name in other if name in self.shared]
        thawed = [name for name, p in other.items() if name in self.outside and p.requires_grad]
        moved = []
        if numbers:
            still = [name for name in self.outside if name in every and name not in thawed]
            moved = [name for name in still if Mark.of(every[name]) != self.outside[name]]
        found = [
            f"{len(names)} that {what} ({_few(names)}{_count(every, names)})"
            for names, what in (
                (gone, "are gone"),
                (reshaped, "have another shape"),
                (new, "came"),
                (untied, "are no longer tied"),
                (thawed, "began to train"),
                (moved, "moved although frozen"),
            )
            if names
        ]
        if found:
            raise UncoveredError(
                f"model must keep the {len(layout.names)} parameters that are recorded and leave the others as they "
                f"were, found {'; '.join(found)}"
            )


def _named(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False))


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more


def _count(every: dict[str, Tensor], names: list[str]) -> str:
    numbers = sum(every[name].numel() for name in names if name in every)
    return f": {numbers:,} numbers" if numbers else ""
