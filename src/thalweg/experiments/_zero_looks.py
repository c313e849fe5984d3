"""What every point of `zero-gradient` is called and how it looks, and what a click on it shows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from thalweg.experiments._zero_points import Group
from thalweg.figures import Axis, Detail, Figure, Line, Panel, Scatter, Span
from thalweg.figures.scales import number

__all__ = ["LOOKS", "details", "index_axis", "looks", "spectrum_panel"]

DENSE = 120  # eigenvalues

LOOKS: dict[str, dict[str, Any]] = {  # in the order of the legend
    "not critical: gradient-flat": {"symbol": "cross", "colour": "#8c97a3", "opacity": 0.85},
    "not critical: descending": {"symbol": "plus", "colour": "#b3bbc4", "opacity": 0.95},
    "not critical: diverged": {"symbol": "triangle-down", "colour": "#c9ced4"},
    "minimum": {"symbol": "circle", "colour": 0, "size": 5.5},
    "embedded saddle": {"symbol": "star", "colour": 2, "size": 8.5},
    "saddle of index 1": {"symbol": "square", "colour": 1, "size": 5.0},
    "saddle of index 2": {"symbol": "diamond", "colour": 4, "size": 5.5},
    "saddle of higher index": {"symbol": "triangle", "colour": 3},
    "constant predictor": {"symbol": "triangle-down", "colour": "ink", "size": 6.5},
    "maximum": {"symbol": "triangle-down", "colour": 5},
    "degenerate or uncertified": {"symbol": "plus", "colour": 3, "size": 7.0},
}
"""What a point is -> symbol and colour, the same in every figure."""


def looks(group: Group) -> list[str]:
    """The key of `LOOKS` of every point: status first, then how it was made."""
    found = []
    for status, kind, negative in zip(
        map(str, group.points.status), group.points.kind, group.number("negative").tolist(), strict=True
    ):
        if f"not critical: {status}" in LOOKS:
            found.append(f"not critical: {status}")
        elif kind == "constant predictor":
            found.append(kind)
        elif status == "saddle" and kind in ("embedded", "low-rank"):
            found.append("embedded saddle")
        elif status == "saddle":
            found.append(f"saddle of index {negative}" if negative < 3 else "saddle of higher index")
        else:
            found.append(status if status in LOOKS else "degenerate or uncertified")
    return found


def details(groups: list[Group]) -> list[Detail]:
    """Certificate and spectrum of every point that stayed finite."""
    found = []
    for group in groups:
        for row, key in enumerate(group.keys):
            if group.finite[row]:
                panel = spectrum_panel(group, row)
                figure = Figure(
                    "spectrum", f"Eigenvalues of the Hessian at {key}", "", (panel,), size=(6.4, 3.2), legend="none"
                )
                message = group.points.message[row]
                found.append(Detail(key, f"{key}: {message}", _facts(group, row), figure))
    return found


def index_axis(highest: int) -> Axis:
    """The index, which is a whole number."""
    step = 1 + highest // 12
    ticks = tuple((float(index), str(index)) for index in range(0, highest + 1, step))
    return Axis("index (negative modes)", ticks=ticks, limits=(-0.6, highest + 0.6))


def _facts(group: Group, row: int) -> tuple[tuple[str, str], ...]:
    c = {name: group.number(name)[row] for name in type(group.points.certificate).__dataclass_fields__}
    low, high = (float(share[row]) for share in group.certain)
    flat = f"{number(float(c['flatness']))} (small: the gradient lies in flat modes)"
    orbit = f", {int(c['symmetric'])} along a symmetry" if c["symmetric"] else ""
    facts = {
        "status": str(group.points.status[row]),
        "kind": group.points.kind[row],
        "loss": f"{float(c['loss']):.10g}" + (f" (with the penalty, l2 = {number(group.l2)})" if group.l2 else ""),
        "‖θ‖": number(float(c["norm"])),
        "‖∇L‖₂, ‖∇L‖_∞": f"{number(float(c['gradient']))}, {number(float(c['gradient_max']))}",
        "flatness ‖Hg‖/(‖H‖‖g‖)": flat,
        "modes": ", ".join(f"{int(c[sign])} {sign}" for sign in ("positive", "negative", "undecided")) + orbit,
        "zero band": f"±{number(float(c['band']))}",
        "minimal ratio": f"{number(low)} to {number(high)}" if low < high else number(low),
        "eigenvalues > 0, whatever their size": number(float(group.strict[row])),
        "|λ| least outside the band, largest": f"{number(float(c['smallest']))}, {number(float(c['largest']))}",
        "remaining Newton step": number(float(c["newton"])),
        "Lipschitz constant of H (sampled)": number(float(c["lipschitz"])),
        "Newton–Kantorovich h (below ¼ to certify)": number(float(c["kantorovich"])),
        "iterations": f"{int(group.points.iterations[row]):,}",
    }
    if not group.critical[row]:
        facts["minimal ratio"] = "none: the point is not critical"
    return tuple(facts.items())


def spectrum_panel(group: Group, row: int, title: str = "") -> Panel:
    """Eigenvalues in ascending order on a symlog axis, linear within their rounding errors; shaded: the zero band."""
    values = np.sort(group.number("eigenvalues")[row])
    values = values[np.isfinite(values)]
    band, largest = float(group.number("band")[row]), float(group.number("largest")[row])
    rounding = 4 * len(values) * float(np.finfo(np.float64).eps) * max(largest, 1e-300)
    within = 10.0 ** math.floor(math.log10(rounding))
    which = np.where(values > band, "positive", np.where(values < -band, "negative", "undecided"))
    rank = np.arange(1, len(values) + 1)
    marks: list[Any] = [Span(-band, band, along="y", text="")]
    for name, colour in (("positive", 0), ("negative", 1), ("undecided", "muted")):
        keep = which == name
        if keep.any() and len(values) <= DENSE:
            marks.append(Scatter(rank[keep], values[keep], label=name, colour=colour, size=4.5))
        elif keep.any():  # dots with rims would hide one another
            marks.append(Line(rank[keep], values[keep], label=name, colour=colour, width=1.0, symbol="circle"))
    y = Axis("λ", scale="symlog", within=within)
    return Panel(Axis("rank, ascending"), y, tuple(marks), title=title)
