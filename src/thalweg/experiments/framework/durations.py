"""How long presets take on two cores, as a help page says it without measuring anything.

`benchmarks/course.py` measures `quick` and `course`; what takes hours is estimated as `thalweg run` does it.
"""

from __future__ import annotations

__all__ = ["MINUTES"]

MINUTES: dict[str, dict[str, float]] = {
    "function-fit": {"quick": 0.4, "course": 3},
    "image-fit": {"quick": 0.4, "course": 13, "classic": 240},
    "trajectory": {"quick": 0.3, "course": 1},
    "gradient-norm": {"quick": 0.3, "course": 1},
    "zero-gradient": {"quick": 0.7, "course": 2},
    "error-surface": {"quick": 0.3, "course": 1},
    "random-labels": {"quick": 0.3, "course": 4, "classic": 60},
    "capacity": {"quick": 0.2, "course": 20},
    "interpolation": {"quick": 0.4, "course": 5},
    "sensitivity": {"quick": 0.4, "course": 8},
    "sharpness": {"quick": 0.7, "course": 25, "classic": 30},
    "edge-of-stability": {"quick": 0.4, "course": 2, "paper": 50},
    "spectrum": {"quick": 0.5, "course": 9, "classic": 30},
}
"""Experiment -> preset -> minutes, rounded; presets of seconds and those that were never timed are left out."""
