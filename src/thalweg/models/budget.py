"""Counting parameters without allocating them, and solving a width for a number of parameters."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from thalweg.errors import InputError
from thalweg.limits import check_memory
from thalweg.models.config import ModelConfig
from thalweg.models.families import assemble

__all__ = ["check_equal", "check_size", "parameter_count", "resolve"]

_DEFAULT = {"mlp": {"hidden": (20, 20, 20)}, "cnn": {"channels": (8, 16)}, "resnet": {"channels": (16, 32)}}

_MIXED = 12
"""Depth up to which wider layers are tried at the back too: about depth²/2 networks are counted, a millisecond each."""


def parameter_count(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> int:
    """Exact number of parameters P of a network, found without allocating them or drawing a random number.

    Args:
        config: The network.
        input_shape: Shape of one input.
        outputs: Number of outputs.

    Raises:
        InputError: As :func:`resolve` and :func:`check_size`.

    >>> parameter_count(ModelConfig(hidden=(20, 20, 20)), (1, 28, 28), 10)
    16750
    """
    resolved = resolve(config, input_shape, outputs)
    check_size(resolved, input_shape, outputs, told=config)
    return _count(resolved, tuple(input_shape), outputs)


def check_size(
    config: ModelConfig, input_shape: Sequence[int], outputs: int, *, told: ModelConfig | None = None
) -> None:
    """Refuse a network whose weights alone are more than memory holds, by arithmetic: nothing is made.

    Args:
        config: The network, its sizes given by hand.
        input_shape: Shape of one input.
        outputs: Number of outputs.
        told: The network as it was asked for, whose field is named; default `config`.

    Raises:
        InputError: It cannot fit.

    >>> check_size(ModelConfig(hidden=(20, 20, 20)), (1, 28, 28), 10)
    """
    told = config if told is None else told
    given = {field: getattr(told, field) for field in ("hidden", "channels", "kernel", "width", "depth", "code")}
    largest = {name: max(np.atleast_1d(size).tolist(), default=0) for name, size in given.items() if size is not None}
    name = max(largest, key=lambda field: largest[field])
    count = _weights(config, input_shape, outputs)
    check_memory(name, f"{largest[name]:,}", count * torch.get_default_dtype().itemsize)


def _weights(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> int:
    """Number of weights; without biases and, of a convolutional network, without the first dense layer."""

    def chain(*sizes: int) -> int:
        return sum(before * after for before, after in itertools.pairwise(sizes))

    hidden, channels, inputs = config.hidden or (), config.channels or (), input_shape[0]
    match config.kind:
        case "mlp":
            return chain(math.prod(input_shape), *hidden, outputs)
        case "autoencoder":
            return 2 * chain(math.prod(input_shape), *hidden, config.code)
        case "cnn":
            sides = config.kernel if len(config.kernel) == len(channels) else config.kernel[:1] * len(channels)
            pairs = itertools.pairwise((inputs, *channels))
            return chain(*hidden) + sum(a * b * side**2 for (a, b), side in zip(pairs, sides, strict=True))
        case _:
            return sum(2 * config.blocks * 9 * size**2 for size in channels[1:])


@functools.lru_cache(maxsize=1024)  # a budget is solved again by build, describe and parameter_count alike
def _count(config: ModelConfig, input_shape: tuple[int, ...], outputs: int) -> int:
    with torch.device("meta"):
        model = assemble(config, input_shape, outputs)
    return sum(parameter.numel() for parameter in model.parameters())


def resolve(config: ModelConfig, input_shape: Sequence[int], outputs: int) -> ModelConfig:
    """The same network with its sizes given by hand: `depth`, `width` and `budget` become `hidden` or `channels`.

    With a budget the layers have one width w, a few at the front and at the back w + 1 where that comes closer (not in
    a ResNet, whose stages double): of these networks the one whose number of parameters is nearest to the budget.

    Args:
        config: The network.
        input_shape: Shape of one input.
        outputs: Number of outputs.

    Raises:
        InputError: If the nearest network is farther from the budget than `tolerance`, or more than memory holds.

    >>> resolve(ModelConfig(depth=8, budget=571), (1,), 1).hidden
    (9, 9, 9, 8, 8, 8, 8, 8)
    """
    if config.budget is not None:
        needed = config.budget * torch.get_default_dtype().itemsize
        check_memory("budget", f"{config.budget:,} parameters", needed)
        return _solved(config, config.budget, input_shape, outputs)
    if config.width is not None:
        return _with_widths(config, config.width)
    defaults = _DEFAULT.get(config.kind, {})
    return config.model_copy(update={name: size for name, size in defaults.items() if getattr(config, name) is None})


def _with_widths(config: ModelConfig, width: int, front: int = 0, back: int = 0) -> ModelConfig:
    """Sizes by hand: `depth` layers of this width; `front` of them at the front and `back` at the back one wider."""
    depth = config.depth or 0
    if config.kind == "resnet":
        sizes = tuple(width * 2**stage for stage in range(depth))
    else:
        middle = _free_layers(config) - front - back
        sizes = (width + 1,) * front + (width,) * middle + (width + 1,) * back
    field = "hidden" if config.kind in ("mlp", "autoencoder") else "channels"
    return config.model_copy(update={field: sizes, "depth": None, "width": None, "budget": None})


def _free_layers(config: ModelConfig) -> int:
    """How many layers have the width in question; the last convolution of head conv has a channel per output."""
    return (config.depth or 0) - (config.kind == "cnn" and config.head == "conv")


def _solved(config: ModelConfig, budget: int, input_shape: Sequence[int], outputs: int) -> ModelConfig:
    def count(width: int, front: int = 0, back: int = 0) -> int:
        return _count(_with_widths(config, width, front, back), tuple(input_shape), outputs)

    if _free_layers(config) == 0:
        raise InputError("budget needs a layer whose width is free, found depth 1 with head 'conv'")
    width = 1
    while count(width) <= budget:
        width *= 2
    low, high = max(width // 2, 1), width  # count(low) <= budget < count(high), unless even width 1 is too much
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= budget else (low, middle)
    layers = 1 if config.kind == "resnet" else _free_layers(config)
    backs = layers if layers <= _MIXED else 1  # deep networks have steps fine enough
    options = [(low, front, back) for back in range(backs) for front in range(layers - back)] + [(low + 1, 0, 0)]
    best = min(options, key=lambda option: abs(count(*option) - budget))
    found = count(*best)
    if abs(found - budget) > config.tolerance * budget:
        raise InputError(
            f"budget must be reached within {config.tolerance:.2g} of {budget:,} parameters, the nearest network of "
            f"depth {config.depth} has {found:,}: choose another depth or raise tolerance"
        )
    return _with_widths(config, *best)


def check_equal(counts: Mapping[str, int], tolerance: float = 0.02) -> None:
    """Refuse to compare networks "of equal size" that are not.

    Args:
        counts: name -> number of parameters.
        tolerance: Greatest accepted relative distance between the least and the greatest.

    Raises:
        InputError: If they are farther apart; the message gives all counts.

    >>> check_equal({"deep": 571, "middle": 572, "shallow": 571})
    """
    if not counts:
        raise InputError("counts must not be empty, found no networks")
    least, most = min(counts.values()), max(counts.values())
    if most - least > tolerance * least:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise InputError(f"networks must have equal numbers of parameters within {tolerance:.2g}, found {told}")
