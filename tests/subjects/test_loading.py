"""Subjects named by files: code runs once and only if it was named, data are read as they are, faults have a place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from thalweg import InputError, subjects
from thalweg.sources import Source, local_files, stamped
from thalweg.subjects.code import resolve

CODE = """
import random
import numpy as np
import torch
from torch import nn
import parts_of_mine

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))
    def forward(self, x):
        return self.layers(x)

def net(scale=1.0):
    made = Net()
    made.layers[0].weight.data.mul_(scale * np.random.rand() * random.random())
    return made

def data(n=30):
    return torch.randn(n, 4), torch.arange(n) % 3

def smoothed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=parts_of_mine.SHARE)

def sure(outputs, targets):
    return outputs.softmax(1).amax(1).mean()

metrics = {"sure": sure}

def broken():
    raise ValueError("no such thing\\nsecond line")

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 3)
    def forward(self, x):
        return self.last(x)

class Plain: pass
number = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "parts_of_mine.py").write_text("SHARE = 0.1\n")
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_all_parts_from_one_file(mine: Path) -> None:
    subject = subjects.load(
        model=f"{mine}:Net",
        data=f"{mine}:data",
        loss=f"{mine}:smoothed",
        metrics=f"{mine}:metrics",
        model_args={"width": 6},
        data_args={"n": 24},
    )
    objective = subject.objective()
    x, y = subject.task().train
    net = objective.module(objective.theta)
    expected = torch.nn.functional.cross_entropy(net(x), y, label_smoothing=0.1)
    torch.testing.assert_close(objective.value(objective.theta), expected.detach())
    assert (len(x), objective.size, subject.label, subject.task().label) == (24, 51, "Net", "mine.py:data")
    assert sorted(objective.metrics(objective.theta)) == ["accuracy", "loss", "sure"]


def test_all_random_numbers_of_a_model_come_from_the_seed(mine: Path) -> None:
    objective = subjects.load(model=f"{mine}:net", data=f"{mine}:data").objective()
    assert torch.equal(objective.initial(3, seed=1)[2], objective.initial(1, seed=1, first=2)[0])
    assert not torch.equal(objective.initial(3, seed=1)[2], objective.initial(3, seed=1)[1])


def test_data_are_the_same_for_the_same_seed(mine: Path) -> None:
    def checksum(seed: int) -> str:
        return subjects.load(model=f"{mine}:Net", data=f"{mine}:data", seed=seed).task().checksum

    assert checksum(1) == checksum(1) != checksum(2)


def test_the_checksum_is_that_of_the_file_and_of_the_files_beside_it(mine: Path) -> None:
    before = Source.of(f"{mine}:Net").stamped()
    assert [file.name for file in local_files(mine)] == ["mine.py", "parts_of_mine.py"]
    (mine.parent / "parts_of_mine.py").write_text("SHARE = 0.2\n")
    assert Source.of(f"{mine}:Net").stamped().sha256 != before.sha256
    with pytest.raises(InputError, match=r"mine.py has changed since this run was begun"):
        before.check()


def test_code_that_was_not_named_is_not_run(mine: Path) -> None:
    mine.write_text(f"open({str(mine.parent / 'ran')!r}, 'w')\nnet = 1\n")
    with pytest.raises(InputError, match=r"mine.py:net is code that was not named on this command line and is not run"):
        resolve(Source.of(f"{mine}:net").stamped(), "model")
    assert not (mine.parent / "ran").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "{mine}:Nett"}, "found no 'Nett', did you mean 'net'?"),
        ({"model": "{mine}:number"}, "model mine.py:number must be a class or function that makes a module, found 3"),
        ({"model": "{mine}:Plain"}, "must be a class of torch.nn.Module, found the class Plain"),
        ({"model": "{mine}:data"}, "model data must return a torch.nn.Module, found tuple"),
        ({"model": "{mine}:broken"}, "mine.py:32: ValueError: no such thing"),
        ({"model": "{mine}:Odd"}, "mine.py:39: RuntimeError: "),
        ({"model": "{mine}"}, "model must be written FILE.py:NAME, found"),
        ({"model": "{mine}x.py:Net"}, "x.py must be a file that is there, found none"),
        ({"model_args": {"wide": 1}}, "model arguments must fit Net: "),
        ({"data": "{mine}:broken"}, "mine.py:32: ValueError: no such thing"),
        ({"data": "{mine}"}, "data must be written FILE.py:NAME, found"),
        ({"data": "{mine}:data", "data_args": {"m": 1}}, "unexpected keyword argument 'm'"),
        ({"data": "{mine}:data", "target": "y"}, "data.target names a column of a table, found 'y'"),
        ({"data": "{mine}:data", "test_share": 0.001}, "data.test_share must leave samples in both sets"),
        ({"loss": "{mine}:number"}, "loss mine.py:number must be a function or a module, found 3"),
        ({"loss": "{mine}:broken"}, "model, data and loss do not fit together: TypeError: "),
        ({"loss": "mine"}, "loss must be auto, cross-entropy"),
        ({"metrics": "{mine}:number"}, "metrics must be a function, or functions by name, found 3"),
    ],
)
def test_refusals_are_one_sentence(mine: Path, change: dict[str, Any], sentence: str) -> None:
    given = {"model": f"{mine}:Net", "data": f"{mine}:data"}
    given |= {key: value.format(mine=mine) if isinstance(value, str) else value for key, value in change.items()}
    with pytest.raises(InputError) as refused:
        subjects.load(**given).objective()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import torch\nclass Net(:\n", "mine.py:2: invalid syntax"),
        ("import torch\n\n1 / 0\n", "mine.py:3: ZeroDivisionError: division by zero"),
        ("import no_such_module_anywhere\n", "mine.py:1: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "mine.py:1: SystemExit: 3"),
        ("x = '\0'\n", "mine.py"),
    ],
)
def test_faults_of_a_file_have_their_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        subjects.load(model=f"{path}:Net", data=f"{path}:data")
    assert sentence in str(refused.value)


