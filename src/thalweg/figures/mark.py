"""What every mark has in common."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from thalweg.errors import nearest
from thalweg.figures.record import Record
from thalweg.figures.scales import ColourScale

__all__ = ["STYLES", "SYMBOLS", "Mark"]

STYLES = ("solid", "dashed", "dotted", "dashdot")
SYMBOLS = ("circle", "square", "triangle", "diamond", "cross", "plus", "triangle-down", "star")
NAMED_COLOURS = ("ink", "muted", "accent")


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Mark(Record):
    """What every mark has: its place in the legend, its colour and its axis (see the module)."""

    label: str = ""
    group: str = ""
    colour: int | str | None = None
    side: str = "left"
    opacity: float = 1.0

    @property
    def key(self) -> str:
        """What decides the colour: the group, else the label."""
        return self.group or self.label

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """The numbers it shows as colours, with their scale; None if it has one colour or categories."""
        return None

    def _check(self) -> None:
        colour = self.colour
        if isinstance(colour, str) and colour not in NAMED_COLOURS and not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise self._refuse("colour", f"must be a palette slot, one of {NAMED_COLOURS} or #rrggbb, found {colour!r}")
        if isinstance(colour, int) and colour < 0:
            raise self._refuse("colour", f"must be a palette slot of at least 0, found {colour}")
        self._one_of("side", ("left", "right"))
        if not 0 < self.opacity <= 1:
            raise self._refuse("opacity", f"must be in (0, 1], found {self.opacity}")

    def _one_of(self, field: str, options: tuple[str, ...]) -> None:
        found = getattr(self, field)
        if found not in options:
            raise self._refuse(field, f"must be one of {', '.join(options)}, found {found!r}{nearest(found, options)}")

    def _lengths(self, reference: str, *fields: str) -> None:
        """Every given per-point field is as long as the reference."""
        expected = len(getattr(self, reference))
        for field in fields:
            value = getattr(self, field)
            absent = value is None or (isinstance(value, tuple) and not value)
            if not absent and len(value) != expected:
                raise self._refuse(field, f"must have as many entries as {reference} ({expected}), found {len(value)}")
