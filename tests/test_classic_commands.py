"""Every command of the table in docs/from-the-exercise.md runs: as it stands, with only its sizes made small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import images, write_idx
from thalweg import cli
from thalweg.experiments import ExperimentConfig, configure, discover, execute, find
from thalweg.experiments.framework.options import read_arguments
from thalweg.report.course import experiments
from thalweg.report.settings import flat
from thalweg.runs import Run

PAGE = Path(__file__).parents[1] / "docs" / "from-the-exercise.md"

# Fields of any depth, by their last name, and the greatest value that a test has time for.
GREATEST = {
    "replicas": 2,
    "batch_size": 30,
    "epochs": 2,
    "steps": 20,
    "norm_steps": 20,
    "minima": 2,
    "saddles": 1,
    "saddle_after": 10,
    "embedded": 1,
    "narrower": 1,
    "neighbours": 12,
    "control_walks": 2,
    "last": 2,
    "offsets": 7,
    "line_points": 9,
    "pairs": 4,
    "box_dimension": 4,
    "trace_products": 6,
    "points": 24,
    "test_points": 24,
    "samples": 60,
}


def table() -> list[tuple[str, str]]:
    """Classic command and our cell of every row."""
    lines = PAGE.read_text(encoding="utf-8").partition("\n## ")[0].splitlines()
    rows = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in lines if line.startswith("| ")]
    return [(row[0].strip(), row[-1].strip()) for row in rows[1:]]


def commands(kind: str) -> list[tuple[str, str]]:
    """Every command of ours of a kind, with the cell that it stands in."""
    return [(found, cell) for _, cell in table() for found in re.findall(rf"`(thalweg {kind} [^`]+)`", cell)]


def small(config: ExperimentConfig) -> dict[str, list[str]]:
    """The sizes of a configuration that are too great for a test, made small; everything else stays."""
    every = flat(config.model_dump())
    changes: dict[str, object] = {}
    for name, found in every.items():
        parent, _, last = name.rpartition(".")
        images = last in ("samples", "test_samples") and f"{parent}.name" in every
        if images:
            if every[f"{parent}.name"] != "function":
                changes[name] = 60 if last == "samples" else 40
        elif last in ("points", "test_points") and every.get(f"{parent}.name", "function") != "function":
            continue  # of a function only
        elif last == "every":
            changes[name] = min(found, 4) if every[f"{parent}.unit"] == "log" else 1
        elif last == "epochs" and found is None and every[f"{parent}.steps"] is None:
            changes[name] = 2
        elif last in GREATEST and isinstance(found, int) and found > GREATEST[last]:
            changes[name] = GREATEST[last]
        elif last == "values":
            changes[name] = (10, 30, 60) if every[f"{parent}vary"] == "training.batch_size" else found[:3]
        elif last == "channels" and found:
            changes[name] = tuple(min(channels, 4) for channels in found)
        elif last == "radii":
            changes[name] = found[:2]
    return {name: list(map(str, v if isinstance(v, tuple) else (v,))) for name, v in changes.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in the layout of the real data sets."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder / "mnist", compressed=False, train=80, test=50)
    pixels = images(130, side=32)[..., None].repeat(3, axis=-1)
    classes = np.arange(130) % 10
    np.savez(folder / "cifar10.npz", x_train=pixels[:80], y_train=classes[:80], x_test=pixels[80:], y_test=classes[80:])
    return folder


@pytest.fixture
def here(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THALWEG_DATA", str(data))
    monkeypatch.setattr("thalweg.figures.matplotlib.render", lambda _: (b"", b"<svg/>"))  # slow, and tested elsewhere
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_classic_command_has_one_of_ours() -> None:
    assert len(table()) >= 22
    for classic, cell in table():
        assert "`thalweg " in cell, classic
    named = {command.split()[2] for command, _ in commands("run")}
    assert set(experiments()) & discover().keys() <= named


@pytest.mark.parametrize("command", dict.fromkeys(command for command, _ in commands("run")))
def test_runs(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, name, *rest = shlex.split(command)
    given = read_arguments(rest)
    fields = {field: text for field, text in given.items() if field != "preset"}
    config = configure(find(name), preset=str(given.get("preset", "quick")), changes=fields)
    given |= small(config)
    arguments = [part for field, text in given.items() for part in (f"--{field}", *_words(text))]
    code = cli.main(["run", name, *arguments])
    out, error = capsys.readouterr()
    assert code == 0, error
    page = Path(out.splitlines()[-1].removeprefix("report: "))
    assert page.is_file()
    run = Run.open(page.parent)
    assert run.state == "complete"
    assert all(entry["status"] == "completed" for part in run.recordings for entry in run.recording(part).status)


def _words(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


@pytest.mark.parametrize(("command", "cell"), commands("report"))
def test_reports(command: str, cell: str, here: Path) -> None:
    named = re.search(r"of `([a-z-]+)`", cell)
    experiment = find(named[1] if named else "gradient-norm")
    runs = iter(
        execute(experiment.name, experiment.preset("tiny").model_copy(update={"seed": seed})).name
        for seed in range(command.count("RUN"))
    )
    arguments = [next(runs) if word == "RUN" else word for word in shlex.split(command)[1:]]
    assert cli.main(arguments) == 0
    (page,) = here.rglob("*.html")
    text = page.read_text(encoding="utf-8")
    assert "All models" in text if command.count("RUN") > 1 else "What was measured" in text
