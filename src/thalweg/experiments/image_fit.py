"""Deep against shallow on images: which network learns a real task best at equal size?

**Question.** Convolutional networks and multilayer perceptrons, shallow to deep, have the same number of parameters.
Which fits the training images faster, and which classifies new ones better?

**Method.** Every network is trained by the same recipe, several times from independent initial weights; the replicas of
one network train as one batch. Numbers of parameters are counted and printed; networks more than 2 % apart are refused
(``--tolerance None`` compares any). ``"cnn depth 2"`` is solved for the width that comes nearest to ``--budget``.

**Figures and how to read them.**

- *Loss and accuracy*: four frames, training on the left, test on the right, all networks in each. Thick: median over
  the runs; thin: single runs; band: their range.
- *At the end*: test accuracy of every network with its range over the runs.

**Traps.** A third convolution that is built and never connected does not count as depth (here the printed structure and
the number of parameters come from the network itself). Dense layers after a convolution hold most of its parameters, so
"the same channels" is not the same size. Equal epochs are not equal cost, and a recipe that suits one network may not
suit another: what is compared is the pair. Networks that still improve at the last epoch are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared import subjects
from thalweg.experiments.shared.members import Member, Members, histories, named
from thalweg.experiments.shared.networks import Compared, alone, counted_labels
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures import Axis, ErrorBars, Figure, Panel
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.results.words import counted, percent, range_words
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs import Run
    from thalweg.tasks import Task

__all__ = ["PRESETS", "Config", "run"]

STILL = 0.05
"""Share by which the training loss must have fallen over the last tenth of training to be called unfinished."""


class Config(Compared):
    """Settings of `image-fit`."""

    replicas: int = Field(default=3, ge=1)
    """Number of independent trainings of each network; replica r is the same whatever runs beside it."""

    @model_validator(mode="after")
    def _images_only(self) -> Config:
        if self.data.source is None and self.data.name == "function":
            raise InputError("data.name must name images (functions are for function-fit), found function")
        return self

    def stages(self) -> list[Stage]:
        """The training of every network."""
        given = _members(self, counted_labels(self, self.data))
        return [Training(member.name, member.config) for member in given]


_CNN = ModelConfig(kind="cnn")
_MNIST = TaskConfig(name="mnist")
_CIFAR10 = TaskConfig(name="cifar10")


def _adam(epochs: int, batch_size: int, lr: float = 1e-3, points: int = 50) -> Recipe:
    record = Cadence(every=max(1, epochs // points), unit="epoch")
    return Recipe(lr=lr, epochs=epochs, batch_size=batch_size, record=record)


def _mnist(data: TaskConfig) -> Config:
    """Convolution, pooling, dense against twice (convolution, pooling) and dense: Adam 1e-4, batches of 300."""
    training = _adam(100, 300, lr=1e-4, points=10)
    return Config(data=data, model=_CNN, networks=("depth 1", "depth 2"), budget=25_600, training=training)


PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=100, test_samples=40),
        networks=("mlp 8", "cnn 2"),
        tolerance=None,
        training=_adam(4, 25, lr=1e-2),
    ),
    "quick": Config(
        networks=("mlp depth 1", "mlp depth 2", "mlp depth 4", "cnn depth 1", "cnn depth 2", "cnn depth 3"),
        budget=2040,
        training=_adam(20, 64, lr=3e-3),
    ),
    # 100 epochs as in the exercise, on a twelfth of the images
    "course": _mnist(TaskConfig(name="mnist", samples=5000, test_samples=2000)),
    # the letter: all 60,000 images
    "classic": _mnist(_MNIST),
    # depth/channels 2/132, 4/27, 8/16, averaged at the end: 15,444, 16,281 and 15,696 parameters, 5.4 % apart
    "cifar10": Config(
        data=_CIFAR10,
        model=_CNN,
        networks=("conv-2x132", "conv-4x27", "conv-8x16"),
        tolerance=0.06,
        training=_adam(100, 128),
    ),
    "mnist-6720": Config(
        data=_MNIST, model=_CNN, networks=("depth 2", "depth 3", "depth 4"), budget=6720, training=_adam(30, 128)
    ),
    "cifar10-9027": Config(
        data=_CIFAR10, model=_CNN, networks=("depth 2", "depth 3", "depth 4"), budget=9027, training=_adam(50, 128)
    ),
    # of any size: dense layers {0, 4, 8} × {128, 200, 260}, convolutions {1, 2, 4} × {16, 28, 44}
    "mlps": Config(
        data=_MNIST,
        networks=("linear", *("-".join([str(width)] * depth) for depth in (4, 8) for width in (128, 200, 260))),
        tolerance=None,
        training=_adam(30, 128),
    ),
    "cnns": Config(
        data=_MNIST,
        model=_CNN,
        networks=tuple("-".join([str(width)] * depth) for depth in (1, 2, 4) for width in (16, 28, 44)),
        tolerance=None,
        training=_adam(30, 128),
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains every network and compares them."""
    task = subjects.task(config.data, config.dtype)
    networks = counted_labels(config, config.data)
    history = histories(Members(_members(config, networks), run))
    structures = {label: subjects.described(model, task) for label, model in networks.items()}
    return _tell(config, task, structures, history)


