"""What `capacity` says: the interpolation threshold, and whether the test error has a peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments.capacity.config import Config
from thalweg.experiments.capacity.figures import figure
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent
from thalweg.sources import Source

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Peak", "peak", "merge"]


@dataclass(frozen=True)
class Peak:
    """The most prominent inner maximum of a curve.

    Args:
        at: Its index.
        before: Index of the lowest value before it.
        after: Index of the lowest value after it.
        height: How far both of these lie below it.
        clear: Whether all runs at the peak lie above all runs at both.
    """

    at: int
    before: int
    after: int
    height: float
    clear: bool


def peak(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> Peak | None:
    """The most prominent inner maximum; None where the curve has none.

    Args:
        middle: Medians (M,).
        low: Least values (M,).
        high: Greatest values (M,).

    >>> values = np.array([0.5, 0.2, 0.3, 0.4, 0.1])
    >>> peak(values, values - 0.01, values + 0.01)
    Peak(at=3, before=1, after=4, height=0.2, clear=True)
    >>> peak(np.array([3.0, 2.0, 1.0]), np.zeros(3), np.zeros(3)) is None
    True
    """
    best = None
    for at in range(1, len(middle) - 1):
        before, after = int(np.argmin(middle[:at])), at + 1 + int(np.argmin(middle[at + 1 :]))
        height = float(middle[at] - max(middle[before], middle[after]))
        if height > 0 and (best is None or height > best.height):
            clear = bool(low[at] > max(high[before], high[after]))
            best = Peak(at, before, after, height, clear)
    return best


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers from the rows of `measure`, also those of several runs together."""
    sizes = dict(sorted(shared.groups(table).items(), key=lambda item: item[1]["parameters"][0]))
    classes = not table["train_accuracy"].is_null().all()
    threshold = _threshold(config, sizes) if classes else None
    parameters = [int(part["parameters"][0]) for part in sizes.values()]
    samples, outputs = int(table["samples"][0]), int(table["outputs"][0])
    noise = f", {percent(config.data.label_noise)} of the labels redrawn" if config.data.label_noise else ""
    width = f", {counted(outputs, 'output')}" if outputs else ""
    loss = "" if config.loss == "auto" else f", loss {Source.of(config.loss).label}"
    settings = (
        f"{counted(len(sizes), 'size')} from {parameters[0]:,} to {parameters[-1]:,} parameters on "
        f"{config.data.called} ({samples:,} training samples{width}{noise}){loss}, "
        f"{recipe_words(config.training, samples)}, {counted(config.replicas, 'run')} each."
    )
    peaks = []
    numbers: dict[str, Any] = {"threshold": threshold}
    for name, words in (("test_error", "test error"), ("test_loss", "test loss")):
        curve = _curve(sizes, name)
        if curve is not None:
            found = peak(*curve[1:])
            peaks.append(_peak_words(words, curve, found, percent if name == "test_error" else number))
            numbers |= {
                f"{name}_peak": found.height if found else 0.0,
                f"{name}_peak_clear": bool(found and found.clear),
            }
            numbers[f"{name}_peak_parameters"] = int(curve[0][found.at]) if found else None
    fitted = [_threshold_words(config, sizes, threshold, samples * outputs)] if classes else []
    statements = [*peaks[:1], *fitted, settings, *peaks[1:]]
    names = [name for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy") if name in table.columns]
    rows = [shared.record(part, [name for name in names if not table[name].is_null().all()]) for part in sizes.values()]
    return Findings([figure(table, classes, threshold)], statements, {"Sizes": rows}, numbers, shared.diverged(table))


def _threshold(config: Config, sizes: dict[str, pl.DataFrame]) -> int | None:
    """The smallest number of parameters whose median training accuracy is high enough."""
    fitting = [part for part in sizes.values() if shared.median(part, "train_accuracy") >= config.fitted]
    return min((int(part["parameters"][0]) for part in fitting), default=None)


def _threshold_words(config: Config, sizes: dict[str, pl.DataFrame], threshold: int | None, equations: int) -> str:
    if threshold is None:
        best = max((shared.median(part, "train_accuracy") for part in sizes.values()), default=float("nan"))
        return (
            f"No size fits {percent(config.fitted)} of the training labels (at best {percent(best)}): the "
            "interpolation threshold lies beyond the sizes or the training shown."
        )
    return (
        f"The interpolation threshold ({percent(config.fitted)} of the training labels) is reached with {threshold:,} "
        f"parameters; samples times outputs are {equations:,}."
    )


def _curve(sizes: dict[str, pl.DataFrame], name: str) -> tuple[np.ndarray, ...] | None:
    """Parameters, medians, least and greatest values of the sizes at which a run completed; None without a test set."""
    rows = []
    for part in sizes.values():
        values = 1 - shared.column(part, "test_accuracy") if name == "test_error" else shared.column(part, name)
        if len(values):
            rows.append((float(part["parameters"][0]), np.median(values), values.min(), values.max()))
    return tuple(np.array(rows).T) if rows else None


def _peak_words(words: str, curve: tuple[np.ndarray, ...], found: Peak | None, told: Any) -> str:
    sizes, middle = curve[:2]
    if found is None:
        low = int(np.argmin(middle))
        return (
            f"The {words} has no inner peak: its lowest median is {told(middle[low])} at {sizes[low]:,.0f} parameters, "
            f"{told(middle[-1])} at the largest size."
        )
    before, at, after = (
        f"{told(middle[i])} at {sizes[i]:,.0f} parameters" for i in (found.before, found.at, found.after)
    )
    size = "larger than" if found.clear else "not larger than"
    return (
        f"The {words} falls to {before}, rises to {at} and falls again to {after}: a peak that is {size} the range "
        "over the runs."
    )
