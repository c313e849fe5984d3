"""Every point of `zero-gradient` as a row of a table, and the numbers of each group."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.experiments._zero_points import Group

__all__ = ["dead_ones", "numbers", "rows"]

_COLUMNS = ("loss", "gradient", "norm", "positive", "negative", "undecided", "band", "smallest", "flatness")
_COLUMNS += ("kantorovich",)


def dead_ones(group: Group, constant: float) -> np.ndarray:
    """(R,) points no better than the best constant."""
    loss = group.number("loss") - 0.5 * group.l2 * group.number("norm") ** 2
    return group.finite & (loss >= 0.99 * constant) & (loss <= 1.05 * constant)


def rows(group: Group, place: int, constant: float) -> list[dict[str, Any]]:
    """The certificates; `place`: of the radius of the neighbours; `constant`: the loss of the best constant."""
    dead = dead_ones(group, constant)
    found = []
    for row, key in enumerate(group.keys):
        c = {name: group.number(name)[row].item() for name in _COLUMNS}
        low, high = (float(share[row]) for share in group.certain)
        real = bool(group.critical[row])
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
                "λ > 0": float(group.strict[row]) if group.finite[row] else None,
                "positive": c["positive"],
                "negative": c["negative"],
                "undecided": c["undecided"],
                "band": c["band"],
                "|λ| least": c["smallest"],
                "flatness": c["flatness"],
                "h": c["kantorovich"],
                "higher neighbours": float(group.neighbours["ratio"][row, place]),
                "iterations": int(group.points.iterations[row]),
                "message": group.points.message[row],
            }
        )
    return found


def numbers(ends: Group, groups: list[Group], dead: np.ndarray, place: int) -> dict[str, Any]:
    """How many searches ended at what, and medians."""
    out: dict[str, Any] = {"completed": len(ends), "end_points_critical": int(ends.critical.sum())}
    for status in ("gradient-flat", "descending", "diverged"):
        out[f"end_points_{status.replace('-', '_')}"] = [str(s) for s in ends.points.status].count(status)
    out["end_points_dead"] = int(dead.sum())
    finite = ends.finite
    if finite.any():
        out["end_points_loss"] = float(np.median(ends.number("loss")[finite]))
        out["end_points_gradient"] = float(np.median(ends.number("gradient")[finite]))
        out["end_points_strict"] = float(np.median(ends.strict[finite]))
        out["end_points_undecided"] = float(np.median(ends.number("undecided")[finite]))
        out["end_points_neighbours"] = float(np.nanmedian(ends.neighbours["ratio"][finite, place]))
    for group in groups:
        key = group.name.removesuffix(" search").replace("-", "_")
        out[f"{key}_searched"] = len(group)
        out[f"{key}_critical"] = int(group.critical.sum())
        certified = [str(s) in ("minimum", "saddle", "maximum") for s in group.points.status]
        out[f"{key}_certified"] = sum(certified)
        if group.critical.any():
            out[f"{key}_loss"] = float(np.median(group.number("loss")[group.critical]))
            out[f"{key}_ratio"] = float(np.median(group.certain[0][group.critical]))
    return out
