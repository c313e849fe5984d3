"""Figures that move: points with their trails over a figure that stays, as GIF, or as MP4 where ffmpeg is present.

The figure is drawn once; every frame adds only what moves, so a hundred frames take seconds and, with one palette for
all of them, the file stays small.

>>> import tempfile, pathlib, numpy as np
>>> from thalweg.figures import Axis, Contour, Figure, Panel
>>> x = np.linspace(-1, 1, 9)
>>> levels = Contour(x, x, x**2 + x[:, None] ** 2, filled=True)
>>> figure = Figure("bowl", "Descent", "", (Panel(Axis("a"), Axis("b"), (levels,)),))
>>> way = np.linspace(1, 0, 5)[:, None]  # five frames, one point
>>> animate(figure, [Moving(0, way, way**2)], pathlib.Path(tempfile.mkdtemp()) / "descent.gif", dpi=40).name
'descent.gif'
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._files.writing import replacing
from thalweg.errors import InputError
from thalweg.figures.figure import Figure
from thalweg.figures.palette import CATEGORIES, INK, NAMED, PAPER, mixed
from thalweg.figures.record import Matrix, Record
from thalweg.progress import track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

__all__ = ["Moving", "animate"]

FORMATS = (".gif", ".mp4")
ALIKE = 8
"""Difference of two colours, of 256 steps, that looking up a palette may overlook."""


@dataclass(frozen=True, eq=False, repr=False)
class Moving(Record):
    """Points that move through a panel.

    Attributes:
        panel: Which panel, counted from 0.
        x: (F, K) positions of K points at F frames, in the panel's values; NaN where a point is not shown.
        y: (F, K) likewise.
        trail: Draw the way travelled so far.
        colour: As that of a mark: a palette slot, a name or ``"#rrggbb"``; the slots 0, 1, … of the palette if None.
        size: Diameter of the points, in typographic points.
    """

    panel: int
    x: Matrix
    y: Matrix
    trail: bool = True
    colour: int | str | None = "accent"
    size: float = 6.0

    def _check(self) -> None:
        if self.x.shape != self.y.shape:
            raise self._refuse("y", f"must have the shape of x {list(self.x.shape)}, found {list(self.y.shape)}")
        if not self.x.size:
            raise self._refuse("x", f"must hold at least one frame and one point, found {list(self.x.shape)}")


def animate(
    figure: Figure,
    moving: Sequence[Moving],
    path: str | os.PathLike[str],
    *,
    words: Sequence[str] = (),
    fps: float = 12.0,
    hold: float = 1.5,
    dpi: int = 100,
) -> Path:
    """Write a film of points that move over a figure, atomically.

    Args:
        figure: What stays.
        moving: What moves; all with the same number of frames F.
        path: The file, ``.gif`` or ``.mp4``; the latter needs the program ffmpeg.
        words: (F,) written in a corner of the first panel, such as "epoch 3"; none if empty.
        fps: Frames in a second, at most 50, which is what browsers show.
        hold: Seconds for which the last frame stays before the film begins again.
        dpi: Dots per inch.

    Returns:
        The file.

    Raises:
        InputError: No frames or different numbers of them, a panel that does not exist or is spatial, another suffix,
            or MP4 without ffmpeg.
        WriteError: The file cannot be written.
    """
    target = Path(path)
    frames = _checked(figure, moving, target, words, fps)
    from matplotlib import rc_context

    from thalweg.figures.matplotlib.page import composed
    from thalweg.figures.matplotlib.style import RC

    with rc_context({**RC, "figure.dpi": dpi}):
        pictures = _pictures(composed(figure), moving, words, frames)
        with replacing(target) as temporary:
            if target.suffix == ".gif":
                _gif(pictures, temporary, fps, hold, [colour for points in moving for colour in _colours(points)])
            else:
                _mp4(pictures, temporary, fps, hold)
    return target


def _checked(figure: Figure, moving: Sequence[Moving], target: Path, words: Sequence[str], fps: float) -> int:
    if target.suffix not in FORMATS:
        raise InputError(f"path must end in .gif or .mp4, found '{target}'")
    if target.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise InputError("MP4 needs the program ffmpeg, which is not installed: install it, or write .gif")
    counts = {len(points.x) for points in moving}
    if len(counts) != 1:
        raise InputError(f"moving must have one number of frames throughout, found {sorted(counts) or 'no points'}")
    (frames,) = counts
    for points in moving:
        if not 0 <= points.panel < len(figure.panels) or figure.panels[points.panel].spatial:
            raise InputError(f"Moving.panel must be a flat panel of '{figure.name}', found {points.panel}")
    if words and len(words) != frames:
        raise InputError(f"words must be one for each of the {frames} frames, found {len(words)}")
    if not 0 < fps <= 50:
        raise InputError(f"fps must be in (0, 50], found {fps}")
    return frames


def _pictures(page: Page, moving: Sequence[Moving], words: Sequence[str], frames: int) -> Iterator[np.ndarray]:
    """(height, width, 3) of every frame; the last one comes first, because it has all colours."""
    canvas: Any = page.canvas
    canvas.draw()
    still = canvas.copy_from_bbox(page.bbox)
    panels = {axes.get_label(): axes for axes in page.axes}
    movers = [_mover(panels[f"panel {points.panel}"], points) for points in moving]
    if words:
        movers.append(_caption(panels["panel 0"], words))
    with track("animation", total=frames) as advance:
        for frame in (frames - 1, *range(frames)):
            canvas.restore_region(still)
            for move in movers:
                move(frame)
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()
            advance(frame + 1)


def _mover(axes: Axes, points: Moving) -> Callable[[int], None]:
    """Draws the points of a frame, and their trails below."""
    trails, heads = [], []
    for colour in _colours(points):
        trails += axes.plot([], [], color=colour, linewidth=1.6, animated=True)
        dot = {"marker": "o", "markersize": points.size, "markeredgecolor": PAPER, "markeredgewidth": 0.8}
        heads += axes.plot([], [], color=colour, linestyle="", animated=True, **dot)

    def move(frame: int) -> None:
        for k, (trail, head) in enumerate(zip(trails, heads, strict=True)):
            trail.set_data(points.x[: frame + 1, k], points.y[: frame + 1, k])
            head.set_data(points.x[frame : frame + 1, k], points.y[frame : frame + 1, k])
        for artist in (*(trails if points.trail else ()), *heads):
            axes.draw_artist(artist)

    return move


def _colours(points: Moving) -> list[str]:
    """The colour of each of the K points."""
    slots = range(points.x.shape[1]) if points.colour is None else [points.colour] * points.x.shape[1]
    return [CATEGORIES[s % len(CATEGORIES)] if isinstance(s, int) else NAMED.get(s, s) for s in slots]


def _caption(axes: Axes, words: Sequence[str]) -> Callable[[int], None]:
    box = {"boxstyle": "round,pad=0.3", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85}
    place = {"transform": axes.transAxes, "ha": "left", "va": "top", "zorder": 10}
    text = axes.text(0.02, 0.98, "", fontsize=8.5, color=INK, bbox=box, animated=True, **place)

    def move(frame: int) -> None:
        text.set_text(words[frame])
        axes.draw_artist(text)

    return move


def _gif(pictures: Iterator[np.ndarray], target: Path, fps: float, hold: float, colours: list[str]) -> None:
    from PIL import Image, ImageColor

    # Points are few pixels, which a palette chosen by frequency would forget; the 256th colour is "as before".
    kept = np.array(
        [
            ImageColor.getrgb(mixed(colour, PAPER, share))
            for colour in list(dict.fromkeys((PAPER, INK, *colours)))[:24]
            for share in (0.0, 0.3, 0.6)
        ]
    )
    common = np.array(Image.fromarray(next(pictures)).quantize(255 - len(kept)).getpalette()).reshape(-1, 3)
    distances = np.abs(common[:, None] - kept).max(axis=-1)
    alike = distances.min(axis=1) < ALIKE
    common[alike] = kept[distances.argmin(axis=1)[alike]]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([common[: 255 - len(kept)], kept]).ravel().tolist())
    images = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    last = round(1000 * (1 / fps + hold))
    durations = [round(1000 / fps)] * (len(images) - 1) + [last]
    options = {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0, "disposal": 1}
    images[0].save(target, format="GIF", optimize=True, **options)


def _mp4(pictures: Iterator[np.ndarray], target: Path, fps: float, hold: float) -> None:
    first = next(pictures)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2  # what the format allows
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    result = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart"]
    command = ["ffmpeg", "-y", "-loglevel", "error", *source, *result, "-f", "mp4", str(target)]
    frames = [picture[:height, :width].tobytes() for picture in pictures]
    frames += frames[-1:] * round(hold * fps)
    done = subprocess.run(command, input=b"".join(frames), capture_output=True)
    if done.returncode:
        raise OSError(f"ffmpeg: {done.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
