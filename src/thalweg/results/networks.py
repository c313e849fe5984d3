"""Numbers of one or several networks (the leading axes of θ): pictures of points with errors, rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.figures import Axis, ErrorBars, Figure, HLine, Mark, Panel, Scatter

__all__ = ["Quantity", "flat", "panel", "pictured", "tabled"]


def flat(values: Any) -> np.ndarray:
    """Tensors or arrays of any leading axes as float64 (R,); a single number as one."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64).reshape(-1)


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity of R networks.

    Args:
        label: What it is, for the axis.
        values: (R,).
        errors: (R,) standard errors, drawn twice to each side; None where there is none.
    """

    label: str
    values: np.ndarray
    errors: np.ndarray | None = None


def panel(column: Quantity, axis: str = "replica") -> Panel:
    """The values side by side; logarithmic if they are positive and span more than a factor of 100."""
    values, x = column.values, np.arange(len(column.values), dtype=np.float64)
    marks: list[Mark] = []
    known = values[np.isfinite(values)]
    wide = len(known) > 0 and known.min() > 0 and known.max() > 100 * known.min()
    if column.errors is None or not np.isfinite(column.errors).any():
        marks.append(Scatter(x, values, group="value", size=6.0))
    else:
        spread = 2 * np.nan_to_num(column.errors)
        marks.append(ErrorBars(x, values, values - spread, values + spread, symbol="circle", group="value", size=6.0))
    if len(known) > 1:
        marks.append(HLine(float(np.median(known)), text="median", style="dotted", colour="muted"))
    ticks = tuple((float(k), f"{k:g}") for k in x) if len(x) <= 12 else ()
    across = Axis(axis, ticks=ticks, limits=(-0.5, len(x) - 0.5))
    return Panel(across, Axis(column.label, scale="log" if wide else "linear"), tuple(marks))


def pictured(name: str, title: str, caption: str, columns: Sequence[Quantity], axis: str = "replica") -> Figure:
    """A figure with one panel for each quantity that is known somewhere; of all if none is."""
    known = [column for column in columns if np.isfinite(column.values).any()] or list(columns)
    bars = any(column.errors is not None for column in known)
    words = f"{caption}{' Bars: two standard errors.' if bars else ''}"
    return Figure(name, title, words, tuple(panel(column, axis) for column in known), legend="none")


def tabled(columns: Mapping[str, Any], axis: str = "replica") -> pl.DataFrame:
    """A table with a row for each network: its number, and the given columns."""
    found = {name: value if isinstance(value, list) else flat(value) for name, value in columns.items()}
    return pl.DataFrame({axis: range(len(next(iter(found.values())))), **found})
