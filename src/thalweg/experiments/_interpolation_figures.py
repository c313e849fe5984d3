"""Figures of `interpolation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments._words import counted
from thalweg.figures import Axis, Band, ErrorBars, Figure, HLine, Line, Mark, Panel, VLine

if TYPE_CHECKING:
    from thalweg.experiments._interpolation_stages import Pairs, Way
    from thalweg.experiments.interpolation import Config

__all__ = ["figures"]

NAMES = {"train": "training", "test": "test"}
STYLES = {"train": "solid", "test": "dashed"}


def figures(config: Config, compared: list[Pairs]) -> list[Figure]:
    """All figures; none if no pair was completed."""
    drawn = [one for one in compared if one.line is not None]
    if not drawn:
        return []
    out = [_interpolation(drawn)]
    if config.align or config.bends:
        out += [_paths(drawn), _barriers(drawn)]
    return out


def _curve(x: np.ndarray, values: np.ndarray, label: str, **look: Any) -> list[Mark]:
    """Median of the pairs (T, R) as a line, their range as a band; what is not finite leaves a gap."""
    values = np.where(np.isfinite(values), values, np.nan)
    alive = ~np.isnan(values).all(axis=1)
    x, values = x[alive], values[alive]
    shared = {key: look[key] for key in ("side", "colour") if key in look}
    low, middle, high = (f(values, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    band = [Band(x, low, high, group=label, opacity=0.18, **shared)] if values.shape[1] > 1 else []
    return [*band, Line(x, middle, label=label, group=label, **look)]


def _spread(drawn: list[Pairs]) -> str:
    count = max(len(one.kept) for one in drawn)
    return "" if count == 1 else f" Lines are medians and bands the range over {counted(count, 'pair')}."


def _loss_axis(label: str, ways: list[Way]) -> Axis:
    losses = [values["loss"] for way in ways for values in way.values.values()]
    positive = all(np.nanmin(np.where(np.isfinite(loss), loss, np.nan), initial=np.inf) > 0 for loss in losses)
    return Axis(label, scale="log" if positive else "linear")


def _interpolation(drawn: list[Pairs]) -> Figure:
    """The classic figure: loss and accuracy on twin axes."""
    panels = []
    scored = False
    for one in drawn:
        line = one.line
        if line is None:
            continue
        marks: list[Mark] = []
        for data, metrics in line.values.items():
            marks += _curve(line.t, metrics["loss"], f"{NAMES[data]} loss", colour=0, style=STYLES[data])
        for data, metrics in line.values.items():
            if "accuracy" in metrics:
                scored = True
                look = {"colour": 1, "side": "right", "style": STYLES[data]}
                marks += _curve(line.t, metrics["accuracy"], f"{NAMES[data]} accuracy", **look)
        marks += [VLine(0.0, style="dotted", colour="muted"), VLine(1.0, style="dotted", colour="muted")]
        first, second = one.comparison.labels
        panels.append(
            Panel(
                Axis("α"),
                _loss_axis("loss", [line]),
                tuple(marks),
                title=f"{first} (α = 0), {second} (α = 1)",
                right=Axis("accuracy", limits=(0.0, 1.02)) if scored else None,
            )
        )
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
            inside = way.inside()
            columns = zip(way.arc[inside].T, way.values["train"]["loss"][inside].T, strict=True)
            shares = np.linspace(0, 1, int(inside.sum()))  # curves of several pairs have lengths of their own
            losses = np.stack([np.interp(shares, arc, loss) for arc, loss in columns], axis=1)
            marks += _curve(shares, losses, way.words, colour=colour, width=1.8)
        first, second = one.comparison.labels
        x_axis = Axis("share of the way", ticks=((0.0, first), (0.5, "half"), (1.0, second)))
        panels.append(Panel(x_axis, _loss_axis("training loss", one.ways), tuple(marks), title=one.comparison.title))
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
        for k, data in enumerate(one.ways[0].barriers):
            for place, way in enumerate(one.ways):
                barrier = way.barriers[data]
                x = place + (k - 0.5) * 0.3 + np.linspace(-0.09, 0.09, count) * (count > 1)
                height, error = barrier["height"], 2 * barrier["error"]
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
