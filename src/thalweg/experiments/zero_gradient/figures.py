"""The figures of `zero-gradient`: the course's end points beside certified points, and both phases of the course."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.critical import CriticalPoints
from thalweg.critical.looks import LOOKS
from thalweg.critical.point_figures import Points, details, dots, index_figure, loss_axis, shares_axis, spectra_figure
from thalweg.curvature.neighbours import UNITS
from thalweg.experiments.zero_gradient.config import Config
from thalweg.experiments.zero_gradient.groups import Group
from thalweg.experiments.zero_gradient.measure import Measured, Phases
from thalweg.figures import Axis, Band, Figure, HLine, Line, Lines, Mark, Panel, VLine
from thalweg.figures.scales import number, power_of_ten
from thalweg.results.words import counted

__all__ = ["METHODS", "figures", "lost_figure"]

METHODS = {"adam": "Adam", "lbfgs": "L-BFGS", "levenberg": "Levenberg–Marquardt on the gradient"}
GRID = np.concatenate([[1e-32], np.geomspace(1e-28, 1.0, 169)])  # tolerances as shares of the largest eigenvalue
STRICT = ((1e-32, "0"), *((10.0**power, power_of_ten(10.0**power)) for power in range(-28, 1, 4)))  # ticks: first is 0
HIGHER = "share of neighbours with a higher loss"
POINTS = 600  # drawn points of a phase
SINGLE = 4  # trainings drawn alone, spread evenly over the losses at the end

Values = tuple[np.ndarray, np.ndarray, np.ndarray]


def figures(config: Config, found: Measured, ends: Group, dead: np.ndarray) -> list[Figure]:
    """All figures, the main one first.

    Args:
        config: The settings.
        found: What was measured.
        ends: Where the course's method ends.
        dead: End points no better than the best constant, (R,).
    """
    groups, unit = found.groups, UNITS[config.scale]
    named = [(group.points, group.keys) for group in groups]
    chosen, shown = _chosen([ends, *groups]), _shown(ends, dead)
    drawn = [
        ratio_figure(ends, groups, found.constant),
        phases_figure(found.phases, METHODS[config.method]) if found.phases and len(found.phases.steps[1]) else None,
        spectra_figure(chosen) if chosen else None,
        tolerance(ends, shown[0]) if shown else None,
        index_figure(named, penalty=bool(groups[0].l2)),
        found.walks.graph.plot(found.walks.names, groups[0].l2) if found.walks else None,
        neighbours_figure(ends, groups, ends.place(config.radius), config.neighbours, unit),
        radius_figure(ends, groups, config.neighbours, unit),
    ]
    return [figure for figure in drawn if figure is not None]


def lost_figure(found: Measured) -> Figure:
    """The losses up to where all trainings diverged."""
    replicas = len(found.recording.status)
    frame = found.recording.metrics.sort("step", "replica")
    loss = frame["loss"].cast(float).fill_null(np.nan).to_numpy().reshape(-1, replicas)
    steps = frame["step"].to_numpy().reshape(loss.shape)[:, 0]
    loss = np.where(np.isfinite(loss), loss, np.nan)
    panel = Panel(Axis("iteration"), Axis("loss", scale="log"), (Lines(steps, loss.T, label="training"),))
    return Figure("phases", "Loss until the trainings diverged", "Every training alone.", (panel,))


def _shown(ends: Group, dead: np.ndarray) -> list[int]:
    """End points by how many of their modes are undecided, most first; networks that are alive before dead ones."""
    points = ends.points
    usable = points.finite & np.isfinite(points.number("gradient"))
    undecided = points.number("undecided")
    return sorted(np.flatnonzero(usable).tolist(), key=lambda row: (dead[row], -undecided[row], row))


def _chosen(groups: Sequence[Group]) -> list[tuple[CriticalPoints, int, str, str]]:
    """One point per look, that of median loss: an end point, a minimum, a saddle, an embedded one."""
    found: dict[str, tuple[CriticalPoints, int, str, str]] = {}
    for look in LOOKS:
        for group in groups:
            points, losses = group.points, group.points.number("loss")
            rows = [row for row, name in enumerate(points.looks) if name == look and points.finite[row]]
            if rows and look not in found:
                middle = sorted(rows, key=lambda row: float(losses[row]))[len(rows) // 2]
                found[look] = (points, middle, group.keys[middle], look)
    flat = [look for look in found if look.startswith("not critical")][:1]
    first = [look for look in ("minimum", "saddle of index 1", "embedded saddle") if look in found]
    rest = [look for look in found if not look.startswith("not critical") and look not in first]
    return [found[look] for look in flat + (first + rest)[:3]]


def ratio_figure(ends: Group, groups: Sequence[Group], constant: float) -> Figure:
    """Minimal ratio against loss: what the course's method finds beside what is certified."""

    def classic(points: Points) -> Values:
        return np.where(points.critical, points.certain[0], points.strict), *ends.positive

    left = dots([(ends.points, ends.keys)], classic, lambda points: points.finite)
    if np.isfinite(constant):
        left.append(VLine(constant, "best constant", style="dotted"))
    named = [(group.points, group.keys) for group in groups]
    right = dots(named, lambda points: (points.certain[0], *points.certain), lambda points: points.critical)
    y = shares_axis("share of positive eigenvalues", left + right)
    searched, shown = (sum(map(len, groups)), sum(int(group.points.critical.sum()) for group in groups))
    critical = int(ends.points.critical.sum()) or "none"
    caption = (
        f"Left: the {counted(len(ends), 'end point')} of the course's method, at the share of eigenvalues > 0 whatever "
        f"their size, as the classic figure draws it; {critical} of them critical. Grey crosses are not: their share "
        "says nothing of minima. Bars reach from the modes that are certainly positive to those that may be, against "
        f"the rounding error of the Hessian alone. Right: points at which the gradient vanishes to 10⁻¹⁰ ({shown} of "
        f"{searched} searches), with the share of modes certainly positive and the undecided ones as bars."
    )
    panels = _both(ends, groups, y, left, right, constant)
    title = "Minimal ratio against loss: which dots are real"
    clicks = (*details([(ends.points, ends.keys)], ends.l2), *details(named, groups[0].l2))
    return Figure("minimal-ratio", title, caption, panels, share_y=True, size=(4.9, 4.0), details=clicks)


