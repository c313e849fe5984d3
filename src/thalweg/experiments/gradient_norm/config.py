"""Settings of `gradient-norm`: up to four cases that are drawn into the same figure, and its presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.sizes import check_data, check_precision, check_training, named_in, snapshots, trained
from thalweg.experiments.shared.subjects import task
from thalweg.experiments.shared.training import Setup, TrainingConfig, build
from thalweg.models.config import ModelConfig
from thalweg.sources import is_stamped, stamped, without_unset
from thalweg.subjects.names import loss_text
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Case", "Config", "prepared", "recording_name"]

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
    """How it is trained; every iteration is recorded (`training.metrics` is refused)."""

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

    @property
    def recipe(self) -> Recipe:
        """The training with a row for every step; weights are kept at the ends only, unless it asks for more."""
        every = {"metrics": Cadence(every=1, unit="step")}
        if "record" not in self.training.model_fields_set:
            every["record"] = Cadence(every=2, unit="log")
        return self.training.model_copy(update=every)


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
            if case.training.metrics is not None:
                raise InputError(f"{name}.training.metrics must be None: every iteration is recorded")
            check_precision(self.dtype, {"l2": case.l2}, f"{name}.")
            check_precision(self.dtype, dict(case.training), f"{name}.training.")
        return self

    def check_sizes(self, root: str | Path) -> None:
        """Refuse cases that cannot fit."""
        for name, case in self.cases.items():
            check_training(
                case.replicas, case.data, case.model, case.recipe, dtype=self.dtype, root=root, table=f"{name}."
            )

    def stages(self) -> list[Stage]:
        """The training of every case, and the gradients of all data."""
        found: list[Stage] = []
        for name, case in self.cases.items():
            given = {field: getattr(case, field) for field in ("replicas", "data", "model", "loss", "metrics", "l2")}
            config = TrainingConfig(**given, training=case.recipe, dtype=self.dtype, device=self.device)
            recording = recording_name(name)
            found.append(Training(recording, config, evaluated=False))
            if self.of == "full":
                rows = snapshots(case.recipe, trained(case.data, case.model)[1], case.recipe.metrics)
                found.append(Passes(f"{recording}-full", config, gradients=rows * case.replicas, precise=False))
        return found

    def check_data(self) -> None:
        """Refuse data that are not there."""
        for name, case in self.cases.items():
            check_data([case.data], f"{name}.")
            if any(map(is_stamped, (case.model.source or "", case.data.source or "", case.loss, case.metrics or ""))):
                prepared(self, case, name)

    @property
    def cases(self) -> dict[str, Case]:
        """The cases that are given, by field."""
        found = {name: getattr(self, name) for name in ORDER}
        return {name: case for name, case in found.items() if case is not None}


def prepared(config: Config, case: Case, name: str) -> Setup:
    """Loads data and builds the network and the loss of a case.

    Args:
        config: All settings.
        case: One of its cases.
        name: Its field.
    """
    own = {field: getattr(case, field) for field in ("data", "model", "loss", "metrics", "l2")}
    with named_in(f"{name}.data", TaskConfig):
        data = task(case.data, config.dtype)
    with named_in(name, Case):
        setup = build(TrainingConfig(**own, dtype=config.dtype, device=config.device), data)
    if config.of == "full" and case.model.source is not None and setup.normalized:
        words = "networks that are the same in training and in evaluation"
        raise InputError(f"of 'full' needs {words}, found batch normalization in {setup.network}")
    return setup


def recording_name(case: str) -> str:
    """Under which a run keeps the training of a case, given by its field."""
    return "training" if case == "first" else case


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
