"""The pictures of `function-fit`: training losses, and the fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from thalweg.experiments.function_fit.config import Config
from thalweg.experiments.function_fit.measure import Fit
from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Axis, Figure, HLine, Line, Lines, Mark, Panel, Scatter
from thalweg.tasks.functions import target

__all__ = ["fits", "losses", "title"]


def losses(config: Config, history: pl.DataFrame, fits: Sequence[Fit]) -> Figure:
    """The training loss of all networks, a frame for each target."""
    panels = []
    for function in config.functions:
        those = {fit.member: fit for fit in fits if fit.function == function}
        marks = [
            mark
            for name, part in shared.groups(history).items()
            if name in those
            for mark in shared.course(part, those[name].network, "train_loss")
        ]
        values = next(iter(those.values())).values
        line = float(values["line"][0]) if values else 0.0
        level = [HLine(line, text="best straight line", colour="muted")] if line > 0 else []
        panels.append(
            Panel(Axis("epoch"), Axis("training loss", scale="log"), (*marks, *level), title=title(config, function))
        )
    caption = (
        f"{_loss_words(config)} on the training points, all networks of a target in one frame (number of parameters in "
        f"parentheses). {shared.how_to_read(config.replicas)}"
    )
    return Figure("training-loss", "Training loss", caption, tuple(panels))


def _loss_words(config: Config) -> str:
    return "Mean squared error" if config.loss in ("auto", "mse") and config.data.source is None else "Loss"


def fits(config: Config, fits: Sequence[Fit], ends: Mapping[str, pl.DataFrame]) -> Figure:
    """The targets and what the networks make of them."""
    panels = []
    for function in config.functions:
        those = [fit for fit in fits if fit.function == function]
        values = those[0].values
        marks: list[Mark] = [Line(values["x"], values["truth"], label="target", colour="ink", width=2.6, opacity=0.45)]
        if config.data.noise or values["points"].shape[1] <= 64:
            marks.append(Scatter(*values["points"], label="training points", colour="ink", size=3.0))
        for fit in those:
            last = ends[fit.member]["train_loss"].fill_null(np.nan).to_numpy()
            alive = np.flatnonzero(np.isfinite(fit.values["predictions"]).all(axis=1) & np.isfinite(last))
            if not len(alive):
                continue
            middle = alive[np.argsort(last[alive])[(len(alive) - 1) // 2]]
            others = [r for r in alive if r != middle]
            if others:
                names = tuple(f"{fit.network}, run {r + 1}" for r in others)
                y = fit.values["predictions"][others]
                marks.append(Lines(values["x"], y, group=fit.network, names=names, width=0.5, opacity=0.35))
            marks.append(Line(values["x"], fit.values["predictions"][middle], label=fit.network, width=1.4))
        standard = " (standardised)" if config.data.scaling == "zscore" else ""
        panels.append(Panel(Axis(f"x{standard}"), Axis("f(x)"), tuple(marks), title=title(config, function)))
    caption = "The target and the networks after training: the run of median loss (thick) and the others (thin)."
    return Figure("fits", "Targets and fits", caption, tuple(panels))


def title(config: Config, function: str) -> str:
    """What a target is called."""
    if config.data.source is not None:
        return config.data.called
    return target(function).label
