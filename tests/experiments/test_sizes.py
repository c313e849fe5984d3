"""Sizes that cannot fit are refused with the bytes, before anything is allocated, trained or written."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from thalweg import cli, limits
from thalweg.errors import InputError
from thalweg.experiments import find, override
from thalweg.experiments.framework.execution import start
from thalweg.experiments.shared.sizes import IMAGES, check_precision, named_in, snapshots, trained
from thalweg.models.config import ModelConfig
from thalweg.tasks import TaskConfig, load
from thalweg.training.recipe import Cadence, Recipe

HUGE = {  # arguments of `thalweg run` -> how the sentence begins, and what it must say
    "trajectory --replicas 1000000000": ("replicas must fit in the memory of", "parameters in training: "),
    "trajectory --replicas 1000000": ("replicas must leave few enough points", "164 GB"),
    "trajectory --model.hidden 1000000000,1000000000": ("model.hidden must fit in the memory of", "4e+03 PB"),
    "trajectory --training.epochs 1000000000": ("training.record.every must fit on the disk with", "8.18 TB"),
    "spectrum --model.hidden 1000000000000000000": ("model.hidden must fit in the memory of", "PB"),
    "spectrum --exact-up-to 1000000000 --model.hidden 20000": ("exact_up_to must fit in the memory of", "54 TB"),
    "sharpness --box-dimension 1000000000 --model.hidden 50000": ("box_dimension must fit in the memory of", "TB"),
    "capacity --values 8,1000000000000": ("model.width must fit in the memory of", "296 TB"),
    "capacity --model.depth 1000000000": ("model.depth must be less than or equal to 1000", "found 1000000000"),
    "image-fit --networks 1000000-1000000": ("model.hidden must fit in the memory of", "4 TB"),
    "random-labels --model.hidden None --model.depth 3 --model.width 10000000": ("model.width must fit in the", "TB"),
    "function-fit --data.points 1000000000000": ("data.points must fit in the memory of", "32 TB"),
    "function-fit --data.test_points 10000000000000": ("data.test_points must fit in the memory of", "320 TB"),
    "gradient-norm --second.replicas 1000000000": ("second.replicas must fit in the memory of", "GB"),
    "gradient-norm --first.training.steps 1000000000": ("first.training.record.every must fit on the disk", "GB"),
    "error-surface --points 1000000000": ("points must be less than or equal to 2001", "found 1000000000"),
    "trajectory --control-walks 1000000000": ("control-walks must be less than or equal to 10000", "found 1000000000"),
    "trajectory --training.record.unit log --training.record.every 1000000000": ("training.record.every", "log"),
    "trajectory --l2 1e308": ("l2 must be at most 3.403e+38 in float32", "found 1e+308"),
    "spectrum --training.weight-decay 1e39": ("training.weight_decay must be at most 3.403e+38 in float32", "1e+39"),
    "gradient-norm --second.l2 1e300": ("second.l2 must be at most 3.403e+38", "1e+300"),
    "gradient-norm --first.l2 inf": ("first.l2 must be a finite number", "inf"),
    "error-surface --span 1e308": ("span must be less than or equal to 1000000", "found 1e+308"),
    "sharpness --epsilon 1e308": ("epsilon must be less than or equal to 1000000", "found 1e+308"),
    f"image-fit --networks {'9' * 6000}": ("networks must be widths such as", " … "),
    f"image-fit --budget 100 --networks depth-{'9' * 6000}": ("networks must be widths such as", " … "),
    "trajectory --training.warmup 1000": ("training.warmup must be at most the number of steps (32)", "found 1,000"),
    "trajectory --data.samples 100000": ("data.samples must be at most the 1,437 there are", "found 100,000"),
}  # fmt: skip


@pytest.mark.parametrize("arguments", HUGE)
def test_refused_before_the_run(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 24 * 10**9)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**11})())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name, *rest = arguments.split()
    assert cli.main(["run", name, "--preset", "tiny", *rest, "--root", str(tmp_path / "runs")]) == 2
    begins, says = HUGE[arguments]
    error = capsys.readouterr().err
    assert error.startswith(f"thalweg: {begins}")
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB, imports included


@pytest.mark.parametrize("name", ["digits", "function"])
@pytest.mark.parametrize("target", ["labels", "inputs"])
def test_shapes_are_those_of_the_data(name: str, target: str) -> None:
    if name == "function":
        config = TaskConfig(name=name, points=17, test_points=5)
        task = load(config)
        assert trained(config, ModelConfig(hidden=(3,))) == (3 + 3 + 3 + 1, 17)
    else:
        config = TaskConfig(name=name, target=target)
        task = load(config)
        shape, classes, train, test = IMAGES[name]
        assert (task.input_shape, len(task.train[0]), len(task.test[0])) == (shape, train, test)
        outputs = classes if target == "labels" else 64
        assert task.outputs == outputs
        assert trained(config, ModelConfig(hidden=(3,))) == (64 * 3 + 3 + 3 * outputs + outputs, train)


@pytest.mark.parametrize("unit", ["step", "epoch", "log"])
@pytest.mark.parametrize("every", [1, 3, 7, 1000])
@pytest.mark.parametrize("steps", [1, 10, 333])
def test_snapshots_are_never_more_than_counted(unit: str, every: int, steps: int) -> None:
    recipe = Recipe(steps=steps, batch_size=10, record=Cadence(every=every, unit=unit))
    written = recipe.record.steps(steps, per_epoch=5)
    assert len(written) <= snapshots(recipe, samples=50) <= len(written) + 1 + (unit == "log") * every


def test_a_list_of_every_step_is_that_of_the_formula() -> None:
    """So many points that no step is left out: the short cut gives what rounding every point would."""
    for total in (0, 1, 5, 40):
        gaps = 100_000
        points = sorted({0, total, *(round(total ** (i / gaps)) for i in range(gaps + 1) if total)})
        assert Cadence(every=gaps + 2, unit="log").steps(total, 1) == points


def test_ordinary_sizes_pass(tmp_path: Path) -> None:
    for name in ("trajectory", "spectrum", "capacity", "gradient-norm", "function-fit", "zero-gradient"):
        for preset, config in find(name).presets.items():
            if "cifar" not in preset:  # the networks of the course, on MNIST and functions alike
                config.check_sizes(tmp_path)


def test_the_machine_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = find("trajectory").preset("tiny")  # 3 replicas of 682 parameters: 49 kB in training
    monkeypatch.setattr(limits, "memory", lambda: 48_000)
    with pytest.raises(InputError, match=r"replicas must fit in the memory of 48 kB, found 3 of 682 .*: 49.1 kB"):
        start("trajectory", config, tmp_path)
    monkeypatch.setattr(limits, "memory", lambda: 50_000_000)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 80_000})())
    with pytest.raises(InputError, match=r"record.every must fit on the disk with 80 kB free, found 1: 10 snapshots"):
        start("trajectory", config, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert limits.memory() == 50_000_000


def test_numbers_of_the_precision() -> None:
    check_precision("float64", {"l2": 1e308})
    check_precision("float32", {"l2": 3.4e38, "clip": None, "optimizer": "adam", "steps": 10**50})
    with pytest.raises(InputError, match=r"training.eps must be at most 3.403e\+38 in float32, found 1e\+39"):
        check_precision("float32", {"eps": 1e39}, "training.")
    wide = override(find("trajectory").preset("tiny"), {"dtype": "float64", "l2": 1e308})
    assert wide.l2 == 1e308


def test_sentences_of_a_table_name_their_place() -> None:
    with pytest.raises(InputError, match=r"^data.samples must"), named_in("data", TaskConfig):
        raise InputError("samples must be at most the 5 there are, found 6")
    with pytest.raises(InputError, match=r"^MNIST is"), named_in("data", TaskConfig):
        raise InputError("MNIST is not here")
