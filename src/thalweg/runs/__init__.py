"""Run folders: what was set, what happened and what came out, atomic, resumable and read lazily.

A :class:`Run` is a folder named after its experiment and config. It keeps :class:`Recording` s (snapshots of θ, metrics
and training state, written in commits), named results, and the environment they were made in. The same recording
interface without a folder is :class:`MemoryRecording`. Nothing is ever pickled.

>>> import tempfile, torch
>>> from thalweg.runs import Run
>>> origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "demo"}
>>> run = Run.create(tempfile.mkdtemp(), "demo", {"width": 10}, **origin)
>>> with run.writing():
...     recording = run.recording()
...     for step in range(4):
...         recording.append(step, step / 2, torch.full((2, 3), float(step)), {"loss": torch.tensor([1.0, 0.5])})
...         recording.commit(state={}, meta={"step": step})
...     recording.finish()
...     run.complete()
>>> run.snapshots[-1, 0], run.metrics.shape, run.state
(tensor([3., 3., 3.]), (8, 5), 'complete')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._files.writing import WriteError
from thalweg._lazy import lazy
from thalweg.runs.finding import find_runs
from thalweg.runs.layout import RunFiles, config_hash
from thalweg.runs.run import Run

if TYPE_CHECKING:
    from thalweg.runs.exporting import export
    from thalweg.runs.folder import FolderRecording
    from thalweg.runs.history import History
    from thalweg.runs.memory import MemoryRecording
    from thalweg.runs.recording import Recording
    from thalweg.runs.snapshots import SnapshotIndexError, Snapshots

__all__ = [
    "Run",
    "RunFiles",
    "find_runs",
    "config_hash",
    "Recording",
    "FolderRecording",
    "History",
    "MemoryRecording",
    "Snapshots",
    "SnapshotIndexError",
    "WriteError",
    "export",
]

# These need torch or polars; `thalweg runs` must not wait for them.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "recording": "Recording",
        "folder": "FolderRecording",
        "history": "History",
        "memory": "MemoryRecording",
        "snapshots": "Snapshots SnapshotIndexError",
        "exporting": "export",
    },
)
