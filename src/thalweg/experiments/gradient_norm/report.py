"""What `gradient-norm` says: how far loss and gradient norm fall, and where the norm rises as the loss falls."""

from __future__ import annotations

import numpy as np

from thalweg.experiments.framework.findings import Findings, Number
from thalweg.experiments.gradient_norm.config import Config
from thalweg.experiments.gradient_norm.figures import layers_figure, norm_words, plane_figure, together_figure
from thalweg.experiments.gradient_norm.measure import Course, measured
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

__all__ = ["report"]


def report(config: Config, courses: list[Course]) -> Findings:
    """Puts the findings together."""
    norm = norm_words(config.p)
    answers, details, rows, numbers, warnings = [], [], [], dict[str, Number](), []
    for (field, case), one in zip(config.cases.items(), courses, strict=True):
        details.append(
            f"{one.name}: {counted(case.replicas, 'training')} of the network {one.setup.network}, "
            f"{recipe_words(case.training, one.setup.task.samples)}; gradient {_of(config, case.training.batch_size)}, "
            f"recorded at each of {counted(len(one.steps), 'iteration')}."
        )
        warnings += [
            f"{one.name}: training {r + 1} diverged ({entry['message']}): drawn up to there, left out of the numbers."
            for r, entry in enumerate(one.status)
            if entry["status"] == "diverged"
        ]
        if not one.completed:
            answers.append(f"on {one.name} no training reached its end")
            continue
        found = measured(one, same_samples=config.of == "full" or one.per_epoch == 1)
        answers.append(_answer(one, found, norm))
        details.insert(len(answers) - 1, _course(one, found, norm))
        rows += _rows(one, found)
        numbers |= {f"{field}_{key}": float(np.median(values)) for key, values in found.items()}
        numbers[f"{field}_completed"] = len(one.completed)
    drawn = [together_figure(config, courses, norm), layers_figure(config, courses, norm)]
    drawn.append(plane_figure(config, courses, norm))
    said = "; ".join(answers)
    return Findings(
        figures=[figure for figure in drawn if figure is not None],
        statements=[f"{said[:1].upper()}{said[1:]}.", *details],
        tables={"trainings": rows},
        numbers=numbers,
        warnings=warnings,
    )


def _answer(one: Course, found: dict[str, np.ndarray], norm: str) -> str:
    """How much smaller loss and norm become, without the sign of a sentence."""
    fall, loss = (
        float(np.median(found[f"{key}_start"] / np.maximum(found[f"{key}_end"], 1e-300))) for key in ("norm", "loss")
    )
    became = f"{number(fall)} times smaller" if fall >= 1 else f"{number(1 / fall)} times larger"
    fell = f"{number(loss)} times smaller" if loss >= 1 else f"{number(1 / loss)} times larger"
    return f"on {one.name} the loss becomes {fell} and {norm} {became}"


def _course(one: Course, found: dict[str, np.ndarray], norm: str) -> str:
    losses = f"from {range_words(found['loss_start'])} to {range_words(found['loss_end'])}"
    norms = f"from {range_words(found['norm_start'])} to {range_words(found['norm_end'])}"
    rising = ""
    if not np.isnan(found["rising_share"]).all():
        share = range_words(found["rising_share"], percent)
        rising = f" Where an iteration lowers the loss, the norm of the gradient grows in {share} of the cases."
    return (
        f"{one.name}: the loss goes {losses}, while {norm} goes {norms} (medians over the last hundredth of the "
        f"iterations; in brackets lowest and highest training).{rising}"
    )


def _of(config: Config, batch: int | str | None) -> str:
    if config.of == "full":
        return "of all training data"
    return "of all training data" if batch is None else "of the minibatch that makes the step"


def _rows(one: Course, found: dict[str, np.ndarray]) -> list[dict[str, object]]:
    names = {
        "loss_start": "first loss", "loss_end": "last loss", "norm_start": "first norm", "norm_end": "last norm",
        "norm_least": "least norm", "norm_most": "greatest norm", "rising_share": "norm rises as loss falls",
    }  # fmt: skip
    rows = []
    for place, replica in enumerate(one.completed):
        row: dict[str, object] = {"case": one.name, "training": replica + 1, "iterations": len(one.steps)}
        rows.append(row | {words: float(found[key][place]) for key, words in names.items()})
    return rows
