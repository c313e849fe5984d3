"""The networks of the classic exercises, by name."""

from __future__ import annotations

from thalweg.models.config import ModelConfig

__all__ = ["COURSE"]

COURSE: dict[str, ModelConfig] = {
    # Fitting a function at equal size: 571, 572 and 571 parameters with one input and one output.
    "deep": ModelConfig(hidden=(5, 10, 10, 10, 10, 10, 5)),
    "middle": ModelConfig(hidden=(10, 18, 15, 4)),
    "shallow": ModelConfig(hidden=(190,)),
    # Zero gradient: 22, 33, 49 and 141 parameters with one input and one output.
    "1-3-3-1": ModelConfig(hidden=(3, 3), activation="tanh"),
    "1-4-4-1": ModelConfig(hidden=(4, 4), activation="tanh"),
    "1-16-1": ModelConfig(hidden=(16,), activation="tanh"),
    "1-10-10-1": ModelConfig(hidden=(10, 10), activation="tanh"),
    # Images: 16,750 parameters on MNIST.
    "mnist": ModelConfig(hidden=(20, 20, 20)),
    # Random labels.
    "3x256": ModelConfig(depth=3, width=256),
    "1024-625": ModelConfig(hidden=(1024, 625), dropout=0.5),
    # Sharpness: 31,228 parameters on MNIST.
    "sharpness": ModelConfig(
        kind="cnn", channels=(22, 22), kernel=(3, 2), padding="valid", pool_size=(2, 3), hidden=(80,), dropout=0.25
    ),
    # Convolutional stacks of about equal size on CIFAR-10, averaged over the image at the end.
    "conv-2x132": ModelConfig(kind="cnn", depth=2, width=132, pool="none", head="conv", bias=False),
    "conv-4x27": ModelConfig(kind="cnn", depth=4, width=27, pool="none", head="conv", bias=False),
    "conv-8x16": ModelConfig(kind="cnn", depth=8, width=16, pool="none", head="conv", bias=False),
}
"""name -> configuration. The dropout of "sharpness" is ours: the exercise names the layers, not the probability."""
