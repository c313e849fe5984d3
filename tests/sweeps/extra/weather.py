"""Weather that may go wrong, for the tests of sweeps.

Does next to nothing, or what `fault` says, and writes a line into `log` whenever it is begun.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from thalweg.errors import InputError
from thalweg.experiments import ExperimentConfig, Findings
from thalweg.figures import Axis, Figure, Line, Panel
from thalweg.runs import Run


class Wind(BaseModel):
    """What blows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    speed: float = Field(default=1.0, gt=0)
    """How fast."""
    gusts: int | None = Field(default=4, ge=1)
    """How often."""
    layers: tuple[int, ...] = (8,)
    """How high."""


class Config(ExperimentConfig):
    """Everything about the weather."""

    wind: Wind = Wind()
    """The wind."""
    fault: Literal["none", "raise", "refuse", "nan", "die", "die-once", "full-disk"] = "none"
    """What goes wrong; the disk is full the first time only."""
    seconds: float = 0.0
    """How long it takes."""
    log: Path | None = None
    """Where it is noted that it has begun."""


PRESETS = {"tiny": Config(), "quick": Config(seconds=0.1)}


def run(config: Config, run: Run) -> Findings:
    """Blow."""
    begun = 0
    if config.log is not None:
        with config.log.open("a") as file:
            file.write(f"{run.name} {os.getpid()}\n")
        begun = config.log.read_text().count(run.name)
    time.sleep(config.seconds)
    match config.fault:
        case "raise":
            raise RuntimeError("hail has broken the glass")
        case "refuse":
            raise InputError("wind must blow, found none")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die-once" if begun < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        case "full-disk" if config.log is None or not _was_full(config.log, run).exists():
            real, own = os.fsync, threading.get_ident()

            def fsync(descriptor: int) -> None:
                if threading.get_ident() != own:  # other tasks run beside it
                    return real(descriptor)
                os.fsync = real
                if config.log is not None:
                    _was_full(config.log, run).touch()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            os.fsync = fsync
    pressure = run.cached("pressure", lambda: {"pressure": np.random.default_rng(config.seed).normal(size=3)})
    force = float(pressure["pressure"][0]) + config.wind.speed**2
    panel = Panel(Axis("time"), Axis("force"), (Line(np.arange(3), pressure["pressure"]),))
    return Findings(
        figures=(Figure("force", "Force", "How it blew.", (panel,)),),
        statements=(f"The force was {force:.3g}.",),
        numbers={"force": float("nan") if config.fault == "nan" else force, "seed": config.seed, "place": "north"},
    )


def _was_full(log: Path, run: Run) -> Path:
    return log.with_name(f"{run.name}.full")
