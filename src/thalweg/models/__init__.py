"""Small families of networks, by configuration: MLPs, convolutional networks, autoencoders and residual networks.

A :class:`~thalweg.models.config.ModelConfig` says what to build, also as "depth d with about P parameters";
:func:`~thalweg.models.building.build` makes the module for a task's input shape and number of outputs. Any other
``nn.Module`` works everywhere too: nothing in Thalweg knows where a model came from.

>>> from thalweg import models
>>> config = models.ModelConfig(hidden=(10, 10), activation="tanh")
>>> models.describe(config, (1,), 1)
'MLP 1-10-10-1, tanh, 141 parameters'

Names are loaded when they are first used, so that reading a configuration imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.models.activations import Sine, activation
    from thalweg.models.budget import check_equal, parameter_count, resolve
    from thalweg.models.building import build, describe
    from thalweg.models.config import ModelConfig
    from thalweg.models.course import COURSE

__all__ = [
    "COURSE",
    "ModelConfig",
    "Sine",
    "activation",
    "build",
    "check_equal",
    "describe",
    "parameter_count",
    "resolve",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "course": "COURSE",
        "config": "ModelConfig",
        "activations": "Sine activation",
        "building": "build describe",
        "budget": "check_equal parameter_count resolve",
    },
)
