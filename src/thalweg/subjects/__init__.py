"""Subjects: anybody's model, data and loss, for every experiment and instrument.

>>> import torch
>>> from thalweg import Subject
>>> subject = Subject(
...     model=lambda: torch.nn.Linear(3, 2), data=(torch.randn(12, 3), torch.arange(12) % 2), name="linear"
... )
>>> subject.objective().size, subject.label, subject.test is None
(8, 'linear', True)

From files, `load` makes the same: ``load(model="mine.py:Net", data="mine.npz", loss="mine.py:loss")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.subjects.loading import load
    from thalweg.subjects.losses import LOSSES
    from thalweg.subjects.subject import Subject

__all__ = ["LOSSES", "Subject", "load"]

__getattr__, __dir__ = lazy(__name__, {"loading": "load", "losses": "LOSSES", "subject": "Subject"})
