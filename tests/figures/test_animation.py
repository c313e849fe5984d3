"""Films: as many frames as there are, points where they should be, small files, clear refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thalweg.errors import InputError
from thalweg.figures import Axis, Contour, Figure, Line, Panel, Surface3D
from thalweg.figures.animation import Moving, animate

X = np.linspace(-1.0, 1.0, 21)
ACCENT = np.array([0xC8, 0x10, 0x2E])


def bowl() -> Figure:
    levels = Contour(X, X, X**2 + 2 * X[:, None] ** 2, filled=True)
    loss = Line(np.arange(6), 2.0 ** -np.arange(6), label="loss")
    panels = (Panel(Axis("a"), Axis("b"), (levels,)), Panel(Axis("epoch"), Axis("loss", scale="log"), (loss,)))
    return Figure("bowl", "Descent", "", panels)


def film() -> list[Moving]:
    across = np.linspace(-0.8, 0.8, 6)
    first = Moving(0, np.stack([across, across], 1), np.stack([across**2, -(across**2)], 1), colour=None)
    return [first, Moving(1, np.arange(6.0)[:, None], (2.0 ** -np.arange(6))[:, None], trail=False)]


def frames(file: Path) -> list[np.ndarray]:
    with Image.open(file) as image:
        found = []
        for k in range(image.n_frames):
            image.seek(k)
            found.append(np.asarray(image.convert("RGB")).astype(int))
    return found


def test_every_frame_is_there_and_the_point_moves(tmp_path: Path) -> None:
    words = [f"epoch {k}" for k in range(6)]
    file = animate(bowl(), film(), tmp_path / "bowl.gif", words=words, fps=10, hold=2.0, dpi=60)
    found = frames(file)
    assert len(found) == 6
    centres = []
    for picture in found:
        near = np.abs(picture - ACCENT).sum(axis=-1) < 60
        assert near.any()
        centres.append(np.argwhere(near).mean(axis=0))
    steps = np.diff(np.array(centres), axis=0)  # the accent is the point on the straight line of the log axis
    assert (steps[:, 1] > 3).all()
    assert (steps[:, 0] > 3).all()
    assert np.ptp(steps, axis=0).max() < 2
    with Image.open(file) as image:
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0
        image.seek(5)
        assert image.info["duration"] == 2100
    assert [entry.name for entry in tmp_path.iterdir()] == ["bowl.gif"]


def test_what_does_not_move_does_not_cost(tmp_path: Path) -> None:
    way = np.linspace(-0.8, 0.8, 60)[:, None]
    short = animate(bowl(), [Moving(0, way[:2], way[:2])], tmp_path / "short.gif").stat().st_size
    long = animate(bowl(), [Moving(0, way, way)], tmp_path / "long.gif").stat().st_size
    assert long < 3 * short + 58 * 2500


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not here")
def test_mp4(tmp_path: Path) -> None:
    file = animate(bowl(), film(), tmp_path / "bowl.mp4", fps=10, hold=1.0, dpi=60)
    assert file.read_bytes()[4:8] == b"ftyp"
    done = subprocess.run(["ffmpeg", "-i", file, "-f", "null", "-"], capture_output=True, text=True)
    assert re.findall(r"frame=\s*(\d+)", done.stderr)[-1] == "16"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "bowl.avi"}, "path must end in .gif or .mp4, found 'bowl.avi'"),
        ({"moving": []}, "moving must have one number of frames throughout, found no points"),
        ({"moving": [*film(), Moving(0, [[0.0]], [[0.0]])]}, r"one number of frames throughout, found \[1, 6\]"),
        ({"moving": [Moving(2, [[0.0]], [[0.0]])]}, "must be a flat panel of 'bowl', found 2"),
        ({"words": ["once"]}, "words must be one for each of the 6 frames, found 1"),
        ({"fps": 0}, r"fps must be in \(0, 50\], found 0"),
    ],
)
def test_refusals(change: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        animate(**{"figure": bowl(), "moving": film(), "path": "bowl.gif", **change})
    assert list(tmp_path.iterdir()) == []


def test_refused_shapes_and_spatial_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Moving.y must have the shape of x \[2, 1\], found \[1, 1\]"):
        Moving(0, [[0.0], [1.0]], [[0.0]])
    with pytest.raises(InputError, match=r"Moving.x must hold at least one frame and one point"):
        Moving(0, np.zeros((0, 2)), np.zeros((0, 2)))
    surface = Panel(Axis("a"), Axis("b"), (Surface3D(X, X, X**2 + X[:, None]),), z=Axis("loss"))
    with pytest.raises(InputError, match="must be a flat panel of 'space', found 0"):
        animate(Figure("space", "", "", (surface,)), [Moving(0, [[0.0]], [[0.0]])], tmp_path / "space.gif")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="MP4 needs the program ffmpeg, which is not installed"):
        animate(bowl(), film(), tmp_path / "bowl.mp4")
