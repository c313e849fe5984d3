"""Capacity: does a network with more parameters generalise worse?

**Question.** How do training and test error depend on the number of parameters, and what happens where the network
becomes just large enough to fit every training sample?

**Method.** One family of networks is trained at many sizes (``--vary model.width``, values spaced evenly in the
logarithm), each several times from independent initial weights; the replicas of one size train as one batch. The
*interpolation threshold* is the smallest size whose median training accuracy reaches ``fitted``.

**Figures and how to read them.** Training and test loss against the number of parameters (logarithmic); the
accuracies; the test error alone, where a peak is seen best. Points: medians; bands: range over
the runs; dashed: the threshold. Classical statistics expects the test error to rise beyond it; usually it goes on
falling. With noisy labels it may rise before the threshold, have its peak there and fall again: double descent (Belkin
et al. 2019; Nakkiran et al. 2020). Whether such a peak is larger than the range over the runs is said in words.

**Measured.** 500 digits with true labels (``quick``): no peak, the test error falls to 4.7 % at the largest size. With
a fifth of the labels redrawn and 1,000 epochs (``paper``): 19.7 % at 610 parameters, a peak of 26.4 % at 2,410, just
below the threshold at 3,610, and 21.7 % at 38,410. With squared loss (``paper-squared``):
13.6 % at 1,810, a peak of 22.8 % at 9,610, just above the threshold at 7,210, and 16.4 % at 153,610. Both peaks exceed
the range over the runs; neither second descent comes below the first minimum.

**Traps.** A sweep that stops short of the threshold shows only the classical half. Fewer than ten sizes, or one run
for each, show noise. Cross-entropy on the test set rises with size because larger networks are more certain where they
are wrong; the accuracy may improve meanwhile: look at both. Training must be long enough for the training error to
become 0: a peak that moves with the number of epochs is one of training time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from thalweg.experiments import _member_figures as shared
from thalweg.experiments._members import Members, Varied, members, table
from thalweg.experiments._training import recipe_words
from thalweg.experiments._words import counted, percent
from thalweg.experiments.findings import Findings
from thalweg.figures import Axis, Figure, Panel, VLine
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Mark
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "Peak", "measure", "peak", "run", "tell"]


class Config(Varied):
    """Settings of `capacity`."""

    replicas: int = Field(default=3, ge=1)
    """Number of independent trainings of each size; replica r is the same whatever runs beside it."""

    model: ModelConfig = ModelConfig(depth=1, width=16)
    """The family; its field named by `vary` takes the `values`."""

    vary: str = "model.width"
    """The field that sets the size, dotted from the top."""

    values: tuple[bool | int | float | str, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    """Its values, one network each."""

    fitted: float = Field(default=0.999, gt=0, le=1)
    """Median training accuracy from which a size counts as large enough to fit everything."""


def _ends(**recipe: Any) -> Recipe:
    """Weights and metrics at the start and the end only: what is compared is where training ends."""
    return Recipe(record=Cadence(every=2, unit="log"), **recipe)


def _log_spaced(low: int, high: int, count: int) -> tuple[int, ...]:
    """At most `count` different whole numbers, evenly spaced in the logarithm."""
    return tuple(sorted({round(value) for value in np.geomspace(low, high, count).tolist()}))


_LONG = _ends(lr=3e-3, epochs=1000, batch_size=100, schedule="cosine")
_MNIST = TaskConfig(name="mnist")

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        values=(1, 3, 8, 20, 50),
        training=_ends(lr=2e-2, epochs=20, batch_size=20),
    ),
    "quick": Config(
        data=TaskConfig(samples=500),
        values=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        training=_ends(lr=3e-3, epochs=80, batch_size=50),
    ),
    "course": Config(data=_MNIST, values=_log_spaced(1, 1024, 16), training=_ends(lr=1e-3, epochs=50, batch_size=500)),
    "hundred": Config(
        replicas=1, data=_MNIST, values=_log_spaced(1, 1024, 142), training=_ends(lr=1e-3, epochs=50, batch_size=500)
    ),
    # Double descent: a fifth of the labels redrawn, trained until the loss stands still
    "paper": Config(
        data=TaskConfig(samples=500, label_noise=0.2),
        values=(2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512),
        training=_LONG,
    ),
    # with squared loss, as Belkin et al. 2019
    "paper-squared": Config(
        replicas=5,
        data=TaskConfig(samples=500, label_noise=0.2),
        loss="mse",
        values=(4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048),
        training=_LONG,
    ),
    "convolutions": Config(
        data=_MNIST,
        model=ModelConfig(kind="cnn", depth=1, width=8),
        values=_log_spaced(1, 128, 12),
        training=_ends(lr=1e-3, epochs=20, batch_size=300),
    ),
    "cifar10": Config(
        data=TaskConfig(name="cifar10"),
        model=ModelConfig(kind="cnn", depth=3, width=8),
        values=_log_spaced(4, 496, 10),  # to 4.5 million parameters
        training=_ends(lr=1e-3, epochs=50, batch_size=128),
    ),
    "three-layers": Config(
        data=_MNIST,
        model=ModelConfig(depth=3, width=5),
        values=(*range(5, 95, 5),),
        training=_ends(lr=1e-3, epochs=50, batch_size=500),
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains every size and tells how the errors depend on it."""
    return tell(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it


def measure(config: Config, run: Run) -> pl.DataFrame:
    """Trains every size.

    Returns:
        One row for each size and replica: the columns of `_members.table`, and samples and outputs of the task.
    """
    import polars as pl

    trained = Members(members(config), run)
    task = trained.task(trained.members[0].config)
    return table(trained).with_columns(samples=pl.lit(task.samples), outputs=pl.lit(task.outputs))


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


def tell(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers from the rows of `measure`, also those of several runs together."""
    sizes = dict(sorted(shared.groups(table).items(), key=lambda item: item[1]["parameters"][0]))
    classes = not table["train_accuracy"].is_null().all()
    threshold = _threshold(config, sizes) if classes else None
    parameters = [int(part["parameters"][0]) for part in sizes.values()]
    samples, outputs = int(table["samples"][0]), int(table["outputs"][0])
    noise = f", {percent(config.data.label_noise)} of the labels redrawn" if config.data.label_noise else ""
    loss = "" if config.loss == "auto" else f", loss {config.loss}"
    settings = (
        f"{counted(len(sizes), 'size')} from {parameters[0]:,} to {parameters[-1]:,} parameters on {config.data.name} "
        f"({samples:,} training samples, {counted(outputs, 'output')}{noise}){loss}, "
        f"{recipe_words(config.training, samples)}, {counted(config.replicas, 'run')} each."
    )
    statements = [settings]
    if classes:
        statements.append(_threshold_words(config, sizes, threshold, samples * outputs))
    numbers: dict[str, Any] = {"threshold": threshold}
    for name, words in (("test_error", "test error"), ("test_loss", "test loss")):
        curve = _curve(sizes, name)
        if curve is not None:
            found = peak(*curve[1:])
            statements.append(_peak_words(words, curve, found, percent if name == "test_error" else number))
            numbers |= {
                f"{name}_peak": found.height if found else 0.0,
                f"{name}_peak_clear": bool(found and found.clear),
            }
            numbers[f"{name}_peak_parameters"] = int(curve[0][found.at]) if found else None
    names = [name for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy") if name in table.columns]
    rows = [shared.record(part, [name for name in names if not table[name].is_null().all()]) for part in sizes.values()]
    return Findings([_figure(table, classes, threshold)], statements, {"Sizes": rows}, numbers, shared.diverged(table))


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


def _figure(table: pl.DataFrame, classes: bool, threshold: int | None) -> Figure:
    x = shared.axis(table, "parameters", "parameters")

    def marker(text: str) -> list[Mark]:
        return [] if threshold is None else [VLine(threshold, text=text, colour="muted")]

    panels = []
    for metric in ("loss", "accuracy")[: 1 + classes]:
        marks = [
            mark
            for key, name in shared.SETS.items()
            for mark in shared.spread(table, f"{key}_{metric}", "parameters", name)
        ]
        panels.append(
            Panel(
                x,
                shared.shared_axis(table, metric, metric),
                (*marks, *marker("everything fitted" if metric == "loss" else "")),
            )
        )
    if classes and not table["test_accuracy"].is_null().all():
        errors = table.with_columns(test_error=1 - table["test_accuracy"])
        marks = shared.spread(errors, "test_error", "parameters", "test")
        values = errors["test_error"].drop_nulls().drop_nans()
        wide = bool((values > 0).all()) and float(values.max() or 0) > 5 * float(values.min() or 0)  # type: ignore[arg-type]
        panels.append(Panel(x, Axis("test error", scale="log" if wide else "linear"), (*marks, *marker(""))))
    caption = "Where training ends, against the number of parameters: median of the runs, and their range."
    if threshold is not None:
        caption += " Dashed: the smallest size whose median training accuracy counts as fitted."
    return Figure("capacity", "Number of parameters and generalisation", caption, tuple(panels), columns=3)
