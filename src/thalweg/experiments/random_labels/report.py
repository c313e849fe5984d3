"""What `random-labels` draws and says of every kind of data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures import Axis, Figure, HLine, Panel
from thalweg.figures.scales import number
from thalweg.results.words import counted, listed, percent, range_words

if TYPE_CHECKING:
    from thalweg.experiments.random_labels.config import Config

__all__ = ["merge"]

MOST = 4
"""Kinds of data of which sentences speak; of more the table and the pictures do."""

NAMES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True, eq=False)
class _Case:
    """How one kind of data was learnt.

    Args:
        label: Its name.
        value: Its place on an axis, or None.
        last: The rows of the last step.
        fitted: Epochs until the training accuracy was reached, of the replicas that did.
        every: Greatest number of epochs between two looks at the accuracy: by so much `fitted` may be late.
        runs: Number of replicas that completed.
    """

    label: str
    value: float | None
    last: pl.DataFrame
    fitted: np.ndarray
    every: float
    runs: int

    @property
    def all_fitted(self) -> bool:
        """Whether every replica that completed has reached it."""
        return self.runs > 0 and len(self.fitted) == self.runs


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers from the rows of `measure`, also those of several runs together."""
    cases = [_case(config, label, part) for label, part in shared.groups(table).items()]
    chance = 1 / int(table["classes"][0])
    samples, tests = int(table["samples"][0]), int(table["test_samples"][0])
    guides = {"test_accuracy": HLine(chance, text="chance", colour="muted")}
    caption = (
        f"Loss and accuracy on {samples:,} training images (with the labels trained on) and {tests:,} test images "
        "(with their true labels)."
    )
    figures = [shared.courses(table, "curves", "Training and test curves", caption, guides)]
    if len(cases) > 1 and all(case.value is not None for case in cases):
        figures.append(_against(config, cases, chance))
    parameters = int(table["parameters"][0])
    settings = (
        f"{config.data.called}, {counted(samples, 'image')}, {counted(parameters, 'parameter')}, "
        f"{recipe_words(config.training, samples)}, {counted(config.replicas, 'run')} for each kind of data."
    )
    every = max(case.every for case in cases)
    if every > 1:
        settings = f"{settings[:-1]}; accuracies are looked at every {number(every)} epochs."
    base = next((case for case in cases if case.label == "true labels" or case.value == 0), None)
    told = [_sentence(config, case, base, chance, tests) for case in cases[:MOST]]
    statements = [_answer(config, cases), settings, *told]
    rows, numbers = [], {}
    for case in cases:
        epochs = float(np.median(case.fitted)) if case.all_fitted else float("nan")
        found = shared.record(case.last, [name for name in NAMES if len(shared.column(case.last, name))])
        rows.append({"data": found.pop("model"), **found, "epochs until fitted": epochs})
        numbers[f"fitted_epochs: {case.label}"] = epochs
        numbers |= {f"{name}: {case.label}": shared.median(case.last, name) for name in NAMES[1::2]}
    return Findings(figures, statements, {"Data": rows}, numbers, shared.diverged(table))


def _answer(config: Config, cases: list[_Case]) -> str:
    """Which kinds of data the network has fitted."""
    fitted = [case.label for case in cases if case.all_fitted]
    names = f": {listed(fitted)}" if fitted else ""
    return (
        f"The network fits {len(fitted) or 'none'} of {counted(len(cases), 'kind')} of data, which means "
        f"{percent(config.fitted)} of the training labels in every run{names}."
    )


def _case(config: Config, label: str, part: pl.DataFrame) -> _Case:
    last = shared.last(part)
    alive = part.filter(part["status"] == "completed")
    if not len(alive):
        return _Case(label, part["value"][0], last, np.zeros(0), 0.0, 0)
    epochs, accuracy = shared.matrix(alive, "train_accuracy")
    reached = accuracy >= config.fitted  # (S, R)
    fitted = epochs[reached.argmax(axis=0)][reached.any(axis=0)]
    return _Case(label, part["value"][0], last, fitted, float(np.diff(epochs).max(initial=0)), reached.shape[1])


def _sentence(config: Config, case: _Case, base: _Case | None, chance: float, tests: int) -> str:
    if not case.runs:
        return f"{_name(case)}: no run came to its end."
    train, test = (shared.column(case.last, f"{name}_accuracy") for name in ("train", "test"))
    if case.all_fitted:
        text = f"fitted ({percent(config.fitted)} of the training labels) after {range_words(case.fitted)} epochs"
        if base is not None and base is not case and base.all_fitted:
            own, other = float(np.median(case.fitted)), float(np.median(base.fitted))
            if abs(own - other) <= max(case.every, base.every):
                text += f", as {base.label} as far as can be told"
            elif other > 0:
                text += f", {number(own / other)} times as many as {base.label}"
    else:
        epochs = float(case.last["epoch"].max())  # type: ignore[arg-type] -- numbers
        length = f"{number(epochs)} epoch{'' if epochs == 1 else 's'}"
        text = (
            f"not fitted for lack of steps: {case.runs - len(case.fitted)} of {counted(case.runs, 'run')} did not "
            f"reach {percent(config.fitted)} of the training labels within {length} (training accuracy "
            f"{range_words(train, percent)}), which says nothing yet about what the network can fit"
        )
    if len(test):
        where = _at_chance(float(np.median(test)), chance, tests)
        text += f"; test accuracy {range_words(test, percent)}, {where} ({percent(chance)})"
    return f"{_name(case)}: {text}."


def _name(case: _Case) -> str:
    return case.label[:1].upper() + case.label[1:]


def _at_chance(accuracy: float, chance: float, tests: int) -> str:
    """Chance, judged by three standard errors of a guess."""
    error = 3 * math.sqrt(chance * (1 - chance) / max(tests, 1))
    if abs(accuracy - chance) <= error:
        return "at chance"
    return "above chance" if accuracy > chance else "below chance"


def _against(config: Config, cases: list[_Case], chance: float) -> Figure:
    """Epochs until fitted and test accuracy against the value that varies (Zhang et al. 2017, figure 1b and 1c)."""
    words = config.vary.rpartition(".")[2].replace("_", " ")
    ends = pl.concat([case.last for case in cases], how="diagonal")
    epochs = pl.DataFrame(
        {"member": case.label, "value": case.value, "status": "completed", "fitted": epoch}
        for case in cases
        for epoch in (case.fitted.tolist() or [math.nan])
    )
    x = shared.axis(ends, "value", f"share of random labels ({words})" if words == "label noise" else words)
    test = [
        *shared.spread(ends, "test_accuracy", "value", "test accuracy"),
        HLine(chance, text="chance", colour="muted"),
    ]
    panels = (
        Panel(x, Axis("epochs until fitted"), tuple(shared.spread(epochs, "fitted", "value", "epochs until fitted"))),
        Panel(x, Axis("accuracy"), (*shared.spread(ends, "train_accuracy", "value", "training accuracy"), *test)),
    )
    caption = (
        f"Left: epochs until {percent(config.fitted)} of the training labels are right, of the runs that got there. "
        "Right: accuracy at the end. Median and range over the runs."
    )
    return Figure("against", f"Against the {words}", caption, panels)
