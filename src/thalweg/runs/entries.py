"""The content of ``checksums.json``; see :mod:`thalweg.runs.ledger`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.runs.checksums import Checksum

__all__ = ["CONFIG", "FORMAT", "Entries", "Files"]

FORMAT = 1
CONFIG = "config.json"
Files = Mapping[str, Checksum | None]


@dataclass(frozen=True)
class Entries:
    """The content of ``checksums.json``.

    Attributes:
        files: Path from the run's folder -> its checksum; None for a file that vouches for itself.
        replacing: What is about to be: path -> new checksum; None for a file that is about to be removed.
    """

    files: Files
    replacing: Files = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What tells the run from others."""
        return self.files[CONFIG].sha256  # type: ignore[union-attr] -- from_json() has looked

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        parts = {"files": self.files, "replacing": self.replacing}
        plain = {part: {name: one and one.to_json() for name, one in of.items()} for part, of in parts.items()}
        return {"format": FORMAT, **plain}

    @classmethod
    def first(cls, config: bytes) -> Entries:
        """Those of a new run, of which nothing but config and environment is written."""
        return cls({CONFIG: Checksum.of(config), "environment.json": None})

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: Path) -> Entries:
        """The inverse of :meth:`to_json`.

        Args:
            value: What was read.
            path: From which file.

        Raises:
            InputError: It is something else, or of another version.
        """
        if value.get("format") != FORMAT:
            raise InputError(f"{path} must be of format {FORMAT} for this thalweg, found {value.get('format')!r}")
        try:
            parts = [
                {name: None if one is None else Checksum.from_json(one) for name, one in value[part].items()}
                for part in ("files", "replacing")
            ]
            if parts[0][CONFIG] is None:
                raise ValueError(f"{CONFIG} has no checksum")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is corrupt: {error}") from None
        return cls(*parts)
