"""How far a run is, from what it has committed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from thalweg.report.settings import experiment_of
from thalweg.runs import Run, RunFiles
from thalweg.sweeps import replan

if TYPE_CHECKING:
    from pathlib import Path

    from thalweg.runs import Run

__all__ = ["Progress", "progress"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        words: In words; empty if there is nothing to say.
        share: Of what is being done now, from 0 to 1; None if nobody knows how much it is.
    """

    words: str = ""
    share: float | None = None


def progress(run: Run) -> Progress:
    """How far a run is, or a sweep; of several recordings the first that is not finished counts."""
    if "sweep" in run.config:
        return _of_sweep(run)
    names, recordings = run.recordings, []
    for name in names:
        recording = run.recording(name)
        if not recording.finished:
            total = recording.meta.get("total")
            whole = f" of {total:,}" if total else ""
            words = f"{name}: step {recording.last:,}{whole}{_lost(recording.status)}"
            return Progress(words, recording.last / total if total else None)
        recordings.append(recording)
    results = len(run.results)
    parts = [f"{len(names)} recording{'s' * (len(names) != 1)} finished"] if names else []
    parts += [f"{results} result{'s' * (results != 1)} kept"] if results else []
    return Progress(", ".join(parts))


def _lost(status: list[dict[str, object]]) -> str:
    lost = sum(entry["status"] == "diverged" for entry in status)
    return f", {lost} of {len(status)} replicas diverged" if lost else ""


def _of_sweep(run: Run) -> Progress:
    tasks = _tasks(run.path, experiment_of(run))
    done = sum(RunFiles(run.path.parent / name).complete.is_file() for name in tasks)
    return Progress(f"{done:,} of {len(tasks):,} tasks complete", done / len(tasks))


@lru_cache(maxsize=32)
def _tasks(path: Path, experiment: str) -> tuple[str, ...]:
    """Folders of a sweep's tasks; its own is named after them, so that they stay what they are."""
    return tuple(task.name for task in replan(experiment, Run.open(path).config).tasks)
