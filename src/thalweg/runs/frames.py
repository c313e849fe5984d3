"""Tables of metrics and results, as files.

A row of a table of metrics is one replica at one step: columns step, epoch, replica and one per metric. A metric that
was not measured at a step is null there; NaN and infinities are values and stay what they are. No torch is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thalweg._files.reading import regular
from thalweg._files.writing import as_os_error, replacing
from thalweg._lazy import polars as pl
from thalweg.errors import InputError

__all__ = [
    "KEYS",
    "empty",
    "first_line",
    "joined",
    "plain",
    "read_frame",
    "read_metrics",
    "write_frame",
    "write_parquet",
]

KEYS = ("step", "epoch", "replica")


def empty() -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema={"step": pl.Int64, "epoch": pl.Float64, "replica": pl.Int64})


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables below each other; a metric that one of them lacks is null there."""
    return pl.concat(frames, how="diagonal_relaxed") if frames else empty()


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as parquet, atomically.

    Raises:
        WriteError: The file could not be written.
    """
    with replacing(path) as temporary:
        write_parquet(temporary, frame)


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """As :func:`write_frame`, into a file that nobody else sees yet.

    Raises:
        OSError: The file could not be written.
    """
    try:
        frame.write_parquet(plain(path))
    except pl.exceptions.PolarsError as error:
        raise as_os_error(error) from error


def plain(path: Path) -> Path:
    """The path as it stands for polars, which reads "~" at its beginning as a home and "file:" as an address."""
    return path.absolute()


def read_frame(path: Path) -> pl.DataFrame:
    """Read a parquet table.

    Raises:
        InputError: The file is missing, corrupt or no regular file; the message names it.
    """
    regular(path)
    try:
        return pl.read_parquet(plain(path), glob=False)
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise InputError(f"{path} is corrupt: {first_line(error)}") from None


def read_metrics(path: Path, *, labelled: bool = False) -> pl.DataFrame:
    """Read a table of metrics.

    Args:
        path: The file.
        labelled: Whether it is that of a whole run, with a column `recording`.

    Raises:
        InputError: As :func:`read_frame`, or it is a table of something else.
    """
    frame = read_frame(path)
    expected = {"recording": pl.String} if labelled else {}
    expected |= {"step": pl.Int64, "epoch": pl.Float64, "replica": pl.Int64}
    for name, kind in expected.items():
        if (found := frame.schema.get(name)) != kind:
            raise InputError(f"{path} is corrupt: column '{name}' must be {kind}, found {found or 'none'}")
    for name, kind in frame.schema.items():
        if name not in expected and not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
            raise InputError(f"{path} is corrupt: column '{name}' must hold numbers, found {kind}")
    return frame


def first_line(error: BaseException) -> str:
    """What a library says went wrong, without its advice."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
