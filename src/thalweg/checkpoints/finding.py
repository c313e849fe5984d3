"""Which files a list of paths means: files, globs and folders, in natural order (2 before 10)."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.declared import place
from thalweg.errors import InputError, brief

__all__ = ["SUFFIXES", "Source", "find"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
WHOLE = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
"""Weights in a folder that is one checkpoint, as Hugging Face writes it; the first that is there is read."""

BESIDE = re.compile(r"(optim|scheduler|scaler|rng_state|random_states|training_args|trainer_state)", re.IGNORECASE)
SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
DEEPEST = 3  # levels of folders below one that was given


@dataclass(frozen=True)
class Source:
    """One checkpoint on the disk.

    Attributes:
        path: What it is called by: a file, or the folder that is one checkpoint.
        file: What is read: the weights, or the index of their shards.
        part: Which of several weights in it, such as "model_ema"; empty if not said.
        listed: Whether its path itself was given; else it was found by a glob or in a folder.
    """

    path: Path
    file: Path
    part: str = ""
    listed: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.part}" if self.part else str(self.path)


def find(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Source, ...]:
    """The checkpoints that paths mean: those of one glob or folder in natural order, paths in the order given.

    Args:
        paths: A path or several: files, globs, folders of files, folders that are a checkpoint (``checkpoint-500``), or
            folders of those. ``last.pt:model_ema`` says which weights of a file that holds several.

    Raises:
        InputError: A path that is not there, a folder or a glob without checkpoints, or a file of another kind.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("net10.pt", "net2.pt", "optimizer.pt", "notes.txt"):
        ...     _ = (folder / name).write_bytes(b"")
        >>> [source.path.name for source in find(folder)]
        ['net2.pt', 'net10.pt']
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InputError("checkpoints must be at least one path, found none")
    found: dict[tuple[Path, str], Source] = {}
    for one in given:
        text = os.fspath(place("checkpoints", one))
        if not text:
            raise InputError("checkpoints must be paths, found ''")
        for source in _meant(text):
            found.setdefault((source.file.resolve(), source.part), source)
    return tuple(found.values())


def _meant(text: str) -> list[Source]:
    part = ""
    if not Path(text).exists() and ":" in text[2:]:  # a drive's letter is no part
        text, _, part = text.rpartition(":")
    path = Path(text).expanduser()
    if path.is_dir():
        sources = _folder(path)
    elif path.exists():
        sources = [Source(path, _weights(path))]
    elif glob.has_magic(text):
        sources = _globbed(text)
    else:
        raise InputError(f"checkpoint {path} is missing{_beside(path)}")
    return [Source(one.path, one.file, part, one.listed) for one in sources]


def _globbed(pattern: str) -> list[Source]:
    found: list[Source] = []
    for name in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True), key=natural):  # noqa: PTH207 - a pattern may be absolute
        path = Path(name)
        if path.is_dir():
            found += _inside(path, DEEPEST)
        elif path.suffix in SUFFIXES and not BESIDE.match(path.name) and not SHARD.search(path.name):
            found.append(Source(path, path, listed=False))
    if not found:
        raise InputError(f"checkpoints must match files ({', '.join(SUFFIXES)}) or folders, '{pattern}' matches none")
    return found


def _folder(path: Path) -> list[Source]:
    found = list(_inside(path, DEEPEST))
    if not found:
        if (path / "environment.json").is_file() and (path / "snapshots").is_dir():
            raise InputError(f"{path} must hold checkpoints, found a run of thalweg: Run.open(…).recording() reads it")
        names = sorted(one.name for one in path.iterdir())
        what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise InputError(f"folder {path} must hold checkpoints ({', '.join(SUFFIXES)}), found {what or 'nothing'}")
    if len(found) == 1 and found[0].path == path:
        return [Source(path, found[0].file)]
    return found


def _inside(folder: Path, deep: int) -> Iterator[Source]:
    """The checkpoints of a folder: itself, files in it, folders in it, in this order of what is there."""
    entries = sorted(folder.iterdir(), key=lambda path: natural(path.name))
    below = [one for one in entries if one.is_dir() and not one.name.startswith(".")]
    whole = [folder / name for name in WHOLE if (folder / name).is_file()]
    if whole:  # the weights at the end of a training stand beside the folders that it left on the way
        for one in below:
            if re.match(r"checkpoint[-_]\d+$", one.name):
                yield from _inside(one, 0)
        yield Source(folder, whole[0], listed=False)
        return
    files = [one for one in entries if one.is_file() and one.suffix in SUFFIXES and not BESIDE.match(one.name)]
    files = [one for one in files if not SHARD.search(one.name)]
    if files:
        yield from (Source(one, one, listed=False) for one in files)
    elif deep:
        for one in below:
            yield from _inside(one, deep - 1)


def _weights(path: Path) -> Path:
    """The file itself, if it is of a kind that is read."""
    if path.name.endswith(".index.json") or path.suffix in SUFFIXES:
        return path
    raise InputError(f"checkpoint {path} must end in one of {', '.join(SUFFIXES)}, found {brief(path.suffix)}")


def _beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    names = [one.name for one in sorted(path.parent.iterdir(), key=lambda one: natural(one.name))]
    names = [name for name in names if name.endswith(SUFFIXES)]
    return f": {path.parent} holds {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" if names else ""


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that orders names as people do: numbers by their size, all else by letters.

    >>> sorted(["step10", "step9", "Step1"], key=natural)
    ['Step1', 'step9', 'step10']
    """
    pieces = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in pieces if one)
