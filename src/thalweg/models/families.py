"""From a configuration with explicit sizes to its family's builder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from thalweg.models.config import ModelConfig
from thalweg.models.convolutional import cnn, resnet
from thalweg.models.dense import autoencoder, mlp

__all__ = ["assemble"]


def assemble(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> nn.Module:
    """The module of a configuration whose sizes are given by hand (see :func:`thalweg.models.budget.resolve`).

    Args:
        config: What to build.
        input_shape: Shape of one input.
        outputs: Number of outputs.
    """
    hidden, act, bias = config.hidden or (), config.activation, config.bias
    match config.kind:
        case "mlp":
            return mlp(input_shape, hidden, outputs, act, bias=bias, dropout=config.dropout)
        case "autoencoder":
            return autoencoder(input_shape, hidden, config.code, outputs, act, bias=bias)
        case "cnn":
            return cnn(config, input_shape, outputs)
        case "resnet":
            return resnet(config, input_shape, outputs)
