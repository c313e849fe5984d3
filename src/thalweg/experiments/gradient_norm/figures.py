"""The figures of `gradient-norm`: norm and loss at every iteration, by layer, and against each other."""

from __future__ import annotations

import math

import numpy as np

from thalweg.experiments.gradient_norm.config import Config
from thalweg.experiments.gradient_norm.measure import Course
from thalweg.figures import Axis, Band, Figure, Line, Mark, Panel, Scatter
from thalweg.results.words import counted

__all__ = ["layers_figure", "norm_words", "plane_figure", "stretches", "together_figure"]

POINTS = 1200  # of a drawn curve: more iterations than that are drawn as the range and median of stretches


def norm_words(p: float) -> str:
    """The norm as an axis names it.

    >>> norm_words(2.0), norm_words(1.0), norm_words(float("inf"))
    ('‖∇L‖₂', '‖∇L‖₁', '‖∇L‖_∞')
    """
    index = {1.0: "₁", 2.0: "₂", 3.0: "₃", 4.0: "₄", math.inf: "_∞"}.get(p, f"_{p:g}")
    return f"‖∇L‖{index}"


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


def together_figure(config: Config, courses: list[Course], norm: str) -> Figure | None:
    """Norm and loss at every iteration; None where nothing is finite."""
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


def layers_figure(config: Config, courses: list[Course], norm: str) -> Figure:
    """The norm of every layer."""
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


def plane_figure(config: Config, courses: list[Course], norm: str) -> Figure | None:
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
