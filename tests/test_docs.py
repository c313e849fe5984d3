"""What the pages tell a reader to type works: every block of Python runs, every command is understood."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages say a reader has: mine.py, checkpoints of its network, and the files of settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    for file, page in (("my.toml", "configuration.md"), ("sweep.toml", "sweeps.md")):
        Path(file).write_text("\n".join(blocks(ROOT / "docs" / page, "toml")))
    code = next(block for block in blocks(ROOT / "docs" / "own-model.md", "python"))
    Path("mine.py").write_text(code)
    names: dict[str, Any] = {}
    exec(compile(code, "mine.py", "exec"), names)  # noqa: S102 -- our own page
    Path("checkpoints").mkdir()
    for file in ("checkpoints/1.pt", "checkpoints/2.pt", "first.pt", "last.pt"):
        torch.save(names["Net"]().state_dict(), file)
    return tmp_path


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(page.read_text()) if name == language]


def commands() -> list[tuple[str, str]]:
    """Every ``thalweg`` command on any page."""
    return [
        (page.name, line.removeprefix("$ ").partition("  #")[0].strip())
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ thalweg ")
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.analysis.planning.KEPT", 0.005)  # an analysis of ten minutes takes three seconds
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 -- our own pages
    assert names


def test_wrong_numbers_are_wrong_and_right_ones_right() -> None:
    """The page says in a comment what each block gives."""
    names: dict[str, Any] = {}
    compared = 0
    for block in blocks(ROOT / "docs" / "ten-ways-to-get-it-wrong.md", "python"):
        exec(compile(block, "ten-ways", "exec"), names)  # noqa: S102 -- our own page
        last, _, said = block.rstrip().rpartition("\n")[2].partition("  # ")
        if last.startswith("wrong, right"):
            wrong, right = names["wrong"], names["right"]
            assert wrong != right, last
            if said:
                np.testing.assert_allclose(
                    np.hstack([wrong, right]), np.hstack(ast.literal_eval(f"({said})")), rtol=0.02
                )
            compared += 1
    assert compared == 10


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_are_understood(
    page: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings are read and checked; nothing is computed or fetched."""
    begun: list[str] = []
    monkeypatch.setattr("thalweg.experiments.framework.execution.start", lambda name, *_, **__: begun.append(name))
    monkeypatch.setattr("thalweg.cli.running.finish", lambda *_: None)
    monkeypatch.setattr("thalweg.cli.checkpointing.finish", lambda *_: None)
    monkeypatch.setattr("thalweg.cli.sweeping.finish", lambda plan, *_: begun.append(plan.experiment))
    monkeypatch.setattr("thalweg.tasks.fetch", begun.append)
    monkeypatch.setattr("thalweg.viewer.serve", lambda *_, **__: None)
    code = cli.main(shlex.split(command)[1:])
    sentence = capsys.readouterr().err
    if "RUN" in command or "0123456789" in command:  # stands for a run of the reader
        assert "there is no run" in sentence
    else:
        assert (code, sentence) == (0, "")
    if (" run " in command or " sweep " in command) and "--help" not in command:
        assert begun == [shlex.split(command)[2]]


def test_the_folder_of_a_run_is_what_the_page_says(
    extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "runs.md"
    (listing,) = blocks(page, "text")
    named = {name.rstrip("/,") for line in listing.splitlines()[1:] for name in line[:25].split()}
    assert cli.main(["run", "ladder", "--preset", "tiny"]) == 0
    (run,) = Path("runs").iterdir()
    assert {path.name for path in run.iterdir()} == named - {"exports"}
    assert cli.main(["export", run.name, "--to", "csv"]) == 0
    assert (run / "exports").is_dir()
    assert {path.suffix for path in (run / "figures").iterdir()} == {".png", ".svg", ".json"}

    # Its Python is not run by itself, for it opens a run of the reader.
    (code,) = re.findall(
        r"^```{code-block} python\n:class: no-run\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    code = code.replace("trajectory-0123456789", run.name)
    names: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), names)  # noqa: S102 -- our own page
    assert names["run"].load("findings")["numbers"]


def test_links_and_pictures_work_in_the_repository() -> None:
    root = Path(__file__).parents[1]
    for page in [root / "README.md", *(root / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert "[](" not in text, f"a link without words in {page.name}"
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
            assert picture.startswith("http") or (page.parent / picture).is_file(), f"{picture} in {page.name}"
