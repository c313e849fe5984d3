"""The metrics table of a whole run: parts per recording while it runs, one file once it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.errors import InputError
from thalweg.runs.files import read_json
from thalweg.runs.metrics import empty, joined, read_frame, write_frame

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs.run import Run

__all__ = ["merge", "read", "part"]


def _labelled(run: Run) -> pl.DataFrame:
    import polars as pl

    frames = [
        frame.select(pl.lit(name).alias("recording"), pl.all())
        for name in run.recordings
        if len(frame := run.recording(name).metrics)
    ]
    return joined(frames) if frames else empty().select(pl.lit("").alias("recording"), pl.all())


def merge(run: Run) -> dict[str, dict[str, str]]:
    """Write the run's table.

    Returns:
        Per recording its columns and their types: recordings may measure different things, or the same in other types,
        and each must come back as it was.
    """
    write_frame(run.files.metrics, _labelled(run))
    return {
        name: {column: str(dtype) for column, dtype in run.recording(name).metrics.schema.items()}
        for name in run.recordings
    }


def read(run: Run) -> pl.DataFrame:
    """All metrics, with the column `recording` first."""
    return read_frame(run.files.metrics) if run.files.complete.is_file() else _labelled(run)


def part(run: Run, name: str) -> pl.DataFrame | None:
    """One recording's rows of the completed table, just as the recording had them; None before completion."""
    import polars as pl

    if not run.files.complete.is_file():
        return None
    marker = read_json(run.files.complete)
    columns = marker.get("columns", {}).get(name) if isinstance(marker, dict) else None
    if columns is None:
        raise InputError(f"{run.files.complete} is corrupt: it does not know recording '{name}'")
    try:
        rows = pl.scan_parquet(run.files.metrics).filter(pl.col("recording") == name)
        return rows.select(pl.col(column).cast(getattr(pl, dtype)) for column, dtype in columns.items()).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{run.files.metrics} is corrupt or missing: {str(error).splitlines()[0]}") from error
