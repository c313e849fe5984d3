"""The figures of `spectrum`: densities with their bands, largest eigenvalues with residuals, shares of signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.figures import Axis, Band, Bars, ErrorBars, Figure, Line, Panel
from thalweg.figures.scales import number

__all__ = ["PLACES", "Spectrum", "density_figure", "largest_figure", "signs_figure"]

FLOOR = 1e-6  # of the largest density, where the logarithmic axis ends: below it are the kernel's tails only
PLACES = ("start", "end")


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One matrix at one place: density with its band, and its exact counterpart if there is one.

    Args:
        name: Which matrix.
        grid: (G,).
        density: With `low` and `high` the confidence band, all (G,).
        exact: Smoothed density of all eigenvalues (G,), or None.
        width: Of the kernel.
    """

    name: str
    grid: np.ndarray
    density: np.ndarray
    low: np.ndarray
    high: np.ndarray
    exact: np.ndarray | None
    width: float


def density_figure(
    name: str, title: str, panels: Sequence[tuple[str, Sequence[Spectrum]]], probes: int, steps: int
) -> Figure:
    """One panel per place: density (log) of each matrix with its band, and the exact one where it is known."""
    drawn = []
    for heading, spectra in panels:
        marks = []
        peak = max(float(np.nanmax(one.density)) for one in spectra)
        for one in spectra:
            low, high, density = (np.maximum(values, 0.1 * FLOOR * peak) for values in (one.low, one.high, one.density))
            marks += [
                Band(one.grid, low, high, group=one.name),
                Line(one.grid, density, label=one.name if len(spectra) > 1 else "", group=one.name),
            ]
            if one.exact is not None:
                exact = np.maximum(one.exact, 0.1 * FLOOR * peak)
                marks.append(Line(one.grid, exact, group=one.name, style="dotted", width=1.0))
        top = max(float(np.nanmax(one.high)) for one in spectra)
        y = Axis("density", scale="log", limits=(FLOOR * peak, 2 * max(top, peak)))
        drawn.append(Panel(Axis("eigenvalue"), y, tuple(marks), title=heading))
    widths = ", ".join(dict.fromkeys(number(one.width) for _, spectra in panels for one in spectra))
    known = any(one.exact is not None for _, spectra in panels for one in spectra)
    caption = (
        f"Stochastic Lanczos quadrature, {probes} random vectors of {steps} steps, with 95 % confidence "
        f"band over the vectors; Gaussian kernel of width {widths}."
    )
    if known:
        caption += " Dotted: all eigenvalues, smoothed by the same kernel."
    return Figure(name, title, caption, tuple(drawn), legend="figure")


def largest_figure(tops: dict[str, np.ndarray]) -> Figure:
    """Eigenvalues by rank, of the Hessian and of the Gauss–Newton matrix."""
    marks = []
    for key, name, shift, symbol in (
        ("hessian", "Hessian", -0.1, "circle"),
        ("ggn", "Gauss–Newton matrix", 0.1, "square"),
    ):
        values, error = tops[f"{key}_values"], tops[f"{key}_residuals"]
        rank = np.arange(1, len(values) + 1) + shift
        marks.append(ErrorBars(rank, values, values - error, values + error, label=name, symbol=symbol))
    panel = Panel(Axis("rank"), Axis("eigenvalue", scale="log" if _positive(tops) else "linear"), tuple(marks))
    caption = "The largest eigenvalues at the end of training, by Lanczos; error bars: residuals."
    return Figure("largest", "Largest eigenvalues", caption, (panel,))


def _positive(tops: dict[str, np.ndarray]) -> bool:
    return all((tops[f"{key}_values"] - tops[f"{key}_residuals"]).min() > 0 for key in ("hessian", "ggn"))


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
