"""One run: a folder that knows its config, seed, versions, recordings and results.

::

    <experiment>-<10 hex of the config>/
        config.json  environment.json  state.json  lock  complete.json  checksums.json
        snapshots/<recording>/   results/   figures/   metrics.parquet   report.html

The folder's name follows from the config, so starting the same experiment again finds the same folder and goes on
there. ``complete.json`` is written last: a run that has it is whole. ``checksums.json`` notes every file that counts:
one that is lost, altered or added is named, and never computed over (see :mod:`thalweg.runs.ledger`). This module
imports no torch, so that listing runs is quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import parts
from thalweg._files.reading import present, read_json, regular
from thalweg._files.writing import canonical, size
from thalweg.errors import InputError, nearest
from thalweg.runs import environment, results, table, verification
from thalweg.runs.layout import RunFiles, first_files, folder_name, folder_of_runs, make_folder
from thalweg.runs.ledger import Ledger
from thalweg.runs.session import Session, session
from thalweg.runs.state import State, message_of, state_of

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs.folder import FolderRecording
    from thalweg.runs.results import Result
    from thalweg.runs.snapshots import Snapshots

__all__ = ["Run"]

PRIMARY = "training"  # the recording that a run's own snapshots are


class Run:
    """A run folder; made by :meth:`create`, read by :meth:`open`.

    Writing needs the lock: ``with run.writing(): ...``; reading never does, also while another process writes.

    >>> import tempfile
    >>> origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "demo"}
    >>> run = Run.create(tempfile.mkdtemp(), "demo", {"width": 10}, **origin)
    >>> run.name, run.state
    ('demo-e52eb00dce', 'new')
    >>> with run.writing():
    ...     _ = run.save("answer", {"loss": 0.25})
    ...     run.complete()
    >>> Run.open(run.path).load("answer"), run.state
    ({'loss': 0.25}, 'complete')
    """

    def __init__(self, path: Path, *, command: str | None = None, fields: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.files = RunFiles(path)
        self.ledger = Ledger(path)
        self._command = command
        self._fields = dict(fields or {})
        self._recordings: dict[str, FolderRecording] = {}
        self._session: Session | None = None  # while this object writes

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # ---- making and finding

    @classmethod
    def create(
        cls,
        root: str | os.PathLike[str],
        experiment: str,
        config: Mapping[str, Any],
        *,
        seed: int,
        device: str,
        data_checksum: str | None,
        command: str,
    ) -> Run:
        """Open the run of this config below `root`, or make it if there is none.

        Args:
            root: Folder of runs; made if missing.
            experiment: Lower-case letters, digits and dashes.
            config: Everything that the numbers depend on, as JSON allows it.
            seed: Base of all random numbers.
            device: Such as ``"cpu"``.
            data_checksum: SHA-256 of the data used; None while it is not known (:meth:`set_environment` adds it).
            command: What the user typed.

        Raises:
            InputError: A bad name or config; a folder of that name that is no run, or has another seed or other data.
            WriteError: The folder cannot be made.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", experiment):
            raise InputError(f"experiment must be lower-case letters, digits, '-' and '_', found {experiment!r}")
        path = folder_of_runs(root) / folder_name(experiment, config)
        files = RunFiles(path)
        if not present(files.config):
            if files.environment.exists():
                regular(files.config)  # says that it is missing
            begun = environment.begun(
                experiment, seed=seed, device=device, data_checksum=data_checksum, command=command
            )
            make_folder(path, first_files(config, begun))
        run = cls(path, command=command, fields={"seed": seed, "data_checksum": data_checksum})
        if canonical(run.config) != canonical(config):
            raise InputError(f"run {path} holds another config than its name says; remove it or use another folder")
        environment.with_fields(run.environment, run._fields)  # refuses another seed and other data
        if present(run.files.complete):  # killed after the marker, its last process may have left these to do
            run.ledger.note(run.files.complete)
            table.remove_parts(run.files)
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open an existing run.

        Raises:
            InputError: The folder is no run.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise InputError(f"{folder} is no run: there is no such folder")
        for name in ("config.json", "environment.json"):
            try:
                regular(folder / name)
            except InputError as error:
                reason = str(error).replace(f"{folder}{os.sep}", "", 1)
                raise InputError(f"{folder} is no run: {reason}") from None
        return cls(folder)

    # ---- what it is

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> dict[str, Any]:
        """The config it was made with."""
        self.ledger.verify(self.files.config)
        value = read_json(self.files.config)
        if not isinstance(value, dict):
            raise InputError(f"{self.files.config} is corrupt: it is no config of a run")
        return value

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, seed, data, command and sessions; see :mod:`thalweg.runs.environment`."""
        return environment.read(self.files.environment)

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return str(self.environment["experiment"])

    @property
    def state(self) -> State:
        """One of "new", "running", "interrupted" (also if it was killed), "failed", "complete"."""
        return state_of(self.files)

    @property
    def message(self) -> str:
        """Why it failed or was interrupted, in one line; empty otherwise."""
        return message_of(self.files)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return size(self.path)

    @property
    def age(self) -> float:
        """Seconds since it was created."""
        try:
            created = environment.created(self.environment, self.files.environment)
        except InputError:  # a damaged run is still listed
            created = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return (datetime.now(UTC) - created).total_seconds()

    def check(self, *, content: bool = True) -> None:
        """Look whether every file of the run is what was written; see :func:`thalweg.runs.verification.check`.

        Args:
            content: Read all files, which takes about a second per GB; else only look at names and sizes.

        Raises:
            InputError: A file is missing, altered, or none of the run's; the message names it.
        """
        verification.check(self.files, self.ledger, self.recording, content=content)

    # ---- writing

    @contextmanager
    def writing(self) -> Iterator[Run]:
        """Hold the run for writing; leaves "failed" with a message on an error, "interrupted" on Ctrl-C.

        Raises:
            InputError: Somebody else writes, the run is complete, or one of its files is damaged.
            WriteError: The folder is read-only, or the disk full.
        """
        command = self._command or environment.command_line()

        def check(content: bool) -> None:
            self.check(content=content)

        with session(self.files, command=command, fields=self._fields, check=check) as held:
            self._session = held
            try:
                yield self
            finally:
                self._session = None

    def _writing(self) -> Session:
        if self._session is None or not self._session.mine:
            raise InputError(f"run {self.path} must be open for writing here: use `with run.writing():`")
        return self._session

    def set_environment(self, **fields: Any) -> None:
        """Add fields to ``environment.json``.

        Raises:
            InputError: Not open for writing; a field that the run writes itself; another seed or data checksum.
        """
        self._writing()
        changed = environment.with_fields(self.environment, fields)
        self.ledger.write_document(self.files.environment, changed)

    def complete(self) -> None:
        """Declare the run whole: merge the metrics, close the environment, and write the marker last.

        Raises:
            InputError: Not open for writing, or a recording holds steps that were never committed.
            WriteError: The disk is full.
        """
        held = self._writing()
        for recording in self._recordings.values():
            if recording.pending:
                raise InputError(
                    f"recording '{recording.name}' holds steps that were never committed; commit or finish it"
                )
        columns = table.merge(self.files, self._committed())
        held.close(complete=True)
        table.mark_complete(self.files, columns)
        table.remove_parts(self.files)

    # ---- recordings

    @property
    def recordings(self) -> list[str]:
        """Names of the recordings that hold a commit, the primary one first."""
        noted = map(self.path.joinpath, self.ledger.files() or ())
        found = [*self.files.snapshots.glob("*/state.safetensors"), *noted]
        found = {path.parent.name for path in found if path.name == "state.safetensors"}
        return sorted(found, key=lambda name: (name != PRIMARY, name))

    def recording(self, name: str = PRIMARY) -> FolderRecording:
        """The recording of that name; a new one comes into being with its first commit.

        Raises:
            InputError: A bad name, or one that a complete run does not have.
        """
        if name not in self._recordings:
            from thalweg.runs.folder import FolderRecording

            results.checked_name(name, "recording")
            if present(self.files.complete) and name not in self.recordings:
                known = self.recordings
                raise InputError(
                    f"run {self.path} has no recording '{name}'{nearest(name, known) or f' (it has {known})'}"
                )
            folder = self.files.snapshots / name
            merged = partial(table.part, self.files)
            self._recordings[name] = FolderRecording(name, folder, self.ledger, self._writing, merged)
        return self._recordings[name]

    def _committed(self) -> dict[str, FolderRecording]:
        return {name: self.recording(name) for name in self.recordings}

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots of the recording "training", or of the only one there is.

        Raises:
            InputError: There is none, or several and none of them is called "training".
        """
        names = self.recordings
        if PRIMARY not in names and len(names) != 1:
            raise InputError(f"run {self.path} must have one recording or one called '{PRIMARY}', found {names}")
        return self.recording(names[0]).snapshots

    @property
    def metrics(self) -> pl.DataFrame:
        """The metrics of all recordings: columns recording, step, epoch, replica and every metric."""
        return table.read(self.files, self._committed())

    # ---- results

    @property
    def results(self) -> list[str]:
        """Names of the saved results."""
        return results.names(self.files.results, self.ledger)

    @property
    def tables(self) -> list[str]:
        """Names of the saved results that are tables."""
        return results.tables(self.files.results, self.ledger)

    def save(self, name: str, value: Result) -> Path:
        """Save a result; see :func:`thalweg.runs.results.save`."""
        return results.save(self.files.results, name, value, self.ledger)

    def load(self, name: str) -> Any:
        """Load a result; see :func:`thalweg.runs.results.load`."""
        return results.load(self.files.results, name, self.ledger)

    def cached(self, name: str, compute: Callable[[], Result]) -> Any:
        """Load a result, or compute and save it first; see :func:`thalweg.runs.results.cached`."""

        def computed() -> Result:
            with parts.stage(name):
                return compute()

        return results.cached(self.files.results, name, computed, self.ledger)

    def remove(self, names: Iterable[str]) -> None:
        """Remove results; see :func:`thalweg.runs.results.remove`."""
        results.remove(self.files.results, names, self.ledger)
