"""Code of the user's: which of it may run, running it once, and its own faults in one sentence with their place.

A run folder may come from somebody else, and its configuration names code. Only code that was named by whoever started
this process runs: `allow` notes its checksum, and `resolve` refuses any other.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from thalweg.errors import InputError, first_line, nearest
from thalweg.sources import PYTHON, Source

__all__ = ["allow", "allowed", "explaining", "keep", "located", "resolve", "seeded"]

_ALLOWED: dict[str, str] = {}  # checksum of what was named in this process -> its path
_MODULES: dict[tuple[Path, str], ModuleType] = {}  # file and checksum -> the module that was run
_OBJECTS: dict[str, Any] = {}  # sources in Python -> the objects


def allow(sources: Iterable[Source]) -> None:
    """Note that the user has named these files here: they may be run and read.

    Args:
        sources: With their checksums.
    """
    _ALLOWED.update((source.sha256, source.path) for source in sources if source.path != PYTHON)


def allowed(source: Source) -> bool:
    """Whether a source may be read: data always, code if it was named here."""
    if source.path == PYTHON:
        return str(source) in _OBJECTS
    return not source.name or source.sha256 in _ALLOWED


def located(source: Source) -> Source:
    """The source at the path where it was named here."""
    return replace(source, path=_ALLOWED.get(source.sha256, source.path))


def keep(source: Source, value: Any) -> None:
    """Note an object of this program under a source that stands for it in configurations."""
    _OBJECTS[str(source)] = value


def resolve(source: Source, what: str) -> Any:
    """The object that a source names in its file, which is run once in a process.

    Args:
        source: With its checksum.
        what: It is, for sentences: "model", "data", "loss".

    Raises:
        InputError: Code that was not named here, a file that has changed, a fault of its own, or no such name in it.
    """
    if not allowed(source):
        if source.path == PYTHON:
            raise InputError(
                f"{what} {source.name} was an object of the program that began this run: "
                "call thalweg.experiments.run with it again"
            )
        raise InputError(
            f"{what} {source.label} is code that was not named on this command line and is not run: "
            f"add --source {source.path}"
        )
    if source.path == PYTHON:
        return _OBJECTS[str(source)]
    source = located(source)
    key = Path(source.path).resolve(), source.sha256
    if key not in _MODULES:
        source.check()
        _MODULES[key] = _run(source)
    names = vars(_MODULES[key])
    if source.name not in names:
        public = [name for name in names if not name.startswith("_")]
        raise InputError(
            f"{what} must name something in {source.path}, found no {source.name!r}{nearest(source.name, public)}"
        )
    return names[source.name]


def _run(source: Source) -> ModuleType:
    path = Path(source.path)
    name = f"_thalweg_{path.stem}_{source.sha256[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} must be a file of Python, found another kind")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.resolve())
    sys.modules[name] = module  # dataclasses and pickles of the user's look for their module there
    sys.path.insert(0, folder)  # as `python mine.py` does
    try:
        with explaining(source):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:  # for what functions import when they are called; behind everything installed
            sys.path.append(folder)
    return module


@contextmanager
def explaining(*sources: Source, otherwise: str = "") -> Iterator[None]:
    """Says of an exception in the user's code what it says itself, with file and line.

    Args:
        sources: The user's files.
        otherwise: What was tried, for exceptions that arose elsewhere; empty: these pass unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        where = _place(error, sources) or otherwise
        if not where:
            raise
        kind, said = type(error).__name__, first_line(error)
        raise InputError(f"{where}: {kind if said == kind else f'{kind}: {said}'}") from error


def _place(error: BaseException, sources: Iterable[Source]) -> str:
    """The last line of the user's files that was being run, as FILE:LINE; empty if the error arose elsewhere."""
    files = {str(file.resolve()): file.name for source in sources for file in source.files}
    if isinstance(error, SyntaxError) and (name := str(Path(error.filename or "").resolve())) in files:
        return f"{files[name]}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if (name := str(Path(frame.filename).resolve())) in files:
            return f"{files[name]}:{frame.lineno}"
    return ""


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """The random numbers of torch, numpy and Python from one seed, and put back after.

    Args:
        seed: Default: the one that torch's generator has, as within `Objective.initial`.
    """
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 - the generator that code of users draws from
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        start = torch.initial_seed()
        random.seed(start)
        np.random.seed(start % 2**32)  # noqa: NPY002 - see above
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002 - see above
