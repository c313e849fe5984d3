from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg._files.writing import WriteError
from thalweg.errors import InputError
from thalweg.runs.frames import empty, joined, read_frame, write_frame
from thalweg.runs.metrics import MetricsBuffer

DTYPES = {
    torch.float64: pl.Float64, torch.float32: pl.Float32, torch.int64: pl.Int64, torch.int32: pl.Int32,
    torch.bool: pl.Boolean, torch.bfloat16: pl.Float32, torch.float16: pl.Float32,
}  # fmt: skip


def test_one_row_per_step_and_replica() -> None:
    buffer = MetricsBuffer()
    buffer.add(0, 0.0, {"loss": torch.tensor([1.0, 2.0])}, 2)
    buffer.add(5, 0.5, {"loss": torch.tensor([3.0, 4.0])}, 2)
    expected = pl.DataFrame(
        {"step": [0, 0, 5, 5], "epoch": [0.0, 0.0, 0.5, 0.5], "replica": [0, 1, 0, 1], "loss": [1.0, 2.0, 3.0, 4.0]},
        schema_overrides={"loss": pl.Float32},
    )
    assert_frame_equal(buffer.frame(2), expected)


def test_nan_is_a_value_and_null_is_not_measured(tmp_path: Path) -> None:
    buffer = MetricsBuffer()
    buffer.add(0, 0.0, {"loss": torch.tensor([math.nan, math.inf]), "accuracy": torch.tensor([0.5, 1.0])}, 2)
    buffer.add(1, 0.1, {"loss": torch.tensor([-math.inf, 2.0])}, 2)
    buffer.add(2, 0.2, {"accuracy": torch.tensor([0.25, math.nan])}, 2)
    write_frame(tmp_path / "a.parquet", buffer.frame(2))
    for frame in (buffer.frame(2), read_frame(tmp_path / "a.parquet")):
        assert frame["step"].to_list() == [0, 0, 1, 1, 2, 2]  # in the order of the steps, whatever they hold
        loss, accuracy = frame["loss"], frame["accuracy"]
        assert loss.null_count() == 2
        assert loss.is_nan().to_list() == [True, False, False, False, None, None]
        assert loss.to_list()[1:4] == [math.inf, -math.inf, 2.0]
        assert accuracy.to_list()[:5] == [0.5, 1.0, None, None, 0.25]
        assert math.isnan(accuracy[5])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_and_types_are_kept(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, 3.0, -2.5], dtype=torch.float64).to(dtype)
    buffer = MetricsBuffer()
    buffer.add(0, 0.0, {"x": values}, 3)
    column = buffer.frame(3)["x"]
    assert column.dtype == DTYPES[dtype]
    assert column.to_list() == values.tolist()


def test_what_a_single_replica_may_give() -> None:
    buffer = MetricsBuffer()
    row = {
        "float": 0.1,
        "int": 2**60,
        "zero-d": torch.tensor(0.5),
        "numpy": np.float32(0.25),
        "list": [0.3],
        "row": torch.ones(1, 1),
    }
    buffer.add(0, 0.0, row, 1)
    frame = buffer.frame(1)
    assert frame.select(pl.exclude("step", "epoch", "replica")).row(0) == (0.1, 2**60, 0.5, 0.25, 0.3, 1.0)
    assert frame["float"].dtype == pl.Float64
    assert frame["list"].dtype == pl.Float64


def test_tensors_are_copied(device: torch.device) -> None:
    loss = torch.zeros(2, requires_grad=True, device=device)
    buffer = MetricsBuffer()
    buffer.add(0, 0.0, {"loss": loss}, 2)
    with torch.no_grad():
        loss += 1
    assert buffer.frame(2)["loss"].to_list() == [0.0, 0.0]


def test_types_that_change_lose_nothing(device: torch.device) -> None:
    """Whole numbers, short floats and Python's own, on any device, in one column that holds them all."""
    buffer = MetricsBuffer()
    values = [torch.tensor([2**24 + 1]), torch.tensor([0.1], device=device), 0.1]
    for step, value in enumerate(values):
        buffer.add(step, 0.0, {"x": value}, 1)
    assert buffer.frame(1)["x"].to_list() == [2**24 + 1, torch.tensor(0.1).item(), 0.1]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"step": torch.zeros(2)},
            "a metric's name must be text other than epoch, recording, replica, step, found 'step'",
        ),
        ({"": torch.zeros(2)}, "found ''"),
        ({3: torch.zeros(2)}, "found 3"),
        ({"loss": torch.zeros(3)}, r"metric 'loss' must have shape \(2,\), found \(3,\)"),
        ({"loss": torch.tensor(1.0)}, r"metric 'loss' must have shape \(2,\), found \(\)"),
        ({"loss": torch.zeros(2, 1)}, r"found \(2, 1\)"),
        ({"loss": 0.5}, r"found \(\)"),
        ({"loss": "low"}, "metric 'loss' must be a tensor of numbers, found str"),
        ({"loss": None}, "found NoneType"),
        (
            {"loss": torch.zeros(2, dtype=torch.complex64)},
            "metric 'loss' must be a tensor of numbers, found torch.complex64",
        ),
    ],
)
def test_bad_metrics(metrics: dict, message: str) -> None:
    buffer = MetricsBuffer()
    with pytest.raises(InputError, match=message):
        buffer.add(0, 0.0, metrics, 2)
    assert len(buffer) == 0


def test_joined() -> None:
    assert_frame_equal(joined([]), empty())
    a = pl.DataFrame({"step": [0], "loss": pl.Series([1.0], dtype=pl.Float32)})
    b = pl.DataFrame({"step": [1], "loss": [math.nan], "accuracy": [0.5]})
    both = joined([a, b])
    assert both.columns == ["step", "loss", "accuracy"]
    assert both["accuracy"].to_list() == [None, 0.5]
    assert both["loss"].is_nan().to_list() == [False, True]


def test_files(tmp_path: Path, file_limit) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=r"a.parquet is missing"):
        read_frame(path)
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=10_000)})
    with file_limit(4096), pytest.raises(WriteError, match=r"cannot write .*a.parquet: file too large"):
        write_frame(path, frame)
    assert list(tmp_path.iterdir()) == []
    write_frame(path, frame)
    assert_frame_equal(read_frame(path), frame)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a.parquet is corrupt"):
        read_frame(path)
