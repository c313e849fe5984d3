"""What runs have recorded, as one figure: a panel for every quantity, a line for every run and recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.errors import InputError, nearest
from thalweg.figures import Axis, Figure, Line, Panel
from thalweg.figures.plotly import to_json
from thalweg.report.comparison import PANELS, curve

if TYPE_CHECKING:
    import polars as pl

__all__ = ["AGAINST", "Curves", "curves"]

AGAINST = ("epoch", "step")
"""What the horizontal axis may be."""

MOST = 6  # quantities that are drawn at once
BANDS = 6  # lines that have a band; those of more would only hide each other
_KEYS = ("recording", "replica", *AGAINST)


@dataclass(frozen=True)
class Curves:
    """The figure, and what else could be drawn.

    Attributes:
        columns: Quantities to choose from.
        figure: What plotly.js draws; None if nothing finite was recorded.
        caption: What is shown, in sentences.
    """

    columns: tuple[str, ...]
    figure: dict[str, Any] | None
    caption: str


def curves(
    metrics: Mapping[str, pl.DataFrame], column: str = "", *, against: str = "epoch", log: bool = True
) -> Curves:
    """Draw what runs have recorded.

    Args:
        metrics: The table of every run by its label.
        column: Which quantity; empty for the first few. Of several runs only those count that two of them share.
        against: ``"epoch"`` or ``"step"``.
        log: Logarithmic axes wherever all values are positive, but for accuracies among other panels.

    Raises:
        InputError: An unknown quantity or axis.

    >>> import polars as pl
    >>> rows = {"recording": ["training"] * 2, "replica": [0, 0], "step": [0, 1], "epoch": [0.0, 0.5]}
    >>> drawn = curves({"a": pl.DataFrame(rows | {"loss": [1.0, 0.1]})})
    >>> drawn.columns, drawn.figure["layout"]["yaxis"]["title"]["text"]
    (('loss',), 'loss (log scale)')
    """
    if against not in AGAINST:
        raise InputError(f"against must be {' or '.join(AGAINST)}, found '{against}'{nearest(against, AGAINST)}")
    columns = _columns(list(metrics.values()))
    if column and column not in columns:
        raise InputError(f"there is no quantity '{column}'{nearest(column, columns)}")
    lines = _lines(metrics)
    panels, banded = [], len(lines) <= BANDS
    for name in (column,) if column else columns[:MOST]:
        marks = [mark for label, frame in lines.items() for mark in _marks(frame, name, label, against)]
        marks = marks if banded else [mark for mark in marks if isinstance(mark, Line)]
        lows = [mark.y for mark in marks if isinstance(mark, Line)]
        positive = bool(lows) and all(np.min(low) > 0 for low in lows)
        scale = "log" if log and positive and (column or "accuracy" not in name) else "linear"
        if marks:
            panels.append(Panel(Axis(against), Axis(name.replace("_", " "), scale=scale), tuple(marks)))
    if not panels:
        return Curves(columns, None, "Nothing was recorded yet.")
    caption = f"Median over the replicas{'; the band is their whole range' if banded else ''}."
    if not column and len(columns) > MOST:
        caption += f" These are {MOST} of {len(columns)} quantities."
    return Curves(columns, _drawn(Figure("curves", "What was recorded", caption, tuple(panels))), caption)


def _columns(frames: Sequence[pl.DataFrame]) -> tuple[str, ...]:
    """Quantities with values, those of a report first; of several runs those that two of them have."""
    measured = [[name for name in frame.columns if name not in _KEYS and frame[name].count()] for frame in frames]
    every = dict.fromkeys(name for names in measured for name in names)
    shared = [name for name in every if sum(name in names for names in measured) >= min(2, len(frames))]
    known = [name for _, names in PANELS for name in names if name in shared]
    return (*known, *(name for name in shared if name not in known))


def _lines(metrics: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The rows of every line by its label: a run is called by its recording too where it has several."""
    lines = {}
    for label, frame in metrics.items():
        parts = frame.partition_by("recording", as_dict=True, maintain_order=True)
        for (recording,), part in parts.items():
            alone = recording if len(metrics) == 1 else label
            lines[alone if len(parts) == 1 or len(metrics) == 1 else f"{label}: {recording}"] = part
    return lines


def _marks(frame: pl.DataFrame, column: str, label: str, against: str) -> list:
    return curve(frame, column, label, against) if column in frame.columns and frame[column].count() else []


def _drawn(figure: Figure) -> dict[str, Any]:
    drawn, narrow = to_json(figure), to_json(figure, narrow=True)["layout"]
    for layout in (drawn["layout"], narrow):
        layout["uirevision"] = "kept"  # new points leave the reader's zoom as it is
    return drawn | {"narrow": narrow}
