"""What `zero-gradient` says: which points are critical, first; everything else in tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.critical.looks import LOOKS
from thalweg.curvature.neighbours import UNITS
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.training import Setup, recipe_words
from thalweg.experiments.zero_gradient import table
from thalweg.experiments.zero_gradient.config import Config
from thalweg.experiments.zero_gradient.figures import METHODS, figures, lost_figure
from thalweg.experiments.zero_gradient.groups import Group
from thalweg.experiments.zero_gradient.measure import Measured
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words
from thalweg.runs import Recording

__all__ = ["report"]

BLIND = 0.95
"""Median share of higher neighbours at saddles from which on they look like minima."""


def report(config: Config, setup: Setup, found: Measured) -> Findings:
    """Puts the findings together."""
    ends, groups, walks = found.ends, found.groups, found.walks
    if ends is None:
        return _nothing_left(config, setup, found)
    dead, place = table.dead_ones(ends, found.constant), ends.place(config.radius)
    met = [walks.met] if walks and walks.met else []
    told = [
        *_classic(ends, dead),
        _certified(groups),
        walks.graph.summary() if walks else "",
        _neighbours(config, ends, groups, place),
        _setting(config, setup, ends),
    ]
    tables = {
        "points": [row for group in [ends, *groups, *met] for row in table.rows(group, place, found.constant)],
        "searches": table.searches([ends, *groups]),
        f"neighbours at {UNITS[config.scale]} {number(config.radius)}": table.kinds(ends, groups, place),
        "trainings": table.trainings(ends, found.phases) if found.phases else [],
    }
    return Findings(
        figures=figures(config, found, ends, dead),
        statements=[_answer(ends, groups), *filter(None, told)],
        tables=tables,
        numbers=table.numbers(ends, groups, dead, place) | (table.walk_numbers(walks) if walks else {}),
        warnings=[
            *_lost(found.recording),
            *_cautions(config, setup, ends, groups, found.refused),
            *_not_arrived(config, found, ends, dead),
        ],
    )


def _nothing_left(config: Config, setup: Setup, found: Measured) -> Findings:
    """All trainings diverged: their curves up to there, and the reason."""
    return Findings(
        figures=(lost_figure(found),),
        statements=(f"None of the {counted(config.replicas, 'training')} of {setup.network} completed.",),
        numbers={"completed": 0},
        warnings=(*_lost(found.recording), "A smaller learning rate may keep the trainings finite."),
    )


def _answer(ends: Group, groups: Sequence[Group]) -> str:
    critical = int(ends.points.critical.sum())
    names = [
        look for group in groups for look, real in zip(group.points.looks, group.points.critical, strict=True) if real
    ]
    kinds = ", ".join(f"{names.count(look)} × {look}" for look in LOOKS if look in names)
    certified = (
        f"searches that certify their ends found {kinds}" if names else "no certified search ended at one either"
    )
    return (
        f"{critical or 'None'} of the {counted(len(ends), 'end point')} of the course's method "
        f"{'is' if critical < 2 else 'are'} critical (‖∇L‖ ≤ 10⁻¹⁰); {certified}."
    )


def _classic(ends: Group, dead: np.ndarray) -> list[str]:
    points, out = ends.points, []
    rows = points.finite & ~points.critical & ~dead
    if rows.any():
        low, high = ends.positive
        shares, losses = range_words(points.strict[rows]), range_words(points.number("loss")[rows])
        out.append(
            f"At the {counted(int(rows.sum()), 'end point')} that are not critical the share of eigenvalues > 0 is "
            f"{shares} at losses of {losses}, where ‖∇L‖ is {range_words(points.number('gradient')[rows])}: no minimal "
            f"ratio. Against rounding alone {range_words(low[rows], percent)} of the modes are certainly positive and "
            f"{range_words((high - low)[rows], percent)} undecided."
        )
    return out


def _certified(groups: Sequence[Group]) -> str:
    minima = [group for group in groups if group.points.critical.any()]
    if not minima:
        return ""
    real = [group.points.critical for group in minima]
    h = max(float(group.points.number("kantorovich")[rows].max()) for group, rows in zip(minima, real, strict=True))
    words = [
        f"{group.name.removesuffix(' search')} {range_words(group.points.certain[0][rows])}"
        for group, rows in zip(minima, real, strict=True)
    ]
    return (
        f"Certified minimal ratios (l2 = {number(minima[0].l2)}): {'; '.join(words)}; the Newton–Kantorovich number "
        "is at "
        f"most {number(h)}."
    )


def _neighbours(config: Config, ends: Group, groups: Sequence[Group], place: int) -> str:
    def shares(group: Group, rows: np.ndarray) -> np.ndarray:
        return group.near()[rows, place]

    loose = shares(ends, ends.points.finite & ~ends.points.critical)
    saddles = [shares(group, group.points.critical & (group.points.number("negative") > 0)) for group in groups]
    parts = [("end points that are not critical", loose), ("certified saddles", np.concatenate(saddles))]
    said = [f"{range_words(values, percent)} at {name}" for name, values in parts if len(values)]
    if not said:
        return ""
    where = f"{UNITS[config.scale]} {number(config.radius)}"
    blind = len(parts[1][1]) > 0 and float(np.median(parts[1][1])) > BLIND
    moral = "; sampling does not tell these saddles from minima, since few directions lead down" if blind else ""
    return (
        f"Share of {counted(config.neighbours, 'neighbour')} at {where} with a higher loss: {', '.join(said)}{moral}."
    )


def _setting(config: Config, setup: Setup, ends: Group) -> str:
    completed = "" if len(ends) == config.replicas else f", of which {len(ends)} completed"
    speed = f", learning rate {number(config.norm_lr)}" if config.method == "adam" else ""
    return (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}{completed}: "
        f"{recipe_words(config.training, setup.task.samples)}; then up to {counted(config.norm_steps, 'step')} on the "
        f"norm of the gradient by {METHODS[config.method]}{speed}."
    )


def _lost(recording: Recording) -> list[str]:
    return [
        f"Training {r + 1} diverged ({entry['message']}): left out of everything."
        for r, entry in enumerate(recording.status)
        if entry["status"] == "diverged"
    ]


def _cautions(config: Config, setup: Setup, ends: Group, groups: Sequence[Group], refused: str) -> list[str]:
    out = []
    lost = int((~ends.points.finite).sum())
    if lost:
        out.append(f"Diverged in the second phase: {lost} of {len(ends)}, no longer finite, left out of the figures.")
    rest = int((ends.points.finite & ~ends.points.critical).sum())
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
    if not any(group.points.critical.any() for group in groups):
        out.append("No search for certified points ended at one.")
    return out


def _not_arrived(config: Config, found: Measured, ends: Group, dead: np.ndarray) -> list[str]:
    """Dead networks, and trainings without weight decay, which lead to no critical point."""
    out, critical, through = [], ends.points.critical, found.phases
    if dead.any():
        many = "s" if int(dead.sum()) > 1 else ""
        names = ", ".join(str(start + 1) for start in ends.starts[dead].tolist())
        out.append(
            f"Training{many} {names} ended no better than the best constant output (loss {number(found.constant)}): "
            "dead "
            f"network{many}, the outlier{many} of the classic figure."
        )
    if config.l2 or through is None or critical.all() or (critical & ~dead).any():
        return out
    start, end = through.norms[0], through.norms[-1]
    reach = "no critical point but that of a dead network" if critical.any() else "no critical point"
    out.append(
        f"Without weight decay (l2 = 0) training does not arrive: ‖θ‖ goes from {range_words(start)} to "
        f"{range_words(end)}, larger in {int((end > start).sum())} of {len(end)} trainings, and over the last tenth "
        "of the "
        f"steps the loss goes to {range_words(through.fall, percent)} of what it was; {reach} was reached."
    )
    return out