X, Y = np.arange(24.0).reshape(12, 2), np.arange(12) % 3


def _npz(folder: Path) -> str:
    np.savez(folder / "d.npz", x_train=X[:8], y_train=Y[:8], x_test=X[8:], y_test=Y[8:])
    return "d.npz"


def _csv(folder: Path) -> str:
    pl.DataFrame({"a": X[:, 0], "kind": ["zebra", "ant", "moth"] * 4, "b": X[:, 1]}).write_csv(folder / "d.csv")
    return "d.csv"


def _parquet(folder: Path) -> str:
    pl.DataFrame({"a": X[:, 0], "kind": Y / 2}).write_parquet(folder / "d.parquet")
    return "d.parquet"


def _images(folder: Path) -> str:
    image = pytest.importorskip("PIL.Image")
    for split, count in (("train", 3), ("test", 1)):
        for number, name in enumerate(("cat", "dog")):
            (folder / "d" / split / name).mkdir(parents=True)
            for place in range(count):
                pixels = np.full((4, 5, 3), 100 * number + place, dtype=np.uint8)
                image.fromarray(pixels).save(folder / "d" / split / name / f"{place}.png")
    return "d"


@pytest.mark.parametrize(
    ("make", "target", "train", "test", "kind", "outputs"),
    [
        (_npz, "", (8, 2), 4, "classification", 3),
        (_csv, "kind", (12, 2), 0, "classification", 3),
        (_parquet, "kind", (12, 1), 0, "regression", 1),
        (_images, "", (6, 3, 4, 5), 2, "classification", 2),
    ],
)
def test_files_of_data(
    mine: Path, make: Callable[[Path], str], target: str, train: tuple[int, ...], test: int, kind: str, outputs: int
) -> None:
    path = mine.parent / make(mine.parent)
    task = subjects.load(model=f"{mine}:Net", data=str(path), target=target).task()
    assert (tuple(task.train[0].shape), task.kind, task.outputs, task.label) == (train, kind, outputs, path.name)
    assert (0 if task.test is None else len(task.test[0])) == test
    if make is _csv:
        assert task.train[1][:3].tolist() == [2, 0, 1]  # ant, moth, zebra
    if make is _images:
        assert task.train[0][4, 0, 0, 0] == pytest.approx(101 / 255)


def test_a_share_is_held_out_by_the_seed(mine: Path) -> None:
    np.savez(mine.parent / "d.npz", x=X, y=Y)
    task = subjects.load(model=f"{mine}:Net", data=str(mine.parent / "d.npz"), test_share=0.25).task()
    assert task.test is not None
    assert sorted([*task.train[0][:, 0].tolist(), *task.test[0][:, 0].tolist()]) == X[:, 0].tolist()
    assert (len(task.train[1]), len(task.test[1])) == (9, 3)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("d.npz", b"text", "d.npz must be an .npz file"),
        ("d.txt", b"text", "data must be FILE.py:NAME, an .npz, .csv or .parquet file or a folder of images"),
        ("d.parquet", b"text", "d.parquet must be a table of parquet"),
        ("d.csv", b"a,b\n1,2\n3,4\n", "data.target must name the column that is predicted, found no 'kind'"),
        ("d.csv", b"a,kind\nx,2\n3,4\n", "columns of d.csv must be numbers, found String in 'a'"),
        ("d.csv", b"a,kind\n1,2\n,4\n", "d.csv must have no empty cells, found 1 in 'a'"),
    ],
)
def test_files_that_are_no_data(mine: Path, name: str, content: bytes, sentence: str) -> None:
    (mine.parent / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        subjects.load(
            model=f"{mine}:Net", data=str(mine.parent / name), target="" if name == "d.npz" else "kind"
        ).task()
    assert sentence in str(refused.value)


def test_arrays_that_are_no_numbers_or_pickles(mine: Path) -> None:
    for arrays, sentence in (
        ({"x": np.array([{}]), "y": Y}, "d.npz must be an .npz file of plain arrays"),
        ({"x": np.array(["a"] * 12), "y": Y}, "arrays must be numbers, found <U1"),
        ({"a": X}, "d.npz must hold x_train, y_train"),
    ):
        np.savez(mine.parent / "d.npz", **arrays)
        with pytest.raises(InputError) as refused:
            subjects.load(model=f"{mine}:Net", data=str(mine.parent / "d.npz")).task()
        assert sentence in str(refused.value)


def test_a_source_is_the_same_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "mine.py").write_text("def net(): ...")
    monkeypatch.chdir(tmp_path)
    wanted = stamped("mine.py:net", "model")
    assert wanted.startswith("mine.py:net#")
    for text in (f"{tmp_path}/mine.py:net", "./mine.py:net", "lab/../mine.py:net"):
        assert stamped(text, "model") == wanted
    monkeypatch.chdir(tmp_path / "lab")
    assert stamped("../mine.py:net", "model") == stamped(f"{tmp_path}/mine.py:net", "model")
