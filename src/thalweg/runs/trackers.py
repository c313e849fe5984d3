"""A run's metrics for the trackers of other people: TensorBoard, Weights & Biases, MLflow; all without a network.

Each writer fills a folder with what its tracker reads: one of the tracker's runs per recording and replica, one series
per metric against the step. A metric that was not measured at a step is left out there.
"""

from __future__ import annotations

import logging
import math
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs.run import Run

__all__ = ["mlflow", "tensorboard", "wandb"]

BATCH = 1000  # metrics in one call, the most that MLflow takes


def tensorboard(run: Run, folder: Path, _: Path) -> None:
    """Event files, one folder per recording and replica: `tensorboard --logdir FOLDER`."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for recording, replica, rows in _replicas(run):
        writer = EventFileWriter(str(folder / recording / f"replica-{replica:04d}"))
        try:
            written = time.time()  # a run keeps no time per step
            for step, _epoch, values in _steps(rows):
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
                writer.add_event(Event(wall_time=written, step=step, summary=summary))
        finally:
            writer.close()


def wandb(run: Run, folder: Path, _: Path) -> None:
    """Offline runs of W&B, one per recording and replica, in one group: `wandb sync FOLDER/wandb/offline-run-*`."""
    import wandb

    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_stats=True,  # of this machine, which is not the one that trained
        x_disable_meta=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for recording, replica, rows in _replicas(run):
        one = wandb.init(
            project="thalweg",
            group=run.name,
            name=f"{run.name} {recording} {replica}",
            config=run.config,
            dir=folder,
            settings=settings,
            reinit="create_new",
        )
        for step, epoch, values in _steps(rows):
            one.log({"epoch": epoch, **values}, step=step)
        one.finish()
    for link in (folder / "wandb").glob("*"):
        if link.is_symlink():  # to the last of them, which an export has no use for
            link.unlink()


def mlflow(run: Run, folder: Path, final: Path) -> None:
    """MLflow's own database, one run per recording and replica: `mlflow ui --backend-store-uri sqlite:///…/mlflow.db`.

    Names of metrics hold letters, digits and ``_ - . / :`` there, so that others become ``_``; an infinite value
    becomes the greatest number that the database knows.
    """
    with _quiet():
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').absolute()}")
        experiment = client.create_experiment(run.experiment, (final.absolute() / "artifacts").as_uri())
        params = [Param(key, str(value)[:500]) for key, value in run.config.items()]
        for recording, replica, rows in _replicas(run):
            tags = {"thalweg.run": run.name, "thalweg.recording": recording, "thalweg.replica": str(replica)}
            one = client.create_run(experiment, run_name=f"{run.name} {recording} {replica}", tags=tags).info.run_id
            client.log_batch(one, params=params[:100])
            written = int(1000 * time.time())  # a run keeps no time per step
            batch = [
                Metric(re.sub(r"[^\w\-./: ]", "_", key), value, written, step)
                for step, epoch, values in _steps(rows)
                for key, value in {"epoch": epoch, **values}.items()
            ]
            for start in range(0, len(batch), BATCH):
                client.log_batch(one, metrics=batch[start : start + BATCH])
            client.set_terminated(one, "FINISHED")


def _replicas(run: Run) -> Iterator[tuple[str, int, pl.DataFrame]]:
    """Recording, replica and rows of each series."""
    for key, rows in run.metrics.partition_by(["recording", "replica"], as_dict=True, maintain_order=True).items():
        recording, replica = key
        yield str(recording), int(replica), rows.drop("recording", "replica")


def _steps(rows: pl.DataFrame) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Step, epoch, and what was measured there; NaN is a value, null is none."""
    for row in rows.iter_rows(named=True):
        step, epoch = row.pop("step"), row.pop("epoch")
        values = {name: float(value) for name, value in row.items() if value is not None}
        if values:
            yield step, epoch if math.isfinite(epoch) else 0.0, values


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what MLflow's database says of how it is made, and of libraries that it was not written for."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [one.level for one in loggers]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic|pydantic)\b")
            for one in loggers:
                one.setLevel(logging.WARNING)
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
