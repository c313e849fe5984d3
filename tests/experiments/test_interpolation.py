"""The experiment `interpolation`: its curves against plain PyTorch, its variants, the traps it must not fall into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from thalweg import tasks
from thalweg.errors import InputError
from thalweg.experiments import Findings, execute, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.interpolation.config import PRESETS, Config
from thalweg.figures import ErrorBars, Figure, Line
from thalweg.landscape import with_ends
from thalweg.models import ModelConfig, build
from thalweg.objective import ParameterLayout
from thalweg.runs import Run
from thalweg.training.recipe import Recipe

TINY = PRESETS["tiny"]
BARE = {"align": False, "bends": 0, "training.epochs": 3}


def done(config: Config, root: Path) -> tuple[Run, Findings]:
    run = execute("interpolation", config, root)
    return run, load_findings(run)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Findings]:
    return done(TINY, tmp_path_factory.mktemp("tiny"))


def figure(found: Findings, name: str) -> Figure:
    return next(one for one in found.figures if one.name == name)


def drawn(panel: object) -> dict[str, Line]:
    return {mark.label: mark for mark in panel.marks if isinstance(mark, Line)}


def test_curves_are_those_of_plain_pytorch(tiny: tuple[Run, Findings]) -> None:
    """α = 0 is the first network; the median over the pairs is drawn."""
    run, found = tiny
    task = tasks.load(TINY.data, torch.float32)
    model = build(TINY.model, task.input_shape, task.outputs)
    layout = ParameterLayout.of(model)
    first, second = (run.recording(f"batch-size-{side}").snapshots[-1] for side in (1, 2))
    (panel,) = figure(found, "interpolation").panels
    curves = drawn(panel)
    alphas = with_ends(-1, 2, 13).tolist()
    assert curves["training loss"].x.tolist() == alphas
    for data, (x, y) in (("training", task.train), ("test", task.test)):
        losses, scores = np.empty((13, 2)), np.empty((13, 2))
        for i, alpha in enumerate(alphas):
            for r in range(2):
                theta = (1 - alpha) * first[r] + alpha * second[r]
                output = torch.func.functional_call(model, layout.unravel(theta), (x,))
                losses[i, r] = float(F.cross_entropy(output, y))
                scores[i, r] = float((output.argmax(1) == y).float().mean())
        np.testing.assert_allclose(curves[f"{data} loss"].y, np.median(losses, axis=1), rtol=1e-4)
        np.testing.assert_allclose(curves[f"{data} accuracy"].y, np.median(scores, axis=1), atol=0.011)


def test_ends_are_the_networks_bit_for_bit(tiny: tuple[Run, Findings]) -> None:
    """Nothing was moved, lost or exchanged on the way: the losses are those recorded at the end of training."""
    run, found = tiny
    line = run.load("batch-size-line")
    for side, place in ((1, 4), (2, 8)):
        last = run.recording(f"batch-size-{side}").metrics.sort("step", "replica").tail(2)
        for data in ("train", "test"):
            recorded = last[f"{data}_loss"].to_numpy()
            assert np.array_equal(line.values(data)[place].astype(recorded.dtype), recorded)
    aligned, curve = (run.load(f"batch-size-{name}") for name in ("aligned", "curve"))
    for way, ends in ((aligned, (0, -1)), (curve, (0, -1))):
        for end, place in zip(ends, (4, 8), strict=True):
            expected = line.values("train")[place]
            np.testing.assert_allclose(way.values("train")[end], expected, rtol=1e-5)
    assert found.numbers["batch_size_train_loss_first"] == pytest.approx(float(np.median(line.values("train")[4])))


def test_what_is_said_is_what_was_measured(tiny: tuple[Run, Findings]) -> None:
    run, found = tiny
    heights = run.load("batch-size-line").barrier("height")
    assert found.numbers["batch_size_line_train_barrier"] == pytest.approx(float(np.median(heights)))
    assert [row["barrier, straight line"] for row in found.tables["Pairs"]] == pytest.approx(heights.tolist())
    assert [row["pair"] for row in found.tables["Pairs"]] == [1, 2]
    told = str(found.tables)
    for words in ("batches of 20", "batches of 100", "'matching': 'weights'", "Bézier curve", "'bends': 1"):
        assert words in told
    assert len(found.statements) <= 6
    bars = [mark for mark in figure(found, "barriers").panels[0].marks if isinstance(mark, ErrorBars)]
    error = run.load("batch-size-line").barrier("error")
    np.testing.assert_allclose(bars[0].high - bars[0].y, 2 * error, atol=1e-12)
    np.testing.assert_allclose(bars[0].y, heights)


def test_the_networks_of_a_pair_share_nothing_random(tiny: tuple[Run, Findings]) -> None:
    run, _ = tiny
    starts = torch.cat([run.recording(f"batch-size-{side}").snapshots[0] for side in (1, 2)])
    assert torch.cdist(starts, starts).add(torch.eye(4) * 9).min() > 1


def test_a_shared_start_shares_the_start_only(tmp_path: Path) -> None:
    config = override(TINY, {**BARE, "start": "shared", "batch_sizes": (20, 20)})
    run, found = done(config, tmp_path)
    first, second = (run.recording(f"batch-size-{side}") for side in (1, 2))
    assert torch.equal(first.snapshots[0], second.snapshots[0])
    assert not torch.allclose(first.snapshots[-1], second.snapshots[-1], atol=1e-4)
    (panel,) = figure(found, "interpolation").panels
    assert "batch 20 (first)" in panel.title
    assert "batch 20 (second)" in panel.title
    assert [one.name for one in found.figures] == ["interpolation"]


def test_a_solution_in_both_comparisons_is_trained_once(tmp_path: Path) -> None:
    run, found = done(override(TINY, {**BARE, "learning_rates": (1e-3, 1e-2)}), tmp_path)
    assert run.recordings == ["batch-size-1", "batch-size-2", "learning-rate-2"]
    assert len(figure(found, "interpolation").panels) == 2
    lines = [run.load(f"{name}-line") for name in ("batch-size", "learning-rate")]
    zeros = [line.values("train")[4] for line in lines]
    assert np.array_equal(zeros[0], zeros[1])


def test_statistics_of_batch_normalisation(tmp_path: Path) -> None:
    """Recomputed at every place, also after alignment; with those of the first network the second one is ruined."""
    small = {"kind": "cnn", "channels": (4,), "hidden": (8,), "batchnorm": True}
    values = {f"model.{key}": value for key, value in small.items()} | {"training.epochs": 15, "training.lr": 1e-2}
    base = Config(**{**dict(TINY), "model": ModelConfig(**small)})
    run, found = done(override(base, values), tmp_path)
    assert any("statistics recomputed on the training data at every α" in sentence for sentence in found.statements)
    line, aligned, curve = (run.load(f"batch-size-{name}") for name in ("line", "aligned", "curve"))
    loss = line.values("train")
    for way in (aligned, curve):
        np.testing.assert_allclose(way.values("train")[[0, -1]], loss[[4, 8]], rtol=1e-4)
    last = run.recording("batch-size-2").metrics.sort("step", "replica").tail(2)["train_loss"].to_numpy()
    other, _ = done(override(base, {**values, "batchnorm": "last", "align": False, "bends": 0}), tmp_path)
    kept = other.load("batch-size-line").values("train")
    np.testing.assert_allclose(kept[8], last, rtol=1e-5)  # its own statistics: as recorded in training
    assert bool((kept[4] > 1.5 * loss[4]).all())  # those of another network


def test_values_instead_of_classes(tmp_path: Path) -> None:
    config = Config(
        replicas=2,
        data=tasks.TaskConfig(name="function", points=64),
        model=ModelConfig(hidden=(8,)),
        training=Recipe(lr=1e-2, epochs=20, batch_size=16),
        batch_sizes=(16, 64),
        learning_rates=(),
        points=13,
        curve="polygon",
        bends=2,
        matching="activations",
        curve_training=Recipe(lr=1e-2, steps=40, batch_size=16),
    )
    _, found = done(config, tmp_path)
    (panel,) = figure(found, "interpolation").panels
    assert panel.right is None
    assert set(drawn(panel)) == {"training loss"}
    told = str(found.tables["Ways"])
    for words in ("polygonal chain", "'bends': 2", "'matching': 'activations'"):
        assert words in told


def test_no_pair_left(tmp_path: Path) -> None:
    config = override(TINY, {"training.optimizer": "sgd", "training.lr": 1e30, "training.epochs": 2})
    _, found = done(config, tmp_path)
    assert found.figures == ()
    assert sum("diverged" in warning for warning in found.warnings) == 4
    assert any("no pair of networks was completed" in sentence for sentence in found.statements)


def test_a_network_that_cannot_be_aligned_is_told_before_training(tmp_path: Path) -> None:
    residual = Config(**{**dict(TINY), "model": ModelConfig(kind="resnet", channels=(4,))})
    with pytest.raises(InputError, match=r"align must be false for this network: alignment understands plain chains"):
        done(residual, tmp_path)
    run, found = done(override(residual, {"align": False, "bends": 0, "training.epochs": 1}), tmp_path / "other")
    assert run.state == "complete"
    assert "aligned" not in " ".join(found.numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_sizes": (64,)}, "batch_sizes must be none or two, found"),
        ({"learning_rates": (0.1, 0.2, 0.3)}, "learning_rates must be none or two, found"),
        ({"learning_rates": (0.1, -0.2)}, "learning_rates must be positive, found"),
        ({"batch_sizes": (), "learning_rates": ()}, "batch_sizes or learning_rates must be two values"),
        ({"low": 0.5}, "low"),
        ({"points": 3}, "points"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**{**dict(TINY), **change})


@pytest.mark.slow
def test_quick_shows_two_valleys_and_both_ways_around(tmp_path: Path) -> None:
    """Measured: barriers 0.9 and 0.7, of which alignment leaves a twenty-fifth and the curve next to nothing."""
    _, found = done(PRESETS["quick"], tmp_path)
    for name in ("batch_size", "learning_rate"):
        height = found.numbers[f"{name}_line_train_barrier"]
        assert height > 0.4
        assert height > 10 * found.numbers[f"{name}_line_train_error"]
        assert found.numbers[f"{name}_aligned_train_barrier"] < 0.2 * height
        assert found.numbers[f"{name}_curve_train_barrier"] < 0.05 * height
    assert found.numbers["batch_size_width_first"] > found.numbers["batch_size_width_second"]
