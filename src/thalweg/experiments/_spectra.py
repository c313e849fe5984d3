"""The figures of `spectrum`: densities with their bands, largest eigenvalues with residuals, shares of signs."""

from __future__ import annotations

import numpy as np

from thalweg.curvature.density_figures import Spectrum, density_figure
from thalweg.figures import Axis, Bars, ErrorBars, Figure, Panel

__all__ = ["PLACES", "Spectrum", "density_figure", "largest_figure", "signs_figure"]

PLACES = ("start", "end")


def largest_figure(tops: dict[str, np.ndarray]) -> Figure:
    """Eigenvalues by rank, of the Hessian and of the Gauss–Newton matrix."""
    marks = []
    for key, name, shift, symbol in (
        ("hessian", "Hessian", -0.1, "circle"),
        ("ggn", "Gauss–Newton matrix", 0.1, "square"),
    ):
        if f"{key}_values" not in tops:  # of a loss on batches
            continue
        values, error = tops[f"{key}_values"], tops[f"{key}_residuals"]
        rank = np.arange(1, len(values) + 1) + shift
        marks.append(ErrorBars(rank, values, values - error, values + error, label=name, symbol=symbol))
    panel = Panel(Axis("rank"), Axis("eigenvalue", scale="log" if _positive(tops) else "linear"), tuple(marks))
    caption = "The largest eigenvalues at the end of training, by Lanczos; error bars: residuals."
    return Figure("largest", "Largest eigenvalues", caption, (panel,))


def _positive(tops: dict[str, np.ndarray]) -> bool:
    keys = [key for key in ("hessian", "ggn") if f"{key}_values" in tops]
    return all((tops[f"{key}_values"] - tops[f"{key}_residuals"]).min() > 0 for key in keys)


def signs_figure(fine: list[int], signs: dict[str, np.ndarray]) -> Figure:
    """Shares of positive, negative and undecided eigenvalues of every run, at the start and at the end."""
    panels = []
    total = signs["positive"] + signs["negative"] + signs["undecided"]
    names = tuple(f"run {r + 1}" for r in fine)
    for p, place in enumerate(PLACES):
        marks = tuple(
            Bars(names, 100 * signs[kind][p] / total[p], label=kind) for kind in ("positive", "negative", "undecided")
        )
        panels.append(Panel(Axis("run"), Axis("share of eigenvalues", "%"), marks, title=f"{place} of training"))
    caption = "Eigenvalues of the Hessian that are certainly positive, certainly negative, or inside the zero band."
    return Figure("signs", "Signs of the eigenvalues", caption, tuple(panels), share_y=True)
