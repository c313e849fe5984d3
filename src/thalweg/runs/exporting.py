"""A run's numbers for other programs: CSV for spreadsheets, and what trackers of experiments read."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg._files.writing import remove_stale, replacing, temporary_folder, writing_to
from thalweg.errors import InputError, nearest
from thalweg.runs import trackers

if TYPE_CHECKING:
    from thalweg.runs.run import Run

__all__ = ["export", "FORMATS"]


def export(run: Run, to: str, folder: Path | None = None) -> Path:
    """Write the metrics (and, as CSV, the tables among the results) of a run for another program.

    Args:
        run: Any run, complete or not; what is committed is exported, if all of it is what was written.
        to: ``"csv"``; ``"tensorboard"``, ``"wandb"`` (offline runs) or ``"mlflow"`` (its database), see
            :mod:`thalweg.runs.trackers`.
        folder: Where to; default ``exports/<to>`` in the run. What an earlier export left there is replaced.

    Returns:
        The folder.

    Raises:
        InputError: An unknown format, a damaged run, or the tracker's package is not installed.
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


def _aside(extra: str, fill: Callable[[Run, Path, Path], None], *modules: str) -> Callable[[Run, Path], None]:
    """What fills a folder with the help of modules of an extra, aside, and moves it into place when it is whole."""

    def write(run: Run, folder: Path) -> None:
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError:
                raise InputError(
                    f"export to {extra} needs the package {extra}: pip install 'thalweg[{extra}]'"
                ) from None
        prepared = temporary_folder(folder.parent, folder.name)
        with writing_to(folder):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                remove_stale(folder.parent)
                prepared.mkdir()
                fill(run, prepared, folder)
                shutil.rmtree(folder, ignore_errors=True)
                prepared.rename(folder)
            finally:
                shutil.rmtree(prepared, ignore_errors=True)

    return write


FORMATS: dict[str, Callable[[Run, Path], None]] = {
    "csv": _csv,
    "tensorboard": _aside("tensorboard", trackers.tensorboard, "tensorboard.summary.writer.event_file_writer"),
    "wandb": _aside("wandb", trackers.wandb, "wandb"),
    "mlflow": _aside("mlflow", trackers.mlflow, "mlflow", "sqlalchemy", "alembic"),
}
