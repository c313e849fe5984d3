"""Which experiments exist: read from the files, without importing any of them."""

from __future__ import annotations

import ast
import importlib
import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import thalweg.experiments
from thalweg.errors import InputError, nearest

if TYPE_CHECKING:
    from thalweg.experiments.config import ExperimentConfig
    from thalweg.experiments.findings import Findings
    from thalweg.runs import Run

__all__ = ["Experiment", "discover", "find"]

_parser = threading.Lock()  # two threads in `ast.parse` at once take each other's depth of recursion (Python 3.11)


@dataclass(frozen=True)
class Experiment:
    """One experiment, imported only when its configuration or its work is needed.

    Attributes:
        name: As on the command line, ``edge-of-stability``.
        path: Its file.
        summary: First line of its docstring.
    """

    name: str
    path: Path
    summary: str

    @cached_property
    def module(self) -> ModuleType:
        """The imported module.

        Raises:
            InputError: The file lacks a part that every experiment has; the message names it.
        """
        from thalweg.experiments.config import ExperimentConfig

        module = importlib.import_module(f"thalweg.experiments.{self.path.stem}")
        config, presets = getattr(module, "Config", None), getattr(module, "PRESETS", None)
        if not (isinstance(config, type) and issubclass(config, ExperimentConfig)):
            raise InputError(f"experiment '{self.name}' must define a class Config(ExperimentConfig) in {self.path}")
        if not isinstance(presets, dict) or not {"tiny", "quick"} <= presets.keys():
            raise InputError(
                f"experiment '{self.name}' must define PRESETS with at least 'tiny' and 'quick' in {self.path}"
            )
        for preset, value in presets.items():
            if type(value) is not config:
                raise InputError(f"preset '{preset}' of experiment '{self.name}' must be a Config, found {value!r}")
        return module

    @property
    def config(self) -> type[ExperimentConfig]:
        """The class of its configurations."""
        return self.module.Config

    @property
    def presets(self) -> dict[str, ExperimentConfig]:
        """Its named configurations."""
        return self.module.PRESETS

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


def discover() -> dict[str, Experiment]:
    """All experiments by name, in alphabetical order.

    Raises:
        InputError: A file cannot be parsed, has no docstring, or two files give the same name.

    >>> all(experiment.summary for experiment in discover().values())
    True
    """
    found: dict[str, Experiment] = {}
    for folder in map(Path, thalweg.experiments.__path__):
        if not folder.is_dir():
            raise InputError(f"THALWEG_EXPERIMENTS must name folders, found {folder}")
        for path in folder.glob("*.py"):
            runs, text = (False, None) if path.name.startswith("_") else _read(path, path.stat().st_mtime_ns)
            if not runs:
                continue
            name = path.stem.replace("_", "-")
            if not text:
                raise InputError(f"experiment '{name}' must begin with a docstring, {path} has none")
            if name in found:
                raise InputError(f"experiment '{name}' is defined twice, in {found[name].path} and in {path}")
            found[name] = Experiment(name, path, text.splitlines()[0])
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
