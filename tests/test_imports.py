"""The layout of DESIGN in force: imports run downwards, figures know no torch, analyses know no plotting library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "thalweg"

RANK = {
    "_files": 0,
    "_lazy": 0,
    "_screens": 0,
    "_short": 0,
    "_version": 0,
    "configured": 0,
    "declared": 0,
    "errors": 0,
    "limits": 0,
    "parts": 0,
    "progress": 0,
    "sources": 0,
    "threads": 0,
    "figures": 1,
    "models": 1,
    "results": 1,
    "runs": 1,
    "tasks": 1,
    "objective": 2,
    "curvature": 3,
    "generalization": 3,
    "landscape": 3,
    "subjects": 3,
    "training": 3,
    "analysis": 6,
    "checkpoints": 3,
    "critical": 4,
    "experiments": 5,
    "report": 6,
    "sweeps": 6,
    "integrations": 6,
    "viewer": 7,
    "cli": 8,
    "__main__": 8,
}
"""A package imports packages of its own rank or lower."""

DRAWS = {"experiments", "report", "sweeps", "viewer", "cli"}  # who may use a plotting library
PLOTS = DRAWS | {"analysis", "critical", "results", "runs", "curvature", "generalization", "landscape"}
PLOTTING = {"matplotlib", "plotly"}
SLOW = ("matplotlib", "plotly", "sklearn")  # seconds each, if imported
MAX_LINES = 350
MAX_INSIDE = 101  # imports inside functions; lower it with the number of them, towards 80


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and whether importing the file is enough to import it."""

    package: str
    place: str
    module: str
    eager: bool

    @property
    def root(self) -> str:
        return self.module.split(".")[0]

    @property
    def part(self) -> str:
        """The package of thalweg that is imported; empty for thalweg itself and for other libraries."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "thalweg" and len(parts) > 1 else ""


def imports(tree: ast.Module, package: str, place: str) -> Iterator[Import]:
    def visit(node: ast.AST, eager: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            where = f"{place}:{getattr(child, 'lineno', 0)}"
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(package, where, alias.name, eager)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:  # `from thalweg import runs` imports thalweg.runs
                    yield Import(package, where, f"{child.module}.{alias.name}", eager)
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from visit(child, eager and not typing_only and not isinstance(child, ast.FunctionDef))

    yield from visit(tree, True)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE)
        if place.parts[0] != "__init__.py":  # the public names come from everywhere, lazily
            found += imports(ast.parse(path.read_text()), place.parts[0].removesuffix(".py"), str(place))
    return found


def faults(found: list[Import]) -> list[str]:
    """Every import that breaks a rule, as a sentence."""
    broken = []
    for item in found:
        if item.part in RANK and RANK[item.part] > RANK[item.package]:
            broken.append(f"{item.place}: {item.package} must not import {item.module}, which lies above it")
        if item.part == "figures" and item.package != "figures" and item.package not in PLOTS:
            broken.append(f"{item.place}: {item.package} must not know thalweg.figures")
        if item.package == "figures" and item.root == "torch":
            broken.append(f"{item.place}: figures must not import torch")
        if item.root in PLOTTING and item.package not in DRAWS | {"figures"}:
            broken.append(f"{item.place}: {item.package} must not import the plotting library {item.root}")
        slow = any(f"{item.module}.".startswith(f"{name}.") for name in SLOW)
        if slow and item.eager and "figures/matplotlib/" not in item.place:  # nobody imports that renderer eagerly
            broken.append(f"{item.place}: {item.module} must be imported inside the function that uses it")
        if item.root in {"pickle", "dill", "cloudpickle"} and item.package != "tasks":
            broken.append(f"{item.place}: pickles are neither read nor written")
    return broken


def modules(source: Path) -> dict[str, Path]:
    """Every module below a folder: its dotted name, and its file."""
    named = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def file_graph(source: Path) -> dict[str, set[str]]:
    """Module -> modules that it imports, anywhere in its file and for typing too.

    A name that a package hands on counts as an import of the module that defines it; what a package imports for typing
    is what it hands on (lazily), and no import of its own.
    """
    files = modules(source)
    trees = {name: ast.parse(path.read_text()) for name, path in files.items()}
    handed: dict[tuple[str, str], tuple[str, str]] = {}
    for name, path in files.items():
        for node in ast.walk(trees[name]) if path.name == "__init__.py" else ():
            if isinstance(node, ast.ImportFrom) and node.module in files:
                handed |= {(name, one.asname or one.name): (node.module, one.name) for one in node.names}

    def home(module: str, name: str) -> str:
        while handed.get((module, name), (module, name)) != (module, name):
            module, name = handed[module, name]
        return f"{module}.{name}" if f"{module}.{name}" in files else module

    def imported(node: ast.AST, package: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if package and isinstance(child, ast.If):
                continue
            if isinstance(child, ast.Import):
                yield from (one.name for one in child.names if one.name in files)
            elif isinstance(child, ast.ImportFrom) and child.module in files:
                yield from (home(child.module, one.name) for one in child.names)
            yield from imported(child, package)

    return {name: {*imported(trees[name], path.name == "__init__.py")} - {name} for name, path in files.items()}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one node: each can be reached from each other one."""

    def reached(start: str) -> set[str]:
        seen, left = set(), [start]
        while left:
            new = graph[left.pop()] - seen
            seen |= new
            left += new
        return seen

    reach = {node: reached(node) for node in graph}
    components = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph}
    return sorted(map(set, components - {frozenset()}), key=sorted)


