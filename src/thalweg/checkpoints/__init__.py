"""Checkpoints of any PyTorch program, as a recording that every instrument takes.

:func:`load` reads files, globs and folders (``.safetensors``, ``.pt``, ``.pth``, ``.bin``, ``.ckpt``, sharded ones too,
Lightning's and Hugging Face's) into a :class:`~thalweg.runs.Recording` of one replica: θ of every checkpoint, the
buffers that belong to it, and its step. Parameters are found by name; a file that would run code is refused.

>>> import pathlib, tempfile, torch
>>> from torch import nn
>>> from thalweg import checkpoints
>>> model, folder = nn.Linear(3, 2), pathlib.Path(tempfile.mkdtemp())
>>> for step in (2, 10):
...     torch.save({"model": model.state_dict(), "step": step}, folder / f"{step}.pt")
>>> recording = checkpoints.load(model, folder)
>>> recording.snapshots, recording.steps
(Snapshots(S=2, R=1, P=8, float32), tensor([ 2, 10]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.checkpoints.finding import Source, find
    from thalweg.checkpoints.loading import load, restore
    from thalweg.checkpoints.marking import checked, label, marked
    from thalweg.checkpoints.recording import record, with_buffers

__all__ = ["Source", "checked", "find", "label", "load", "marked", "record", "restore", "with_buffers"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "finding": "Source find",
        "loading": "load restore",
        "marking": "checked label marked",
        "recording": "record with_buffers",
    },
)
