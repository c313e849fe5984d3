"""What a point is called and how it looks: status first, then how it was made; the same in every picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["LOOKS", "look"]

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
"""What a point is -> symbol and colour."""


def look(status: Iterable[str], kind: Iterable[str], negative: Iterable[int]) -> list[str]:
    """The key of `LOOKS` of every point.

    >>> look(["saddle", "descending", "minimum"], ["embedded", "generic", "constant predictor"], [1, 3, 0])
    ['embedded saddle', 'not critical: descending', 'constant predictor']
    """
    return [_one(*point) for point in zip(status, kind, negative, strict=True)]


def _one(status: str, kind: str, negative: int) -> str:
    if f"not critical: {status}" in LOOKS:
        return f"not critical: {status}"
    if kind == "constant predictor":
        return kind
    if status == "saddle":
        if kind in ("embedded", "low-rank"):
            return "embedded saddle"
        return f"saddle of index {negative}" if negative < 3 else "saddle of higher index"
    return str(status) if status in LOOKS else "degenerate or uncertified"
