"""Small convolutional and residual networks without in-place operations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.models.activations import activation
from thalweg.models.config import ModelConfig
from thalweg.models.dense import dense_layers

__all__ = ["ResidualBlock", "cnn", "resnet"]


def image_shape(input_shape: Sequence[int], kind: str) -> tuple[int, int, int]:
    """Channels, height and width of an image.

    Raises:
        InputError: If the input is no image.
    """
    if len(input_shape) != 3:
        raise InputError(f"a {kind} needs images (C, H, W), found inputs of shape {tuple(input_shape)}")
    channels, height, width = input_shape
    return channels, height, width


def cnn(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> nn.Sequential:
    """A plain convolutional network as one flat ``nn.Sequential``.

    Each convolution is followed by (batch normalisation,) the activation and (pooling); then the head, see
    :class:`~thalweg.models.config.ModelConfig`.

    Args:
        config: Its `channels` and `hidden` must be given (see :func:`thalweg.models.budget.resolve`).
        input_shape: (C, H, W).
        outputs: Number of outputs.

    Raises:
        InputError: If the input is no image, a list of kernels has another length than the convolutions, or the image
            becomes smaller than a window.
    """
    inputs, height, width = image_shape(input_shape, "cnn")
    stages = config.channels or ()
    convolutions = len(stages) + (config.head == "conv")
    kernels = _each(config.kernel, convolutions, "kernel")
    windows = _each(config.pool_size, len(stages), "pool_size") if config.pool != "none" else (1,) * len(stages)
    layers: list[nn.Module] = []
    for number, (channels, kernel, window) in enumerate(zip(stages, kernels, windows, strict=False), start=1):
        height, width = _convolved((height, width), kernel, config.padding, number)
        # batch normalisation: its shift replaces the bias
        layers += _convolution(config, inputs, channels, kernel, bias=config.bias and not config.batchnorm)
        layers += [nn.BatchNorm2d(channels)] if config.batchnorm else []
        layers.append(activation(config.activation))
        if window > 1:
            height, width = _pooled((height, width), window, number)
            layers.append(nn.MaxPool2d(window) if config.pool == "max" else nn.AvgPool2d(window))
        inputs = channels
    if config.head == "conv":
        _convolved((height, width), kernels[-1], config.padding, convolutions)
        layers += _convolution(config, inputs, outputs, kernels[-1], bias=config.bias)
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if config.head == "average":
        layers.append(nn.AdaptiveAvgPool2d(1))
        height = width = 1
    widths = (inputs * height * width, *(config.hidden or ()), outputs)
    dense = dense_layers(widths, config.activation, bias=config.bias, dropout=config.dropout, first_dropout=True)
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def _convolution(config: ModelConfig, inputs: int, channels: int, kernel: int, bias: bool) -> list[nn.Module]:
    """A convolution; with padding "same" and an even kernel the odd zero goes to the right and to the bottom."""
    if config.padding == "valid":
        return [nn.Conv2d(inputs, channels, kernel, bias=bias)]
    if kernel % 2:
        return [nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, bias=bias)]
    before, after = (kernel - 1) // 2, kernel // 2
    return [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(inputs, channels, kernel, bias=bias)]


def _each(values: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    """One value for each of `count` layers."""
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise InputError(f"{name} must be one number or one for each of the {count} convolutions, found {values}")
    return values


def _convolved(size: tuple[int, int], kernel: int, padding: str, number: int) -> tuple[int, int]:
    if padding == "same":
        return size
    height, width = (side - kernel + 1 for side in size)
    if min(height, width) < 1:
        raise InputError(f"kernel must fit into the {size[0]}×{size[1]} image at convolution {number}, found {kernel}")
    return height, width


def _pooled(size: tuple[int, int], window: int, number: int) -> tuple[int, int]:
    height, width = (side // window for side in size)
    if min(height, width) < 1:
        raise InputError(
            f"pool_size must fit into the {size[0]}×{size[1]} image after convolution {number}, found {window}"
        )
    return height, width


class ResidualBlock(nn.Module):
    """x -> act(F(x) + shortcut(x)) with two 3×3 convolutions in F (He et al. 2016, section 3.2).

    The shortcut is the identity, or a 1×1 convolution where the number of channels or the size changes.

    Args:
        inputs: Channels of the input.
        channels: Channels of the output.
        stride: Step of the first convolution; 2 halves the size.
        act: Name of the activation.
        bias: Whether convolutions without batch normalisation have a bias.
        batchnorm: Whether convolutions are followed by batch normalisation.
    """

    def __init__(
        self, inputs: int, channels: int, stride: int, act: str, *, bias: bool = True, batchnorm: bool = False
    ) -> None:
        super().__init__()

        def convolution(source: int, kernel: int, step: int) -> list[nn.Module]:
            own = nn.Conv2d(source, channels, kernel, step, padding=kernel // 2, bias=bias and not batchnorm)
            return [own, nn.BatchNorm2d(channels)] if batchnorm else [own]

        self.residual = nn.Sequential(*convolution(inputs, 3, stride), activation(act), *convolution(channels, 3, 1))
        straight = inputs == channels and stride == 1
        self.shortcut = nn.Sequential() if straight else nn.Sequential(*convolution(inputs, 1, stride))
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to images."""
        return self.act(self.residual(x) + self.shortcut(x))


def resnet(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> nn.Sequential:
    """A small residual network: one convolution, stages of residual blocks, global average, one dense layer.

    Every stage after the first halves the size of the image.

    Args:
        config: Its `channels` must be given (see :func:`thalweg.models.budget.resolve`).
        input_shape: (C, H, W).
        outputs: Number of outputs.

    Raises:
        InputError: If the input is no image, or too small to be halved so often.
    """
    inputs, height, width = image_shape(input_shape, "resnet")
    stages = config.channels or ()
    if min(height, width) < 2 ** (len(stages) - 1):
        raise InputError(f"channels must have few enough stages to halve a {height}×{width} image, found {len(stages)}")
    first = stages[0]
    bias = config.bias and not config.batchnorm
    layers: list[nn.Module] = [nn.Conv2d(inputs, first, 3, padding=1, bias=bias)]
    layers += [nn.BatchNorm2d(first)] if config.batchnorm else []
    layers.append(activation(config.activation))
    inputs = first
    for number, channels in enumerate(stages):
        for block in range(config.blocks):
            stride = 2 if number and not block else 1
            layers.append(
                ResidualBlock(inputs, channels, stride, config.activation, bias=config.bias, batchnorm=config.batchnorm)
            )
            inputs = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs, bias=config.bias))
