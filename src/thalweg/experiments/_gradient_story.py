"""What `gradient-norm` found: figures, sentences, numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments._gradients import Course
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures import Axis, Band, Figure, Line, Mark, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    from thalweg.experiments.gradient_norm import Config

__all__ = ["tell"]

POINTS = 1200  # of a drawn curve: more iterations than that are drawn as the range and median of stretches


def tell(config: Config, courses: list[Course]) -> Findings:
    """Puts the findings together."""
    norm = norm_words(config.p)
    statements, rows, numbers, warnings = [], [], {}, []
    for (field, case), one in zip(config.cases.items(), courses, strict=True):
        statements.append(
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
            statements.append(f"{one.name}: no training reached its end.")
            continue
        found = measured(one, same_samples=config.of == "full" or one.per_epoch == 1)
        statements += _said(one, found, norm)
        rows += _rows(one, found)
        numbers |= {f"{field}_{key}": float(np.median(values)) for key, values in found.items()}
        numbers[f"{field}_completed"] = len(one.completed)
    figures = [_together(config, courses, norm), _layers(config, courses, norm), _plane(config, courses, norm)]
    return Findings(
        figures=[figure for figure in figures if figure is not None],
        statements=statements,
        tables={"trainings": rows},
        numbers=numbers,
        warnings=warnings,
    )


def norm_words(p: float) -> str:
    """The norm as an axis names it.

    >>> norm_words(2.0), norm_words(1.0), norm_words(float("inf"))
    ('‖∇L‖₂', '‖∇L‖₁', '‖∇L‖_∞')
    """
    index = {1.0: "₁", 2.0: "₂", 3.0: "₃", 4.0: "₄", math.inf: "_∞"}.get(p, f"_{p:g}")
    return f"‖∇L‖{index}"


def measured(one: Course, *, same_samples: bool) -> dict[str, np.ndarray]:
    """Numbers (R completed,) of a case: at the start, over the last hundredth of the steps, and on the way.

    Args:
        one: The case.
        same_samples: Whether all losses are of the same samples. From one minibatch to the next the loss falls or rises
            with the samples, and not by what the step did: how often the norm grows while it falls is then NaN.
    """
    norm, loss = one.norm[:, one.completed], one.loss[:, one.completed]
    tail = max(1, len(norm) // 100)
    falls = np.diff(loss, axis=0) < 0
    rises = (np.diff(norm, axis=0) > 0) & falls
    share = rises.sum(axis=0) / np.maximum(1, falls.sum(axis=0)) if same_samples else np.full(loss.shape[1], np.nan)
    return {
        "loss_start": loss[0],
        "loss_end": np.median(loss[-tail:], axis=0),
        "norm_start": norm[0],
        "norm_end": np.median(norm[-tail:], axis=0),
        "norm_least": norm.min(axis=0),
        "norm_most": norm.max(axis=0),
        "rising_share": share,
    }


def _of(config: Config, batch: int | str | None) -> str:
    if config.of == "full":
        return "of all training data"
    return "of all training data" if batch is None else "of the minibatch that makes the step"


def _said(one: Course, found: dict[str, np.ndarray], norm: str) -> list[str]:
    fall = found["norm_start"] / np.maximum(found["norm_end"], 1e-300)
    ratio = float(np.median(fall))
    became = f"{number(ratio)} times smaller" if ratio >= 1 else f"{number(1 / ratio)} times larger"
    losses = f"from {range_words(found['loss_start'])} to {range_words(found['loss_end'])}"
    norms = f"from {range_words(found['norm_start'])} to {range_words(found['norm_end'])}"
    course = (
        f"{one.name}: the loss goes {losses}, while {norm} goes {norms}, {became} (medians over the last hundredth of "
        "the iterations; in brackets lowest and highest training)."
    )
    extremes = (
        f"the smallest norm on the way is {range_words(found['norm_least'])}, the largest "
        f"{range_words(found['norm_most'])}."
    )
    if np.isnan(found["rising_share"]).all():
        return [course, f"{one.name}: {extremes}"]
    rising = (
        f"{one.name}: where an iteration lowers the loss, the norm of the gradient grows in "
        f"{range_words(found['rising_share'], percent)} of the cases; {extremes}"
    )
    return [course, rising]


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


def stretches(
    x: np.ndarray, values: np.ndarray, points: int = POINTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shortens curves (T, R) to at most `points` places: x, lowest, median and highest over stretch and replicas.

    >>> x, low, middle, high = stretches(np.arange(3), np.array([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]]))
    >>> x.tolist(), low.tolist(), middle.tolist(), high.tolist()
    ([0.0, 1.0], [1.0, 2.0], [2.0, 2.0], [3.0, 2.0])
    """
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    width = -(-len(x) // points)
    pieces = [(x[k : k + width], values[k : k + width]) for k in range(0, len(x), width)]
    pieces = [(where, piece) for where, piece in pieces if np.isfinite(piece).any()]
    parts = [(where.mean(), np.nanmin(v), np.nanmedian(v), np.nanmax(v)) for where, v in pieces]
    columns = np.array(parts, dtype=np.float64).reshape(-1, 4).T
    return columns[0], columns[1], columns[2], columns[3]


def _curve(x: np.ndarray, values: np.ndarray, name: str, **options: object) -> list[Mark]:
    where, low, middle, high = stretches(x, values)
    if not len(where):
        return []
    marks: list[Mark] = [Line(where, middle, label=name, width=1.4, **options)]  # type: ignore[arg-type] -- looks only
    if (high > low).any():
        marks.insert(0, Band(where, low, high, group=name, opacity=0.25))
    return marks


def _thinned(courses: list[Course]) -> str:
    width = max(-(-len(one.steps) // POINTS) for one in courses)
    replicas = max(one.norm.shape[1] for one in courses)
    if width == 1 and replicas == 1:
        return "Every iteration is drawn."
    over = [f"up to {width} successive iterations"] if width > 1 else []
    over += [f"up to {counted(replicas, 'training')}"] if replicas > 1 else []
    return (
        f"Lines are medians, bands the whole range, over {' and '.join(over)}; every iteration is in the run's metrics."
    )


def _together(config: Config, courses: list[Course], norm: str) -> Figure | None:
    upper = [mark for one in courses for mark in _curve(one.steps, one.norm, one.name)]
    lower = [mark for one in courses for mark in _curve(one.steps, one.loss, one.name)]
    if not upper:
        return None
    x = Axis("iteration")
    panels = (Panel(x, Axis(norm, scale="log"), tuple(upper)), Panel(x, Axis("loss", scale="log"), tuple(lower)))
    caption = (
        f"Norm of the gradient {norm} (above) and loss (below) at every iteration, of {_which(config)}, at the same "
        f"weights before the step. {_thinned(courses)}"
    )
    return Figure("gradient-norm", "Gradient norm and loss", caption, panels, columns=1, share_x=True, size=(7.2, 2.9))


def _which(config: Config) -> str:
    batches = [case.training.batch_size for case in config.cases.values()]
    if config.of == "full" or all(batch is None for batch in batches):
        return "all training data"
    if any(batch is None for batch in batches):
        return "the samples that make the step (all data, or a minibatch, see the statements)"
    return "the minibatch that makes the step"


def _layers(config: Config, courses: list[Course], norm: str) -> Figure:
    panels = []
    for one in courses:
        marks = []
        for place, values in enumerate(one.layers.values()):
            where, _, middle, _ = stretches(one.steps, values, points=150)
            if len(where):
                marks.append(Line(where, middle, label=f"layer {place + 1}", width=1.2))
        panels.append(Panel(Axis("iteration"), Axis(norm, scale="log"), tuple(marks), title=one.name))
    caption = (
        f"{norm} of the parameters of each layer (weights and biases together), counted from the input, of "
        f"{_which(config)}. Lines are medians over the trainings and over stretches of iterations."
    )
    return Figure("layers", "Gradient norm of every layer", caption, tuple(panels), share_y=len(panels) == 2)


def _plane(config: Config, courses: list[Course], norm: str) -> Figure | None:
    """The way through the plane of loss and gradient norm, at places spread evenly over the logarithm of the step."""
    marks: list[Mark] = []
    for one in courses:
        if not one.completed:
            continue
        last = len(one.steps) - 1
        places = np.unique(np.rint(np.geomspace(1, last + 1, 60, endpoint=False)).astype(int)) - 1
        x, y = [], []
        for low, high in zip(places, np.append(places[1:], last + 1), strict=True):
            x.append(np.median(one.loss[low:high, one.completed]))
            y.append(np.median(one.norm[low:high, one.completed]))
        marks.append(Line(x, y, label=one.name, width=1.2, symbol="circle"))
        marks.append(Scatter(x[-1:], y[-1:], group=one.name, symbol="star", size=11, texts=("end",)))
    if not marks:
        return None
    caption = (
        f"{norm} against loss, of {_which(config)}: medians over the trainings and over stretches of iterations that "
        "grow in proportion to the iteration; the star is the end. Training that arrived at a critical point would "
        "fall straight down at its end."
    )
    panel = Panel(Axis("loss", scale="log"), Axis(norm, scale="log"), tuple(marks))
    return Figure("plane", "Gradient norm against loss", caption, (panel,))
