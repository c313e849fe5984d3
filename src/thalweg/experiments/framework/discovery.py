"""Which experiments exist: read from the files, without importing any of them."""

from __future__ import annotations

import ast
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import thalweg.experiments
from thalweg.errors import InputError, nearest

if TYPE_CHECKING:
    import polars as pl

    from thalweg.experiments.framework.config import ExperimentConfig
    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["Experiment", "discover", "find"]

FILE = "experiment.py"
"""Of an experiment that is a folder, the file that defines ``run``."""

_parser = threading.Lock()  # two threads in `ast.parse` at once take each other's depth of recursion (Python 3.11)


@dataclass(frozen=True)
class Experiment:
    """One experiment, imported only when its configuration or its work is needed.

    Attributes:
        name: As on the command line, ``edge-of-stability``.
        path: The file that defines ``run``.
        text: Docstring of that file.
    """

    name: str
    path: Path
    text: str

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.text.splitlines()[0]

    @property
    def module(self) -> ModuleType:
        """The module that defines ``run``."""
        return importlib.import_module(f"thalweg.experiments.{self._dotted(self.path.stem)}")

    @cached_property
    def settings(self) -> ModuleType:
        """The module that defines ``Config`` and ``PRESETS``: the same file, or ``config.py`` of the folder.

        Raises:
            InputError: It lacks one of them; the message names it.
        """
        from thalweg.experiments.framework.config import ExperimentConfig

        path = self.path.with_name("config.py") if self._is_folder else self.path
        if not path.exists():
            raise InputError(f"experiment '{self.name}' must have a file {path} with Config and PRESETS")
        module = importlib.import_module(f"thalweg.experiments.{self._dotted(path.stem)}")
        config, presets = getattr(module, "Config", None), getattr(module, "PRESETS", None)
        if not (isinstance(config, type) and issubclass(config, ExperimentConfig)):
            raise InputError(f"experiment '{self.name}' must define a class Config(ExperimentConfig) in {path}")
        if not isinstance(presets, dict) or not {"tiny", "quick"} <= presets.keys():
            raise InputError(f"experiment '{self.name}' must define PRESETS with at least 'tiny' and 'quick' in {path}")
        for preset, value in presets.items():
            if type(value) is not config:
                raise InputError(f"preset '{preset}' of experiment '{self.name}' must be a Config, found {value!r}")
        return module

    @property
    def config(self) -> type[ExperimentConfig]:
        """The class of its configurations."""
        return self.settings.Config

    @property
    def presets(self) -> dict[str, ExperimentConfig]:
        """Its named configurations."""
        return self.settings.PRESETS

    def preset(self, name: str) -> ExperimentConfig:
        """One of its named configurations.

        Raises:
            InputError: There is none of this name; the nearest is offered.
        """
        if name not in self.presets:
            known = ", ".join(self.presets)
            raise InputError(
                f"unknown preset '{name}' of {self.name}{nearest(name, self.presets) or f'; it has {known}'}"
            )
        return self.presets[name]

    def run(self, config: ExperimentConfig, run: Run) -> Findings:
        """Do the work of the experiment in an opened run."""
        return self.module.run(config, run)

    @property
    def merge(self) -> Callable[[ExperimentConfig, pl.DataFrame], Findings] | None:
        """Its ``merge(config, table)``, which reports the tables of many runs as one; None if it defines none."""
        return getattr(self.module, "merge", None)

    @property
    def _is_folder(self) -> bool:
        return self.path.parent.name == self.name.replace("-", "_") and self.path.name == FILE

    def _dotted(self, stem: str) -> str:
        return f"{self.path.parent.name}.{stem}" if self._is_folder else stem


def discover() -> dict[str, Experiment]:
    """All experiments by name, in alphabetical order.

    Raises:
        InputError: A file cannot be parsed or has no docstring, or two experiments have the same name.

    >>> all(experiment.summary for experiment in discover().values())
    True
    """
    found: dict[str, Experiment] = {}
    for folder in map(Path, thalweg.experiments.__path__):
        if not folder.is_dir():
            raise InputError(f"THALWEG_EXPERIMENTS must name folders, found {folder}")
        places = {path: path.stem for path in folder.glob("*.py")}
        places |= {path: path.parent.name for path in folder.glob(f"*/{FILE}")}
        for path, stem in places.items():
            runs, text = (False, None) if stem.startswith("_") else _read(path, path.stat().st_mtime_ns)
            if not runs:
                continue
            name = stem.replace("_", "-")
            if not text:
                raise InputError(f"experiment '{name}' must begin with a docstring, {path} has none")
            if name in found:
                raise InputError(f"experiment '{name}' is defined twice, in {found[name].path} and in {path}")
            found[name] = Experiment(name, path, text)
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def _read(path: Path, changed: int) -> tuple[bool, str | None]:
    """Whether a file, last changed at that time, defines `run`, and its docstring."""
    try:
        with _parser:
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise InputError(f"{path} is no Python file: {error.msg} in line {error.lineno}") from None
    runs = any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body)
    return runs, ast.get_docstring(tree)


def find(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        InputError: There is none; the nearest name is offered.
    """
    experiments = discover()
    if name not in experiments:
        raise InputError(f"unknown experiment '{name}'{nearest(name, experiments) or ', see `thalweg list`'}")
    return experiments[name]
