"""The experiment `trajectory`: its pictures against numpy, its variants, and the traps it must not fall into."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thalweg import report
from thalweg.errors import InputError
from thalweg.experiments import Findings, execute, find, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.trajectory.config import PRESETS, Config
from thalweg.experiments.trajectory.measure import View, look
from thalweg.figures import Figure, Lines, Scatter, Scatter3D
from thalweg.landscape.path_figures import POINTS
from thalweg.landscape.path_figures import drawn as drawn_of
from thalweg.models import build
from thalweg.objective import Objective
from thalweg.runs import Run

TINY = PRESETS["tiny"]
FAST = {"control_walks": 1, "training.epochs": 4}


def done(config: Config, root: Path) -> tuple[Run, Findings]:
    run = execute("trajectory", config, root)
    return run, load_findings(run)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Findings]:
    return done(TINY, tmp_path_factory.mktemp("tiny"))


def figure(found: Findings, name: str) -> Figure:
    return next(one for one in found.figures if one.name == name)


def drawn(panel: object) -> dict[str, Scatter]:
    """The labelled scatter of every run: all its snapshots."""
    return {mark.label: mark for mark in panel.marks if isinstance(mark, Scatter) and mark.label}


def svd(snapshots: torch.Tensor) -> np.ndarray:
    """Joint principal coordinates (S, R, 2) by numpy, with the documented sign: training moves to the right and up."""
    s, r, _ = snapshots.shape
    rows = snapshots.double().flatten(0, 1).numpy()
    u, values, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    points = (u[:, :2] * values[:2]).reshape(s, r, 2)
    return points * np.sign((points[-1] - points[0]).mean(0))


def test_draws_the_joint_principal_components(tiny: tuple[Run, Findings]) -> None:
    """One frame for all runs; neither one PCA per run nor the raw weights 0 and 1."""
    run, found = tiny
    snapshots = run.snapshots[:]
    layer, whole = figure(found, "pca").panels
    # 64-8-8-10: the first layer has 64 · 8 + 8 parameters
    for panel, columns in ((layer, slice(0, 520)), (whole, slice(None))):
        expected = svd(snapshots[..., columns])
        marks = drawn(panel)
        assert list(marks) == ["run 1", "run 2", "run 3"]
        for replica, mark in enumerate(marks.values()):
            np.testing.assert_allclose(mark.x, expected[:, replica, 0], atol=1e-9)
            np.testing.assert_allclose(mark.y, expected[:, replica, 1], atol=1e-9)
        assert panel.equal is True
    assert "first layer (520 parameters)" in layer.title
    assert "whole model (682 parameters)" in whole.title


def test_axes_say_how_much_they_show_and_the_rest_is_drawn(tiny: tuple[Run, Findings]) -> None:
    run, found = tiny
    rows = run.snapshots[:].double().flatten(0, 1)
    rows = rows - rows.mean(0)
    variance = torch.linalg.svdvals(rows).square()
    share = 100 * (variance / variance.sum())
    axis = figure(found, "pca").panels[1].x.label
    assert axis == f"component 1 ({share[0]:.3g} % of variance)"
    directions = torch.linalg.svd(rows, full_matrices=False).Vh[:2]
    hidden = (rows - rows @ directions.T @ directions).norm(dim=1).unflatten(0, (9, 3))
    torch.testing.assert_close(run.load("projections")["whole_off_plane"], hidden)
    assert found.numbers["whole_explained_2"] == pytest.approx(share[:2].sum().item() / 100)


def test_labels_are_the_recorded_accuracies(tiny: tuple[Run, Findings]) -> None:
    run, found = tiny
    metrics = run.metrics
    last = metrics.filter(metrics["step"] == metrics["step"].max()).sort("replica")["test_accuracy"].to_list()
    texts = [mark.texts[-1] for mark in drawn(figure(found, "pca").panels[1]).values()]
    assert texts == [f"{100 * value:.3g} %" for value in last]
    hover = drawn(figure(found, "tsne").panels[0])["run 2"].hover
    assert len(hover) == 9
    assert all("test accuracy" in text and text.startswith("run 2, epoch") for text in hover)


def test_every_run_has_a_start_of_its_own(tiny: tuple[Run, Findings]) -> None:
    first = tiny[0].snapshots[0]
    assert torch.pdist(first).min() > 1
    assert tiny[1].numbers["least_distance_at_start"] == pytest.approx(torch.pdist(first.double()).min().item())


def test_figures_and_tables(tiny: tuple[Run, Findings]) -> None:
    run, found = tiny
    names = ["pca", "tsne", "control", "explained-variance", "off-plane", "curves", "pca-3d"]
    assert [one.name for one in found.figures] == names
    assert [len(one.panels) for one in found.figures] == [2, 2, 2, 2, 2, 2, 1]
    assert any(isinstance(mark, Scatter3D) for mark in figure(found, "pca-3d").panels[0].marks)
    table = found.tables["runs"]
    snapshots = run.snapshots[:].double()
    for replica, row in enumerate(table):
        length = snapshots[:, replica].diff(dim=0).norm(dim=1).sum().item()
        assert row["path length"] == pytest.approx(length)
        others = [r for r in range(3) if r != replica]
        distances = [(snapshots[-1, replica] - snapshots[-1, r]).norm().item() for r in others]
        assert row["distance to it"] == pytest.approx(min(distances))
        assert row["nearest run at the end"] == others[int(np.argmin(distances))] + 1
    assert run.environment["data_checksum"]


def test_control_walks_have_the_starts_and_steps_of_the_runs(tiny: tuple[Run, Findings]) -> None:
    arrays = tiny[0].load("projections")
    assert arrays["whole_control_explained"].shape == (TINY.control_walks, 10)
    assert arrays["whole_control_coordinates"].shape == (9, 3, 3)
    steps = tiny[0].snapshots[:].double().diff(dim=0).norm(dim=2)
    torch.testing.assert_close(arrays["whole_step_lengths"], steps)


def test_shared_start_leaves_only_the_order_of_the_data(tmp_path: Path) -> None:
    run, found = done(override(TINY, {**FAST, "start": "shared"}), tmp_path)
    snapshots = run.snapshots[:]
    assert (snapshots[0] == snapshots[0, 0]).all()
    assert torch.pdist(snapshots[-1]).min() > 0
    assert found.numbers["least_distance_at_start"] == pytest.approx(0, abs=1e-9)
    assert any("start at one point" in statement for statement in found.statements)


def test_another_layer(tmp_path: Path) -> None:
    run, found = done(override(TINY, {**FAST, "layer": "5.*"}), tmp_path)
    panel = figure(found, "pca").panels[0]
    assert panel.title == "layer 5.* (90 parameters)"
    np.testing.assert_allclose(drawn(panel)["run 1"].x, svd(run.snapshots[:, :, -90:])[:, 0, 0], atol=1e-9)


def test_a_layer_that_does_not_exist_is_told_before_the_run(tmp_path: Path) -> None:
    config = override(TINY, {"layer": "9.weight"})
    with pytest.raises(
        InputError, match=r"layer must match a parameter of the network \(1.weight, .*\), found '9\.weight'"
    ):
        execute("trajectory", config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_function_is_labelled_with_its_loss(tmp_path: Path) -> None:
    changes = {"replicas": 2, "data.points": 60, "data.test_points": 0, "training.epochs": 20, "control_walks": 2}
    _, found = done(override(PRESETS["function"], changes), tmp_path)
    assert "training loss" in figure(found, "pca").caption
    assert len(figure(found, "curves").panels) == 1
    assert not any("%" in text for mark in drawn(figure(found, "pca").panels[0]).values() for text in mark.texts)


def test_labels_of_a_test_set_that_is_not_there() -> None:
    with pytest.raises(InputError, match="labels must be 'train' for a task without a test set"):
        override(PRESETS["function"], {"data.test_points": 0, "labels": "test"})


def test_one_run_alone_and_one_layer_only(tmp_path: Path) -> None:
    """No other run to compare with, and a linear model, whose first layer is the whole model."""
    changes = {**FAST, "replicas": 1, "model.hidden": "[]"}
    _, found = done(override(TINY, changes), tmp_path)
    assert [len(one.panels) for one in found.figures if one.name in ("pca", "off-plane")] == [1, 1]
    assert np.isnan(found.numbers["least_distance_at_end"])
    assert not any("different places" in statement for statement in found.statements)


def test_networks_that_learn_nothing_are_named(tmp_path: Path) -> None:
    _, found = done(override(TINY, {**FAST, "training.lr": 1e-12}), tmp_path)
    assert any(warning.startswith("Runs 1, 2, 3 end no better than a constant") for warning in found.warnings)


def spoil(monkeypatch: pytest.MonkeyPatch, replicas: slice) -> None:
    original = Objective.initial

    def initial(self: Objective, count: int | None = None, seed: int = 0, **more: int) -> torch.Tensor:
        theta = original(self, count, seed, **more).clone()
        theta[..., replicas, :] *= 1e30
        return theta

    monkeypatch.setattr(Objective, "initial", initial)


def test_a_diverged_run_leaves_the_picture_and_not_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(TINY, FAST)
    _, alone = done(override(config, {"replicas": 2}), tmp_path)
    spoil(monkeypatch, slice(2, 3))
    _, found = done(config, tmp_path)
    expected, mine = (drawn(figure(one, "pca").panels[1]) for one in (alone, found))
    assert list(mine) == ["run 1", "run 2"]
    for name, mark in mine.items():
        np.testing.assert_allclose(mark.x, expected[name].x, atol=1e-5)  # replica 1 of 3 equals 1 of 2 to rounding
    assert "Run 3 diverged" in found.warnings[0]
    assert found.tables["runs"][2]["path length"] is None
    assert found.numbers["completed"] == 2


def test_all_runs_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, slice(None))
    run, found = done(override(TINY, FAST), tmp_path)
    assert run.state == "complete"
    assert [one.name for one in found.figures] == ["curves"]
    assert found.numbers == {"completed": 0}
    assert len(found.warnings) == 4


def test_presets_are_the_classic_ones() -> None:
    course = PRESETS["course"]
    model = build(course.model, (1, 28, 28), 10)
    assert sum(p.numel() for p in model.parameters()) == 16_750
    assert (course.replicas, course.data.name, course.training.optimizer) == (8, "mnist", "adam")
    for preset in ("course", "course-1000"):
        recipe = PRESETS[preset].training
        assert recipe.record.steps(recipe.total_steps(5), 5) == [15 * k for k in range(11)]  # every 3 of 30 epochs
    small = PRESETS["course-1000"]
    assert (small.data.samples, small.training.batch_size, small.training.epochs) == (1000, 200, 30)
    cifar = PRESETS["cifar10"].training
    assert (cifar.epochs, cifar.record.every, cifar.batch_size) == (100, 10, 128)
    function = PRESETS["function"]
    assert function.data.points * function.training.epochs == 100_000
    assert function.data.points * function.training.record.every == 10_000
    assert find("trajectory").preset("quick").replicas == 8


@pytest.mark.parametrize("field", ["epochs", "steps"])
def test_a_path_of_no_steps_is_refused_before_anything_is_begun(field: str) -> None:
    nothing = {"training.epochs": None, "training.steps": None} | {f"training.{field}": 0}
    with pytest.raises(InputError, match=f"training.{field} must be at least 1, for a path has two ends, found 0"):
        override(TINY, nothing)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Findings]:
    """More runs than can be told apart, and more than the thin lines of a fan."""
    small = {"data.samples": 40, "data.test_samples": 20, "model.hidden": (2,), "training.batch_size": 40}
    return done(override(TINY, {**small, "replicas": 60, "training.epochs": 2}), tmp_path_factory.mktemp("many"))


def test_of_many_runs_those_are_drawn_that_can_be_seen(many: tuple[Run, Findings]) -> None:
    _, found = many
    for name in ("pca", "tsne", "control"):
        for panel in figure(found, name).panels:
            assert list(drawn(panel)) == [f"run {r + 1}" for r in range(16)]
        assert "Drawn are the first 16 of 60 runs;" in figure(found, name).caption
    for name in ("curves", "off-plane"):
        fans = [mark for panel in figure(found, name).panels for mark in panel.marks if isinstance(mark, Lines)]
        assert {mark.y.shape[0] for mark in fans} == {50}
        assert "the first 50 of 60 runs" in figure(found, name).caption


def test_numbers_tables_and_frames_are_those_of_all_runs(many: tuple[Run, Findings]) -> None:
    run, found = many
    snapshots = run.snapshots[:].double()  # (S, R, P)
    assert len(found.tables["runs"]) == found.numbers["completed"] == 60
    lengths = snapshots.diff(dim=0).norm(dim=-1).sum(dim=0)
    assert found.numbers["path_length"] == pytest.approx(float(np.median(lengths)))
    whole = figure(found, "pca").panels[1]
    points = svd(run.snapshots[:]).reshape(-1, 2)
    assert np.all(points.min(axis=0) >= [whole.x.limits[0], whole.y.limits[0]])
    assert np.all(points.max(axis=0) <= [whole.x.limits[1], whole.y.limits[1]])
    losses = run.metrics.filter(run.metrics["step"] == 2)["train_loss"].to_numpy()
    marks = figure(found, "curves").panels[0].marks
    (median,) = (mark for mark in marks if getattr(mark, "label", "") == "training (median)")
    assert median.y[-1] == pytest.approx(np.median(losses))


def test_a_report_of_many_runs_has_at_most_two_megabytes(many: tuple[Run, Findings]) -> None:
    assert report.write(many[0]).stat().st_size < 2_000_000


def test_of_long_paths_some_snapshots_are_marked() -> None:
    _, steps, words = drawn_of(tuple(range(8)), 1001)
    assert len(steps) * 8 <= POINTS + 16
    assert (steps[0], steps[-1]) == (0, 1000)
    assert np.unique(np.diff(steps)[:-1]).tolist() == [13]
    assert words.startswith(f" Drawn are {len(steps)} of 1001 snapshots;")
    _, steps, words = drawn_of(tuple(range(8)), 21)
    assert (words, steps.tolist()) == ("", list(range(21)))


def test_controls_leave_no_components_behind(tiny: tuple[Run, Findings]) -> None:
    """A joint frame of 200 runs takes a quarter of a gigabyte: of twenty walks only a few numbers may stay."""
    options = {"columns": None, "replicas": (0, 1, 2), "perplexity": None, "walks": 4, "seed": 0}
    view = look(tiny[0].snapshots, "whole", "whole model", **options)
    assert view.control.shape == (9, 3, 3)
    assert view.control_ratio.shape == (4, 10)
    held = sum(value.nbytes for value in (view.control, view.control_ratio, view.alone, view.control_alone))
    assert held < 5_000


def test_distances_between_many_runs_are_not_all_differences_at_once() -> None:
    points = torch.randn(2, 150, 400, dtype=torch.float64)  # all differences at once: 72 MB
    view = SimpleNamespace(found=SimpleNamespace(scores=points), used=list(range(150)))
    tracemalloc.start()
    try:
        apart = [View.apart(view, snapshot) for snapshot in (0, 1)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    for (found, nearest), there in zip(apart, points, strict=True):
        distances = torch.cdist(there, there).fill_diagonal_(torch.inf)
        np.testing.assert_allclose(found, distances.min(dim=1).values.numpy(), rtol=1e-6)
        assert nearest.tolist() == distances.argmin(dim=1).tolist()
