"""The error surface: pictures show the loss at their places, say what they hide, and survive a kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from thalweg.errors import InputError
from thalweg.experiments import execute, find, override
from thalweg.experiments.error_surface.report import rises
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.shared.training import set_up
from thalweg.figures import Contour, Heatmap, Surface3D
from thalweg.landscape.exporting import export
from thalweg.landscape.saved import SavedSurface
from thalweg.runs import Run

TINY = find("error-surface").preset("tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return execute("error-surface", TINY, tmp_path_factory.mktemp("surface"))


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory):
    other = Run.create(
        tmp_path_factory.mktemp("setup"), "x", {}, seed=0, device="cpu", data_checksum=None, command="test"
    )
    with other.writing():
        return set_up(TINY, other).objective


def test_every_part_is_there(run: Run) -> None:
    found = load_findings(run)
    planes = ("random", "trajectory", "curvature", "saddle", "solutions")
    expected = {"visited", "parameters", "line", "off-plane", "curves"}
    expected |= {f"{kind}-{name}" for kind in ("plane", "space") for name in planes}
    assert {figure.name for figure in found.figures} == expected
    told = " ".join([*found.statements, *(figure.caption for figure in found.figures)])
    for words in ("% of the variance", "off the plane", "residual", "is hidden", "times their true loss", "neighbour"):
        assert words in told
    assert len(found.statements) <= 7
    assert found.figures[0].name == "plane-trajectory"
    assert [row["cells"] for row in found.tables["Planes"]] == ["7 × 7"] * 5


def test_pictures_show_the_loss_at_their_places(run: Run, objective) -> None:
    """Cell by cell against θ + Σ c d evaluated by itself; the axes are not swapped."""
    saved = SavedSurface.from_arrays(run.load("surface-trajectory"))
    path = run.snapshots[:, 0].double()
    centred = path - path.mean(dim=0)
    vectors = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    coordinates = (path - path[-1]) @ vectors.T
    signs = torch.from_numpy(saved.path["coordinates"][0]) / coordinates[0]
    assert torch.allclose(signs.abs(), torch.ones(2, dtype=torch.float64), atol=1e-4)
    for i, x in enumerate(saved.axes[0]):
        for j, y in enumerate(saved.axes[1]):
            theta = path[-1] + x * signs[0] * vectors[0] + y * signs[1] * vectors[1]
            assert float(objective.value(theta.float())) == pytest.approx(saved.values["loss"][i, j], rel=1e-3)
    figure = next(figure for figure in load_findings(run).figures if figure.name == "plane-trajectory")
    contour, heat = figure.panels[0].marks[0], figure.panels[1].marks[0]
    assert isinstance(contour, Contour)
    assert isinstance(heat, Heatmap)
    assert np.array_equal(heat.z, saved.values["loss"].T)  # rows of a field lie along y
    assert np.array_equal(heat.x, saved.axes[0])


def test_path_has_its_true_loss_and_its_loss_in_the_plane(run: Run, objective) -> None:
    saved = SavedSurface.from_arrays(run.load("surface-trajectory"))
    theta = run.snapshots[:, 0]
    assert np.allclose(saved.path["true loss"], objective.value(theta).numpy(), rtol=1e-5)
    assert saved.path["off-plane"][-1] == pytest.approx(0.0, abs=1e-6)  # the centre is the end of training
    assert saved.path["loss"][-1] == pytest.approx(saved.path["true loss"][-1], rel=1e-5)
    found = load_findings(run).numbers
    assert 0.9 < found["trajectory_explained"] <= 1
    assert found["trajectory_off_plane"] == np.median(saved.path["off-plane"])


def test_solutions_lie_at_their_corners(run: Run, objective) -> None:
    saved = SavedSurface.from_arrays(run.load("surface-solutions"))
    a, b = run.snapshots[-1, 0], run.snapshots[-1, 1]
    line = [float(objective.value(torch.lerp(a, b, float(x)))) for x in saved.axes[0]]
    on_axis = saved.values["loss"][:, int(np.flatnonzero(saved.axes[1] == 0)[0])]
    assert np.allclose(on_axis, line, rtol=1e-4)


def test_files_read_back_equal(run: Run, tmp_path: Path) -> None:
    folder = run.files.exports / "vtk"
    names = {"random", "trajectory", "curvature", "saddle", "solutions"}
    assert {file.name for file in folder.iterdir()} == {f"{name}.vts" for name in names} | {"trajectory-path.vtp"}
    saved = SavedSurface.from_arrays(run.load("surface-saddle"))
    table = pl.read_parquet(export(run, "parquet", tmp_path) / "saddle.parquet")
    assert np.array_equal(table["loss"].to_numpy().reshape(7, 7), saved.values["loss"])
    assert np.array_equal(table[saved.labels[1]].to_numpy()[:7], saved.axes[1])


def test_film_has_a_frame_for_every_snapshot(run: Run) -> None:
    with Image.open(run.files.exports / "descent.gif") as film:
        assert film.n_frames == len(run.snapshots)


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    config = override(TINY, {"parts": ("planes",), "planes": ("trajectory",), "film": "none", "exports": ()})
    done = execute("error-surface", config, tmp_path)
    assert {figure.name for figure in load_findings(done).figures} == {
        "plane-trajectory", "space-trajectory", "off-plane", "curves"
    }  # fmt: skip
    assert not done.files.exports.exists()


def test_two_solutions_make_no_plane_of_three(tmp_path: Path) -> None:
    config = override(TINY, {"replicas": 2, "parts": ("planes",), "planes": ("solutions", "random"), "film": "none"})
    found = load_findings(execute("error-surface", config, tmp_path))
    assert found.warnings == (
        "There is no plane 'solutions': the plane of three solutions needs 3 completed trainings, found 2.",
    )
    assert {"plane-random", "space-random"} < {figure.name for figure in found.figures}


def test_cells_that_are_not_finite_are_told_and_drawn_empty(tmp_path: Path) -> None:
    deep = {"model.hidden": (4,) * 8, "model.activation": "relu"}  # outputs of the ninth power of the weights
    config = override(TINY, {"parts": ("planes",), "planes": ("random",), "span": 1e6, "film": "none", **deep})
    found = load_findings(execute("error-surface", config, tmp_path))
    lost = found.numbers["random_not_finite"]
    assert lost > 0
    assert f"{lost} of 49 cells have no finite loss and are drawn grey" in " ".join(found.warnings)
    surface = next(figure for figure in found.figures if figure.name == "space-random").panels[0].marks[0]
    assert isinstance(surface, Surface3D)
    assert (~np.isfinite(surface.z)).sum() == lost


def test_losses_that_overflow_are_told(tmp_path: Path) -> None:
    config = override(TINY, {"parts": ("parameters",), "reach": 1e30})
    found = load_findings(execute("error-surface", config, tmp_path))
    assert any(re.fullmatch(r"Each parameter alone: \d+ of 90 losses are not finite .*", w) for w in found.warnings)
    assert found.numbers["parameters_drawn"] == 10


def test_curves_are_those_of_the_parameters(run: Run, objective) -> None:
    kept = run.load("parameters").parameters
    theta = run.snapshots[-1, 0]
    found = next(figure for figure in load_findings(run).figures if figure.name == "parameters")
    curves = np.concatenate([mark.y for mark in found.panels[0].marks])
    x = found.panels[0].marks[0].x
    for row, number in enumerate(kept.tolist()):
        moved = theta.repeat(len(x), 1)
        moved[:, number] += torch.tensor(x, dtype=torch.float32)
        assert np.allclose(curves[row], objective.value(moved).numpy(), rtol=1e-5)


def test_rises_and_minima_of_a_line_by_hand() -> None:
    x = np.linspace(-0.5, 1.5, 41)
    falling = 2 - x
    rough = falling + 0.2 * np.sin(4 * np.pi * x)  # on [0, 1] the slope changes sign four times: two minima
    noisy = falling + 1e-7 * np.sin(40 * x)
    rise, minima = rises(x, np.stack([falling, rough, noisy], axis=1))
    assert minima.tolist() == [0, 2, 0]
    inside = rough[(x >= 0) & (x <= 1)]
    assert rise.tolist() == [0.0, max(b - a for k, a in enumerate(inside) for b in inside[k:]), 0.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parts": ()}, "parts must name at least one of visited, parameters, line, planes, found none"),
        ({"planes": ()}, "planes must name at least one plane, or parts must leave planes out, found none"),
        ({"planes": ("random", "random")}, "planes must name each once, found random, random"),
        ({"offsets": 10}, "offsets must be odd, so that zero is among them, found 10"),
        ({"planes": ("radnom",)}, "planes.*random.*radnom"),
        ({"neighbours": 2}, "neighbours must be greater than or equal to 4, found 2"),
        ({"spread": 0.0}, "spread must be greater than 0, found 0"),
    ],
)
def test_bad_settings_are_one_sentence(changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        override(TINY, changes)
    assert "\n" not in str(caught.value)


KILLED = """
import os, signal, sys
import thalweg.landscape.store as store
real, left = store.Store.finish, int(sys.argv[1])
def finish(self, *given):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *given)
store.Store.finish = finish
import torch
torch.set_num_threads(1)
from thalweg.experiments import execute, find
execute("error-surface", find("error-surface").preset("tiny"), sys.argv[2])
"""


def test_killed_between_the_planes_it_comes_out_equal(run: Run, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", KILLED, "2", str(tmp_path / "killed")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (path,) = (tmp_path / "killed").iterdir()
    killed = Run.open(path)
    assert {"surface-random", "surface-trajectory"} <= set(killed.results)
    assert "surface-saddle" not in killed.results
    resumed = execute("error-surface", TINY, tmp_path / "killed")
    assert load_findings(resumed) == load_findings(run)
    for name in ("random", "saddle"):
        assert (
            SavedSurface.from_arrays(resumed.load(f"surface-{name}"))
            .table()
            .equals(SavedSurface.from_arrays(run.load(f"surface-{name}")).table())
        )
