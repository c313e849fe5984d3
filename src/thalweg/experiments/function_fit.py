"""Deep against shallow: do deep networks fit a function better than shallow ones of equal size?

**Question.** Several networks have the same number of parameters, in many thin layers or in one wide layer. Which fits
a function of one variable better, and is the difference larger than that between two seeds?

**Method.** Every network is trained on every target function, several times from independent initial weights; the
replicas of one network and target train as one batch. The numbers of parameters are printed, and networks more than 2 %
apart are refused (``--tolerance None`` compares any). Networks are given by their widths (``--networks 190
10-18-15-4``), by a name of the course, or as ``"depth 4"``, whose width is solved for ``--budget``. A target is a name
or any expression of x (``--functions "sin(3*pi*x) + sin(4*pi*x)"``), which is parsed and never evaluated as code.

**Figures and how to read them.**

- *Training loss*: one frame for each target, all networks in it. Thick: median over the runs; thin: single runs; band:
  their range. Where the bands overlap, "deeper is better" is a statement about seeds. The dashed level is the mean
  squared error of the best straight line: a network that ends there has learnt no bend.
- *Fits*: the target and what the networks make of it, each by its run of median loss (thick) and the others (thin).

**Measured.** The classic sheet expects about 2·10⁻⁵, 6·10⁻⁵ and 6.5·10⁻² on sin(5πx)/(5πx) from the networks of 571,
572 and 571 parameters after 20,000 epochs, the last one "a straight line". ``course`` gives medians of 5.0·10⁻⁵,
5.4·10⁻⁵ and 4.7·10⁻⁵ over five runs: no order that the seeds would not overturn. With biases that start at 0
(``course-zero``) it gives 3.7·10⁻⁴, 2.5·10⁻³ and 6.46·10⁻², which *is* the best straight line: all kinks of the shallow
network start at x = 0, outside the data. The famous gap is one of initialisation. On sgn(sin 5πx) depth does help:
0.0038, 0.013 and 0.55 (``course``).

**Traps.** "Equal size" that is not: count. One run for each network: a deep thin network may be dead from the start
(constant, its loss the variance of the target), which a median over seeds survives and the report says. A ReLU network
without biases has only kinks at 0, so on x > 0 it can only be f(x) = c·x, however deep (a warning says so).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.members import Member, Members, histories, named
from thalweg.experiments.shared.networks import Compared, alone, counted_labels
from thalweg.experiments.shared.sizes import check_data
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments.shared.training import Setup, TrainingConfig
    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "run"]

OWN = "data"
"""What data of the user's are called among the functions."""


