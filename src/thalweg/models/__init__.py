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

import importlib
from typing import TYPE_CHECKING

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

_HOME = {
    "COURSE": "course",
    "ModelConfig": "config",
    "Sine": "activations",
    "activation": "activations",
    "build": "building",
    "check_equal": "budget",
    "describe": "building",
    "parameter_count": "budget",
    "resolve": "budget",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'thalweg.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"thalweg.models.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
