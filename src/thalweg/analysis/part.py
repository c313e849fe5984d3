"""What an analysis has found: numbers with their errors, the results of the instruments, and what was left out."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.analysis.planning import Plan
from thalweg.errors import InputError, first_line, nearest
from thalweg.figures import Axis, Bars, Figure, Panel
from thalweg.results import BaseResult, Stored

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from thalweg.figures import Figure

__all__ = ["Analysis", "Number", "Part", "failure", "spoken"]

SHORT = 60
"""Rows of a table that a report shows beside its picture; those of a surface would hide it."""


@short
@dataclass(frozen=True, eq=False)
class Number(Stored):
    """One measured number.

    Args:
        name: What it is, in the field's words.
        value: NaN where it could not be had.
        error: One standard error of the estimate, its probes and the draw of its samples together; a bound where `how`
            says so. 0 where it is exact to rounding.
        samples: On how many.
        how: By which instrument, and what else a reader must know.
    """

    name: str
    value: float
    error: float = 0.0
    samples: int = 0
    how: str = ""

    @property
    def text(self) -> str:
        """The value, with its error where it has one."""
        return f"{spoken(self.value)} ± {self.error:.2g}" if self.error else spoken(self.value)


def failure(what: str, error: Exception) -> str:
    """A sentence on an instrument that could not measure; what is no refusal of the library is told by its kind."""
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
    return f"{what}: {said.rstrip('.')}."


def spoken(value: float) -> str:
    """A number as sentences have it."""
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


@short
@dataclass(frozen=True, eq=False)
class Part(BaseResult):
    """What the instruments of one stage have found.

    Args:
        key: Of the stage: "point", "curvature", "around", "robustness", "path".
        title: What it is about.
        said: One to three sentences.
        numbers: In the order in which they are shown.
        results: The instruments' own results, each with a picture of its own.
        rows: A table of its own, column -> values; empty for that of the numbers.
        figure: What the rows are drawn as: (column of names, column of values), bars; empty for the first result.
        left_out: Sentences: what was not measured, and why.
        spent: Evaluations: "values", "gradients" and "products", each times the samples it was on.
    """

    key: str
    title: str
    said: str
    numbers: tuple[Number, ...] = ()
    results: tuple[Any, ...] = ()
    rows: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    figure: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    spent: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def shown(self) -> bool:
        """Whether there is a picture."""
        return bool(self.results or self.figure)

    def plot(self) -> Figure:
        """Its rows as bars, or the picture of the first result.

        Raises:
            InputError: There is none.
        """
        if not self.shown:
            raise InputError(f"the part {self.key} has no picture: table() gives its numbers")
        if not self.figure:
            return self.results[0].plot()
        name, value = self.figure
        names = [str(one) for one in self.rows[name]]
        width = max(map(len, names))
        bars = Bars(tuple(names), self.rows[value], horizontal=True)
        panel = Panel(Axis(value), Axis(""), (bars,))
        size = (4.2 + 0.06 * width, max(2.2, 0.8 + 0.24 * len(names)))
        return Figure(self.key, self.title, f"{value[:1].upper()}{value[1:]} by {name}.", (panel,), size=size)

    def table(self) -> pl.DataFrame:
        """Its rows, or the numbers: "number", "value", "error", "samples", "how"."""
        return pl.DataFrame(self.rows) if self.rows else numbers_table(self.numbers)

    def summary(self) -> str:
        """What was found."""
        return self.said


def numbers_table(numbers: tuple[Number, ...]) -> pl.DataFrame:
    """Numbers as a table; those without an error have none."""
    return pl.DataFrame(
        {
            "number": [one.name for one in numbers],
            "value": [float(one.value) for one in numbers],
            "error": [float(one.error) if one.error else None for one in numbers],
            "samples": [one.samples or None for one in numbers],
            "how": [one.how for one in numbers],
        },
        schema={"number": pl.String, "value": pl.Float64, "error": pl.Float64, "samples": pl.Int64, "how": pl.String},
    )


@short
@dataclass(frozen=True, eq=False)
class Analysis(BaseResult):
    """All that was found at one θ, and along the checkpoints that led to it.

    Args:
        name: What was analyzed.
        parts: In the order in which they were measured.
        plan: What was meant to be done.
        left_out: Sentences on stages that were not done at all, and why.
    """

    name: str
    parts: tuple[Part, ...]
    plan: Plan
    left_out: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Part:
        """A part by its key."""
        for part in self.parts:
            if part.key == key:
                return part
        known = [part.key for part in self.parts]
        raise InputError(f"part must be one of {', '.join(known)}, found '{key}'{nearest(key, known)}")

    def number(self, name: str) -> Number:
        """A number by its name.

        Raises:
            InputError: It was not measured.
        """
        numbers = {one.name: one for part in self.parts for one in part.numbers}
        if name not in numbers:
            raise InputError(f"number must be one that was measured, found '{name}'{nearest(name, numbers)}")
        return numbers[name]

    def plot(self) -> Figure:
        """The main picture: the path where there is one, else the loss around θ, else the first there is."""
        shown = {part.key: part for part in self.parts if part.shown}
        if not shown:
            raise InputError("nothing was measured that has a picture: table() gives the numbers")
        return next(
            (shown[key] for key in ("path", "around", "curvature") if key in shown), next(iter(shown.values()))
        ).plot()

    def table(self) -> pl.DataFrame:
        """All numbers: "number", "value", "error", "samples", "how"."""
        return numbers_table(tuple(one for part in self.parts for one in part.numbers))

    def summary(self) -> str:
        """At most five sentences: one of each part."""
        return " ".join(part.said.partition(". ")[0].rstrip(".") + "." for part in self.parts[:5])

    @property
    def omissions(self) -> tuple[str, ...]:
        """What was not measured, and why."""
        return (*(sentence for part in self.parts for sentence in part.left_out), *self.left_out)

    def contents(self) -> list[Any]:
        """What a report of it shows, in order: itself, then every part with its pictures, then what was left out."""
        found: list[Any] = [self]
        main = self.plot()
        for part in self.parts:
            found += [part] if part.figure else []
            for one in part.results:
                figure = one.plot()
                if figure != main:
                    found.append(one if one.table().height <= SHORT else figure)
        if self.omissions:
            found.append(
                ("What was left out, and how far samples reach", pl.DataFrame({"sentence": list(self.omissions)}))
            )
        return [*found, ("Plan", self.plan.table())]

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Writes the report.

        Args:
            path: It ends in .html or .pdf.

        Raises:
            InputError: It ends in something else.
            WriteError: It cannot be written.
        """
        from thalweg import report

        return report.write(path, *self.contents(), title=self.name)
