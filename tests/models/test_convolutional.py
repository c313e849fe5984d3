from __future__ import annotations

import warnings

import pytest
import torch

from thalweg import InputError
from thalweg.models import ModelConfig, build
from thalweg.models.convolutional import ResidualBlock


@pytest.mark.parametrize(
    ("fields", "input_shape", "message"),
    [
        ({}, (64,), r"a cnn needs images \(C, H, W\), found inputs of shape \(64,\)"),
        ({"kind": "resnet"}, (64,), "a resnet needs images"),
        ({"channels": (2, 2, 2, 2)}, (1, 8, 8), "pool_size must fit into the 1×1 image after convolution 4, found 2"),
        (
            {"channels": (2, 2), "kernel": (5,), "padding": "valid"},
            (1, 8, 8),
            "kernel must fit into the 2×2 image at convolution 2, found 5",
        ),
        (
            {"channels": (2,), "kernel": (5,), "padding": "valid", "head": "conv"},
            (1, 8, 8),
            "kernel must fit into the 2×2 image at convolution 2, found 5",
        ),
        ({"channels": (2, 2), "kernel": (3, 3, 3)}, (1, 8, 8), "kernel must be one number or one for each of the 2"),
        ({"channels": (2, 2), "pool_size": (2, 2, 2)}, (1, 8, 8), "pool_size must be one number or one for each"),
        ({"kind": "resnet", "channels": (2, 2, 2, 2, 2)}, (1, 8, 8), "few enough stages to halve a 8×8 image, found 5"),
    ],
)
def test_images_that_do_not_fit(fields, input_shape, message):
    with pytest.raises(InputError, match=message):
        build(ModelConfig(**{"kind": "cnn", **fields}), input_shape, 10)


def test_head_conv_averages_the_class_maps():
    model = build(ModelConfig(kind="cnn", channels=(3,), pool="none", head="conv"), (2, 6, 6), 4)
    x = torch.randn(5, 2, 6, 6)
    convolutions = [module for module in model if isinstance(module, torch.nn.Conv2d)]
    maps = convolutions[1](torch.relu(convolutions[0](x)))
    torch.testing.assert_close(model(x), maps.mean(dim=(2, 3)))


def test_average_head_does_not_depend_on_the_place():
    """A stack with circular images would be shift-invariant; with one pixel far from every edge it is exactly so."""
    model = build(ModelConfig(kind="cnn", channels=(3,), pool="none", head="average"), (1, 9, 9), 4)
    x, shifted = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    x[0, 0, 3, 3], shifted[0, 0, 5, 4] = 1.0, 1.0
    torch.testing.assert_close(model(x), model(shifted))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_same_padding_keeps_the_size(kernel):
    config = ModelConfig(kind="cnn", channels=(2,), pool="none", kernel=(kernel,))
    model = build(config, (1, 7, 5), 3)
    assert model[-1].in_features == 2 * 7 * 5
    # against PyTorch's own padding, which warns about even kernels
    convolution = next(module for module in model if isinstance(module, torch.nn.Conv2d))
    x = torch.randn(2, 1, 7, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = torch.nn.functional.conv2d(x, convolution.weight, convolution.bias, padding="same")
    torch.testing.assert_close(model(x), model[-1](torch.relu(maps).flatten(1)))


def test_residual_block_without_residual_is_its_shortcut():
    block = ResidualBlock(3, 3, 1, "relu")
    for parameter in block.residual.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(block(x), torch.relu(x))
    assert len(block.shortcut) == 0


@pytest.mark.parametrize("batchnorm", [True, False])
def test_residual_block_that_changes_the_size(batchnorm):
    block = ResidualBlock(3, 4, 2, "tanh", batchnorm=batchnorm).eval()
    x = torch.randn(2, 3, 8, 8)
    assert block(x).shape == (2, 4, 4, 4)
    torch.testing.assert_close(block(x), torch.tanh(block.residual(x) + block.shortcut(x)))
    biases = [module.bias is None for module in block.modules() if isinstance(module, torch.nn.Conv2d)]
    assert biases == [batchnorm] * 3
