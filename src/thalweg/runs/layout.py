"""Where a run keeps what, how its folder is called, and how the folder comes into being."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg._files.writing import canonical, json_bytes, remove_stale, temporary_folder, write_json, writing_to
from thalweg.errors import InputError
from thalweg.runs.checksums import sealed
from thalweg.runs.entries import Entries

__all__ = ["RunFiles", "config_hash", "first_files", "folder_name", "folder_of_runs", "make_folder"]


@dataclass(frozen=True)
class RunFiles:
    """The places inside a run's folder; asking for one makes nothing.

    Attributes:
        folder: The run's folder.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Settings that the numbers depend on."""
        return self.folder / "config.json"

    @property
    def checksums(self) -> Path:
        """Checksums of all files that count."""
        return self.folder / "checksums.json"

    @property
    def environment(self) -> Path:
        """Versions, machine, seed, data, command, sessions."""
        return self.folder / "environment.json"

    @property
    def state(self) -> Path:
        """How the last session ended."""
        return self.folder / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.folder / "lock"

    @property
    def complete(self) -> Path:
        """The marker that is written last."""
        return self.folder / "complete.json"

    @property
    def metrics(self) -> Path:
        """Metrics of all recordings, once the run is complete."""
        return self.folder / "metrics.parquet"

    @property
    def sweep(self) -> Path:
        """One row per task, where the run is a sweep."""
        return self.folder / "sweep.parquet"

    @property
    def snapshots(self) -> Path:
        """One folder per recording."""
        return self.folder / "snapshots"

    @property
    def results(self) -> Path:
        """Named results."""
        return self.folder / "results"

    @property
    def figures(self) -> Path:
        """Figures, as PNG and SVG."""
        return self.folder / "figures"

    @property
    def exports(self) -> Path:
        """What was exported for other programs."""
        return self.folder / "exports"

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / "report.html"


def config_hash(config: Mapping[str, Any]) -> str:
    """First 10 hex digits of the SHA-256 of the config's canonical JSON (sorted keys, floats by repr).

    Raises:
        InputError: The config holds something that JSON cannot carry.

    >>> config_hash({"b": 1, "a": 0.1}) == config_hash({"a": 0.1, "b": 1})
    True
    """
    return hashlib.sha256(canonical(config)).hexdigest()[:10]


def folder_name(experiment: str, config: Mapping[str, Any]) -> str:
    """The name of the folder of a run, which follows from its config.

    >>> folder_name("demo", {"width": 10})
    'demo-e52eb00dce'
    """
    return f"{experiment}-{config_hash(config)}"


def folder_of_runs(root: str | os.PathLike[str]) -> Path:
    """The folder of runs; it need not exist yet.

    Raises:
        InputError: It is a file.
    """
    folder = Path(root)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"root must be a folder of runs, found the file {folder}")
    return folder


def first_files(config: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, object]:
    """The files of a new run and what they hold."""
    entries = Entries.first(json_bytes(config, "config"))
    return {
        "config.json": config,
        "environment.json": sealed("environment.json", environment, entries.identity),
        "checksums.json": sealed("checksums.json", entries.to_json(), ""),
    }


def make_folder(path: Path, contents: Mapping[str, object]) -> None:
    """Make a run's folder with its first JSON files at once: prepared beside its place, then renamed.

    So no half-made run is ever seen. If another process makes the same folder meanwhile, that one stays.

    Raises:
        InputError: Something that is no run is there already.
        WriteError: The folder cannot be made.
    """

    def made() -> bool:
        return all((path / name).is_file() for name in contents)

    with writing_to(path):
        if path.is_dir() and any(path.iterdir()) and not made():  # made since the caller has looked: that one stays
            raise InputError(f"{path} is no run, but there is something in it; remove it or use another folder")
        prepared = temporary_folder(path.parent, path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(path.parent)
            for name, value in contents.items():
                write_json(prepared / name, value)
            with suppress(OSError):  # something took the place in the meantime; the next lines look what
                prepared.rename(path)
        finally:
            shutil.rmtree(prepared, ignore_errors=True)
    if not made():
        raise InputError(f"{path} cannot become a run: something else is there")
