"""What a run was made with: versions, machine, seed, data and every session that worked on it.

``environment.json`` says in its top level how the run began and how it ended. Each time a process opens the run for
writing, a session is added; so a run that was continued with another version of torch says so.
"""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thalweg._files.writing import plain
from thalweg._version import __version__
from thalweg.errors import InputError
from thalweg.runs.checksums import KEY
from thalweg.runs.ledger import Ledger

__all__ = [
    "RECORDED",
    "begun",
    "command_line",
    "created",
    "now",
    "read",
    "session_ended",
    "session_started",
    "with_fields",
]

log = logging.getLogger(__name__)

RECORDED = "Recorder"  # in place of a command: what recorded a run whose training loop is its owner's own

_PACKAGES = ("thalweg", "torch", "numpy", "scipy", "polars", "safetensors")
_KEPT = ("experiment", "created", "versions", "sessions", "finished", "seconds", KEY)  # written by this module only
_FIXED = ("seed", "data_checksum")  # another value would be another run


_TYPES: dict[str, Any] = {
    "experiment": str,
    "created": str,
    "command": str,
    "seed": int,
    "device": str,
    "data_checksum": str | None,
    "versions": dict,
    "finished": str | None,
    "seconds": int | float | None,
    "sessions": list,
}


def now() -> str:
    """The time in UTC, ISO 8601 to the microsecond."""
    return datetime.now(UTC).isoformat("T", "microseconds")


def command_line() -> str:
    """The command that started this process, as a shell would take it."""
    return shlex.join(sys.argv)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; nothing is imported for it."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = __version__ if package == "thalweg" else "missing"
    return found


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _threads() -> int:
    torch = sys.modules.get("torch")  # asked only if somebody has imported it anyway
    if torch is not None:
        return torch.get_num_threads()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begun(experiment: str, *, seed: int, device: str, data_checksum: str | None, command: str) -> dict[str, Any]:
    """The content of a new ``environment.json``."""
    return {
        "experiment": experiment,
        "created": now(),
        "command": command,
        "seed": seed,
        "device": device,
        "data_checksum": data_checksum,
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cpu_threads": _threads(),
        "finished": None,
        "seconds": None,
        "sessions": [],
    }


def read(path: Path) -> dict[str, Any]:
    """Read ``environment.json``.

    Raises:
        InputError: It is missing or corrupt.
    """
    value = Ledger(path.parent).document(path)
    for name, kinds in _TYPES.items():
        if name not in value:
            raise InputError(f"{path} is corrupt: '{name}' is missing")
        if not isinstance(value[name], kinds) or isinstance(value[name], bool):
            raise InputError(f"{path} is corrupt: '{name}' must not be {value[name]!r}"[:300])
    for session in value["sessions"]:
        if not isinstance(session, dict) or not isinstance(session.get("seconds"), int | float | None):
            raise InputError(f"{path} is corrupt: 'sessions' holds {session!r}"[:300])
    created(value, path)
    return value


def created(environment: Mapping[str, Any], path: Path) -> datetime:
    """When the run was made.

    Raises:
        InputError: The environment does not say so.
    """
    try:
        found = datetime.fromisoformat(environment["created"])
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{path} is corrupt: 'created' is no time: {error}") from None


def with_fields(environment: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The environment with more fields.

    Raises:
        InputError: A field that the run writes itself, or a seed or data checksum other than the one recorded.
    """
    for name, value in fields.items():
        if name in _KEPT:
            raise InputError(f"environment field '{name}' is written by the run itself and cannot be set")
        before = environment.get(name)
        if name in _FIXED and before is not None and value is not None and value != before:
            raise InputError(f"{name} must stay {before!r} within one run, found {value!r}; use another folder for it")
    given = {name: value for name, value in fields.items() if value is not None or name not in environment}
    return {**environment, **plain(given, "environment")}  # type: ignore[dict-item] -- plain() keeps a dict a dict


def session_started(path: Path, *, command: str, fields: Mapping[str, Any]) -> None:
    """Add a session; a log line says so if versions differ from those that the run began with."""
    environment = with_fields(read(path), fields)
    current = versions()
    for name, value in environment.get("versions", {}).items():
        if current.get(name, value) != value:
            log.warning("%s continues with %s %s; it began with %s", path.parent, name, current[name], value)
    session = {
        "started": now(),
        "finished": None,
        "seconds": None,
        "command": command,
        "versions": current,
        "cpu_threads": _threads(),
    }
    sessions = [*environment["sessions"], session]
    changed = {**environment, "finished": None, "seconds": None, "sessions": sessions}
    Ledger(path.parent).write_document(path, changed)


def session_ended(path: Path, *, seconds: float, complete: bool) -> None:
    """Close the last session; with `complete` also the run: when it finished and how long all its sessions took.

    A session that was killed has no end and counts as nothing.
    """
    environment = read(path)
    if not environment["sessions"]:
        raise InputError(f"{path} is corrupt: it knows no session, and one ends")
    *earlier, last = environment["sessions"]
    last = {**last, "finished": now(), "seconds": round(seconds, 3)}
    environment["sessions"] = [*earlier, last]
    if complete:
        total = sum(float(session["seconds"] or 0) for session in environment["sessions"])
        environment |= {"finished": last["finished"], "seconds": round(total, 3)}
    Ledger(path.parent).write_document(path, environment)
