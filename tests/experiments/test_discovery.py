"""What counts as an experiment, and what is said about a file that is none."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import thalweg.experiments
from thalweg.errors import InputError
from thalweg.experiments import Experiment, discover, execute, find, override
from thalweg.experiments.framework.execution import load_findings

GOOD = '"""Count.\n\nMore."""\nfrom thalweg.experiments import ExperimentConfig\n'
TWO = "PRESETS = {'tiny': Config(), 'quick': Config()}\n"
MEASURED = """from thalweg.experiments.my_tide import measure
def run(config, run):
    return Findings(statements=("High.",), numbers={"high": measure.run(config)})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(tmp_path)])
    return tmp_path


def test_a_file_with_run_is_an_experiment(folder: Path) -> None:
    (folder / "my_own.py").write_text('"""My own.\n\nMore."""\ndef run(config, run): ...\n')
    (folder / "helper.py").write_text('"""Helps."""\ndef helps(): ...\n')
    (folder / "_private.py").write_text('"""Private."""\ndef run(): ...\n')
    found = discover()
    assert found["my-own"].summary == "My own."
    assert not {"helper", "private", "-private", "execution", "discovery"} & found.keys()


def test_a_folder_is_an_experiment(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = folder / "my_tide"
    own.mkdir()
    (own / "config.py").write_text(f"{GOOD}class Config(ExperimentConfig):\n    high: int = 2\n{TWO}")
    (own / "measure.py").write_text('"""Measures."""\ndef run(config): return config.high\n')
    (own / "experiment.py").write_text(f'"""Tide.\n\nMore."""\nfrom thalweg.experiments import Findings\n{MEASURED}')
    found = find("my-tide")
    assert (found.summary, found.path, found.config.__name__, list(found.presets)) == (
        "Tide.",
        own / "experiment.py",
        "Config",
        ["tiny", "quick"],
    )
    assert "thalweg.experiments.my_tide.experiment" not in sys.modules  # its settings need only config.py
    run = execute("my-tide", override(found.preset("tiny"), {"high": "7"}), tmp_path_factory.mktemp("runs"))
    assert load_findings(run).numbers == {"high": 7}
    assert "measure" not in discover()


def test_a_folder_without_settings(folder: Path) -> None:
    (folder / "no_config").mkdir()
    (folder / "no_config" / "experiment.py").write_text('"""Tide."""\ndef run(config, run): ...\n')
    with pytest.raises(InputError, match=r"experiment 'no-config' must have a file .*no_config/config\.py"):
        _ = find("no-config").config


def test_discovery_imports_nothing(folder: Path) -> None:
    (folder / "explosive.py").write_text('"""Explodes."""\nraise RuntimeError\ndef run(config, run): ...\n')
    assert find("explosive").summary == "Explodes."


def test_environment_variable_names_folders(folder: Path) -> None:
    (folder / "my_own.py").write_text('"""My own."""\ndef run(config, run): ...\n')
    code = "import sys; from thalweg.experiments import find; print(find('my-own').summary, 'torch' in sys.modules)"
    environment = {"THALWEG_EXPERIMENTS": str(folder)}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert shown.stdout.strip() == "My own. False"


def test_unknown_name_offers_the_nearest(ladder: Experiment) -> None:
    with pytest.raises(InputError, match=r"^unknown experiment 'lader', did you mean 'ladder'\?$"):
        find("lader")


def test_unknown_preset_offers_the_nearest(ladder: Experiment) -> None:
    with pytest.raises(InputError, match=r"^unknown preset 'quik' of ladder, did you mean 'quick'\?$"):
        ladder.preset("quik")
    with pytest.raises(InputError, match=r"unknown preset 'zzz' of ladder; it has tiny, quick$"):
        ladder.preset("zzz")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def run(config, run): ...\n", "must begin with a docstring"),
        ('"""Broken."""\ndef run(:\n', "is no Python file: .* in line 2"),
    ],
)
def test_files_that_cannot_be_listed(folder: Path, source: str, message: str) -> None:
    (folder / "bad.py").write_text(source)
    with pytest.raises(InputError, match=message):
        discover()


@pytest.mark.parametrize(
    ("name", "rest", "message"),
    [
        ("bad_a", "PRESETS = {}", "must define a class Config"),
        ("bad_b", "class Config(ExperimentConfig): ...\nPRESETS = {'tiny': Config()}", "'tiny' and 'quick'"),
        (
            "bad_c",
            "class Config(ExperimentConfig): ...\nPRESETS = {'tiny': Config(), 'quick': 1}",
            "preset 'quick' of experiment 'bad-c' must be a Config, found 1",
        ),
    ],
)
def test_files_that_lack_a_part(folder: Path, name: str, rest: str, message: str) -> None:
    (folder / f"{name}.py").write_text(f"{GOOD}{rest}\ndef run(config, run): ...\n")
    with pytest.raises(InputError, match=message):
        _ = find(name.replace("_", "-")).settings


def test_two_files_of_one_name(folder: Path, extra: Path) -> None:
    (folder / "ladder.py").write_text('"""Another."""\ndef run(config, run): ...\n')
    with pytest.raises(InputError, match="experiment 'ladder' is defined twice"):
        discover()


def test_folder_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thalweg.experiments, "__path__", ["/no/such/folder"])
    with pytest.raises(InputError, match="THALWEG_EXPERIMENTS must name folders, found /no/such/folder"):
        discover()


def test_in_many_threads() -> None:
    """As in a worker that does several tasks at a time; Python's own parser fails at that."""
    with ThreadPoolExecutor(8) as executor:
        found = [future.result() for future in [executor.submit(discover) for _ in range(40)]]
    assert all(one.keys() == found[0].keys() for one in found)
