"""Runs of versions before there were checksums: what does not fit the table of contents is named, and never used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tests.runs.conftest import ORIGIN
from tests.runs.damage import swap, unchecked
from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.runs.unsealed import doubting

FIRST = "snapshots/training/00000"


@pytest.fixture
def old(run: Run, fill: Callable[..., Tensor]) -> Run:
    """Two commits of three steps each, of two replicas."""
    with run.writing():
        fill(run.recording(), 6)
    unchecked(run.path)
    return Run.open(run.path)


def rows(run: Run, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = run.path / f"{FIRST}.metrics.parquet"
    change(pl.read_parquet(path)).write_parquet(path)


ROWS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "none": lambda frame: frame.head(0),
    "one less": lambda frame: frame.head(len(frame) - 1),
    "twice": lambda frame: pl.concat([frame, frame]),
    "backwards": lambda frame: frame.reverse(),
    "another replica": lambda frame: frame.with_columns(replica=pl.lit(0)),
    "a step that was never done": lambda frame: frame.with_columns(pl.col("step") + 100),
    "no step": lambda frame: frame.with_columns(step=pl.lit(None, pl.Int64)),
}


def test_a_whole_run_is_whole(old: Run) -> None:
    old.check()
    assert len(old.metrics) == 12


@pytest.mark.parametrize("way", ROWS)
def test_rows_that_are_not_those_of_the_replicas(old: Run, way: str) -> None:
    rows(old, ROWS[way])
    with pytest.raises(InputError, match=r"00000.metrics.parquet is corrupt"):
        old.check()


def test_tables_in_the_wrong_order(old: Run) -> None:
    swap(old.path / f"{FIRST}.metrics.parquet", old.path / "snapshots/training/00001.metrics.parquet")
    with pytest.raises(InputError, match=r"00001.metrics.parquet is corrupt"):
        old.check()


def test_snapshots_in_the_wrong_order(old: Run) -> None:
    swap(old.path / f"{FIRST}.safetensors", old.path / "snapshots/training/00001.safetensors")
    with pytest.raises(InputError, match=r"00000.safetensors is corrupt: it holds other snapshots"):
        old.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept | {"theta": kept["theta"].double()},
        lambda kept: kept | {"theta": kept["theta"][:, :1]},
        lambda kept: {name: values for name, values in kept.items() if name != "theta"},
        lambda kept: {name: values for name, values in kept.items() if name != "steps"},
        lambda kept: kept | {"buffers/mean": kept["theta"][1:]},
    ],
    ids=["type", "shape", "no theta", "no steps", "buffers"],
)
def test_snapshots_of_another_form(old: Run, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = old.path / f"{FIRST}.safetensors"
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- no mapping
    save_file({name: values.clone() for name, values in change(kept).items()}, path)
    with pytest.raises(InputError, match=r"00000.safetensors is corrupt"):
        old.check()


def test_the_table_of_a_complete_run(tmp_path: Path, fill: Callable[..., Tensor]) -> None:
    run = Run.create(tmp_path / "complete", "demo", {"width": 10}, **ORIGIN)
    with run.writing():
        fill(run.recording(), 6)
        run.recording().finish()
        run.complete()
    unchecked(run.path)
    assert len(Run.open(run.path).metrics) == 12
    frame = pl.read_parquet(run.files.metrics)
    for damaged in (frame.reverse(), frame.head(11), frame.with_columns(recording=pl.lit("other"))):
        damaged.write_parquet(run.files.metrics)
        with pytest.raises(InputError, match=r"metrics.parquet is corrupt"):
            _ = Run.open(run.path).metrics


def test_results_that_were_believed_are_known(old: Run) -> None:
    with old.writing():
        old.save("before", {"a": torch.ones(2)})
        again = Run.open(old.path)
    again.load("before")
    assert [path.name for path in again.ledger.believed] == ["before.safetensors"]
    assert not old.ledger.believed  # it has written the file itself


@pytest.mark.parametrize("error", [KeyError("slope"), InputError("theta must be finite, found NaN"), IndexError("5")])
def test_what_fails_after_a_result_was_believed_names_it(old: Run, error: Exception) -> None:
    with old.writing():
        old.save("before", {"a": 1})
    again = Run.open(old.path)
    again.load("before")
    with (
        pytest.raises(InputError, match=r"results/before.json seems to be damaged.* has no checksums"),
        doubting(again.ledger),
    ):
        raise error


@pytest.mark.parametrize("error", [KeyError("slope"), InputError("theta must be finite, found NaN")])
def test_other_errors_stay_what_they_are(old: Run, error: Exception) -> None:
    """Nothing was believed here, so that no file can be the cause."""
    with pytest.raises(type(error), match=str(error)), doubting(old.ledger):
        raise error


def test_memory_is_not_blamed_on_a_file(old: Run) -> None:
    with old.writing():
        old.save("before", {"a": 1})
    again = Run.open(old.path)
    again.load("before")
    with pytest.raises(RuntimeError, match="can't allocate memory"), doubting(again.ledger):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
