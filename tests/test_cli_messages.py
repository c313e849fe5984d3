"""Whatever a user typed, and whatever a file is called: the terminal shows one line of bounded length, and no more."""

from __future__ import annotations

import ast
import io
import logging
import shutil
import unicodedata
from pathlib import Path

import pytest

from thalweg import cli, progress
from thalweg.cli.common import watched
from thalweg.cli.printing import WIDEST, complain, say
from thalweg.errors import LONGEST, brief, one_line
from thalweg.experiments import Experiment, execute

STEERING = {
    "colour": "\x1b[31mred\x1b[0m",
    "title of the window": "\x1b]0;owned\x07",
    "C1 control": "a\x9b2Jb",
    "several lines": "first\nsecond\r\nthird",
    "line separator": "first\u2028second\u2029third",
    "bell, backspace and tab": "a\x07\x08\x08\tb",
    "right to left": "a\u202egpj.exe",
    "isolate": "a\u2066b\u2069c",
    "invisible": "a\u200b\ufeffb",
    "undecodable": "a\udcffb",
}
HUGE = {"long": "x" * 100_000, "long and steering": "\x1b" * 50_000}


def check(shown: str, most: int = LONGEST + 20) -> None:
    """One line, without a character that does anything."""
    assert shown.endswith("\n")
    line = shown[:-1]
    assert len(line) <= most
    assert {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()


@pytest.mark.parametrize("text", [*STEERING.values(), *HUGE.values()], ids=[*STEERING, *HUGE])
@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["run", "{}"],
        ["run", "ladder", "{}"],
        ["run", "ladder", "--preset", "{}"],
        ["run", "ladder", "--{}", "3"],
        ["run", "ladder", "--descent.rate", "{}"],
        ["run", "ladder", "--steps", "{}"],
        ["run", "ladder", "--device", "{}"],
        ["run", "ladder", "--config", "{}"],
        ["sweep", "ladder", "--sweep", "{}"],
        ["sweep", "ladder", "--sweep", "{}=0..1"],
        ["sweep", "ladder", "--sweep", "seed={}"],
        ["sweep", "ladder", "--workers", "{}"],
        ["resume", "{}"],
        ["report", "{}"],
        ["export", "{}", "--to", "csv"],
        ["export", "some", "--to", "{}"],
        ["data", "fetch", "{}"],
        ["view", "--port", "{}"],
    ],
    ids=" ".join,
)
def test_bad_arguments(
    arguments: list[str], text: str, extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main([argument.replace("{}", text) for argument in arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("thalweg: ")
    check(error)
    assert list(tmp_path.iterdir()) == []  # a refused command leaves nothing behind


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
def test_files_and_what_is_in_them(text: str, extra: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / f"{text.replace('/', '-')}.toml"
    settings.write_text('[descent]\nrate = "fast"\n')
    assert cli.main(["run", "ladder", "--config", str(settings), "--root", str(tmp_path / "runs")]) == 2
    check(capsys.readouterr().err)
    quoted = "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "" for c in text)
    settings.write_text(f'device = "{quoted}"\n')
    assert cli.main(["run", "ladder", "--config", str(settings), "--root", str(tmp_path / "runs")]) == 2
    check(capsys.readouterr().err)


def test_toml_that_breaks_the_reader(extra: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "settings.toml"
    for text in ("steps = " + "[" * 5000, "steps = " + "1" * 5000, "steps = \x00", "x = 1\nx = 2"):
        settings.write_text(text)
        assert cli.main(["run", "ladder", "--config", str(settings), "--root", str(tmp_path / "runs")]) == 2
        error = capsys.readouterr().err
        check(error)
        assert "is no TOML file" in error


def test_folders_and_lines_of_output(ladder: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "bad\x1b]0;t\x07\nroot\u202e"
    run = execute("ladder", ladder.preset("tiny"), root)
    shutil.copytree(run.path, root / "[bold]ladder\x1b[31m\nx")
    for arguments in (["run", "ladder", "--preset", "tiny"], ["export", run.name, "--to", "csv"], ["report", run.name]):
        assert cli.main([*arguments, "--root", str(root)]) == 0
        out, error = capsys.readouterr()
        for line in (out + error).splitlines(keepends=True):
            check(line, WIDEST)
        assert r"bad\x1b]0;t\x07\nroot\u202e" in out
    assert cli.main(["runs", "--root", str(root)]) == 0
    shown = capsys.readouterr().out
    assert r"[bold]ladder\x1b[31m\nx" in shown  # brackets are no markup
    assert len(shown.strip().splitlines()) == 4  # heading, rule, two runs
    for line in shown.splitlines(keepends=True):
        check(line, WIDEST)


def test_an_ordinary_path_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/".join(["folder"] * 580)  # as long as a path can be
    say(f"report: {path}")
    complain("Überraschung: ∇L = 0, 1 000 réplicas, 学习")
    out, error = capsys.readouterr()
    assert out == f"report: {path}\n"
    assert error == "Überraschung: ∇L = 0, 1 000 réplicas, 学习\n"


def test_log_lines_and_labels_of_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with watched():
        logging.getLogger("thalweg").info("layer %s\n%s", STEERING["colour"], "x" * 10_000)
    check(capsys.readouterr().err)
    stream = io.StringIO()
    with progress.shown(stream, seconds=0), progress.track(f"walks, layer {'a' * 500}\n\x1b[31m", total=2) as advance:
        advance(1)
    check(stream.getvalue(), 160)


def test_nothing_is_printed_beside_the_one_place() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printed = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        assert not printed or path.name == "printing.py", path


@pytest.mark.parametrize("most", [10, 57, LONGEST])
@pytest.mark.parametrize("text", ["", "short", "a" * 10_000, "\x00" * 10_000, "é" * 58, "\n".join("abc" * 300)])
def test_one_line_is_bounded_and_keeps_both_ends(text: str, most: int) -> None:
    shown = one_line(text, most)
    assert len(shown) <= most
    assert shown.isprintable()
    if len(text) > most:
        assert " … " in shown
        assert shown[:2] == text.encode("unicode_escape").decode()[:2] or text[0] in "éa"
    elif text.isprintable():
        assert shown == text


def test_brief_quotes_what_has_no_digits_to_print() -> None:
    assert brief(10**5000) == "a number of thousands of digits"
    assert len(brief({"key": "value" * 1000})) == 120
