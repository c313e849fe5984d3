"""The figures of `zero-gradient` that are made of points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from thalweg.experiments._zero_looks import LOOKS, details, index_axis, looks, spectrum_panel
from thalweg.experiments._zero_points import Group
from thalweg.figures import Axis, Band, ErrorBars, Figure, HLine, Line, Mark, Panel, Scatter, Text, VLine
from thalweg.figures.scales import number, power_of_ten
from thalweg.results.words import counted

__all__ = ["index_against_loss", "neighbours", "radius", "ratio", "spectra", "tolerance"]

GRID = np.concatenate([[1e-32], np.geomspace(1e-28, 1.0, 169)])  # tolerances as shares of the largest eigenvalue
STRICT = ((1e-32, "0"), *((10.0**power, power_of_ten(10.0**power)) for power in range(-28, 1, 4)))  # ticks: first is 0

Ends = Callable[[Group], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Drawn value, lower and upper end of every point (R,) each."""


def ratio(ends: Group, groups: list[Group], constant: float) -> Figure:
    """Minimal ratio against loss: what the course's method finds beside what is certified."""

    def classic(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, high, _ = group.rounding or (*group.certain, None)
        return np.where(group.critical, group.certain[0], group.strict), low, high

    def certified(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return group.certain[0], *group.certain

    left = _dots([ends], classic, keep=lambda group: group.finite)
    if np.isfinite(constant):
        left.append(VLine(constant, "best constant", style="dotted"))
    right = _dots(groups, certified, keep=lambda group: group.critical)
    limits = _range(ends, groups, constant)
    y = Axis("share of positive eigenvalues", limits=_shares(left + right))
    panels = (
        Panel(_loss(ends, limits=limits), y, tuple(left), title=f"gradient norm minimised, l2 = {number(ends.l2)}"),
        Panel(_loss(*groups, limits=limits), y, tuple(right), title=f"certified, l2 = {number(groups[0].l2)}"),
    )
    searched, shown = sum(len(group) for group in groups), sum(int(group.critical.sum()) for group in groups)
    critical = int(ends.critical.sum()) or "none"
    caption = (
        f"Left: the {counted(len(ends), 'end point')} of the course's method, at the share of eigenvalues > 0 whatever "
        f"their size, as the classic figure draws it; {critical} of them critical. Grey crosses are not: their share "
        "says nothing of minima. Bars reach from the modes that are certainly positive to those that may be, against "
        f"the rounding error of the Hessian alone. Right: points at which the gradient vanishes to 10⁻¹⁰ ({shown} of "
        f"{searched} searches), with the share of modes certainly positive and the undecided ones as bars."
    )
    return Figure(
        "minimal-ratio",
        "Minimal ratio against loss: which dots are real",
        caption,
        panels,
        share_y=True,
        size=(4.9, 4.0),
        details=tuple(details([ends, *groups])),
    )


def index_against_loss(groups: list[Group]) -> Figure | None:
    """Number of negative modes against loss; None where no point is critical."""

    def negative(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low = group.number("negative").astype(float)
        return low, low, low + group.number("undecided")

    marks = _dots(groups, negative, keep=lambda group: group.critical)
    caption = (
        "Index, the number of modes that lead down, against the loss of the certified points (Dauphin et al. 2014: "
        "saddles of higher index lie higher). Bars add the undecided modes."
    )
    highest = [int(group.number("negative")[group.critical].max()) for group in groups if group.critical.any()]
    if not highest:
        return None
    panel = Panel(_loss(*groups), index_axis(max(highest)), tuple(marks))
    return Figure("index", "Index against loss", caption, (panel,))


def neighbours(ends: Group, groups: list[Group], place: int, samples: int, unit: str) -> Figure:
    """The ratio by sampling, with Wilson's intervals."""

    def sampled(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(group.neighbours[name][:, place] for name in ("ratio", "low", "high"))  # type: ignore[return-value] -- three

    left = _dots([ends], sampled, keep=lambda group: group.finite)
    right = _dots(groups, sampled, keep=lambda group: group.critical)
    half = HLine(0.5, "a gradient decides", style="dotted")
    y = Axis("share of neighbours with a higher loss", limits=_shares(left + right, 0.45))
    limits = _range(ends, groups, float("nan"))
    panels = (
        Panel(_loss(ends, limits=limits), y, (half, *left), title=f"gradient norm minimised, l2 = {number(ends.l2)}"),
        Panel(_loss(*groups, limits=limits), y, (half, *right), title=f"certified, l2 = {number(groups[0].l2)}"),
    )
    caption = (
        f"Share of {samples} random neighbours at {unit} {number(float(ends.radii[place]))} whose loss is certainly "
        "higher; bars are 95 % intervals (Wilson 1927) that count neighbours within the rounding error of the loss "
        "both ways. At a point with a gradient about half of the near neighbours are higher, whatever the curvature."
    )
    return Figure("neighbours", "Minimal ratio by sampled neighbours", caption, panels, share_y=True, size=(4.9, 3.8))


def radius(ends: Group, groups: list[Group], samples: int, unit: str) -> Figure:
    """The sampled ratio as a function of the radius: median and range over the points of each look."""
    marks: list[Mark] = [HLine(0.5, style="dotted")]
    rows: dict[str, list[np.ndarray]] = {}
    for group in [ends, *groups]:
        for row, look in enumerate(looks(group)):
            if group is ends or group.critical[row]:  # searches that failed belong to neither kind
                rows.setdefault(look, []).append(group.neighbours["ratio"][row])
    for look in LOOKS:
        if look not in rows or look == "not critical: diverged":
            continue
        values = np.array(rows[look])
        colour = LOOKS[look]["colour"]
        low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=0)
        style = "dashed" if look.startswith("not") else "solid"
        marks.append(Band(ends.radii, low, high, colour=colour, opacity=0.15))
        marks.append(Line(ends.radii, middle, label=look, colour=colour, symbol=LOOKS[look]["symbol"], style=style))
    caption = (
        f"Share of {samples} random neighbours with a certainly higher loss, as a function of the radius: median and "
        "middle 80 % of the points of each kind. Where the change of the loss drowns in its rounding error, at the "
        "smallest radii, no neighbour counts as higher. A saddle of low index is hardly told from a minimum."
    )
    y = Axis("share of neighbours with a higher loss", limits=_shares(marks[1:], 0.45))
    panel = Panel(Axis(unit, scale="log"), y, tuple(marks))
    return Figure("radius", "Sampled ratio against the radius", caption, (panel,), size=(7.2, 4.2))


def tolerance(ends: Group, row: int) -> Figure | None:
    """The ratio at one end point as a function of the tolerance, in single and double precision."""
    if ends.single is None or not np.isfinite(ends.single[row]).all():
        return None
    marks: list[Mark] = []
    double = ends.number("eigenvalues")[row]
    double = double[np.isfinite(double)]
    strict = []
    for name, values, style in (("double", double, "solid"), ("single", ends.single[row].astype(float), "dashed")):
        scaled = values / np.abs(values).max()
        up = [(scaled > tau).mean() for tau in [0.0, *GRID[1:]]]
        down = [(scaled < -tau).mean() for tau in [0.0, *GRID[1:]]]
        marks.append(Line(GRID, up, label=f"positive, {name} precision", colour=0, style=style, steps=True))
        marks.append(Line(GRID, down, label=f"negative, {name} precision", colour=1, style=style, steps=True))
        strict.append(f"{number(float((values > 0).mean()))} in {name}")
    if ends.rounding is not None:
        band = float(ends.rounding[2][row] / ends.number("largest")[row])
        marks.append(VLine(max(min(band, 1.0), GRID[0]), "P·ε, double", style="dotted"))
    marks.append(VLine(len(double) * float(np.finfo(np.float32).eps), "P·ε, single", style="dotted"))
    key = ends.keys[row]
    caption = (
        f"{key.capitalize()} (loss {number(float(ends.number('loss')[row]))}, ‖∇L‖ "
        f"{number(float(ends.number('gradient')[row]))}): share of the eigenvalues above +τ·|λ|max and below "
        f"−τ·|λ|max. With a strict λ > 0 the ratio is {' and '.join(strict)} precision; what lies between the blue and "
        "the red line is undecided at that tolerance. Left of the dotted lines, the rounding error of the Hessian in "
        "either precision, a sign is noise."
    )
    x = Axis("tolerance τ as a share of |λ|max", scale="log", ticks=STRICT)
    panel = Panel(x, Axis("share of eigenvalues", limits=(-0.02, 1.02)), tuple(marks))
    return Figure("tolerance", "The ratio depends on the tolerance", caption, (panel,), size=(7.2, 4.0))


def spectra(chosen: list[tuple[Group, int, str]]) -> Figure:
    """Eigenvalues at chosen points."""
    panels = []
    for group, row, title in chosen:
        panel = spectrum_panel(group, row, title)
        gradient, loss = (number(float(group.number(field)[row])) for field in ("gradient", "loss"))
        words = f"{group.keys[row]}: ‖∇L‖ = {gradient}, loss {loss}"
        corner = Text(0.97, 0.05, words, frame="panel", anchor="right", boxed=True)
        panels.append(Panel(panel.x, panel.y, (*panel.marks, corner), title=title))
    caption = (
        "Eigenvalues of the Hessian in ascending order, at one point of every kind (the one of median loss); the "
        "shaded stripe is the zero band, inside which an eigenvalue has no sign; at a point that is not critical it "
        "holds what the Hessian may change on the way to one. The axis is linear within the rounding error."
    )
    return Figure("spectra", "Spectra of the Hessian", caption, tuple(panels), columns=2 if len(panels) != 3 else 3)


def _shares(marks: list[Mark], most: float = 1.0) -> tuple[float, float]:
    """Limits of an axis of shares: down to what is drawn, and to `most` at least."""
    drawn = [values for mark in marks for values in (getattr(mark, "low", None), getattr(mark, "y", None))]
    lowest = min((float(np.nanmin(values)) for values in drawn if values is not None and len(values)), default=0.0)
    return max(-0.03, min(lowest - 0.08, most)), 1.04


def _range(ends: Group, groups: list[Group], constant: float) -> tuple[float | None, float | None]:
    """Common limits of the losses of both panels, so that they can be compared; none unless all are positive."""
    parts = [ends.number("loss")[ends.finite], *(group.number("loss")[group.critical] for group in groups)]
    losses = np.concatenate([*parts, [constant] if np.isfinite(constant) else []])
    if not len(losses) or losses.min() <= 0:
        return None, None
    return float(losses.min()) / 1.3, float(losses.max()) * 1.3


def _loss(*groups: Group, limits: tuple[float | None, float | None] = (None, None)) -> Axis:
    """A loss with a penalty is another loss, and the axis says so."""
    label = "loss with penalty" if groups[0].l2 else "loss"
    positive = all((group.number("loss")[group.finite] > 0).all() for group in groups)
    return Axis(label, scale="log" if positive else "linear", limits=limits if positive else (None, None))


def _dots(groups: list[Group], ends: Ends, *, keep: Callable[[Group], np.ndarray]) -> list[Mark]:
    """One scatter per look, with bars where lower and upper end differ."""
    bars: list[Mark] = []
    dots: list[Mark] = []
    for look, style in LOOKS.items():
        columns: list[tuple[float, float, float, float, str, str]] = []
        for group in groups:
            value, low, high = ends(group)
            kept = keep(group)
            for row, (name, key) in enumerate(zip(looks(group), group.keys, strict=True)):
                if name == look and kept[row]:
                    words = f"{key}\n{group.points.message[row]}"
                    columns.append((float(group.number("loss")[row]), value[row], low[row], high[row], key, words))
        if not columns:
            continue
        x, y, low, high, keys, hover = zip(*columns, strict=True)
        if any(a < b for a, b in zip(low, high, strict=True)):
            bars.append(ErrorBars(x, y, low, high, colour=style["colour"], opacity=0.45))
        dots.append(Scatter(x, y, label=look, hover=hover, keys=keys, **style))
    return bars + dots
