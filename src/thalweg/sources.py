"""What a user names in place of something built in: a name in a file of code, or a file of data.

A source is written ``FILE.py:NAME`` or as the path of a file or folder. In a configuration it carries the checksum of
its content, ``mine.py:Net#sha256=…``, so that a changed file is another run. Reading a source runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from thalweg.errors import InputError, brief, one_line

__all__ = [
    "PYTHON",
    "Arguments",
    "Source",
    "from_here",
    "is_code",
    "is_stamped",
    "local_files",
    "stamped",
    "without_unset",
]

PYTHON = "python"
"""Path of a source that is an object of the running program, and lies in no file that can be read again."""


class Arguments(dict[str, Any]):
    """Keyword arguments of something of the user's: never changed, so that a configuration that holds them is hashable.

    >>> hash(Arguments(width=3, layers=[1, 2])) == hash(Arguments(layers=[1, 2], width=3))
    True
    """

    def __hash__(self) -> int:  # type: ignore[override] -- a dict is not hashable
        return hash(json.dumps(self, sort_keys=True, default=str))


def without_unset(data: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The content of a configuration without fields of sources that are not set: runs without are named as ever.

    >>> without_unset({"kind": "mlp", "source": None, "args": {}}, ("source", "args"))
    {'kind': 'mlp'}
    """
    return {name: value for name, value in data.items() if name not in names or value not in (None, {}, (), [])}


_CODE = re.compile(r"(?P<path>.+\.py|python):(?P<name>[A-Za-z_]\w*)")
_MARK = "#sha256="


@dataclass(frozen=True)
class Source:
    """One file, and which name in it.

    Args:
        path: As it was written.
        name: The name in a file of code; empty for data.
        sha256: Checksum of the content: of a file of code with the files beside it that it imports, of a file of data,
            of all files of a folder. Empty where it is not known yet.

    >>> found = Source.of("lab/mine.py:Net")
    >>> found.path, found.name, found.label
    ('lab/mine.py', 'Net', 'mine.py:Net')
    """

    path: str
    name: str = ""
    sha256: str = ""

    @classmethod
    def of(cls, text: str) -> Source:
        """The source that a text names."""
        text, _, digest = text.partition(_MARK)
        if found := _CODE.fullmatch(text):
            return cls(os.path.normpath(found["path"]), found["name"], digest)
        return cls(os.path.normpath(text), "", digest)

    def __str__(self) -> str:
        """As a configuration has it."""
        text = f"{self.path}:{self.name}" if self.name else self.path
        return f"{text}{_MARK}{self.sha256}" if self.sha256 else text

    @property
    def label(self) -> str:
        """As figures and sentences have it: without folders."""
        last = Path(self.path).name
        return self.name if self.path == PYTHON else f"{last}:{self.name}" if self.name else last

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files of its content, the named one first; none of an object of the running program."""
        if self.path == PYTHON:
            return ()
        path = Path(self.path)
        if self.name:
            return local_files(path)
        return tuple(sorted(file for file in path.rglob("*") if file.is_file())) if path.is_dir() else (path,)

    def stamped(self) -> Source:
        """The same with the checksum of the content as it is now.

        Raises:
            InputError: There is no such file, or it cannot be read.
        """
        if self.path == PYTHON:
            return self
        if not Path(self.path).exists():
            raise InputError(f"{self.path} must be a file that is there, found none")
        return replace(self, sha256=_digest(self.files, Path(self.path).parent))

    def check(self) -> None:
        """Refuse content that is no longer what the checksum says.

        Raises:
            InputError: The file has changed, or is no longer there.
        """
        if self.path != PYTHON and self.sha256 and self.stamped().sha256 != self.sha256:
            raise InputError(f"{self.path} has changed since this run was begun: a changed file is another run")


def is_code(text: object) -> bool:
    """Whether a text names something in a file of code.

    >>> is_code("mine.py:loss"), is_code("mse")
    (True, False)
    """
    return isinstance(text, str) and bool(_CODE.fullmatch(text.partition(_MARK)[0]))


def is_stamped(text: str) -> bool:
    """Whether a text is a source with its checksum.

    >>> is_stamped("mine.py:loss"), is_stamped(f"mine.py:loss#sha256={'0' * 64}")
    (False, True)
    """
    return bool(re.fullmatch(rf".+{_MARK}[0-9a-f]{{64}}", text, re.DOTALL))


def stamped(text: str, what: str, *, data: bool = False) -> str:
    """The text of a source with the checksum of its content; one that carries a checksum stays as it is.

    Args:
        text: The source.
        what: It is, for sentences.
        data: Whether a file without a name in it is allowed.

    Raises:
        InputError: No source, or a file that is not there.
    """
    source = Source.of(text)
    if not source.sha256 and source.path != PYTHON:
        source = replace(source, path=from_here(source.path))
    if not source.name and (not data or source.path.endswith(".py")):
        raise InputError(f"{what} must be written FILE.py:NAME, found {brief(source.path)}")
    return text if source.sha256 else str(source.stamped())


def from_here(path: str | Path) -> str:
    """A path as a configuration has it, however it is written: relative below the folder that one stands in, else full.

    >>> from_here(Path.cwd() / "lab" / ".." / "mine.py"), from_here("/elsewhere/mine.py")
    ('mine.py', '/elsewhere/mine.py')
    """
    full, here = Path(os.path.normpath(Path(path).absolute())), Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)


def local_files(path: Path) -> tuple[Path, ...]:
    """A file of code and the files beside it that it imports, directly or through each other; none is run.

    Raises:
        InputError: The file cannot be read, or is no Python.
    """
    found: dict[Path, None] = {}
    left = [path]
    while left:
        file = left.pop(0)
        if file in found:
            continue
        found[file] = None
        for name in _imported(file):
            parts = name.split(".")
            beside = (path.parent.joinpath(*parts).with_suffix(".py"), path.parent.joinpath(*parts, "__init__.py"))
            left += [one for one in beside if one.is_file()]
    return tuple(found)


def _imported(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise InputError(f"cannot read {file}: {str(error.strerror).lower()}") from None
    except SyntaxError as error:
        raise InputError(f"{file.name}:{error.lineno or 1}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # NUL bytes, another encoding, or thousands of brackets
        raise InputError(f"{file.name} is no Python: {one_line(error, 160)}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            yield name
            yield from (f"{name}.{alias.name}".lstrip(".") for alias in node.names)


def _digest(files: tuple[Path, ...], folder: Path) -> str:
    """SHA-256 of one file, or of the names and checksums of several."""
    sums = []
    for file in files:
        try:
            with file.open("rb") as stream:
                sums.append((file, hashlib.file_digest(stream, "sha256").hexdigest()))
        except OSError as error:
            raise InputError(f"cannot read {file}: {str(error.strerror).lower()}") from None
    if len(sums) == 1:
        return sums[0][1]
    lines = sorted(f"{file.relative_to(folder).as_posix()} {digest}\n" for file, digest in sums)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
