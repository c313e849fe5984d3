"""The pictures of `sensitivity`: by settings, by definition, and the trap of the evaluation batch."""

from __future__ import annotations

import numpy as np
import polars as pl

from thalweg.experiments.sensitivity.config import Config
from thalweg.experiments.sensitivity.measure import BATCHES
from thalweg.experiments.shared import measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Axis, Figure, HLine, Line, Mark, Panel
from thalweg.figures.scales import number

__all__ = ["batches", "definitions", "trap", "twins"]


def _norm(config: Config) -> str:
    return "Frobenius norm" if config.norm == 2 else f"entrywise {number(config.norm)}-norm"


def twins(config: Config, table: pl.DataFrame, x: Axis, name: str, words: str) -> Figure:
    """Loss and accuracy, and one definition beside them, against the settings."""
    caption = (
        f"Loss and accuracy (left axes) and mean {_norm(config)} of the {words} with respect to the input (right "
        "axes). Lines: median over the runs; bands: their range; whiskers: two standard errors over the samples."
    )
    panels = measures.twins(table, x, name, f"sensitivity ({words})", f"{name}_error")
    return Figure("sensitivity", "Sensitivity, loss and accuracy", caption, panels)


def definitions(config: Config, table: pl.DataFrame, x: Axis, names: dict[str, str]) -> Figure:
    """All definitions against the settings."""
    marks: list[Mark] = []
    for name, words in names.items():
        marks += measures.measured(table, name, words, f"{name}_error")
    caption = (
        f"Mean over samples of the {_norm(config)} of each derivative with respect to the input. Lines: median over "
        "the runs; bands: their range; whiskers: two standard errors over the samples."
    )
    panel = Panel(x, Axis("sensitivity", scale="log"), tuple(marks))
    return Figure("definitions", "Sensitivity by three definitions", caption, (panel,))


def batches(table: pl.DataFrame) -> list[int]:
    """The evaluation batches on which the trap was measured."""
    return [size for size in BATCHES if len(shared.column(table, f"batch_mean_{size}"))]


def trap(table: pl.DataFrame) -> Figure:
    """The norm of the batch-mean gradient against the batch it is evaluated on, for first, middle and last setting."""
    sizes = batches(table)
    parts = [part for part in shared.groups(table).values() if len(shared.column(part, "sensitivity_loss"))]
    marks: list[Mark] = []
    for part in (parts[0], parts[len(parts) // 2], parts[-1]) if len(parts) > 2 else parts:
        values = np.array([shared.median(part, f"batch_mean_{size}") for size in sizes])
        label = str(part["member"][0])
        marks.append(Line(np.array(sizes, dtype=float), values, label=label, symbol="circle"))
        marks.append(HLine(shared.median(part, "sensitivity_loss"), group=label, style="dashed"))
    caption = (
        "Solid: norm of the gradient of the batch-mean loss with respect to the batch, as a common script computes it, "
        "of the same networks evaluated on batches of different size. Dashed: mean of the norms per example."
    )
    axes = Axis("evaluation batch", scale="log"), Axis("norm of the input gradient", scale="log")
    return Figure("evaluation-batch", "The trap: norm of the batch mean", caption, (Panel(*axes, tuple(marks)),))
