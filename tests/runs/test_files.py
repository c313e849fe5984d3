from __future__ import annotations

import errno
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg._files import writing as files
from thalweg._files.reading import read_json
from thalweg._files.writing import WriteError, canonical, plain, replacing, write_bytes, write_json
from thalweg.errors import InputError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def same(a: object, b: object) -> bool:
    """Equal in type and value, NaN to itself, -0.0 not to 0.0."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@settings(deadline=None)
@given(json_values)
def test_json_reloads_equal(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert same(read_json(path), value)


@settings(deadline=None)
@given(json_values)
def test_canonical_is_one_spelling(value: object) -> None:
    def turned(item: object) -> object:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return tuple(map(turned, item)) if isinstance(item, list) else item

    assert canonical(turned(value)) == canonical(value)
    assert same(json.loads(canonical(value)), json.loads(json.dumps(value, sort_keys=True)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1: 2}}, "keys of config.a must be text, found 1"),
        ({"a": [0, {1, 2}]}, r"config.a\[1\] must be made of .* found set"),
        ({"path": Path("x")}, "config.path must be"),
        (np.zeros(3), "found ndarray"),
        (1j, "found complex"),
        ({"data": b""}, "found bytes"),
    ],
)
def test_no_json_form(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain(value, "config")


def test_numpy_scalars_keep_their_value() -> None:
    value = plain({"f": np.float32(0.1), "i": np.int64(2**62), "b": np.bool_(True), "n": np.float64("nan")})
    assert value["f"] == np.float32(0.1)
    assert value["i"] == 2**62
    assert value["b"] is True
    assert math.isnan(value["n"])


def test_the_temporary_file_ends_like_the_target(tmp_path: Path) -> None:
    with replacing(tmp_path / "deep" / "plot.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "deep"  # the same file system, else the rename is no rename
        temporary.write_bytes(b"x")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["plot.png"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_block_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    write_bytes(tmp_path / "a", "old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_full_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_bytes(tmp_path / "a.json", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(WriteError) as caught:
        write_json(tmp_path / "a.json", {"new": 1})
    assert str(caught.value) == f"cannot write {tmp_path / 'a.json'}: no space left on device"
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_write_that_really_fails(tmp_path: Path, file_limit) -> None:
    with file_limit(100), pytest.raises(WriteError, match=r"cannot write .*big: file too large"):
        write_bytes(tmp_path / "big", b"x" * 1000)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", "file")
    with pytest.raises(WriteError, match=f"cannot write {tmp_path}/a/b: "):
        write_bytes(tmp_path / "a" / "b", "x")


def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    try:
        with pytest.raises(WriteError, match="permission denied"):
            write_bytes(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o755)


def test_json_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.json is missing"):
        read_json(tmp_path / "a.json")
    for content in (b'{"a": ', b"\xff\xfe\x00"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InputError, match=r"a.json is corrupt"):
            read_json(tmp_path / "a.json")


def test_stale_files_of_the_dead_only(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead, alive = tmp_path / f".tmp-{process.pid}-0-a.json", tmp_path / f".tmp-{os.getpid()}-0-a.json"
    foreign = tmp_path / ".tmp-notes"
    for path in (dead, alive, foreign):
        path.touch()
    (tmp_path / f".tmp-{process.pid}-1-folder").mkdir()
    files.remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, foreign])


def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_next_write_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    killed = f".tmp-{dead()}@{files._machine()}-7-report.html"
    other = f".tmp-{dead()}@{files._machine()}-7-course.html"
    for name in (killed, other):
        (tmp_path / name).write_text("half")
    write_bytes(tmp_path / "report.html", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other, "report.html"])


def test_temporary_files_of_another_machine_stay_for_a_day(tmp_path: Path) -> None:
    """Its processes cannot be asked whether they live."""
    name = tmp_path / f".tmp-{dead()}@{int(files._machine(), 16) ^ 1:08x}-0-a.json"
    name.write_text("half")
    files.remove_stale(tmp_path)
    assert name.exists()
    os.utime(name, (1, 1))
    files.remove_stale(tmp_path)
    assert not name.exists()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
def test_a_process_that_has_the_number_of_a_dead_one_keeps_nothing_alive(tmp_path: Path) -> None:
    older, own = tmp_path / f".tmp-{os.getpid()}-0-a.json", tmp_path / f".tmp-{os.getpid()}-1-a.json"
    older.write_text("half")
    os.utime(older, (1, 1))  # long before this process began
    own.write_text("half")
    files.remove_stale(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


@pytest.mark.parametrize("levels", [101, 5000])
def test_what_is_nested_too_deeply_is_neither_written_nor_read(tmp_path: Path, levels: int) -> None:
    value: list = []
    for _ in range(levels - 1):
        value = [value]
    with pytest.raises(InputError, match="a must not be nested in more than 100 levels"):
        write_json(tmp_path / "a.json", value)
    (tmp_path / "a.json").write_text("[" * levels + "]" * levels)
    with pytest.raises(InputError, match=r"a.json is corrupt: it is nested in more than 100 levels"):
        read_json(tmp_path / "a.json")
    write_json(tmp_path / "a.json", [[[[1]]]])
    assert read_json(tmp_path / "a.json") == [[[[1]]]]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to("real")
    for name, kind in (("folder", "a folder"), ("pipe", "a pipe"), ("link", "a link")):
        with pytest.raises(InputError, match=f"{name} must be a regular file, found {kind}"):
            read_json(tmp_path / name)
    for path in (Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(InputError, match="must be a regular file, found a device"):
            read_json(path)
    with pytest.raises(InputError, match="real/inside is missing"):
        read_json(tmp_path / "real" / "inside")


def test_size_counts_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123")
    (tmp_path / "y").write_bytes(b"45")
    assert files.size(tmp_path) == 5