def _members(config: Config, networks: Mapping[str, ModelConfig]) -> tuple[Member, ...]:
    """One for every network, by its label."""
    return named((label, None, alone(config, model=model)) for label, model in networks.items())


def _tell(config: Config, task: Task, structures: dict[str, str], history: pl.DataFrame) -> Findings:
    last = shared.last(history)
    ends = shared.groups(last)
    classes = task.kind == "classification"
    score, best = ("accuracy", max) if classes else ("loss", min)
    caption = (
        f"{' and '.join(('Loss', 'accuracy') if classes else ('Loss',))} of all networks on the training and test "
        "images (number of parameters in parentheses)."
    )
    curves = shared.courses(history, "curves", "Training and test curves", caption)
    counts = [int(part["parameters"][0]) for part in ends.values()]
    settings = (
        f"{task.label}, {recipe_words(config.training, task.samples)}, {counted(config.replicas, 'run')} for each of "
        f"{counted(len(ends), 'network')}, {min(counts):,} to {max(counts):,} parameters."
    )
    statements = [settings]
    alive = {label: part for label, part in ends.items() if len(shared.column(part, "train_loss"))}
    numbers: dict[str, float] = {}
    for key, name in shared.SETS.items():
        values = {label: shared.column(part, f"{key}_{score}") for label, part in alive.items()}
        values = {label: found for label, found in values.items() if len(found)}
        if values:
            top = best(values, key=lambda label: float(np.median(values[label])))
            words = percent if classes else number
            told = ", ".join(f"{range_words(found, words)} for {label}" for label, found in values.items())
            statements.append(f"Last {name} {score}: {told}; best in the median is {top}{_clear(values, top, best)}.")
            numbers |= {f"{key}_{score}: {label}": float(np.median(found)) for label, found in values.items()}
    unfinished = [label for label, part in shared.groups(history).items() if label in alive and _falling(part)]
    if unfinished:
        statements.append(
            f"Still learning at the last epoch: {', '.join(unfinished)}; more epochs may change the order."
        )
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    table = [
        shared.record(part, [name for name in names if len(shared.column(part, name))])
        | {"structure": structures[label].rpartition(", ")[0]}  # without the number of parameters, a column of its own
        for label, part in ends.items()
    ]
    figures = [curves, *_ends(ends, score)]
    return Findings(figures, statements, {"Networks": table}, numbers, shared.diverged(last))


def _clear(values: dict[str, np.ndarray], top: str, best: type | object) -> str:
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


def _ends(ends: dict[str, pl.DataFrame], score: str) -> list[Figure]:
    """Where every network ended on the test images, or nothing without them."""
    rows = [(label, shared.column(part, f"test_{score}")) for label, part in ends.items()]
    rows = [(label, values) for label, values in rows if len(values)]
    if not rows:
        return []
    places = np.arange(len(rows), dtype=float)[::-1].copy()  # the first on top
    middle, low, high = (np.array([f(values) for _, values in rows]) for f in (np.median, np.min, np.max))
    marks = [
        ErrorBars(
            middle[k : k + 1],
            places[k : k + 1],
            left=low[k : k + 1],
            right=high[k : k + 1],
            symbol="circle",
            group=label,
        )
        for k, (label, _) in enumerate(rows)
    ]
    axis = Axis("", ticks=tuple(zip(places.tolist(), (label for label, _ in rows), strict=True)))
    caption = f"Test {score} after training: median and range over the runs."
    return [Figure("ends", "At the end", caption, (Panel(Axis(f"test {score}"), axis, tuple(marks)),), legend="none")]
