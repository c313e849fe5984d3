"""Training many replicas at once, recorded; and the recorder for training loops of one's own.

`recipe` says how to train (schedule and cadence in closed form); `feed` which samples each replica sees at each step;
`preparation` the model in training mode, with `dropout` by counter instead of by a generator; `stack` holds all
replicas as one matrix under a stock optimiser; `loop` runs and records them; `recorder` serves loops written by hand,
with `instruments` that measure along them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.training import instruments
    from thalweg.training.loop import train
    from thalweg.training.recorder import Recorder

__all__ = ["Cadence", "Recipe", "Recorder", "instruments", "train"]

# These need torch; configurations are read without it.
__getattr__, __dir__ = lazy(__name__, {"instruments": "instruments", "loop": "train", "recorder": "Recorder"})
