"""What `zero-gradient` found: sentences with numbers, the table of all points, warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments import _zero_figures as figures
from thalweg.experiments import _zero_landscape as landscape
from thalweg.experiments._zero_landscape import Walks
from thalweg.experiments._zero_looks import LOOKS, looks
from thalweg.experiments._zero_phases import Phases, phases
from thalweg.experiments._zero_points import Group
from thalweg.experiments._zero_table import dead_ones, numbers, rows
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    from thalweg.experiments.shared.training import Setup
    from thalweg.experiments.zero_gradient import Config
    from thalweg.runs import Recording

__all__ = ["nothing_left", "tell"]

METHODS = {"adam": "Adam", "lbfgs": "L-BFGS", "levenberg": "Levenberg–Marquardt on the gradient"}
UNITS = {
    "norm": "distance ‖δ‖",
    "coordinate": "standard deviation of each δᵢ",
    "relative": "standard deviation of δᵢ/|θᵢ|",
    "relative-uniform": "half-width of δᵢ/|θᵢ|",
}


def nothing_left(config: Config, setup: Setup, recording: Recording) -> Findings:
    """All trainings diverged: their curves up to there, and the reason."""
    from thalweg.figures import Axis, Figure, Lines, Panel

    frame = recording.metrics.sort("step", "replica")
    loss = frame["loss"].cast(float).fill_null(np.nan).to_numpy().reshape(-1, config.replicas)
    steps = frame["step"].to_numpy().reshape(loss.shape)[:, 0]
    loss = np.where(np.isfinite(loss), loss, np.nan)
    panel = Panel(Axis("iteration"), Axis("loss", scale="log"), (Lines(steps, loss.T, label="training"),))
    return Findings(
        figures=(Figure("phases", "Loss until the trainings diverged", "Every training alone.", (panel,)),),
        statements=(f"None of the {counted(config.replicas, 'training')} of {setup.network} completed.",),
        numbers={"completed": 0},
        warnings=(*_lost(recording), "A smaller learning rate may keep the trainings finite."),
    )


def tell(
    config: Config,
    setup: Setup,
    recording: Recording,
    ends: Group,
    groups: list[Group],
    walked: Walks | None,
    refused: str,
) -> Findings:
    """Puts the findings together."""
    through = phases(recording, ends)
    constant = _variance(setup)
    dead = dead_ones(ends, constant)
    place = int(np.argmin(np.abs(ends.radii - config.radius)))
    unit = UNITS[config.scale]
    chosen = _chosen(ends, groups)
    shown = [row for row in _shown(ends, dead) if row is not None]
    met = [walked.met] if walked and walked.met else []
    drawn = [
        figures.ratio(ends, groups, constant),
        through.figure(METHODS[config.method]) if len(through.steps[1]) else None,
        figures.spectra(chosen) if chosen else None,
        figures.tolerance(ends, shown[0]) if shown else None,
        figures.index_against_loss(groups),
        landscape.figure(walked) if walked else None,
        figures.neighbours(ends, groups, place, config.neighbours, unit),
        figures.radius(ends, groups, config.neighbours, unit),
    ]
    return Findings(
        figures=[figure for figure in drawn if figure is not None],
        statements=[
            _what(config, setup, ends),
            *_ended(config, ends, through),
            *_classic(ends, dead, constant),
            *_rounding(ends),
            *(_searched(group) for group in groups),
            *(landscape.words(config, walked) if walked else ()),
            *_sampled(config, ends, groups, place),
            *_without_decay(config, ends, dead, through),
        ],
        tables={"points": [row for group in [ends, *groups, *met] for row in rows(group, place, constant)]},
        numbers=numbers(ends, groups, dead, place) | (landscape.numbers(walked) if walked else {}),
        warnings=[*_lost(recording), *_cautions(config, setup, ends, groups, refused)],
    )


def _variance(setup: Setup) -> float:
    """The loss of the best constant output, for a mean squared error; NaN for others."""
    if setup.task.kind != "regression" or setup.objective.loss_kind != "mse":
        return float("nan")
    return float(setup.task.train[1].double().var(dim=0, correction=0).mean())


def _shown(ends: Group, dead: np.ndarray) -> list[int]:
    """End points by how many of their modes are undecided, most first; networks that are alive before dead ones."""
    usable = ends.finite & np.isfinite(ends.number("gradient"))
    order = sorted(np.flatnonzero(usable).tolist(), key=lambda row: (dead[row], -ends.number("undecided")[row], row))
    return order


def _chosen(ends: Group, groups: list[Group]) -> list[tuple[Group, int, str]]:
    """One point per look, that of median loss: an end point, a minimum, a saddle, an embedded one."""
    found: dict[str, tuple[Group, int, str]] = {}
    for look in LOOKS:
        for group in [ends, *groups]:
            rows = [row for row, name in enumerate(looks(group)) if name == look and group.finite[row]]
            if rows and look not in found:
                middle = sorted(rows, key=lambda row: float(group.number("loss")[row]))[len(rows) // 2]
                found[look] = (group, middle, look)
    flat = [look for look in found if look.startswith("not critical")][:1]
    first = [look for look in ("minimum", "saddle of index 1", "embedded saddle") if look in found]
    rest = [look for look in found if not look.startswith("not critical") and look not in first]
    return [found[look] for look in flat + (first + rest)[:3]]


def _what(config: Config, setup: Setup, ends: Group) -> str:
    completed = "" if len(ends) == config.replicas else f", of which {len(ends)} completed"
    speed = f", learning rate {number(config.norm_lr)}" if config.method == "adam" else ""
    return (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}{completed}: "
        f"{recipe_words(config.training, setup.task.samples)}; then up to {counted(config.norm_steps, 'step')} on the "
        f"norm of the gradient by {METHODS[config.method]}{speed}."
    )


def _ended(config: Config, ends: Group, through: Phases) -> list[str]:
    status = [str(s) for s in ends.points.status]
    named = [(name, status.count(name)) for name in dict.fromkeys(status)]
    fates = ", ".join(f"{count} {name}" for name, count in sorted(named, key=lambda pair: -pair[1]))
    critical = int(ends.critical.sum())
    reached = f"‖∇L‖ there is {range_words(ends.number('gradient')[ends.finite])}"
    found = f"{critical or 'none'} of {len(ends)} critical (‖∇L‖ ≤ 10⁻¹⁰)"
    out = [f"The end points of the course's method: {found}; {fates}. {reached}."]
    if len(through.steps[1]) > 1 and ends.finite.any():
        before, after = through.gradient[0][-1], through.gradient[1][-1]
        kept = ends.finite
        out.append(
            f"The switch of the objective lowers ‖∇L‖ from {range_words(before[kept])} to {range_words(after[kept])} "
            f"(median, and lowest to highest), while the loss goes from {range_words(through.loss[0][-1][kept])} to "
            f"{range_words(through.loss[1][-1][kept])}: it rises in {int(through.rising[kept].sum())} of "
            f"{int(kept.sum())}."
        )
    return out


def _classic(ends: Group, dead: np.ndarray, constant: float) -> list[str]:
    out = []
    rows = ends.finite & ~ends.critical & ~dead
    if rows.any():
        low, high, _ = ends.rounding or (*ends.certain, None)
        moved = range_words(ends.number("undecided")[rows] / ends.counted[rows], percent)
        sure, unsure = range_words(low[rows], percent), range_words((high - low)[rows], percent)
        shares, losses = range_words(ends.strict[rows]), range_words(ends.number("loss")[rows])
        out.append(
            f"The classic dots: at the {counted(int(rows.sum()), 'end point')} that are not critical the share of "
            f"eigenvalues > 0 is {shares} at losses of {losses}. It is no minimal ratio: the gradient is not zero "
            f"there. Against rounding alone {sure} of the modes are certainly positive and {unsure} undecided; with "
            f"what the Hessian may change on the way to a critical point {moved} are undecided."
        )
    if dead.any():
        names = ", ".join(str(start + 1) for start in ends.starts[dead].tolist())
        many = "s" if int(dead.sum()) > 1 else ""
        out.append(
            f"Training{many} {names} ended no better than the best constant output (loss {number(constant)}, the "
            f"variance of the target): dead network{many}, the outlier{many} of the classic figure."
        )
    return out


def _rounding(ends: Group) -> list[str]:
    if ends.single is None or not ends.finite.any():
        return []
    single = (ends.single[ends.finite] > 0).mean(axis=1)
    gap = np.abs(single - ends.strict[ends.finite])
    words = (
        f"Counting λ > 0 strictly: single precision gives shares of {range_words(single)} at the end "
        f"points, double precision {range_words(ends.strict[ends.finite])}; at one and the same point they differ by "
        f"{range_words(gap)}."
    )
    return [words]


def _searched(group: Group) -> str:
    names = [look for look in looks(group) if not look.startswith("not critical")]
    kinds = ", ".join(f"{names.count(look)} × {look}" for look in LOOKS if look in names)
    rows = group.critical
    what = {"minimum": "Minima", "embedded": "Embedded minima of narrower networks"}.get(
        group.name, f"Saddles of index {group.name.removeprefix('index-').removesuffix(' search')}"
    )
    if not rows.any():
        return f"{what} (l2 = {number(group.l2)}): none of {counted(len(group), 'search')} ended at a critical point."
    h = group.number("kantorovich")[rows]
    return (
        f"{what} (l2 = {number(group.l2)}): {int(rows.sum())} of {len(group)} searches ended where ‖∇L‖ is "
        f"{range_words(group.number('gradient')[rows])}: {kinds}; losses {range_words(group.number('loss')[rows])}, "
        f"minimal ratio {range_words(group.certain[0][rows])}, Newton–Kantorovich number at most "
        f"{number(float(h.max()))}."
    )


def _sampled(config: Config, ends: Group, groups: list[Group], place: int) -> list[str]:
    found = _by_look(ends, groups, place)
    parts = [f"{look.replace(':', ',')}: {range_words(values, percent)}" for look, values in found.items()]
    out = []
    if parts:
        where = f"{UNITS[config.scale]} {number(float(ends.radii[place]))}"
        samples = counted(config.neighbours, "neighbour")
        out.append(f"Share of {samples} at {where} with a higher loss, by kind of point: {'; '.join(parts)}.")
    blind = [values for look, values in found.items() if look.startswith("saddle") and len(values)]
    if blind and float(np.median(np.concatenate(blind))) > 0.95:
        out[-1] += " They do not tell these saddles from minima: few directions lead down, and hardly any is met."
    nearest = ends.neighbours["ratio"][:, 0][ends.finite & ~ends.critical]
    if len(nearest) and place > 0 and 0.3 < float(np.median(nearest)) < 0.75:
        out.append(
            f"At the smallest radius, {number(float(ends.radii[0]))}, the share is {range_words(nearest, percent)} at "
            "the end points that are not critical: the nearer, the more it is a coin's toss, because the gradient "
            "decides there and not the curvature."
        )
    return out


def _by_look(ends: Group, groups: list[Group], place: int) -> dict[str, np.ndarray]:
    rows: dict[str, list[float]] = {}
    for group in [ends, *groups]:
        for row, look in enumerate(looks(group)):
            own = group is ends or group.critical[row]
            if own and group.finite[row]:
                rows.setdefault(look, []).append(float(group.neighbours["ratio"][row, place]))
    return {look: np.array(rows[look]) for look in LOOKS if look in rows}


def _without_decay(config: Config, ends: Group, dead: np.ndarray, through: Phases) -> list[str]:
    if config.l2 or ends.critical.all() or (ends.critical & ~dead).any() or not len(through.norms):
        return []
    start, end = through.norms[0], through.norms[-1]
    grown = int((end > start).sum())
    reach = "No critical point but that of a dead network" if ends.critical.any() else "No critical point"
    words = (
        f"Without weight decay (l2 = 0) training does not arrive: ‖θ‖ goes from {range_words(start)} to "
        f"{range_words(end)}, larger in {grown} of {len(end)} trainings, and over the last tenth of the steps the loss "
        f"goes to {range_words(through.fall, percent)} of what it was. {reach} was reached; with a little weight decay "
        "they exist."
    )
    return [words]


def _lost(recording: Recording) -> list[str]:
    return [
        f"Training {r + 1} diverged ({entry['message']}): left out of everything."
        for r, entry in enumerate(recording.status)
        if entry["status"] == "diverged"
    ]


def _cautions(config: Config, setup: Setup, ends: Group, groups: list[Group], refused: str) -> list[str]:
    out = []
    lost = int((~ends.finite).sum())
    if lost:
        out.append(f"Diverged in the second phase: {lost} of {len(ends)}, no longer finite, left out of the figures.")
    rest = int((ends.finite & ~ends.critical).sum())
    if rest:
        out.append(
            f"{counted(rest, 'end point')} of the course's method {'is' if rest == 1 else 'are'} not critical: do not "
            "read the share of positive eigenvalues there as a minimal ratio."
        )
    if not config.decay:
        out.append("decay = 0: certified points need weight decay to exist; what is shown is where the searches stood.")
    if refused:
        out.append(f"There are no embedded saddles: {refused}.")
    if setup.objective.kinks:
        out.append(
            f"The network is piecewise linear ({', '.join(setup.objective.kinks)}): the Hessian does not see its "
            "kinks, and a search may end at one, where there is no gradient."
        )
    if not any(group.critical.any() for group in groups):
        out.append("No search for certified points ended at one.")
    return out
