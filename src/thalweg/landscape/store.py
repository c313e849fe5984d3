"""What is already evaluated of a surface, kept in a run folder between one process and the next."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["Store", "digest"]

log = logging.getLogger("thalweg")


class Store:
    """The results of one surface in a run: settings, evaluated cells of each round, and the finished whole.

    Cells that belong to other settings (another θ, other directions, another grid) are never used.

    Args:
        run: None keeps nothing.
        name: Of the surface.
        settings: Everything that the values follow from, as JSON allows it.
    """

    def __init__(self, run: Run | None, name: str, settings: Mapping[str, Any]) -> None:
        self.run, self.name = run, name
        self.settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        if run is None:
            return
        known = run.load(f"{name}.settings") if f"{name}.settings" in run.results else None
        if known is not None and known["settings"] != self.settings:
            log.info("run %s holds another surface called %s: it is evaluated anew", run.name, name)
            self._remove_parts()
            known = None
        if known is None:
            run.save(f"{name}.settings", {"settings": self.settings, "notes": None})

    def finished(self) -> tuple[dict[str, np.ndarray], list[str]] | None:
        """Arrays and notes of the finished surface, None while it is not."""
        if self.run is None or self.name not in self.run.results:
            return None
        notes = self.run.load(f"{self.name}.settings")["notes"]
        return None if notes is None else (self.run.load(self.name), notes)

    def finish(self, arrays: Mapping[str, np.ndarray], notes: list[str]) -> None:
        """Keeps the whole and drops its parts."""
        if self.run is None:
            return
        self.run.save(self.name, arrays)
        self.run.save(f"{self.name}.settings", {"settings": self.settings, "notes": notes})
        self._remove_parts()

    def load(self, part: str) -> Any:
        """What was saved as this part, None if nothing was."""
        key = f"{self.name}.part-{part}"
        return None if self.run is None or key not in self.run.results else self.run.load(key)

    def save(self, part: str, value: Any) -> None:
        """Saves a part: arrays by name, or JSON."""
        if self.run is not None:
            self.run.save(f"{self.name}.part-{part}", value)

    def _remove_parts(self) -> None:
        assert self.run is not None  # noqa: S101 - narrows the type; callers have looked
        self.run.remove(name for name in self.run.results if name.startswith(f"{self.name}.part-"))


def digest(tensor: Tensor) -> str:
    """SHA-256 of the values, shape and dtype of a tensor."""
    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return hashlib.sha256(f"{array.shape}{array.dtype}".encode() + array.tobytes()).hexdigest()
