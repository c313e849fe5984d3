"""What an experiment returns: figures, sentences and numbers, all of it data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from thalweg._short import short
from thalweg.errors import InputError, nearest
from thalweg.figures import Figure

__all__ = ["Findings", "Number"]

Number = float | int | bool | str | None


@short
@dataclass(frozen=True, eq=False)
class Findings:
    """What was found, ready to be drawn, told, compared and collected into a sweep's table.

    Findings are saved as JSON and reload equal (NaN equals NaN here); reports are made from the saved file alone, so
    nothing is computed twice.

    Attributes:
        figures: What to draw.
        statements: Sentences with the measured numbers, in the order in which they are read.
        tables: Named tables; each a sequence of rows, each row a mapping from column to value.
        numbers: The main results as a flat mapping, the columns of a sweep.
        warnings: Sentences about what the reader must not believe, such as a diverged replica.

    Raises:
        InputError: A part has another type than stated.

    >>> found = Findings(statements=("The final loss is 0.25.",), numbers={"loss": 0.25, "gap": float("nan")})
    >>> Findings.from_json(found.to_json()) == found
    True
    """

    figures: Sequence[Figure] = ()
    statements: Sequence[str] = ()
    tables: Mapping[str, Sequence[Mapping[str, Number]]] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("figures", "statements", "warnings"):
            kind = Figure if name == "figures" else str
            values = getattr(self, name)
            if isinstance(values, str) or not all(isinstance(value, kind) for value in values):
                raise InputError(f"Findings.{name} must be a sequence of {kind.__name__}, found {values!r}")
            object.__setattr__(self, name, tuple(values))
        tables = {name: tuple(_row(row, f"tables['{name}']") for row in rows) for name, rows in self.tables.items()}
        object.__setattr__(self, "tables", tables)
        object.__setattr__(self, "numbers", _row(self.numbers, "numbers"))
        names = [figure.name for figure in self.figures]
        if len(set(names)) < len(names):
            raise InputError(f"Findings.figures must have different names, found {names}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Findings) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # mappings have no hash

    def to_json(self) -> dict[str, Any]:
        """The findings as strict JSON data; numbers that are not finite are written ``{"float": "nan"}``."""
        return {
            "figures": [figure.to_json() for figure in self.figures],
            "statements": list(self.statements),
            "tables": {name: [_encoded(row) for row in rows] for name, rows in self.tables.items()},
            "numbers": _encoded(self.numbers),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Findings:
        """The findings that :meth:`to_json` wrote.

        Raises:
            InputError: The data is something else.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"saved findings must be a table of parts, found {type(data).__name__}")
        for name in ("figures", "statements", "warnings"):
            if not isinstance(data.get(name, []), list):
                raise InputError(f"saved findings must have a list of {name}, found {type(data[name]).__name__}")
        known = [part.name for part in fields(cls)]
        for key in data:
            if key not in known:
                raise InputError(f"saved findings have an unknown part '{key}'{nearest(key, known)}")
        try:
            return cls(
                figures=[Figure.from_json(figure) for figure in data["figures"]],
                statements=data["statements"],
                tables={name: [_decoded(row) for row in rows] for name, rows in data["tables"].items()},
                numbers=_decoded(data["numbers"]),
                warnings=data["warnings"],
            )
        except KeyError as error:
            raise InputError(f"saved findings lack the part {error}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"saved findings have a part of another type: {error}") from None


def _row(row: Mapping[str, Any], where: str) -> dict[str, Number]:
    plain: dict[str, Number] = {}
    for key, value in row.items():
        number = value.item() if isinstance(value, np.generic) else value
        if not isinstance(key, str) or not isinstance(number, str | float | int | None):
            raise InputError(f"Findings.{where} must map text to numbers or text, found {key!r}: {value!r}")
        plain[key] = number
    return plain


def _encoded(row: Mapping[str, Number]) -> dict[str, Any]:
    return {
        key: {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _decoded(row: Mapping[str, Any]) -> dict[str, Number]:
    return {key: float(value["float"]) if isinstance(value, dict) else value for key, value in row.items()}
