"""How long a run will take: said before it begins, cheap, and no number of the run notices."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

from thalweg import cli
from thalweg.experiments import discover, execute, find
from thalweg.experiments.framework.costs import costs
from thalweg.experiments.framework.durations import MINUTES
from thalweg.experiments.framework.estimates import estimate, faster, time_words
from thalweg.experiments.framework.execution import compute, load_findings, start
from thalweg.experiments.framework.stages import Other, Training
from thalweg.runs import Run
from thalweg.training.loop import _Training


@pytest.mark.parametrize("name", discover())
def test_every_experiment_tells_its_parts_by_the_names_that_it_keeps(name: str, tmp_path: Path) -> None:
    config = find(name).preset("tiny")
    found = estimate(config)
    assert found.known
    assert all(seconds >= 0 for seconds in found.left.values())
    assert found.seconds > 0
    run = execute(name, config, tmp_path)
    trainings = {stage.name for stage in config.stages() if isinstance(stage, Training)}
    assert set(run.recordings) <= trainings
    assert not any(recorded in estimate(config, run).left for recorded in run.recordings)  # nothing of them is left


@pytest.mark.parametrize("name", ["trajectory", "zero-gradient", "image-fit"])
def test_no_number_of_the_run_changes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = find(name).preset("tiny")
    alone = execute(name, config, tmp_path / "alone")
    before = torch.random.get_rng_state()
    estimate(config)
    assert torch.equal(before, torch.random.get_rng_state())
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", name, "--preset", "tiny"]) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert load_findings(Run.open(path)) == load_findings(alone)


def test_a_training_costs_what_it_takes() -> None:
    """Within a factor of four, for a machine may be busy with something else in either of the two times."""
    config = find("trajectory").preset("tiny")
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 100})})
    (cost,) = costs(config.stages())
    longer = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 1000})})
    (more,) = costs(longer.stages())
    assert 4 < more.seconds / cost.seconds < 25  # ten times as many steps


def test_of_many_similar_networks_few_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr("thalweg.experiments.framework.costs._step", lambda _, config: timed.append(config) or 1e-3)
    found = costs(find("sensitivity").preset("course").stages())
    assert len([cost for cost in found if not cost.name.startswith("measured")]) == 50
    assert len(timed) <= 4


def test_what_is_done_is_not_counted_again(tmp_path: Path) -> None:
    config = find("edge-of-stability").preset("tiny")
    run = start("edge-of-stability", config, tmp_path)
    whole = estimate(config, run)
    assert whole.done == 0
    with run.writing():
        run.save("sharpness-0.5", {"sharpness": torch.zeros(1)})
    rest = estimate(config, run)
    assert "sharpness-0.5" in whole.left
    assert "sharpness-0.5" not in rest.left
    assert rest.done > 0


def test_the_faster_preset_is_named_with_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = find("image-fit")
    monkeypatch.setattr("thalweg.experiments.framework.costs._step", lambda *_: 1e-3)
    monkeypatch.setattr("thalweg.experiments.framework.costs._sample", lambda *_: 1e-7)
    words = faster(experiment, experiment.preset("course"), 720.0)
    assert re.fullmatch(
        r"--preset quick: about \d+ seconds, 20 epochs instead of 100, digits instead of mnist, "
        r"6 networks instead of 2",
        words,
    )
    assert faster(experiment, experiment.preset("quick"), 720.0) == ""
    assert faster(experiment, experiment.preset("course"), 10.0) == ""  # short enough


def test_one_line_before_the_run(
    extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "trajectory", "--preset", "tiny"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("running: ")
    assert re.fullmatch(r"about \d+ seconds?", lines[1])
    assert cli.main(["run", "trajectory", "--preset", "tiny"]) == 0
    assert "about" not in capsys.readouterr().err  # nothing is left to do
    assert cli.main(["run", "ladder", "--preset", "tiny"]) == 0  # an experiment that does not tell its parts
    assert "about" not in capsys.readouterr().err


def test_help_says_how_long_presets_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "image-fit", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"classic ({time_words(60 * MINUTES['image-fit']['classic'])})" in shown
    for name, presets in MINUTES.items():
        assert presets.keys() <= find(name).presets.keys()


def test_estimating_is_cheap() -> None:
    """Counted in steps and passes, as a time would depend on what else the machine does."""
    count = 0

    def counted() -> float:
        nonlocal count
        count += 1
        return 0.0

    costs([Other("a", counted), Other("b", counted)])
    assert count == 2
    began = time.process_time()
    estimate(find("trajectory").preset("tiny"))
    assert time.process_time() - began < 30


def test_an_interrupted_training_is_estimated_and_resumed_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start("trajectory", find("trajectory").preset("tiny"), tmp_path)
    commits = []

    def stop(training: _Training, **_: bool) -> None:
        commits.append(commit(training))
        if len(commits) == 3:
            raise KeyboardInterrupt

    commit = _Training._commit
    with monkeypatch.context() as patch:
        patch.setattr("thalweg.training.loop.COMMIT_SECONDS", -1.0)
        patch.setattr(_Training, "_commit", stop)
        with pytest.raises(KeyboardInterrupt):
            compute(run)
    assert estimate(find("trajectory").preset("tiny"), run).done > 0
    assert cli.main(["resume", str(run.path)]) == 0, capsys.readouterr().err
    assert Run.open(run.path).state == "complete"
