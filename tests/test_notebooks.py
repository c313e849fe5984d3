"""The notebooks of the course run from top to bottom, here at a small scale, and show figures and sentences."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from thalweg import cli

ROOT = Path(__file__).parents[1]
SMALL: dict[str, dict[str, Any]] = {
    "hw1-1-1-fit-a-function": {"depths": (1, 2), "replicas": 2, "epochs": 20},
    "hw1-1-2-a-real-task": {"depths": (1, 2), "replicas": 2, "epochs": 2},
    "hw1-2-1-visualize-training": {"replicas": 2, "epochs": 6},
    "hw1-2-2-gradient-norm": {"replicas": 2, "epochs": 5},
    "hw1-2-3-minimal-ratio": {"replicas": 4, "steps": 300},
    "hw1-2-4-error-surface": {"epochs": 6, "grid": 5},
    "hw1-3-1-random-labels": {"samples": 100, "epochs": 3, "replicas": 2},
    "hw1-3-2-number-of-parameters": {"widths": (2, 4), "replicas": 2, "epochs": 2},
    "hw1-3-3-flatness-and-sensitivity": {"batch_sizes": (64, 256, 512), "replicas": 2, "epochs": 2},
    "hw1-3-4-sharpness": {"batch_sizes": (64, 256), "replicas": 2, "epochs": 2},
}
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def shown(value: Any) -> dict[str, Any]:
    """What a notebook would show of the last value of a cell."""
    if not hasattr(value, "_repr_mimebundle_"):
        return {"text/plain": repr(value)}
    bundle = value._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle


def run(source: str, space: dict[str, Any]) -> dict[str, Any]:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), space)  # noqa: S102 -- our own notebooks
    value = None
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), space)  # noqa: S307
    return {} if value is None else shown(value)


def test_every_notebook_is_run() -> None:
    assert {path.stem for path in BOOKS} == SMALL.keys()


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "__main__"}
    pictures = 0
    for cell in cells(path):
        bundle = run("".join(cell["source"]), space)
        pictures += "image/png" in bundle
        if "parameters" in cell["metadata"].get("tags", ()):
            assert SMALL[path.stem].keys() <= space.keys()
            space |= SMALL[path.stem]
    assert pictures >= 1
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir()), "a notebook leaves nothing behind"


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs_and_names_commands_that_exist(path: Path) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(path))
    text = "".join(line for cell in cells(path, "markdown") for line in cell["source"])
    commands = [part.split() for part in text.split("`") if part.startswith("thalweg ")]
    assert commands
    for command in commands:
        assert cli.main([*command[1:], "--help"]) == 0, command