def neighbours_figure(ends: Group, groups: Sequence[Group], place: int, samples: int, unit: str) -> Figure:
    """The ratio by sampling, with Wilson's intervals."""
    of = {id(group.points): group for group in (ends, *groups)}

    def sampled(points: Points) -> Values:
        low, middle, high = (of[id(points)].near(name)[:, place] for name in ("low", "ratio", "high"))
        return middle, low, high

    left = dots([(ends.points, ends.keys)], sampled, lambda points: points.finite)
    right = dots([(group.points, group.keys) for group in groups], sampled, lambda points: points.critical)
    half = HLine(0.5, "a gradient decides", style="dotted")
    y = shares_axis(HIGHER, left + right, 0.45)
    caption = (
        f"Share of {samples} random neighbours at {unit} {number(float(_radii(ends)[place]))} whose loss is certainly "
        "higher; bars are 95 % intervals (Wilson 1927) that count neighbours within the rounding error of the loss "
        "both ways. At a point with a gradient about half of the near neighbours are higher, whatever the curvature."
    )
    panels = _both(ends, groups, y, [half, *left], [half, *right], float("nan"))
    return Figure("neighbours", "Minimal ratio by sampled neighbours", caption, panels, share_y=True, size=(4.9, 3.8))


def radius_figure(ends: Group, groups: Sequence[Group], samples: int, unit: str) -> Figure:
    """The sampled ratio as a function of the radius: median and range over the points of each look."""
    marks: list[Mark] = [HLine(0.5, style="dotted")]
    radii = _radii(ends)
    rows: dict[str, list[np.ndarray]] = {}
    for group in [ends, *groups]:
        shares = group.near()
        for row, look in enumerate(group.points.looks):
            if group is ends or group.points.critical[row]:  # searches that failed belong to neither kind
                rows.setdefault(look, []).append(shares[row])
    for look in LOOKS:
        if look not in rows or look == "not critical: diverged":
            continue
        values = np.array(rows[look])
        colour = LOOKS[look]["colour"]
        low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=0)
        style = "dashed" if look.startswith("not") else "solid"
        marks.append(Band(radii, low, high, colour=colour, opacity=0.15))
        marks.append(Line(radii, middle, label=look, colour=colour, symbol=LOOKS[look]["symbol"], style=style))
    caption = (
        f"Share of {samples} random neighbours with a certainly higher loss, as a function of the radius: median and "
        "middle 80 % of the points of each kind. Where the change of the loss drowns in its rounding error, at the "
        "smallest radii, no neighbour counts as higher. A saddle of low index is hardly told from a minimum."
    )
    y = shares_axis(HIGHER, marks[1:], 0.45)
    panel = Panel(Axis(unit, scale="log"), y, tuple(marks))
    return Figure("radius", "Sampled ratio against the radius", caption, (panel,), size=(7.2, 4.2))