class Config(Compared):
    """Settings of `function-fit`."""

    replicas: int = Field(default=5, ge=1)
    """Number of independent trainings of each network on each target; replica r is the same whatever runs beside it."""

    data: TaskConfig = TaskConfig(name="function", points=256, test_points=1000)
    """Points, interval and noise; which functions is said by `functions`."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {**Compared.RESETS, "data": {"functions": (OWN,)}}

    functions: tuple[str, ...] = ("sinc", "sign-sin")
    """The targets: names such as sinc, sign-sin, sines, step, chirp, or expressions of x. Data of your own are one
    target, called "data"; their fit is drawn where they have one input and one output."""

    biases: Literal["drawn", "zero"] = "drawn"
    """How biases start: drawn like the weights (PyTorch's default), or 0 (Keras's): then all kinks begin at x = 0."""

    @field_validator("functions", mode="before")
    @classmethod
    def _whole(cls, given: object) -> object:
        """Expressions such as max(x, 0) that a list on the command line has cut at their commas."""
        texts = list(given) if isinstance(given, list | tuple) else given
        return _rejoined(texts) if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else given

    @model_validator(mode="after")
    def _functions_only(self) -> Config:
        from thalweg.tasks.functions import target

        if self.data.source is not None:
            if self.functions != (OWN,):
                raise InputError(f"functions must be left out for data of your own, found {self.functions}")
            return self
        if self.data.name != "function":
            raise InputError(f"data.name must be function (images are for image-fit), found {self.data.name}")
        if self.data.expression != TaskConfig().expression:
            raise InputError(f"functions names the targets, not data.expression, found {self.data.expression!r}")
        if not self.functions:
            raise InputError("functions must name at least one target, found none")
        if len({target(text).label for text in self.functions}) < len(self.functions):
            raise InputError(f"functions must differ from each other, found {self.functions}")
        return self

    def stages(self) -> list[Stage]:
        """The training of every network on every target."""
        return [Training(member.name, member.config) for member in _members(self)]

    def check_data(self) -> None:
        """Refuse functions that cannot be evaluated on the interval."""
        super().check_data()
        if self.data.source is None:
            check_data(self.data.model_copy(update={"expression": text}) for text in self.functions)


def _rejoined(texts: list[str]) -> list[str]:
    """Joins neighbours until the parentheses of each text are closed.

    >>> _rejoined(["sinc", "max(x", "0)"])
    ['sinc', 'max(x, 0)']
    """
    whole: list[str] = []
    for text in texts:
        if whole and whole[-1].count("(") > whole[-1].count(")"):
            whole[-1] += f", {text}"
        else:
            whole.append(text)
    return whole


def _adam(steps: int, every: int, lr: float = 1e-3) -> Recipe:
    return Recipe(lr=lr, epochs=steps, record=Cadence(every=every, unit="epoch"))


PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(name="function", points=32, test_points=40),
        networks=("4-3", "8"),
        tolerance=0.2,
        functions=("sinc", "step"),
        training=_adam(60, 10, lr=1e-2),
    ),
    "quick": Config(training=_adam(2000, 20)),
    # 1-5-10-10-10-10-10-5-1 (571 parameters), 1-10-18-15-4-1 (572), 1-190-1 (571), 20,000 epochs
    "course": Config(training=_adam(20_000, 100)),
    # the same from biases 0, as the scripts in Keras start
    "course-zero": Config(biases="zero", training=_adam(20_000, 100)),
    # sim_func.py: two functions, four networks
    "simulations": Config(
        networks=("depth 1", "depth 2", "depth 4", "depth 8"),
        budget=571,
        functions=("sines", "exp-sin"),
        training=_adam(20_000, 100),
    ),
    "depths": Config(networks=("depth 2", "depth 4", "depth 8"), budget=1000, training=_adam(10_000, 100)),
    "targets": Config(
        functions=("step", "chirp", "sign-cos", "damped", "stair", "sinc4", "weierstrass", "sin-tan", "polynomial"),
        training=_adam(20_000, 100),
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains every network on every target and tells which fits best."""
    from thalweg.experiments import _function_story as story

    given = _members(config)
    trained = Members(given, run, _without_biases if config.biases == "zero" else None)
    history = histories(trained)
    fits = [
        story.Fit(text, label, member.label, run.cached(f"fit-{member.name}", partial(story.fit, trained, member)))
        for (text, label, _), member in zip(_pairs(config), given, strict=True)
    ]
    return story.tell(config, history, fits)


def _pairs(config: Config) -> list[tuple[str, str, ModelConfig]]:
    """Every target with every network and its label."""
    networks = counted_labels(config, config.data)
    return [(text, label, model) for text in config.functions for label, model in networks.items()]


def _members(config: Config) -> tuple[Member, ...]:
    return named((f"{text}: {label}", None, _one(config, text, model)) for text, label, model in _pairs(config))


def _without_biases(setup: Setup, theta: Tensor) -> Tensor:
    """The same initial weights θ (R, P) with all biases 0."""
    layout = setup.objective.layout
    start = theta.clone()
    for name in layout.names:
        if name.endswith("bias"):
            start[:, layout.slices[name]] = 0
    return start


def _one(config: Config, text: str, model: ModelConfig) -> TrainingConfig:
    data = config.data if text == OWN else config.data.model_copy(update={"expression": text})
    return alone(config, data=data, model=model)
