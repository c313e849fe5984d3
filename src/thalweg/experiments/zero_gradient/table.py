"""Every point of `zero-gradient` as a row of a table, every search and every kind of point; the numbers of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.critical.looks import LOOKS
from thalweg.experiments.framework.findings import Number
from thalweg.experiments.zero_gradient.groups import Group
from thalweg.experiments.zero_gradient.measure import Phases, Walks

__all__ = ["dead_ones", "kinds", "numbers", "rows", "searches", "trainings", "walk_numbers"]

_COLUMNS = ("loss", "gradient", "norm", "positive", "negative", "undecided", "band", "smallest", "flatness")
_COLUMNS += ("kantorovich",)


def dead_ones(group: Group, constant: float) -> np.ndarray:
    """(R,) points no better than the best constant."""
    loss = group.points.number("loss") - 0.5 * group.l2 * group.points.number("norm") ** 2
    return group.points.finite & (loss >= 0.99 * constant) & (loss <= 1.05 * constant)


def rows(group: Group, place: int, constant: float) -> list[dict[str, Number]]:
    """The certificates; `place`: of the radius of the neighbours; `constant`: the loss of the best constant."""
    dead, near = dead_ones(group, constant), group.near()
    found = []
    for row, key in enumerate(group.keys):
        c = {name: group.points.number(name)[row].item() for name in _COLUMNS}
        low, high = (float(share[row]) for share in group.points.certain)
        real = bool(group.points.critical[row])
        found.append(
            {
                "point": key,
                "status": str(group.points.status[row]),
                "kind": "constant predictor" if dead[row] else group.points.kind[row],
                "l2": group.l2,
                "loss": c["loss"],
                "‖∇L‖₂": c["gradient"],
                "‖θ‖": c["norm"],
                "minimal ratio": low if real else None,
                "at most": high if real else None,
                "λ > 0": float(group.points.strict[row]) if group.points.finite[row] else None,
                "positive": c["positive"],
                "negative": c["negative"],
                "undecided": c["undecided"],
                "band": c["band"],
                "|λ| least": c["smallest"],
                "flatness": c["flatness"],
                "h": c["kantorovich"],
                "higher neighbours": float(near[row, place]),
                "iterations": int(group.points.iterations[row]),
                "message": group.points.message[row],
            }
        )
    return found


def numbers(ends: Group, groups: Sequence[Group], dead: np.ndarray, place: int) -> dict[str, Number]:
    """How many searches ended at what, and medians."""
    out: dict[str, Number] = {"completed": len(ends), "end_points_critical": int(ends.points.critical.sum())}
    for status in ("gradient-flat", "descending", "diverged"):
        out[f"end_points_{status.replace('-', '_')}"] = [str(s) for s in ends.points.status].count(status)
    out["end_points_dead"] = int(dead.sum())
    finite = ends.points.finite
    if finite.any():
        out["end_points_loss"] = float(np.median(ends.points.number("loss")[finite]))
        out["end_points_gradient"] = float(np.median(ends.points.number("gradient")[finite]))
        out["end_points_strict"] = float(np.median(ends.points.strict[finite]))
        out["end_points_undecided"] = float(np.median(ends.points.number("undecided")[finite]))
        out["end_points_neighbours"] = float(np.nanmedian(ends.near()[finite, place]))
    for group in groups:
        key = group.name.removesuffix(" search").replace("-", "_")
        out[f"{key}_searched"] = len(group)
        out[f"{key}_critical"] = int(group.points.critical.sum())
        certified = [str(s) in ("minimum", "saddle", "maximum") for s in group.points.status]
        out[f"{key}_certified"] = sum(certified)
        if group.points.critical.any():
            out[f"{key}_loss"] = float(np.median(group.points.number("loss")[group.points.critical]))
            out[f"{key}_ratio"] = float(np.median(group.points.certain[0][group.points.critical]))
    return out


def walk_numbers(found: Walks) -> dict[str, Number]:
    """Of the landscape."""
    graph = found.graph
    return {
        "landscape_saddles": len(graph.saddles),
        "landscape_minima": len(graph.minima),
        "landscape_minima_met": len(found.met or ()),
        "landscape_walks": len(graph.edges) + graph.lost,
        "landscape_lost": graph.lost,
        "landscape_joining": sum(a != b for a, b in graph.sides),
    }


def searches(groups: Sequence[Group]) -> list[dict[str, Number]]:
    """How the searches of every kind ended: medians over the critical points."""
    found: list[dict[str, Number]] = []
    for group in groups:
        points, real = group.points, group.points.critical
        row: dict[str, Number] = {
            "searches": group.name,
            "l2": group.l2,
            "number": len(group),
            "critical": int(real.sum()),
        }
        columns = {"loss": "loss", "‖∇L‖₂": "gradient", "h": "kantorovich"}
        row |= {
            name: float(np.median(points.number(field)[real])) if real.any() else None
            for name, field in columns.items()
        }
        row["minimal ratio"] = float(np.median(points.certain[0][real])) if real.any() else None
        found.append(row | {look: points.looks.count(look) for look in LOOKS if look in points.looks})
    names = dict.fromkeys(name for row in found for name in row)
    return [{name: row.get(name, 0) for name in names} for row in found]


def kinds(ends: Group, groups: Sequence[Group], place: int) -> list[dict[str, Number]]:
    """Share of higher neighbours at one radius, by kind of point: median, lowest, highest."""
    shares: dict[str, list[float]] = {}
    for group in [ends, *groups]:
        near = group.near()
        for r, look in enumerate(group.points.looks):
            if group.points.finite[r] and (group is ends or group.points.critical[r]):
                shares.setdefault(look, []).append(float(near[r, place]))
    found: list[dict[str, Number]] = []
    for look in LOOKS:
        if values := shares.get(look):
            row: dict[str, Number] = {"kind": look, "points": len(values), "median": float(np.median(values))}
            found.append(row | {"lowest": min(values), "highest": max(values)})
    return found


def trainings(ends: Group, through: Phases) -> list[dict[str, Number]]:
    """Every training through both phases: loss, gradient, ‖θ‖, shares of eigenvalues > 0 in both precisions."""
    single = None if ends.single is None else (ends.single > 0).mean(axis=1)
    found: list[dict[str, Number]] = []
    for r, start in enumerate(ends.starts.tolist()):
        row: dict[str, Number] = {"training": start + 1, "first ‖θ‖": float(through.norms[0, r])}
        row |= {"last ‖θ‖": float(through.norms[-1, r]), "loss, last tenth": float(through.fall[r])}
        for key, phases in (("loss", through.loss), ("‖∇L‖₂", through.gradient)):
            row |= {f"{key} at the switch": float(phases[0][-1, r])}
            row |= {f"{key} at the end": float(phases[1][-1, r]) if len(phases[1]) else None}
        row |= {"λ > 0": float(ends.points.strict[r]), "λ > 0 in float32": None if single is None else float(single[r])}
        found.append(row)
    return found
