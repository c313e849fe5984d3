"""The metrics table of a whole run: parts per recording while it runs, one file once it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg._files.reading import present
from thalweg._lazy import polars as pl
from thalweg.errors import InputError
from thalweg.runs.checksums import Checksum, checksum_of, verify
from thalweg.runs.environment import now
from thalweg.runs.frames import empty, first_line, joined, plain, read_metrics, write_frame
from thalweg.runs.layout import RunFiles
from thalweg.runs.ledger import Ledger

if TYPE_CHECKING:
    from thalweg.runs.folder import FolderRecording

    Recordings = Mapping[str, FolderRecording]

__all__ = ["Marker", "mark_complete", "merge", "marker", "part", "read", "remove_parts", "verified"]


@dataclass(frozen=True)
class Marker:
    """What ``complete.json`` says.

    Attributes:
        columns: Per recording its columns and their types: recordings may measure different things, or the same in
            other types, and each must come back as it was.
        files: Tables that were written before it and their checksums; none if an earlier version has written them.
    """

    columns: Mapping[str, Mapping[str, str]]
    files: Mapping[str, Checksum]


def _labelled(recordings: Recordings) -> pl.DataFrame:
    frames = [
        frame.select(pl.lit(name).alias("recording"), pl.all())
        for name, recording in recordings.items()
        if len(frame := recording.metrics)
    ]
    return joined(frames) if frames else empty().select(pl.lit("").alias("recording"), pl.all())


def merge(files: RunFiles, recordings: Recordings) -> dict[str, dict[str, str]]:
    """Write the run's table.

    Args:
        files: Of the run.
        recordings: All that hold a commit, by name.

    Returns:
        The columns for the marker.
    """
    write_frame(files.metrics, _labelled(recordings))
    return {
        name: {column: str(dtype) for column, dtype in recording.metrics.schema.items()}
        for name, recording in recordings.items()
    }


def mark_complete(files: RunFiles, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Write the marker, with the checksums of the tables that are there."""
    tables = {path.name: checksum_of(path).to_json() for path in (files.metrics, files.sweep) if present(path)}
    ledger = Ledger(files.folder)
    ledger.write_document(files.complete, {"finished": now(), "columns": columns, "files": tables})
    ledger.note(files.complete)


def marker(files: RunFiles) -> Marker:
    """Read the marker.

    Raises:
        InputError: It is missing or corrupt.
    """
    value = Ledger(files.folder).document(files.complete)
    try:
        columns = {name: dict[str, str](of) for name, of in value["columns"].items()}
        noted = {name: Checksum.from_json(one) for name, one in value.get("files", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{files.complete} is corrupt: it does not say what is complete ({error})") from None
    return Marker(columns, noted)


def verified(files: RunFiles, path: Path, *, content: bool = True) -> Path:
    """One of the tables that the marker speaks of.

    Raises:
        InputError: It is missing, or another than was written.
    """
    verify(path, marker(files).files.get(path.name), content=content)
    return path


def remove_parts(files: RunFiles) -> None:
    """Remove the metrics parts that the table has replaced; one that cannot be removed only costs room.

    Raises:
        InputError: The table is damaged, and the parts are all there is.
    """
    found = list(files.snapshots.glob("*/*.metrics.parquet"))
    if found:
        verified(files, files.metrics)
    for path in found:
        with suppress(OSError):
            path.unlink()


def read(files: RunFiles, recordings: Recordings) -> pl.DataFrame:
    """All metrics, with the column `recording` first."""
    if not present(files.complete):
        return _labelled(recordings)
    rows = read_metrics(verified(files, files.metrics), labelled=True)
    if files.metrics.name not in marker(files).files:
        for (name,), own in rows.partition_by("recording", as_dict=True, maintain_order=True).items():
            if name not in recordings:
                raise InputError(f"{files.metrics} is corrupt: it has rows of '{name}', which is no recording")
            recordings[name].check_rows(files.metrics, own)
    return rows


def part(files: RunFiles, name: str) -> pl.DataFrame | None:
    """One recording's rows of the completed table, just as the recording had them; None before completion."""
    if not present(files.complete):
        return None
    columns = marker(files).columns.get(name)
    if columns is None:
        raise InputError(f"{files.complete} is corrupt: it does not know recording '{name}'")
    path = verified(files, files.metrics)
    kinds: dict[str, Any] = {column: getattr(pl, dtype, None) for column, dtype in columns.items()}
    try:
        rows = pl.scan_parquet(plain(path), glob=False).filter(pl.col("recording") == name)
        return rows.select(pl.col(column).cast(kind) for column, kind in kinds.items()).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is corrupt or missing: {first_line(error)}") from error
