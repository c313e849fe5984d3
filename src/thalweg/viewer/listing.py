"""The runs below a folder, each as a line of a table. Whatever is wrong with one is said in its line."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.findings import Findings
from thalweg.progress import duration, storage
from thalweg.report.settings import experiment_of, flat, setting
from thalweg.runs import Run, RunFiles
from thalweg.runs.finding import is_run
from thalweg.runs.lock import is_locked
from thalweg.runs.state import one_line
from thalweg.viewer.files import inside
from thalweg.viewer.progress import progress

__all__ = ["DAMAGE", "Row", "described", "line", "opened", "rows"]

DAMAGE = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What reading a damaged folder, or the settings of an experiment that has changed since, may raise."""

SETTLING = 120.0  # seconds after its end in which a run's report may still be written


@dataclasses.dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        name: Of its folder.
        experiment: Which.
        preset: The one that its settings are closest to; empty if its experiment has none.
        changes: The settings in which it differs from that preset, ``name=value``.
        state: As :attr:`thalweg.runs.Run.state`, or "broken" if one of its files is damaged.
        message: Why it failed, was interrupted or is broken.
        progress: How far it is, in words.
        share: The same from 0 to 1; None if unknown, or if it is complete.
        bytes: On the disk; ``size`` in words.
        size: See there.
        created: Seconds since 1970; ``age`` in words.
        age: See there.
        finding: The first of its statements.
        picture: Path of its first figure in the folder.
        report: Whether it has one.
        sweep: Whether it is one: its tasks are runs of their own, and itself it records nothing.
        live: Whether it may change by itself.
    """

    name: str
    experiment: str = ""
    preset: str = ""
    changes: tuple[str, ...] = ()
    state: str = "broken"
    message: str = ""
    progress: str = ""
    share: float | None = None
    bytes: int = 0
    size: str = ""
    created: float = 0.0
    age: str = ""
    finding: str = ""
    picture: str = ""
    report: bool = False
    sweep: bool = False
    live: bool = False


def rows(root: Path) -> list[Row]:
    """All runs directly below a folder, and folders that were to be runs; the newest first."""
    return sorted((line(root, name) for name in _names(root)), key=lambda row: (-row.created, row.name))


def _names(root: Path) -> list[str]:
    try:
        return [name for name in os.listdir(root) if _is_run(root, name)]  # noqa: PTH208 -- only the names
    except OSError:  # no folder yet
        return []


def _is_run(root: Path, name: str) -> bool:
    """Whether a name is that of a folder directly below the root which is a run, or was to be one."""
    if not name.isprintable() or name.startswith(".") or "/" in name or not name:  # no address holds others
        return False
    return is_run(root / name)


def opened(root: Path, name: str) -> Path:
    """The folder of that name directly below the root.

    Raises:
        InputError: There is no such run, or it is a link that leads elsewhere.
    """
    if not _is_run(root, name):
        raise InputError(f"there is no run '{name}' in {root}")
    folder = root / name
    if folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{name} is a link that leads out of {root}, which the viewer does not follow")
    return folder


def line(root: Path, name: str) -> Row:
    """One run as a line; a damaged one says so."""
    try:
        folder = opened(root, name)
        run = Run.open(folder)
        row = _row(run) if is_locked(run.files.lock) else _settled(folder, _stamp(run.files))
        now = time.time()
        waiting = row.state == "complete" and not row.report and now - _changed(run.files.complete) / 1e9 < SETTLING
        live = row.state == "running" or waiting
        age = " ".join(duration(max(0.0, now - row.created)).split()[:2])  # without the smaller unit
        return dataclasses.replace(row, age=age, live=live)
    except DAMAGE as error:
        return Row(name, message=_named(error, root / name))


def _named(error: Exception, folder: Path) -> str:
    """What is wrong, with paths from the run's folder."""
    return one_line(error).replace(f"{folder}/", "")


@lru_cache(maxsize=4096)
def _settled(folder: Path, _stamp: tuple[int, ...]) -> Row:
    """The line of a run that nobody writes, read once for every state of its files."""
    return _row(Run.open(folder))


def _stamp(files: RunFiles) -> tuple[int, ...]:
    kept = (files.config, files.environment, files.checksums, files.state, files.complete, files.report)
    return tuple(map(_changed, (*kept, files.folder, files.results, files.figures, files.exports, files.snapshots)))


def _changed(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0


def _row(run: Run) -> Row:
    state, message = run.state, run.message
    try:
        run.check(content=False)
    except InputError as error:
        state, message = "broken", _named(error, run.path)
    far = None if state in ("complete", "broken") else progress(run)
    finding, picture = "", ""
    if "findings" in run.results:
        try:
            kept = run.load("findings")
            found = Findings.from_json({**kept, "figures": []})  # the figures would take long
            finding = next(iter(found.statements), "")
            pictures = (f"figures/{figure['name']}.png" for figure in kept["figures"])
            picture = next((path for path in pictures if inside(run.path, path)), "")
        except DAMAGE as error:
            state, message = "broken", f"its findings cannot be read: {_named(error, run.path)}"
    preset, changes = described(experiment_of(run), run.config)
    size = run.size
    return Row(
        name=run.name,
        experiment=run.experiment,
        preset=preset,
        changes=changes,
        state=state,
        message=message,
        progress=far.words if far else "",
        share=far.share if far else None,
        bytes=size,
        size=storage(size),
        created=time.time() - run.age,
        finding=finding,
        picture=picture,
        report=inside(run.path, run.files.report.name) is not None,
        sweep="sweep" in run.config,
    )


def described(experiment: str, config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Settings in few words: the preset that they are closest to, and what differs from it.

    A sweep begins with what it sweeps. Without presets, as for a loop of one's own, every setting is named.

    >>> described("my-own", {"lr": 0.1, "net": {"widths": [8, 8]}})
    ('', ('lr=0.1', 'net.widths=8, 8'))
    """
    swept = config.get("sweep")
    swept = swept if isinstance(swept, Mapping) else {}
    single = {name: value for name, value in config.items() if not (swept and name in ("sweep", "plot"))}
    given = {name: setting(value) for name, value in flat(single).items()}
    differ = {
        preset: [name for name, value in given.items() if values.get(name) != value]
        for preset, values in _presets(experiment).items()
    }
    preset = min(differ, key=lambda one: len(differ[one])) if differ else ""
    changes = [f"{name}={given[name]}" for name in differ.get(preset, given)]
    return preset, (*(f"{name}: {_several(values)}" for name, values in swept.items()), *changes)


def _several(values: Any) -> str:
    """The values of a sweep; of many the first and the last."""
    if not isinstance(values, list) or len(values) <= 4:
        return setting(values)
    return f"{setting(values[0])} … {setting(values[-1])} ({len(values)} values)"


@lru_cache(maxsize=128)
def _presets(experiment: str) -> dict[str, dict[str, str]]:
    try:
        presets = find(experiment).presets
    except InputError:  # a loop of the user's own, or an experiment that is gone
        return {}
    plain = {name: flat(config.model_dump(mode="json")) for name, config in presets.items()}
    return {preset: {name: setting(value) for name, value in values.items()} for preset, values in plain.items()}
