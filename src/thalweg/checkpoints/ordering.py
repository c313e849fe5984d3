"""The steps of checkpoints: from what they hold, from their names, or else their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.checkpoints.finding import Source

__all__ = ["Order", "last_number", "name", "ordered"]

STEP = re.compile(
    r"(?:global[-_]?step|steps?|iter(?:ation)?s?)[-_=:]*(\d+)|(?<!\d)(\d+)[-_]?(?:steps?|iters?)(?![-_=:]*\d)"
)
FOLDER = re.compile(r"^checkpoint-(\d+)$")  # as Hugging Face names it: a step
EPOCH = re.compile(r"(?:epochs?|(?<![a-z])ep)[-_=:]*(\d+)")
WHOLE = {"model", "pytorch_model", "weights", "adapter_model", "state_dict", "checkpoint", "last", "consolidated"}
"""Names that say nothing of the step; the folder's name may."""


@dataclass(frozen=True)
class Order:
    """In which order checkpoints come, and at which steps.

    Attributes:
        places: Numbers of the checkpoints, in order.
        steps: Of each, in the same order, ascending.
        source: What the steps are: "step", "epoch", "number" (in the name) or "order".
    """

    places: tuple[int, ...]
    steps: tuple[int, ...]
    source: str


def ordered(sources: Sequence[Source], said: Sequence[tuple[float | None, float | None]]) -> Order:
    """The order of checkpoints: by step, else by epoch, by the last number in their names, or as they were given.

    A kind counts if every checkpoint has it and no two share one; the last number, if nothing else differs in the
    names. A step that runs against the epochs is one within its epoch, and does not count.

    Args:
        sources: Where they are from.
        said: The step and the epoch that each says of itself.

    Example:
        >>> from pathlib import Path
        >>> files = [Source(Path(name), Path(name)) for name in ("step_10.pt", "step_9.pt")]
        >>> ordered(files, [(None, None)] * 2)
        Order(places=(1, 0), steps=(9, 10), source='step')
    """
    texts = [name(source) for source in sources]
    epochs = [_first(epoch, _found(EPOCH, text)) for text, (_, epoch) in zip(texts, said, strict=True)]
    steps = [
        _first(step, _found(STEP, text), _found(FOLDER, text)) for text, (step, _) in zip(texts, said, strict=True)
    ]
    alike = (
        len({re.sub(r"\d+(?=\D*$)", "", text) for text in texts}) == 1
    )  # names that differ by their last number only
    numbers = [last_number(text) if alike else None for text in texts]
    for kind, values in (("step", steps), ("epoch", epochs), ("number", numbers)):
        known = [int(value) for value in values if value is not None]
        if len(known) < len(sources) or len(set(known)) < len(known):
            continue
        places = sorted(range(len(known)), key=lambda place: known[place])
        if kind == "step" and all(epoch is not None for epoch in epochs):
            along = [float(epochs[place] or 0) for place in places]
            if along != sorted(along):
                continue
        return Order(tuple(places), tuple(known[place] for place in places), kind)
    return Order(tuple(range(len(sources))), tuple(range(len(sources))), "order")


def name(source: Source) -> str:
    """The part of a path that may say a step."""
    path = source.path
    stem = path.name if path == source.file.parent else path.name.partition(".")[0] if _plain(path.name) else path.stem
    return (path.parent.name if stem.casefold() in WHOLE else stem).casefold()


def _plain(name: str) -> bool:
    return name.endswith(".index.json")


def _found(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return None if found is None else float(next(filter(None, found.groups())))


def last_number(text: str) -> float | None:
    """The last number in a name, None if there is none (or one that is no step, such as a hash)."""
    numbers = re.findall(r"\d+", text)
    return float(numbers[-1]) if numbers and len(numbers[-1]) < 16 else None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
