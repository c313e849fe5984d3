"""Settings of `image-fit`, its presets, and the networks that they name."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.members import Member, named
from thalweg.experiments.shared.networks import Compared, alone, counted_labels
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config", "members"]


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
        given = members(self, counted_labels(self, self.data))
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


def members(config: Config, networks: Mapping[str, ModelConfig]) -> tuple[Member, ...]:
    """One for every network, by its label."""
    return named((label, None, alone(config, model=model)) for label, model in networks.items())
