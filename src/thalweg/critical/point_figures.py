"""Pictures of certified points: dots by what they are, spectra with their zero bands, what a click on a dot shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from thalweg.critical.looks import LOOKS
from thalweg.curvature.eigenvalue_figures import spectrum_panel
from thalweg.figures import Axis, Detail, ErrorBars, Figure, Mark, Panel, Scatter, Text
from thalweg.figures.scales import number

__all__ = [
    "Named",
    "details",
    "dots",
    "facts",
    "index_axis",
    "index_figure",
    "loss_axis",
    "shares_axis",
    "spectra_figure",
]


class Points(Protocol):
    """What the pictures read of certified points, see `CriticalPoints`."""

    @property
    def status(self) -> Sequence[str]: ...
    @property
    def message(self) -> Sequence[str]: ...
    @property
    def kind(self) -> Sequence[str]: ...
    @property
    def certificate(self) -> Any: ...
    @property
    def iterations(self) -> Tensor: ...
    @property
    def looks(self) -> list[str]: ...
    @property
    def critical(self) -> np.ndarray: ...
    @property
    def finite(self) -> np.ndarray: ...
    @property
    def strict(self) -> np.ndarray: ...
    @property
    def certain(self) -> tuple[np.ndarray, np.ndarray]: ...
    def number(self, field: str) -> np.ndarray: ...


Named = tuple[Points, Sequence[str]]
"""Points, and a name for each of them."""

Ends = Callable[[Points], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Drawn value, lower and upper end of every point (R,) each."""


def dots(groups: Sequence[Named], ends: Ends, keep: Callable[[Points], np.ndarray]) -> list[Mark]:
    """A value against the loss: one scatter per look, with bars where lower and upper end differ.

    Args:
        groups: Points with their names, which are the keys of `details`.
        ends: What is drawn.
        keep: Which of the points, (R,).
    """
    bars: list[Mark] = []
    marks: list[Mark] = []
    for look, style in LOOKS.items():
        columns: list[tuple[float, float, float, float, str, str]] = []
        for points, keys in groups:
            (value, low, high), kept, losses = ends(points), keep(points), points.number("loss")
            for row, name in enumerate(points.looks):
                if name == look and kept[row]:
                    words = f"{keys[row]}\n{points.message[row]}"
                    columns.append((float(losses[row]), value[row], low[row], high[row], keys[row], words))
        if not columns:
            continue
        x, y, low, high, names, hover = zip(*columns, strict=True)
        if any(a < b for a, b in zip(low, high, strict=True)):
            bars.append(ErrorBars(x, y, low, high, colour=style["colour"], opacity=0.45))
        marks.append(Scatter(x, y, label=look, hover=hover, keys=names, **style))
    return bars + marks


def loss_axis(*groups: Points, penalty: bool = False, limits: tuple[float | None, float | None] = (None, None)) -> Axis:
    """The loss, logarithmic if it is positive everywhere; with a penalty it is another loss, and the axis says so."""
    positive = all((points.number("loss")[points.finite] > 0).all() for points in groups)
    label = "loss with penalty" if penalty else "loss"
    return Axis(label, scale="log" if positive else "linear", limits=limits if positive else (None, None))


def shares_axis(label: str, marks: Sequence[Mark], most: float = 1.0) -> Axis:
    """An axis of shares: down to what is drawn, and to `most` at least."""
    drawn = [values for mark in marks for values in (getattr(mark, "low", None), getattr(mark, "y", None))]
    lowest = [float(np.nanmin(v)) for v in drawn if v is not None and np.isfinite(v).any()]
    return Axis(label, limits=(max(-0.03, min(min(lowest, default=0.0) - 0.08, most)), 1.04))


def index_axis(highest: int) -> Axis:
    """The index, which is a whole number."""
    step = 1 + highest // 12
    ticks = tuple((float(index), str(index)) for index in range(0, highest + 1, step))
    return Axis("index (negative modes)", ticks=ticks, limits=(-0.6, highest + 0.6))


