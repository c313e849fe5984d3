"""Pictures of spectral densities: logarithmic, with their bands, beside the exact ones where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.figures import Axis, Band, Figure, Line, Panel
from thalweg.figures.scales import number

__all__ = ["Spectrum", "density_figure"]

FLOOR = 1e-6  # of the largest density, where the logarithmic axis ends: below it are the kernel's tails only


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One matrix at one place: density with its band, and its exact counterpart if there is one.

    Args:
        name: Which matrix.
        grid: (G,).
        density: With `low` and `high` the confidence band, all (G,).
        low: See there.
        high: See there.
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
    name: str,
    title: str,
    panels: Sequence[tuple[str, Sequence[Spectrum]]],
    probes: int,
    steps: int,
    confidence: float = 0.95,
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
        f"Stochastic Lanczos quadrature, {probes} random vectors of {steps} steps, with {100 * confidence:g} % "
        f"confidence band over the vectors; Gaussian kernel of width {widths}."
    )
    if known:
        caption += " Dotted: all eigenvalues, smoothed by the same kernel."
    return Figure(name, title, caption, tuple(drawn), legend="figure")
