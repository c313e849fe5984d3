"""A run's numbers for other programs: CSV for spreadsheets, event files for TensorBoard."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg._files.writing import remove_stale, replacing, temporary_folder, writing_to
from thalweg.errors import InputError, nearest

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs.run import Run

__all__ = ["export", "FORMATS"]


def export(run: Run, to: str, folder: Path | None = None) -> Path:
    """Write the metrics (and, as CSV, the tables among the results) of a run for another program.

    Args:
        run: Any run, complete or not; what is committed is exported, if all of it is what was written.
        to: ``"csv"`` or ``"tensorboard"``.
        folder: Where to; default ``exports/<to>`` in the run. What an earlier export left there is replaced.

    Returns:
        The folder.

    Raises:
        InputError: An unknown format, a damaged run, or TensorBoard is not installed.
        WriteError: The files cannot be written.
    """
    if to not in FORMATS:
        raise InputError(f"to must be one of {', '.join(FORMATS)}, found '{to}'{nearest(to, FORMATS)}")
    run.check()
    target = run.files.exports / to if folder is None else Path(folder)
    FORMATS[to](run, target)
    return target


def _csv(run: Run, folder: Path) -> None:
    """One file per table; a value that was not measured is empty, NaN is ``NaN``."""
    tables = {"metrics": run.metrics}
    tables |= {name: run.load(name) for name in run.tables}
    for name, frame in tables.items():
        with replacing(folder / f"{name}.csv") as temporary, temporary.open("wb") as file:
            frame.write_csv(file)


def _tensorboard(run: Run, folder: Path) -> None:
    """One TensorBoard run per recording and replica, one scalar per metric; written aside and moved into place."""
    event_writer = _event_writer()
    prepared = temporary_folder(folder.parent, folder.name)
    with writing_to(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(folder.parent)
            prepared.mkdir()
            for key, rows in run.metrics.partition_by(["recording", "replica"], as_dict=True).items():
                recording, replica = key
                write_events(event_writer, prepared / str(recording) / f"replica-{replica:04d}", rows)
            shutil.rmtree(folder, ignore_errors=True)
            prepared.rename(folder)
        finally:
            shutil.rmtree(prepared, ignore_errors=True)


def _event_writer() -> type[Any]:
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise InputError(
            "export to tensorboard needs the package tensorboard: pip install 'thalweg[tensorboard]'"
        ) from None
    return EventFileWriter


def write_events(event_writer: type[Any], folder: Path, rows: pl.DataFrame) -> None:
    """The scalars of one replica; metrics that were not measured at a step (null) are left out, NaN is written."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    writer = event_writer(str(folder))
    try:
        written = time.time()  # a run keeps no time per step
        for row in rows.drop("recording", "epoch", "replica").iter_rows(named=True):
            step = row.pop("step")
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items() if value is not None]
            writer.add_event(Event(wall_time=written, step=step, summary=Summary(value=values)))
    finally:
        writer.close()


FORMATS: dict[str, Callable[[Run, Path], None]] = {"csv": _csv, "tensorboard": _tensorboard}
