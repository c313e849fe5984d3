"""The metrics table of a whole run: parts per recording while it runs, one file once it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg._files.reading import present
from thalweg.errors import InputError
from thalweg.runs.checksums import Checksum, checksum_of, verify
from thalweg.runs.environment import now
from thalweg.runs.layout import RunFiles
from thalweg.runs.ledger import Ledger

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs.run import Run

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


def _labelled(run: Run) -> pl.DataFrame:
    import polars as pl

    from thalweg.runs.metrics import empty, joined

    frames = [
        frame.select(pl.lit(name).alias("recording"), pl.all())
        for name in run.recordings
        if len(frame := run.recording(name).metrics)
    ]
    return joined(frames) if frames else empty().select(pl.lit("").alias("recording"), pl.all())


def merge(run: Run) -> dict[str, dict[str, str]]:
    """Write the run's table.

    Returns:
        The columns for the marker.
    """
    from thalweg.runs.metrics import write_frame

    write_frame(run.files.metrics, _labelled(run))
    return {
        name: {column: str(dtype) for column, dtype in run.recording(name).metrics.schema.items()}
        for name in run.recordings
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


def read(run: Run) -> pl.DataFrame:
    """All metrics, with the column `recording` first."""
    from thalweg.runs.metrics import read_metrics

    if not present(run.files.complete):
        return _labelled(run)
    rows = read_metrics(verified(run.files, run.files.metrics), labelled=True)
    if run.files.metrics.name not in marker(run.files).files:
        for (name,), own in rows.partition_by("recording", as_dict=True, maintain_order=True).items():
            if name not in run.recordings:
                raise InputError(f"{run.files.metrics} is corrupt: it has rows of '{name}', which is no recording")
            run.recording(name).check_rows(run.files.metrics, own)
    return rows


def part(run: Run, name: str) -> pl.DataFrame | None:
    """One recording's rows of the completed table, just as the recording had them; None before completion."""
    if not present(run.files.complete):
        return None
    columns = marker(run.files).columns.get(name)
    if columns is None:
        raise InputError(f"{run.files.complete} is corrupt: it does not know recording '{name}'")
    import polars as pl

    from thalweg.runs.metrics import first_line, plain

    path = verified(run.files, run.files.metrics)
    kinds: dict[str, Any] = {column: getattr(pl, dtype, None) for column, dtype in columns.items()}
    try:
        rows = pl.scan_parquet(plain(path), glob=False).filter(pl.col("recording") == name)
        return rows.select(pl.col(column).cast(kind) for column, kind in kinds.items()).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is corrupt or missing: {first_line(error)}") from error