def index_figure(groups: Sequence[Named], *, penalty: bool = False) -> Figure | None:
    """Number of negative modes against loss; None where no point is critical."""

    def negative(points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low = points.number("negative").astype(float)
        return low, low, low + points.number("undecided")

    highest = [int(points.number("negative")[points.critical].max()) for points, _ in groups if points.critical.any()]
    if not highest:
        return None
    marks = dots(groups, negative, lambda points: points.critical)
    caption = (
        "Index, the number of modes that lead down, against the loss of the certified points (Dauphin et al. 2014: "
        "saddles of higher index lie higher). Bars add the undecided modes."
    )
    x = loss_axis(*(points for points, _ in groups), penalty=penalty)
    return Figure("index", "Index against loss", caption, (Panel(x, index_axis(max(highest)), tuple(marks)),))


def spectra_figure(chosen: Sequence[tuple[Points, int, str, str]]) -> Figure:
    """Eigenvalues at chosen points: (points, position, name of the point, title of the panel)."""
    panels = []
    for points, row, key, title in chosen:
        panel = _spectrum(points, row, title)
        gradient, loss = (number(float(points.number(field)[row])) for field in ("gradient", "loss"))
        words = f"{key}: ‖∇L‖ = {gradient}, loss {loss}"
        corner = Text(0.97, 0.05, words, frame="panel", anchor="right", boxed=True)
        panels.append(Panel(panel.x, panel.y, (*panel.marks, corner), title=title))
    caption = (
        "Eigenvalues of the Hessian in ascending order, at one point of every kind (the one of median loss); the "
        "shaded stripe is the zero band, inside which an eigenvalue has no sign; at a point that is not critical it "
        "holds what the Hessian may change on the way to one. The axis is linear within the rounding error."
    )
    return Figure("spectra", "Spectra of the Hessian", caption, tuple(panels), columns=2 if len(panels) != 3 else 3)


def details(groups: Sequence[Named], l2: float = 0.0) -> list[Detail]:
    """Certificate and spectrum of every point that stayed finite."""
    found = []
    for points, keys in groups:
        for row in np.flatnonzero(points.finite).tolist():
            title = f"Eigenvalues of the Hessian at {keys[row]}"
            figure = Figure("spectrum", title, "", (_spectrum(points, row),), size=(6.4, 3.2), legend="none")
            words = f"{keys[row]}: {points.message[row]}"
            found.append(Detail(keys[row], words, tuple(facts(points, row, l2).items()), figure))
    return found


def _spectrum(points: Points, row: int, title: str = "") -> Panel:
    return spectrum_panel(points.number("eigenvalues")[row], float(points.number("band")[row]), title)


def facts(points: Points, row: int, l2: float = 0.0) -> dict[str, str]:
    """The certificate of one point in words."""
    c: dict[str, Any] = {field.name: points.number(field.name)[row] for field in fields(points.certificate)}
    low, high = (float(share[row]) for share in points.certain)
    orbit = f", {int(c['symmetric'])} along a symmetry" if c["symmetric"] else ""
    ratio = f"{number(low)} to {number(high)}" if low < high else number(low)
    return {
        "status": str(points.status[row]),
        "kind": points.kind[row],
        "loss": f"{float(c['loss']):.10g}" + (f" (with the penalty, l2 = {number(l2)})" if l2 else ""),
        "‖θ‖": number(float(c["norm"])),
        "‖∇L‖₂, ‖∇L‖_∞": f"{number(float(c['gradient']))}, {number(float(c['gradient_max']))}",
        "flatness ‖Hg‖/(‖H‖‖g‖)": f"{number(float(c['flatness']))} (small: the gradient lies in flat modes)",
        "modes": ", ".join(f"{int(c[sign])} {sign}" for sign in ("positive", "negative", "undecided")) + orbit,
        "zero band": f"±{number(float(c['band']))}",
        "minimal ratio": ratio if points.critical[row] else "none: the point is not critical",
        "eigenvalues > 0, whatever their size": number(float(points.strict[row])),
        "|λ| least outside the band, largest": f"{number(float(c['smallest']))}, {number(float(c['largest']))}",
        "remaining Newton step": number(float(c["newton"])),
        "Lipschitz constant of H (sampled)": number(float(c["lipschitz"])),
        "Newton–Kantorovich h (below ¼ to certify)": number(float(c["kantorovich"])),
        "iterations": f"{int(points.iterations[row]):,}",
    }
