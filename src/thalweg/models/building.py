"""From a configuration to a module, and to one line that describes it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from thalweg.models.budget import check_size, parameter_count, resolve
from thalweg.models.config import ModelConfig
from thalweg.models.families import assemble

__all__ = ["build", "describe"]


def build(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> nn.Module:
    """The network that a configuration names.

    Parameters are drawn by PyTorch's defaults from its global generator; every layer that has parameters also has
    ``reset_parameters``, so that replicas can be drawn anew.

    Args:
        config: What to build.
        input_shape: Shape of one input, such as ``task.input_shape``.
        outputs: Number of outputs, such as ``task.outputs``.

    Returns:
        The module: (N, *input_shape) -> (N, outputs), with no in-place operation.

    Raises:
        InputError: If the family cannot take such inputs, a window does not fit, no width comes near the budget, or the
            network does not fit into memory.

    >>> build(ModelConfig(kind="cnn", channels=(4,), head="average"), (1, 8, 8), 10)
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (1): ReLU()
      (2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
      (3): AdaptiveAvgPool2d(output_size=1)
      (4): Flatten(start_dim=1, end_dim=-1)
      (5): Linear(in_features=4, out_features=10, bias=True)
    )
    """
    resolved = resolve(config, input_shape, outputs)
    check_size(resolved, input_shape, outputs, told=config)
    return assemble(resolved, input_shape, outputs)


def describe(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> str:
    """One line for legends and settings tables: structure, activation and exact number of parameters.

    Args:
        config: The network.
        input_shape: Shape of one input.
        outputs: Number of outputs.

    >>> describe(ModelConfig(kind="cnn", channels=(8, 16)), (1, 28, 28), 10)
    'CNN conv 3×3×8 – max 2 – conv 3×3×16 – max 2 – 784-10, relu, 9,098 parameters'
    """
    config = resolve(config, input_shape, outputs)
    count = parameter_count(config, input_shape, outputs)
    match config.kind:
        case "cnn":
            structure = "CNN " + _cnn_structure(config, input_shape, outputs)
        case "resnet":
            structure = f"ResNet {'-'.join(map(str, config.channels or ()))} × {config.blocks} blocks"
        case kind:
            hidden = config.hidden or ()
            widths = (*hidden, config.code, *reversed(hidden)) if kind == "autoencoder" else hidden
            chain = "-".join(map(str, (math.prod(input_shape), *widths, outputs)))
            structure = f"{'autoencoder' if kind == 'autoencoder' else 'MLP'} {chain}"
    extra = ", batch normalisation" if config.batchnorm else ""
    extra += "" if config.bias else ", no bias"
    extra += f", dropout {config.dropout:g}" if config.dropout else ""
    act = "linear" if config.activation == "identity" else config.activation
    return f"{structure}, {act}{extra}, {count:,} parameters"


def _cnn_structure(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> str:
    parts: list[str] = []
    for module in assemble(config, input_shape, outputs).children():
        match module:
            case nn.Conv2d():
                parts.append(f"conv {module.kernel_size[0]}×{module.kernel_size[1]}×{module.out_channels}")
            case nn.MaxPool2d():
                parts.append(f"max {module.kernel_size}")
            case nn.AvgPool2d():
                parts.append(f"average {module.kernel_size}")
            case nn.AdaptiveAvgPool2d():
                parts.append("global average")
            case nn.Linear() if parts and parts[-1].endswith(f"-{module.in_features}"):
                parts[-1] += f"-{module.out_features}"
            case nn.Linear():
                parts.append(f"{module.in_features}-{module.out_features}")
    return " – ".join(parts)