def tolerance(ends: Group, row: int) -> Figure | None:
    """The ratio at one end point as a function of the tolerance, in single and double precision."""
    if ends.single is None or not np.isfinite(ends.single[row]).all():
        return None
    marks: list[Mark] = []
    double = ends.points.number("eigenvalues")[row]
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
        band = float(ends.rounding[2][row] / ends.points.number("largest")[row])
        marks.append(VLine(max(min(band, 1.0), GRID[0]), "P·ε, double", style="dotted"))
    marks.append(VLine(len(double) * float(np.finfo(np.float32).eps), "P·ε, single", style="dotted"))
    key = ends.keys[row]
    caption = (
        f"{key.capitalize()} (loss {number(float(ends.points.number('loss')[row]))}, ‖∇L‖ "
        f"{number(float(ends.points.number('gradient')[row]))}): share of the eigenvalues above +τ·|λ|max and below "
        f"−τ·|λ|max. With a strict λ > 0 the ratio is {' and '.join(strict)} precision; what lies between the blue and "
        "the red line is undecided at that tolerance. Left of the dotted lines, the rounding error of the Hessian in "
        "either precision, a sign is noise."
    )
    x = Axis("tolerance τ as a share of |λ|max", scale="log", ticks=STRICT)
    panel = Panel(x, Axis("share of eigenvalues", limits=(-0.02, 1.02)), tuple(marks))
    return Figure("tolerance", "The ratio depends on the tolerance", caption, (panel,), size=(7.2, 4.0))


def _radii(ends: Group) -> np.ndarray:
    return np.array([]) if ends.neighbours is None else ends.neighbours.radii.numpy()


def _both(
    ends: Group, groups: Sequence[Group], y: Axis, left: Sequence[Mark], right: Sequence[Mark], constant: float
) -> tuple[Panel, Panel]:
    """End points beside certified ones, with common limits of the losses (none unless all are positive)."""
    parts = [ends.points.number("loss")[ends.points.finite]]
    parts += [group.points.number("loss")[group.points.critical] for group in groups]
    losses = np.concatenate([*parts, [constant] if np.isfinite(constant) else []])
    limits: tuple[float | None, float | None] = (None, None)
    if len(losses) and losses.min() > 0:
        limits = float(losses.min()) / 1.3, float(losses.max()) * 1.3
    l2 = groups[0].l2
    before = loss_axis(ends.points, penalty=bool(ends.l2), limits=limits)
    after = loss_axis(*(group.points for group in groups), penalty=bool(l2), limits=limits)
    return (
        Panel(before, y, tuple(left), title=f"gradient norm minimised, l2 = {number(ends.l2)}"),
        Panel(after, y, tuple(right), title=f"certified, l2 = {number(l2)}"),
    )


def phases_figure(found: Phases, method: str) -> Figure:
    """Two frames over both phases, with the switch."""
    order = np.argsort(found.loss[1][-1])
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(SINGLE, len(order))).astype(int))]
    panels = []
    for label, parts in (("loss", found.loss), ("‖∇L‖₂", found.gradient)):
        marks: list[Mark] = []
        for steps, values in zip(found.steps, parts, strict=True):
            places = np.unique(np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).astype(int))
            x, y = steps[places], np.where(values[places] > 0, values[places], np.nan)
            alive = np.isfinite(y).any(axis=1)
            x, y = x[alive], y[alive]
            low, middle, high = np.nanquantile(y, [0.0, 0.5, 1.0], axis=0 + 1)
            marks.append(Band(x, low, high, group="all", colour=0, opacity=0.15))
            marks.append(Lines(x, y[:, chosen].T, label="single trainings", colour="muted", width=0.6, opacity=0.5))
            marks.append(Line(x, middle, label="median of all", colour=0, width=2.0))
        switch = "gradient norm becomes the objective" if label == "loss" else ""
        marks.append(VLine(float(found.steps[1][0]), switch, colour="accent"))
        panels.append(Panel(Axis("iteration"), Axis(label, scale="log"), tuple(marks)))
    jumps = "jumps (Adam's first steps have full length, however small the gradient) and then "
    caption = (
        f"Loss and norm of its gradient through training and through the minimisation of that norm ({method}): "
        f"median and range over {len(order)} trainings, and {len(chosen)} of them alone, from the lowest to the "
        f"highest loss at the end. At the switch the norm {jumps if method == 'Adam' else ''}falls; the loss does "
        "not follow."
    )
    title = "Loss and gradient norm through both phases"
    return Figure("phases", title, caption, tuple(panels), columns=1, share_x=True, size=(7.2, 2.9))
