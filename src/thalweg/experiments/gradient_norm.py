"""Gradient norm and loss at every iteration, in one figure.

**Question.** Does training stop because the gradient vanishes? How large is the gradient while the loss falls?

**Method.** Networks are trained, and at every single iteration the loss and the p-norm of its gradient are recorded: of
the samples by which that step is made (``--of step``), or of all training data at the same weights (``--of full``).
The gradient is that of the whole objective, before clipping; its norm is taken over all parameters together, and
over those of every layer. Up to four cases (a task, a network, a recipe) are drawn into the same figure.

**Figures and how to read them.**

- *Gradient norm and loss*: two frames with a common x axis, both logarithmic. Where the loss has become flat and the
  gradient has not become small, training did not arrive at a critical point: it runs along a ravine, from wall to wall.
- *Layers*: the same norm for every layer. Layers far from the output may receive far less.
- *Gradient norm against loss*: the way of every case through the plane of both, from the upper right. A critical point
  would be a fall straight down.

**Traps.** The p-norm is (Σ|gᵢ|ᵖ)^(1/p) over *all* parameters: a root inside the loop over the layers, or a sum of the
layers' norms, is something else. The gradient must be read before the step, at the weights to which the loss belongs,
and the norm of a minibatch's gradient does not vanish even at a minimum of the loss: it is mostly noise there, so say
which one is drawn. A small norm is no proof of a critical point: see `zero-gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.sizes import check_data, check_precision, check_training, named_in, snapshots, trained
from thalweg.experiments.shared.subjects import task
from thalweg.models.config import ModelConfig
from thalweg.sources import is_stamped, stamped, without_unset
from thalweg.subjects.names import loss_text
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.experiments._gradients import Course
    from thalweg.experiments.shared.training import Setup
    from thalweg.runs import Run

__all__ = ["PRESETS", "Case", "Config", "run"]

ORDER = ("first", "second", "third", "fourth")


class Case(BaseModel):
    """One curve of the figure: what is trained on what, and how."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        validate_default=True,
    )

    label: str | None = None
    """Name in the legend; default the task's."""

    replicas: int = Field(default=1, ge=1)
    """Number of independent trainings, drawn as median and range."""

    data: TaskConfig = TaskConfig()
    """The task."""

    model: ModelConfig = ModelConfig()
    """The network."""

    training: Recipe = Recipe()
    """How it is trained; every iteration is recorded, whatever `training.metrics` says."""

    loss: str = "auto"
    """Loss: a name, or FILE.py:NAME of one of your own; auto: by the targets."""

    metrics: str | None = None
    """Measures beside loss and accuracy: FILE.py:NAME."""

    l2: float = Field(default=0.0, ge=0)
    """Weight of the penalty ½·l2·‖θ‖², part of the objective and of its gradient."""

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str) -> str:
        return loss_text(loss)

    @field_validator("metrics")
    @classmethod
    def _stamped(cls, metrics: str | None) -> str | None:
        return None if metrics is None else stamped(metrics, "metrics")

    @model_serializer(mode="wrap")
    def _without_unset(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        data = without_unset(plain(self), ("metrics",))
        return data if self.loss != "auto" else {name: value for name, value in data.items() if name != "loss"}


_FIRST = {name: f"first.{name}" for name in Case.model_fields}
_ALONE = {"second": None, "third": None, "fourth": None}
_RESETS = {"first.model": _ALONE, "first.data": _ALONE}


class Config(ExperimentConfig):
    """Settings of `gradient-norm`."""

    SHORT: ClassVar[Mapping[str, str]] = _FIRST
    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = _RESETS

    p: float = Field(default=2.0, ge=1, allow_inf_nan=True)
    """Which norm of the gradient: (Σ|gᵢ|ᵖ)^(1/p); inf is the largest component."""

    of: Literal["step", "full"] = "step"
    """Whose gradient: of the samples by which each step is made, or of all training data (one more pass per step)."""

    first: Case = Case()
    """The first case."""

    second: Case | None = None
    """A second case in the same figure."""

    third: Case | None = None
    """A third one."""

    fourth: Case | None = None
    """A fourth one."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.p != self.p:
            raise InputError("p must be at least 1, found nan")
        for name, case in self.cases.items():
            if self.of == "full" and (case.model.batchnorm or case.model.dropout):
                raise InputError(
                    f"of 'full' needs networks that are the same in training and in evaluation, found batchnorm or "
                    f"dropout in {name}.model"
                )
            if case.training.stop is not None:
                words = f"where every iteration is compared, found '{case.training.stop}'"
                raise InputError(f"{name}.training.stop must be None {words}")
            check_precision(self.dtype, {"l2": case.l2}, f"{name}.")
            check_precision(self.dtype, dict(case.training), f"{name}.training.")
        return self

    def check_sizes(self, root: str | Path) -> None:
        """Refuse cases that cannot fit."""
        for name, case in self.cases.items():
            recipe = case.training.model_copy(update=_cadences(case))
            check_training(case.replicas, case.data, case.model, recipe, dtype=self.dtype, root=root, table=f"{name}.")

    def stages(self) -> list[Stage]:
        """The training of every case, and the gradients of all data."""
        from thalweg.experiments.shared.training import TrainingConfig

        found: list[Stage] = []
        for name, case in self.cases.items():
            given = {field: getattr(case, field) for field in ("replicas", "data", "model", "loss", "metrics", "l2")}
            recipe = case.training.model_copy(update=_cadences(case))
            config = TrainingConfig(**given, training=recipe, dtype=self.dtype, device=self.device)
            recording = _recording(name)
            found.append(Training(recording, config, evaluated=False))
            if self.of == "full":
                rows = snapshots(recipe, trained(case.data, case.model)[1], recipe.metrics)
                found.append(Passes(f"{recording}-full", config, gradients=rows * case.replicas, precise=False))
        return found

    def check_data(self) -> None:
        """Refuse data that are not there."""
        for name, case in self.cases.items():
            check_data([case.data], f"{name}.")
            if any(map(is_stamped, (case.model.source or "", case.data.source or "", case.loss, case.metrics or ""))):
                _prepared(self, case, name)

    @property
    def cases(self) -> dict[str, Case]:
        """The cases that are given, by field."""
        found = {name: getattr(self, name) for name in ORDER}
        return {name: case for name, case in found.items() if case is not None}


def _sinc(points: int, model: ModelConfig, replicas: int, **recipe: object) -> Case:
    data = TaskConfig(name="function", expression="sinc", points=points)
    return Case(replicas=replicas, data=data, model=model, training=Recipe.model_validate(recipe))


_1090 = ModelConfig(depth=5, budget=1090, tolerance=0.005)  # 1,087
_16750 = ModelConfig(hidden=(20, 20, 20))

PRESETS = {
    "tiny": Config(
        first=_sinc(32, ModelConfig(hidden=(6,)), 2, lr=1e-2, steps=60),
        second=Case(
            replicas=2,
            data=TaskConfig(samples=100),
            model=ModelConfig(hidden=(6,)),
            training=Recipe(lr=1e-2, epochs=3, batch_size=20),
        ),
    ),
    # sinc with 1,090 parameters, and digits with the network of the course (64-20-20-20-10: 2,350 parameters)
    "quick": Config(
        first=_sinc(256, _1090, 5, lr=1e-3, steps=3000),
        second=Case(replicas=5, model=_16750, training=Recipe(lr=1e-3, epochs=130, batch_size=64)),
    ),
    # train_FT.py grad_norm_func_fit_NN and train_AT.py, with MNIST: 16,750 parameters
    "course": Config(
        first=_sinc(1000, _1090, 3, lr=1e-3, epochs=200, batch_size=20),
        second=Case(
            replicas=3, data=TaskConfig(name="mnist"), model=_16750, training=Recipe(lr=1e-3, epochs=30, batch_size=128)
        ),
    ),
    # the gradient that could vanish: of all data, at every step
    "full-batch": Config(
        of="full",
        first=_sinc(256, _1090, 5, lr=1e-3, steps=3000),
        second=Case(replicas=3, data=TaskConfig(samples=500), model=_16750, training=Recipe(lr=1e-3, steps=2000)),
    ),
    # train_AT.py grad_norm_cifar10_NN 100 101 128
    "cifar10": Config(
        first=Case(
            data=TaskConfig(name="cifar10"),
            model=ModelConfig(kind="cnn", channels=(16, 32), hidden=(32,)),
            training=Recipe(lr=1e-3, epochs=100, batch_size=128),
        )
    ),
}


def run(config: Config, run: Run) -> Findings:
    """Trains every case and tells of its gradients."""
    from thalweg.experiments._gradient_story import tell

    # All tasks and networks are read before anything is trained: what does not fit is told at once.
    prepared = {name: _prepared(config, case, name) for name, case in config.cases.items()}
    run.set_environment(data_checksum="+".join(dict.fromkeys(setup.task.checksum for setup in prepared.values())))
    labels = _labels(config, prepared)
    courses = []
    for name, case in config.cases.items():
        courses.append(_trained(config, case, prepared[name], labels[name], run, name))
    return tell(config, courses)


def _prepared(config: Config, case: Case, name: str) -> Setup:
    """Loads data and builds the network and the loss of a case."""
    from thalweg.experiments.shared.training import TrainingConfig, build

    own = {field: getattr(case, field) for field in ("data", "model", "loss", "metrics", "l2")}
    with named_in(f"{name}.data", TaskConfig):
        data = task(case.data, config.dtype)
    with named_in(name, Case):
        setup = build(TrainingConfig(**own, dtype=config.dtype, device=config.device), data)
    if config.of == "full" and case.model.source is not None and setup.normalized:
        words = "networks that are the same in training and in evaluation"
        raise InputError(f"of 'full' needs {words}, found batch normalization in {setup.network}")
    return setup


def _trained(config: Config, case: Case, setup: Setup, label: str, run: Run, name: str) -> Course:
    from thalweg.experiments._gradients import course, observer
    from thalweg.training import train

    recording = train(
        setup.objective,
        None,
        case.training.model_copy(update=_cadences(case)),
        replicas=case.replicas,
        seed=config.seed,
        recording=run.recording(_recording(name)),
        observe=observer(setup.objective, config.p, config.of),
    )
    return course(label, recording, setup, config.of)


def _recording(name: str) -> str:
    return "training" if name == "first" else name


def _cadences(case: Case) -> dict[str, Cadence]:
    """Every step has a row; weights are kept at the ends only, unless the recipe asks for more."""
    every = {"metrics": Cadence(every=1, unit="step")}
    if "record" not in case.training.model_fields_set:
        every["record"] = Cadence(every=2, unit="log")
    return every


def _labels(config: Config, prepared: dict[str, Setup]) -> dict[str, str]:
    """A different name for every case: its own, else the task's, with the network where the task is not enough."""
    given = {name: case.label or prepared[name].task.label for name, case in config.cases.items()}
    for name, label in given.items():
        if list(given.values()).count(label) > 1:
            given = given | {name: f"{label}, {prepared[name].network}"}
    if len(set(given.values())) < len(given):
        given = {name: f"{label} ({name})" for name, label in given.items()}
    return given
