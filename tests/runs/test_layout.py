"""How a run's folder is called and comes into being."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run, WriteError, config_hash
from thalweg.runs.layout import make_folder

ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "thalweg run demo"}


def create(root: Path, config: dict, **changes: object) -> Run:
    return Run.create(root, "demo", config, **{**ORIGIN, **changes})


def test_the_name_is_the_hash_of_the_canonical_config(tmp_path: Path) -> None:
    config = {"widths": [10, 10], "rate": 1e-3, "name": "ü", "nested": {"b": None, "a": True}}
    text = '{"name":"\\u00fc","nested":{"a":true,"b":null},"rate":0.001,"widths":[10,10]}'
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    assert config_hash(config) == digest
    run = create(tmp_path, config)
    assert run.path == tmp_path / f"demo-{digest}"
    assert run.name == f"demo-{digest}"
    assert run.experiment == "demo"
    assert run.config == config
    assert list(json.loads(run.files.config.read_text())) == list(config)  # stored in the order of the fields


def test_the_same_config_is_the_same_run(tmp_path: Path) -> None:
    first = create(tmp_path, {"a": (1, 2), "b": float("nan")})
    again = create(tmp_path, {"b": float("nan"), "a": [1, 2]}, command="another")
    assert again.path == first.path
    assert again.environment["command"] == "thalweg run demo"
    assert create(tmp_path, {"a": [1, 2], "b": 0.0}).path != first.path
    assert sorted(path.name for path in first.path.iterdir()) == ["checksums.json", "config.json", "environment.json"]
    assert len(list(tmp_path.iterdir())) == 2


def test_another_seed_or_other_data_are_refused(tmp_path: Path) -> None:
    create(tmp_path, {}, data_checksum="abc")
    create(tmp_path, {}, data_checksum=None)
    with pytest.raises(InputError, match="seed must stay 0 within one run, found 1"):
        create(tmp_path, {}, seed=1)
    with pytest.raises(InputError, match="data_checksum must stay 'abc' within one run, found 'xyz'"):
        create(tmp_path, {}, data_checksum="xyz")


def test_a_checksum_learnt_later_is_kept(tmp_path: Path) -> None:
    create(tmp_path, {})
    run = create(tmp_path, {}, data_checksum="abc")
    with run.writing():
        assert run.environment["data_checksum"] == "abc"


@pytest.mark.parametrize("name", ["", "Demo", "a b", "../x", "-x"])
def test_bad_experiment_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="experiment must be lower-case letters"):
        Run.create(tmp_path, name, {}, **ORIGIN)


def test_bad_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"value.path must be made of"):
        create(tmp_path, {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_something_else_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / f"demo-{config_hash({})}"
    path.mkdir()
    create(tmp_path, {})  # an empty folder is fine
    other = tmp_path / f"demo-{config_hash({'a': 1})}"
    other.mkdir()
    (other / "notes.txt").touch()
    with pytest.raises(InputError, match="is no run, but there is something in it"):
        create(tmp_path, {"a": 1})
    (tmp_path / f"demo-{config_hash({'b': 1})}").touch()
    with pytest.raises(InputError, match="cannot become a run: something else is there"):
        create(tmp_path, {"b": 1})
    (path / "config.json").write_text('{"edited": true}')
    with pytest.raises(InputError, match=r"config.json is corrupt, or checksums.json is that of another run"):
        create(tmp_path, {})
    (path / "checksums.json").unlink()  # as in a run that was begun before there were checksums
    edited = json.loads((path / "environment.json").read_text())
    del edited["checksum"]
    (path / "environment.json").write_text(json.dumps(edited))
    with pytest.raises(InputError, match="holds another config than its name says"):
        create(tmp_path, {})
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_run_that_another_process_has_just_made_stays(tmp_path: Path) -> None:
    first = create(tmp_path, {})
    before = first.files.environment.read_bytes()
    make_folder(first.path, {"config.json": {}, "environment.json": {"experiment": "other"}})
    assert first.files.environment.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"root must be a folder of runs, found the file .*/file"):
        create(tmp_path / "file", {})
    with pytest.raises(WriteError, match=r"cannot write .*/file/deeper/demo-.*: not a directory"):
        create(tmp_path / "file" / "deeper", {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write .*/runs/.*: no space left on device"):
        create(tmp_path / "runs", {})
    assert list((tmp_path / "runs").iterdir()) == []
