from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.errors import InputError
from thalweg.runs import results


def test_arrays_come_back_as_what_they_were(tmp_path: Path) -> None:
    value = {
        "z": torch.randn(2, 3, dtype=torch.float64),
        "a": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "scalar": np.array(0.5),
        "big-endian": np.array([1.5, 2.5], dtype=">f8"),
        "reversed": np.arange(4.0)[::-1],
        "mask": torch.tensor([True, False]),
        "empty": np.zeros((0, 2), dtype=np.float32),
        "unsigned": np.array([2**63], dtype=np.uint64),
    }
    path = results.save(tmp_path, "arrays", value)
    assert path == tmp_path / "arrays.safetensors"
    loaded = results.load(tmp_path, "arrays")
    assert list(loaded) == list(value)  # the order too
    for name, item in value.items():
        assert type(loaded[name]) is type(item), name
        assert loaded[name].shape == item.shape, name
        if isinstance(item, torch.Tensor):
            assert loaded[name].dtype == item.dtype
            assert torch.equal(loaded[name], item)
        else:
            assert loaded[name].dtype == item.dtype.newbyteorder("=")
            np.testing.assert_array_equal(loaded[name], item)
    loaded["a"][:] = 0  # writable, memory of its own


def test_tables(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1.0, math.nan, None], "name": ["a", "ü", None], "when": [[1], [], None]})
    assert results.save(tmp_path, "table", frame) == tmp_path / "table.parquet"
    assert_frame_equal(results.load(tmp_path, "table"), frame)


@pytest.mark.parametrize("value", [{}, {"a": {"b": [1, 2.5, None, "x", math.inf]}}, [], 3, "text", None, True, 1e300])
def test_json(tmp_path: Path, value: object) -> None:
    assert results.save(tmp_path, "value", value) == tmp_path / "value.json"
    assert results.load(tmp_path, "value") == value


def test_another_kind_replaces_the_first(tmp_path: Path) -> None:
    for value in ({"x": torch.ones(1)}, pl.DataFrame({"x": [1]}), {"x": 1}, {"x": torch.ones(2)}):
        results.save(tmp_path, "a", value)
        assert len(list(tmp_path.iterdir())) == 1
    assert results.load(tmp_path, "a")["x"].shape == (2,)


def test_killed_between_the_two_kinds_the_newer_counts(tmp_path: Path) -> None:
    old = results.save(tmp_path, "a", {"old": 1})
    content = old.read_bytes()
    results.save(tmp_path, "a", {"new": torch.ones(1)})
    old.write_bytes(content)
    os.utime(old, (1, 1))
    assert list(results.load(tmp_path, "a")) == ["new"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": torch.ones(1), "b": 2}, "result 'x' must hold arrays only or none, found int at 'b'"),
        ({"a": np.array(["text"])}, "result 'x' must hold numbers, found dtype <U4 at 'a'"),
        ({"a": np.array([None])}, "found dtype object at 'a'"),
        ({1: np.zeros(1)}, "keys of result 'x' must be text on one line, found 1"),
        ({"a\nb": np.zeros(1)}, "keys of result 'x' must be text on one line"),
        ({"a": {1, 2}}, "x.a must be made of"),
        (object(), "x must be made of .* found object"),
        (torch.ones(2), "x must be made of .* found Tensor"),
    ],
)
def test_what_cannot_be_saved(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        results.save(tmp_path, "x", value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, 3])
def test_bad_names(tmp_path: Path, name: object) -> None:
    for use in (lambda: results.save(tmp_path, name, 1), lambda: results.load(tmp_path, name)):
        with pytest.raises(InputError, match="the name of a result must be letters"):
            use()


def test_missing_and_corrupt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no result 'pca' \(it has \[\]\)"):
        results.load(tmp_path / "results", "pca")
    for value in ({"x": torch.ones(9)}, pl.DataFrame({"x": [1.0]}), {"long": "value"}):
        path = results.save(tmp_path, "projection", value)
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(InputError, match=rf"{path.name} is corrupt"):
            results.load(tmp_path, "projection")
    with pytest.raises(InputError, match="no result 'projecton', did you mean 'projection'"):
        results.load(tmp_path, "projecton")


def test_cached_computes_once_and_gives_what_a_resumed_run_gets(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict:
        calls.append(1)
        return {"pair": (1, 2), "x": np.float32(0.1)}

    first = results.cached(tmp_path, "stage", compute)
    assert first == results.cached(tmp_path, "stage", compute) == {"pair": [1, 2], "x": float(np.float32(0.1))}
    assert calls == [1]
    assert results.names(tmp_path) == ["stage"]


def test_cached_keeps_nothing_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        results.cached(tmp_path, "stage", lambda: 1 // 0)
    assert results.cached(tmp_path, "stage", lambda: 2) == 2
