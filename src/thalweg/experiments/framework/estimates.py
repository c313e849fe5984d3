"""How long a run will take, in words and for the bar, and what a faster preset would change."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg.errors import InputError
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.fields import value
from thalweg.experiments.framework.stages import Stage, Training

if TYPE_CHECKING:
    from thalweg.experiments.framework.discovery import Experiment
    from thalweg.runs import Run

__all__ = ["REPORT", "Estimate", "estimate", "faster", "time_words"]

REPORT = 3.0
"""Seconds that figures and report take, about; they do not grow with the run."""

LONG = 60.0
"""Seconds from which on a faster preset is worth a word."""

MOST = 3
"""Differences between two presets that are named."""


@dataclass(frozen=True)
class Estimate:
    """How long the rest of a run will take on this machine.

    Attributes:
        left: Seconds of every part that is still to be done, by its name.
        done: Seconds of the parts that an earlier attempt has done.
        at_most: Whether a training may stop before its last step.
        known: Whether the experiment tells its parts.
    """

    left: dict[str, float]
    done: float = 0.0
    at_most: bool = False
    known: bool = True

    @property
    def seconds(self) -> float:
        """Of everything that is left, the report included."""
        return sum(self.left.values()) + REPORT if self.known else 0.0

    @property
    def words(self) -> str:
        """As a sentence has it: "about 12 minutes"; empty if the experiment does not tell its parts."""
        if not self.known:
            return ""
        return f"{'at most ' if self.at_most else ''}{time_words(self.seconds)}"


def estimate(config: ExperimentConfig, run: Run | None = None) -> Estimate:
    """Times a few steps of each network on a throwaway copy; takes seconds and changes no number of the run.

    Args:
        config: The settings.
        run: Where an earlier attempt may have kept something.
    """
    from thalweg.experiments.framework.costs import costs
    from thalweg.threads import fixed

    stages = config.stages()
    if not stages:
        return Estimate({}, known=False)
    try:
        with nullcontext() if config.threads is None else fixed(config.threads):
            priced = costs(stages)
    except InputError:  # the run itself says better what does not fit
        return Estimate({}, known=False)
    shares = [0.0 if run is None else _share(stage, run) for stage in stages]
    pairs = list(zip(priced, shares, strict=True))
    return Estimate(
        {cost.name: cost.seconds * (1 - share) for cost, share in pairs if share < 1},
        sum(cost.seconds * share for cost, share in pairs),
        any(cost.at_most for cost, share in pairs if share < 1),
    )


def _share(stage: Stage, run: Run) -> float:
    """How much of a stage an earlier attempt has done."""
    if not isinstance(stage, Training):
        return 1.0 if stage.name in run.results else 0.0
    if stage.name not in run.recordings:
        return 0.0
    recording = run.recording(stage.name)
    if recording.finished:
        return 1.0
    step, total = (recording.meta.get(name) for name in ("step", "total"))  # `restore` is for those who write
    return min(1.0, step / total) if type(step) is int and type(total) is int and total > 0 else 0.0


def faster(experiment: Experiment, config: ExperimentConfig, seconds: float) -> str:
    """What the preset `quick` would change, if the run takes long and that one does not: a part of a sentence.

    Args:
        experiment: Which.
        config: The settings of the run.
        seconds: How long it takes.
    """
    quick = experiment.preset("quick")
    own = config.sources or value(config, "checkpoint")  # the presets know nothing of what is the user's own
    if seconds < LONG or config == quick or own:
        return ""
    shorter = estimate(quick)
    if not shorter.known or shorter.seconds > seconds / 2:
        return ""
    changes = _differences(config, quick)
    return f"--preset quick: {shorter.words}" + "".join(f", {change}" for change in changes[:MOST])


def time_words(seconds: float) -> str:
    """An estimate in words, no more exact than it is.

    >>> time_words(4.2), time_words(48), time_words(100), time_words(760), time_words(9000)
    ('about 4 seconds', 'about 50 seconds', 'about 2 minutes', 'about 13 minutes', 'about 2.5 hours')
    """
    if seconds < 75:
        rounded = max(1, round(seconds)) if seconds < 10 else 5 * round(seconds / 5)
        return f"about {rounded} second{'' if rounded == 1 else 's'}"
    if seconds < 5400:
        minutes = round(seconds / 60)
        return f"about {minutes} minute{'' if minutes == 1 else 's'}"
    hours = round(seconds / 1800) / 2
    return f"about {hours:g} hours" if hours < 48 else f"about {hours / 24:.0f} days"


def _differences(config: ExperimentConfig, other: ExperimentConfig) -> list[str]:
    """What the other settings have instead, the largest things first.

    >>> from thalweg.experiments.framework.discovery import find
    >>> presets = find("trajectory").presets
    >>> _differences(presets["course"], presets["tiny"])
    ['8 epochs instead of 30', 'digits instead of mnist', '3 replicas instead of 8']
    """
    found = []
    for name, words in (
        ("training.epochs", "epochs"),
        ("training.steps", "steps"),
        ("first.training.epochs", "epochs"),
        ("data.name", ""),
        ("data.samples", "samples"),
        ("replicas", "replicas"),
        ("networks", "networks"),
        ("values", "values"),
        ("learning_rates", "learning rates"),
    ):
        mine, theirs = _size(value(config, name)), _size(value(other, name))
        if mine is not None and theirs is not None and mine != theirs:
            found.append(f"{_shown(theirs)} {words}".rstrip() + f" instead of {_shown(mine)}")
    return found


def _size(found: Any) -> Any:
    return len(found) if isinstance(found, tuple) else found


def _shown(found: Any) -> str:
    return f"{found:,}" if isinstance(found, int) else str(found)