def test_what_is_imported_of_ours_exists() -> None:
    known = modules(SOURCE).keys()
    wanted = {
        (str(path.relative_to(SOURCE)), node.module)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "thalweg"
    }
    assert len(wanted) > 1000
    assert [(place, module) for place, module in sorted(wanted) if module not in known] == []


def test_no_circle_of_files() -> None:
    graph = file_graph(SOURCE)
    assert len(graph) > 250  # the files were found
    assert circles(graph) == []


def test_circles_are_found(tmp_path: Path) -> None:
    package = tmp_path / "p"
    package.mkdir()
    texts = {
        "__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A",
        "a": "def f():\n    from p.b import B",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import A",
        "c": "from p import a, b",
        "d": "import p.e",
        "e": "import p.f",
        "f": "from p import c, d",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    assert circles(file_graph(package)) == [{"p.a", "p.b"}, {"p.d", "p.e", "p.f"}]


def test_every_package_has_a_rank() -> None:
    packages = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert packages - {"__init__"} <= RANK.keys()


def test_imports_run_downwards() -> None:
    assert faults(all_imports()) == []


def test_no_cycle_between_packages() -> None:
    edges = {(item.package, item.part) for item in all_imports() if item.part in RANK and item.part != item.package}
    left = {package for edge in edges for package in edge}
    while free := {package for package in left if not any(a == package and b in left for a, b in edges)}:
        left -= free
    assert left == set()


@pytest.mark.parametrize(
    ("package", "source", "words"),
    [
        ("curvature", "from thalweg.experiments import find", "lies above"),
        ("experiments", "def f():\n    from thalweg import cli", "lies above"),
        ("sweeps", "def f():\n    from thalweg.viewer import serve", "lies above"),
        ("landscape", "def f():\n    import matplotlib.pyplot", "plotting library"),
        ("objective", "from thalweg.figures import Figure", "must not know"),
        ("figures", "def f():\n    import torch", "must not import torch"),
        ("landscape", "import sklearn.manifold", "inside the function"),
        ("runs", "import pickle", "pickles"),
    ],
)
def test_the_check_finds(package: str, source: str, words: str) -> None:
    (fault,) = faults(list(imports(ast.parse(source), package, f"{package}/x.py")))
    assert words in fault


def test_modules_are_one_concept_long() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def lazy_tables() -> dict[Path, dict[str, str]]:
    """The table of every package that calls `lazy(__name__, {...})`: module -> names."""
    return {
        path: ast.literal_eval(node.args[1])
        for path in SOURCE.rglob("__init__.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy"
    }


def test_lazy_names_are_no_modules() -> None:
    """Importing the module `runs/export.py` would put the module in the place of the lazy function `runs.export`."""
    tables = lazy_tables()
    assert len(tables) >= 4
    names = [
        (path, name)
        for path, table in tables.items()
        for module, names in table.items()
        for name in names.split()
        if name != module  # the module itself
    ]
    assert len(names) > 20
    assert [(path, name) for path, name in names if (path.parent / f"{name}.py").exists()] == []


def test_imports_stand_at_the_top() -> None:
    """Inside functions stand imports of slow libraries, of extras, and what knows torch below quick commands."""
    inside: dict[str, int] = {}
    for path in SOURCE.rglob("*.py"):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        found = {(child.lineno, child.col_offset) for one in functions for child in ast.walk(one) if is_import(child)}
        inside[str(path.relative_to(SOURCE))] = len(found)
    assert sum(inside.values()) <= MAX_INSIDE, {name: count for name, count in inside.items() if count}


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_importing_thalweg_imports_no_torch() -> None:
    code = "import sys, thalweg; dir(thalweg); print('torch' in sys.modules, 'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
