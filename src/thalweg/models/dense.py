"""Dense networks: MLPs and autoencoders, as flat ``nn.Sequential`` stacks whose structure is easy to recognise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from thalweg.errors import InputError
from thalweg.models.activations import activation

__all__ = ["autoencoder", "dense_layers", "mlp"]


def dense_layers(
    widths: Sequence[int], act: str, *, bias: bool = True, dropout: float = 0.0, first_dropout: bool = False
) -> list[nn.Module]:
    """Linear layers between consecutive widths, with an activation after each but the last.

    Args:
        widths: Width of the input, of every hidden layer, and of the output.
        act: Name of the activation.
        bias: Whether the layers have a bias.
        dropout: Probability of dropping an input of each layer after the first; 0 makes no module.
        first_dropout: Drop inputs of the first layer too.
    """
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        if number:
            layers.append(activation(act))
        if dropout and (number or first_dropout):
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(inputs, outputs, bias=bias))
    return layers


def mlp(
    input_shape: Sequence[int],
    hidden: Sequence[int],
    outputs: int,
    act: str = "relu",
    *,
    bias: bool = True,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A multilayer perceptron: (Flatten,) Linear, activation, …, Linear.

    Args:
        input_shape: Shape of one input; flattened if it has more than one axis.
        hidden: Widths of the hidden layers; none makes a linear model.
        outputs: Number of outputs.
        act: Name of the activation.
        bias: Whether the layers have a bias.
        dropout: Probability of dropping a hidden unit in training.

    >>> mlp((1,), (3,), 1, "tanh")
    Sequential(
      (0): Linear(in_features=1, out_features=3, bias=True)
      (1): Tanh()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    """
    flatten: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    widths = (math.prod(input_shape), *hidden, outputs)
    return nn.Sequential(*flatten, *dense_layers(widths, act, bias=bias, dropout=dropout))


def autoencoder(
    input_shape: Sequence[int], hidden: Sequence[int], code: int, outputs: int, act: str = "relu", *, bias: bool = True
) -> nn.Sequential:
    """A dense autoencoder D - hidden - code - reversed hidden - D, whose output is the flattened input.

    With the identity as activation it is linear: its critical points are known in closed form (Baldi & Hornik 1989).

    Args:
        input_shape: Shape of one input, D values in all.
        hidden: Widths of the encoder's hidden layers; the decoder has them in reverse.
        code: Width of the code.
        outputs: Must be D.
        act: Name of the activation, after every layer (also the code) but the last.
        bias: Whether the layers have a bias.

    Raises:
        InputError: If `outputs` is not D.
    """
    size = math.prod(input_shape)
    if outputs != size:
        raise InputError(
            f"an autoencoder must have as many outputs as inputs ({size}), found {outputs}: "
            "give the task target 'inputs'"
        )
    return mlp(input_shape, (*hidden, code, *reversed(hidden)), outputs, act, bias=bias)
