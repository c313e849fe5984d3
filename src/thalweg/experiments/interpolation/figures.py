"""The pictures of `interpolation`: the line, the ways beside it, the barriers."""

from __future__ import annotations

import numpy as np

from thalweg.experiments.interpolation.config import Config
from thalweg.experiments.interpolation.measure import Pairs, Way
from thalweg.figures import Axis, ErrorBars, Figure, HLine, Mark, Panel
from thalweg.landscape.profile_figures import NAMES, loss_axis, spread
from thalweg.results.words import counted

__all__ = ["figures"]


def figures(config: Config, compared: list[Pairs]) -> list[Figure]:
    """All figures; none if no pair was completed."""
    drawn = [one for one in compared if one.line is not None]
    if not drawn:
        return []
    out = [_interpolation(drawn)]
    if config.align or config.bends:
        out += [_paths(drawn), _barriers(drawn)]
    return out


def _spread(drawn: list[Pairs]) -> str:
    count = max(len(one.kept) for one in drawn)
    return "" if count == 1 else f" Lines are medians and bands the range over {counted(count, 'pair')}."


def _losses(ways: list[Way]) -> list[np.ndarray]:
    return [way.values(data) for way in ways for data in way.profile.values]


def _interpolation(drawn: list[Pairs]) -> Figure:
    """The classic figure: loss and accuracy on twin axes."""
    panels = []
    for one in drawn:
        line = one.line
        if line is None:
            continue
        first, second = one.comparison.labels
        panels.append(line.profile.panel(f"{first} (α = 0), {second} (α = 1)"))
    scored = any(panel.right for panel in panels)
    also = " and accuracy (right)" if scored else ""
    caption = (
        f"Loss (left axis){also} at (1−α)θ₁ + αθ₂; solid: training data, dashed: test data. Dotted lines: the two "
        f"solutions.{_spread(drawn)}"
    )
    return Figure("interpolation", "On the line through two solutions", caption, tuple(panels), size=(5.6, 4.2))


def _paths(drawn: list[Pairs]) -> Figure:
    """Three ways from one solution to the other."""
    panels = []
    for one in drawn:
        marks: list[Mark] = []
        for colour, way in enumerate(one.ways):
            inside = way.inside
            columns = zip(way.profile.arc.numpy()[inside].T, way.values("train")[inside].T, strict=True)
            shares = np.linspace(0, 1, int(inside.sum()))  # curves of several pairs have lengths of their own
            losses = np.stack([np.interp(shares, arc, loss) for arc, loss in columns], axis=1)
            marks += spread(shares, losses, way.words, colour=colour, width=1.8)
        first, second = one.comparison.labels
        x_axis = Axis("share of the way", ticks=((0.0, first), (0.5, "half"), (1.0, second)))
        panels.append(
            Panel(x_axis, loss_axis("training loss", _losses(one.ways)), tuple(marks), title=one.comparison.title)
        )
    caption = (
        "Training loss along each way from the first solution to the second, against the share of its length that is "
        f"done.{_spread(drawn)}"
    )
    return Figure("paths", "Ways from one solution to the other", caption, tuple(panels), size=(5.0, 3.8))


def _barriers(drawn: list[Pairs]) -> Figure:
    """Every pair with its error."""
    panels = []
    for one in drawn:
        marks: list[Mark] = [HLine(0.0, style="dotted", colour="muted")]
        count = len(one.kept)
        for k, data in enumerate(one.ways[0].profile.barriers):
            for place, way in enumerate(one.ways):
                x = place + (k - 0.5) * 0.3 + np.linspace(-0.09, 0.09, count) * (count > 1)
                height, error = way.barrier("height", data), 2 * way.barrier("error", data)
                label = NAMES[data] if place == 0 else ""
                marks.append(
                    ErrorBars(
                        x, height, height - error, height + error, symbol=("circle", "square")[k], label=label,
                        group=NAMES[data], size=5.5,
                    )
                )  # fmt: skip
        ticks = tuple((float(place), way.words.replace(" after ", "\nafter ")) for place, way in enumerate(one.ways))
        x_axis = Axis("", ticks=ticks, limits=(-0.5, len(one.ways) - 0.5))
        panels.append(Panel(x_axis, Axis("barrier of the loss"), tuple(marks), title=one.comparison.title))
    caption = (
        "Barrier: the greatest excess of the loss over the straight connection of the losses at the two ends. Every "
        "pair with two standard errors over the samples."
    )
    return Figure("barriers", "Barriers", caption, tuple(panels), size=(5.0, 3.6))
