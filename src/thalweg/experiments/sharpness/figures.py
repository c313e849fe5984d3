"""The pictures of `sharpness`: the course's measure, and a small frame for each of all."""

from __future__ import annotations

import polars as pl

from thalweg.experiments.shared import measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.sharpness.config import Config
from thalweg.experiments.sharpness.measure import ERRORS, SHARPNESS
from thalweg.figures import Axis, Figure, Panel
from thalweg.figures.scales import number

__all__ = ["by_definition", "twins"]


def twins(config: Config, table: pl.DataFrame, x: Axis) -> Figure:
    """Loss and accuracy, and the ε-sharpness beside them, against the settings."""
    caption = (
        f"Loss and accuracy (left axes) and ε-sharpness with ε = {number(config.epsilon)} (right axes). Lines: median "
        "over the runs; bands: their range."
    )
    panels = measures.twins(table, x, "epsilon", "ε-sharpness")
    return Figure("epsilon-sharpness", "ε-sharpness, loss and accuracy", caption, panels)


def by_definition(table: pl.DataFrame, x: Axis, names: dict[str, str]) -> list[Figure]:
    """One small frame for every measure: those of sharpness, and the others."""
    kinds = {
        "measures": ("Sharpness by every definition", [name for name in names if name in SHARPNESS]),
        "other-measures": ("Sensitivity, norms and margins", [name for name in names if name not in SHARPNESS]),
    }
    caption = (
        f"Against the {x.label}, each in its own unit. Lines: median over the runs; bands: their range; whiskers: two "
        "standard errors of estimates (λmax: twice the residual)."
    )
    options = {"columns": 3, "share_x": True, "legend": "none"}
    return [
        Figure(name, title, caption, tuple(_frame(table, x, one, names[one]) for one in chosen), **options)
        for name, (title, chosen) in kinds.items()
    ]


def _frame(table: pl.DataFrame, x: Axis, name: str, words: str) -> Panel:
    found = shared.column(table, name)
    scale = "log" if found.min() > 0 and found.max() > 5 * found.min() else "linear"
    marks = measures.measured(table, name, "", ERRORS.get(name, ""), colour=0)
    return Panel(x, Axis(words, scale=scale), tuple(marks))
