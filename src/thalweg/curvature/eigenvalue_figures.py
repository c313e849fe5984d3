"""Pictures of eigenvalues: the largest with their errors, a whole spectrum with its zero band, shares of signs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from thalweg.figures import Axis, Bars, ErrorBars, Figure, Line, Mark, Panel, Scatter, Span

__all__ = ["SIGNS", "ranked_figure", "signs_panel", "spectrum_panel"]

SIGNS = ("positive", "negative", "undecided")
DENSE = 120  # eigenvalues, beyond which dots with rims would hide one another
SYMBOLS = ("circle", "square", "diamond", "triangle")


def ranked_figure(named: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, caption: str) -> Figure:
    """Eigenvalues by rank with error bars, of one matrix or of several beside each other.

    Args:
        named: What the matrix is -> eigenvalues and their errors, (K,) each.
        title: Of the figure.
        caption: What the bars are.
    """
    marks: list[Mark] = []
    for place, (name, (values, errors)) in enumerate(named.items()):
        rank = np.arange(1, len(values) + 1) + 0.2 * (place - 0.5 * (len(named) - 1))
        label = name if len(named) > 1 else ""
        low, high, symbol = values - errors, values + errors, SYMBOLS[place % len(SYMBOLS)]
        marks.append(ErrorBars(rank, values, low, high, label=label, group=name, symbol=symbol))
    positive = all((values - errors).min(initial=np.inf) > 0 for values, errors in named.values())
    most = max((len(values) for values, _ in named.values()), default=0)
    ticks = tuple((float(k), str(k)) for k in range(1, most + 1, 1 + most // 15))
    panel = Panel(Axis("rank", ticks=ticks), Axis("eigenvalue", scale="log" if positive else "linear"), tuple(marks))
    return Figure("largest", title, caption, (panel,))


def spectrum_panel(values: np.ndarray, band: float, title: str = "") -> Panel:
    """All eigenvalues (P,) in ascending order on a symlog axis, linear within their rounding errors; shaded: the band.

    Args:
        values: NaN is left out.
        band: Half-width of the zero band.
        title: Of the panel.
    """
    values = np.sort(values[np.isfinite(values)])
    largest = float(np.abs(values).max(initial=0.0))
    rounding = 4 * max(1, len(values)) * float(np.finfo(np.float64).eps) * max(largest, 1e-300)
    rank = np.arange(1, len(values) + 1)
    which = np.where(values > band, "positive", np.where(values < -band, "negative", "undecided"))
    marks: list[Mark] = [Span(-band, band, along="y", text="")] if band > 0 else []
    for name, colour in zip(SIGNS, (0, 1, "muted"), strict=True):
        keep = which == name
        if keep.any() and len(values) <= DENSE:
            marks.append(Scatter(rank[keep], values[keep], label=name, colour=colour, size=4.5))
        elif keep.any():
            marks.append(Line(rank[keep], values[keep], label=name, colour=colour, width=1.0, symbol="circle"))
    within = 10.0 ** math.floor(math.log10(rounding))
    return Panel(Axis("rank, ascending"), Axis("λ", scale="symlog", within=within), tuple(marks), title=title)


def signs_panel(counts: Mapping[str, np.ndarray], names: Sequence[str], title: str = "") -> Panel:
    """Shares of positive, negative and undecided eigenvalues, a group of bars for each matrix.

    Args:
        counts: "positive", "negative", "undecided" -> (R,).
        names: Of the matrices (R,).
        title: Of the panel.
    """
    total = np.maximum(1, sum(counts[kind] for kind in SIGNS))
    marks = tuple(Bars(tuple(names), 100 * counts[kind] / total, label=kind) for kind in SIGNS)
    return Panel(Axis("run"), Axis("share of eigenvalues", "%"), marks, title=title)
