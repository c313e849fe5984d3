"""What `image-fit` says: which network learns the images best, whether the seeds agree, and who still learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.image_fit import figures
from thalweg.experiments.image_fit.config import Config
from thalweg.experiments.image_fit.measure import Measured
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

__all__ = ["report"]

STILL = 0.05
"""Share by which the training loss must have fallen over the last tenth of training to be called unfinished."""


def report(config: Config, found: Measured) -> Findings:
    """Figures, sentences and numbers from what was measured."""
    last = shared.last(found.history)
    ends = shared.groups(last)
    classes = found.task.kind == "classification"
    score, best = ("accuracy", max) if classes else ("loss", min)
    alive = {label: part for label, part in ends.items() if len(shared.column(part, "train_loss"))}
    statements, numbers = [], {}
    for key, name in shared.SETS.items():
        values = {label: shared.column(part, f"{key}_{score}") for label, part in alive.items()}
        values = {label: one for label, one in values.items() if len(one)}
        if values:
            top = best(values, key=lambda label: float(np.median(values[label])))
            told = range_words(values[top], percent if classes else number)
            statements.append(f"Best in the median {name} {score} is {top} with {told}{_clear(values, top, best)}.")
            numbers |= {f"{key}_{score}: {label}": float(np.median(one)) for label, one in values.items()}
    counts = [int(part["parameters"][0]) for part in ends.values()]
    settings = (
        f"{found.task.label}, {recipe_words(config.training, found.task.samples)}, {counted(config.replicas, 'run')} "
        f"for each of {counted(len(ends), 'network')}, {min(counts):,} to {max(counts):,} parameters."
    )
    statements = [*statements[::-1], settings]  # the test set answers the question
    unfinished = [label for label, part in shared.groups(found.history).items() if label in alive and _falling(part)]
    if unfinished:
        statements.append(
            f"Still learning at the last epoch: {', '.join(unfinished)}; more epochs may change the order."
        )
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    table = [
        shared.record(part, [name for name in names if len(shared.column(part, name))])
        | {"structure": found.structures[label].rpartition(", ")[0]}  # the number of parameters has its own column
        for label, part in ends.items()
    ]
    pictures = [figures.curves(found.history, classes), *figures.last(ends, score)]
    return Findings(pictures, statements, {"Networks": table}, numbers, shared.diverged(last))


def _clear(values: Mapping[str, np.ndarray], top: str, best: Callable[..., object]) -> str:
    """Whether every run of the best lies beyond every run of the others."""
    others = [found for label, found in values.items() if label != top]
    if not others:
        return ""
    if all(len(found) == 1 for found in values.values()):
        return ", of one run each, which says nothing about other seeds"
    rest = np.concatenate(others)
    beyond = values[top].min() > rest.max() if best is max else values[top].max() < rest.min()
    return ", every run of it beyond every run of the others" if beyond else ", its runs overlap with those of others"


def _falling(part: pl.DataFrame) -> bool:
    """Whether the median training loss still fell noticeably over the last tenth of the recorded epochs."""
    kept = part.filter(part["train_loss"].is_not_null() & part["train_loss"].is_not_nan())
    losses = kept.select("epoch", "train_loss").group_by("epoch", maintain_order=True).median()["train_loss"].to_numpy()
    before = len(losses) - 1 - max(1, len(losses) // 10)
    return before >= 0 and losses[-1] < (1 - STILL) * losses[before]
