"""What `edge-of-stability` says: where the sharpness ends, relative to its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.experiments.edge_of_stability.figures import named, paths_figure
from thalweg.experiments.edge_of_stability.measure import Path
from thalweg.experiments.framework.findings import Findings, Number
from thalweg.figures.scales import number
from thalweg.results.words import counted, range_words

__all__ = ["report", "verdict"]

BOUNDS = (
    (1.1, "well above it"),
    (1.0, "at the edge of stability, above the limit by at most 10 %"),
    (0.9, "close to the edge"),
    (-np.inf, "not at the edge within these steps"),
)
"""Least ratio of the sharpness to the limit, and what is said of it."""


MOST = 4
"""Learning rates of which sentences speak; of more the table and the picture do."""


def report(paths: Sequence[Path], setting: str) -> Findings:
    """Puts the findings together.

    Args:
        paths: One for each learning rate.
        setting: What was trained on what, and how.
    """
    return Findings(
        figures=(paths_figure(paths),),
        statements=(_answer(paths), f"{setting}.", *filter(None, map(_course, paths[:MOST]))),
        tables={"Runs": [row for path in paths for row in _rows(path)]},
        numbers={name: value for path in paths for name, value in _numbers(path).items()},
        warnings=[
            f"Run {r + 1} diverged with {named(path)}; its curves end there." for path in paths for r in path.diverged
        ],
    )


def _alive(path: Path) -> np.ndarray:
    return path.late[np.isfinite(path.late)]


def _answer(paths: Sequence[Path]) -> str:
    late = np.concatenate([_alive(path) for path in paths])
    if not len(late):
        return "No run stayed finite to its end: there is no sharpness to compare with the limit."
    reached = int((late >= BOUNDS[2][0]).sum())
    return (
        f"The sharpness ends at {range_words(late)} times the limit of stability: {reached or 'none'} of "
        f"{counted(len(late), 'run')} ended above it or less than 10 % below it."
    )


def _course(path: Path) -> str:
    alive = _alive(path)
    if not len(alive):
        return ""
    return (
        f"With {named(path)} the sharpness goes from {range_words(path.sharpness[0])} to "
        f"{range_words(path.late * path.limit)}, that is {range_words(path.late)} times the limit "
        f"{number(path.limit)}: {verdict(alive)}."
    )


def _numbers(path: Path) -> dict[str, Number]:
    lr, alive = path.recipe.lr, _alive(path)
    return {f"limit_{lr:g}": path.limit, f"ratio_{lr:g}": float(np.median(alive)) if len(alive) else np.nan}


def _rows(path: Path) -> list[dict[str, Number]]:
    return [
        {
            "learning rate": path.recipe.lr,
            "run": r + 1,
            "limit": path.limit,
            "first sharpness": float(path.sharpness[0, r]),
            "greatest sharpness": float(np.nanmax(path.sharpness[:, r], initial=-np.inf)),
            "last sharpness / limit": float(path.late[r]),
            "greatest residual": float(np.nanmax(path.residual[:, r], initial=0.0)),
            "last loss": float(path.loss[-1, r]),
        }
        for r in range(path.loss.shape[1])
    ]


def verdict(late: np.ndarray) -> str:
    """What the runs have reached; each speaks for itself.

    Args:
        late: Sharpness over the limit at the end of every run (R,).

    >>> verdict(np.array([1.02, 1.05]))
    'at the edge of stability, above the limit by at most 10 %'
    >>> verdict(np.array([1.02, 0.5, 1.05]))
    'at the edge of stability, above the limit by at most 10 %, in 2 of 3 runs; not at the edge within these steps in 1'
    """
    reached = [next(words for low, words in BOUNDS if share >= low) for share in late]
    counts = {words: reached.count(words) for _, words in BOUNDS if words in reached}
    if len(counts) == 1:
        return reached[0]
    first, *rest = counts.items()
    return "; ".join([f"{first[0]}, in {first[1]} of {len(late)} runs", *(f"{words} in {n}" for words, n in rest)])
