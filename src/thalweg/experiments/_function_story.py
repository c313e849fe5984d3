"""What `function-fit` measures of every fit, draws and says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.networks import network
from thalweg.experiments.shared.sizes import shapes
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures import Axis, Figure, HLine, Line, Lines, Mark, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.results.words import counted, range_words
from thalweg.tasks.functions import target

if TYPE_CHECKING:
    import polars as pl

    from thalweg.experiments.function_fit import Config
    from thalweg.experiments.shared.members import Member, Members
    from thalweg.experiments.shared.training import Setup

__all__ = ["Fit", "fit", "tell"]


@dataclass(frozen=True, eq=False)
class Fit:
    """One network on one target.

    Args:
        function: The target as the configuration names it.
        network: Its name in legends.
        member: Its name in the history.
        values: x (N,), truth (N,), predictions (R, N) with NaN for replicas that diverged, points (2, M) that were
            trained on, line (1,): the mean squared error of the best straight line on these. Of data with more than one
            input or output: nothing.
    """

    function: str
    network: str
    member: str
    values: Mapping[str, np.ndarray]


def fit(trained: Members, member: Member) -> dict[str, np.ndarray]:
    """The arrays of :class:`Fit`, on the test points, or on the training points where there are none."""
    setup, recording = trained.trained(member)
    if not _drawn(setup):
        return {}
    x_train, y_train = (part.double().numpy().reshape(len(part)) for part in setup.task.train)
    inputs, truth = setup.task.test or setup.task.train
    outputs = setup.objective.outputs(recording.snapshots[-1].to(setup.objective.device), inputs)
    predictions = outputs.double().cpu().numpy().reshape(len(outputs), len(inputs))
    predictions[[entry["status"] != "completed" for entry in recording.status]] = np.nan
    through = np.polynomial.Polynomial.fit(x_train, y_train, min(1, len(x_train) - 1))
    return {
        "x": inputs.double().numpy().reshape(len(inputs)),
        "truth": truth.double().numpy().reshape(len(inputs)),
        "predictions": predictions,
        "points": np.stack([x_train, y_train]),
        "line": np.array([np.mean((through(x_train) - y_train) ** 2)]),
    }


def _drawn(setup: Setup) -> bool:
    """Whether every sample is one number with one number as its target, and outputs are known beside the loss."""
    task = setup.task
    if task.kind != "regression" or setup.objective.loss_on == "batch" or math.prod(task.input_shape or (0,)) != 1:
        return False
    return task.outputs == 1 and setup.objective.outputs(setup.objective.theta).numel() == setup.objective.samples


def tell(config: Config, history: pl.DataFrame, fits: Sequence[Fit]) -> Findings:
    """Figures, sentences and numbers from what was measured."""
    last = history.filter(history["step"] == history["step"].max())
    ends = shared.groups(last)
    drawn = bool(fits[0].values)
    figures = [_losses(config, history, fits), *([_fits(config, fits, ends)] if drawn else [])]
    lengths = recipe_words(config.training, shapes(config.data)[2])
    names = list(dict.fromkeys(fit.network for fit in fits))
    counts = [int(ends[fit.member]["parameters"][0]) for fit in fits if fit.function == fits[0].function]
    apart = max(counts) / min(counts) - 1
    settings = (
        f"{counted(len(names), 'network')} (numbers of parameters in parentheses, at most {100 * apart:.2g} % apart): "
        f"{', '.join(names)}; {f'{config.model.activation}, ' if config.model.source is None else ''}{lengths}, "
        f"{counted(config.replicas, 'run')} each."
    )
    statements = [settings]
    if not drawn:
        statements.append("The data have more than one input or output: their fit is no curve, only losses are drawn.")
    rows, numbers = [], {}
    for function in config.functions:
        those = [fit for fit in fits if fit.function == function]
        statements.append(_verdict(function, those, ends))
        for fit in those:
            losses, tests = (shared.column(ends[fit.member], name) for name in ("train_loss", "test_loss"))
            middle = float(np.median(losses)) if len(losses) else float("nan")
            numbers[f"train_loss: {fit.member}"] = middle
            rows.append(
                {
                    "target": function,
                    "network": fit.network,
                    "parameters": int(ends[fit.member]["parameters"][0]),
                    "runs that completed": len(losses),
                    "training loss": range_words(losses),
                    "test loss": range_words(tests) if len(tests) else None,
                    "training loss / best straight line": middle / float(fit.values["line"][0]) if drawn else None,
                }
            )
    warnings = shared.diverged(last) + _only_lines(config)
    return Findings(figures, statements, {"Fits": rows}, numbers, warnings)


def _verdict(function: str, fits: Sequence[Fit], ends: Mapping[str, pl.DataFrame]) -> str:
    """Who ends lowest on one target, and whether the runs agree."""
    losses = {fit.network: shared.column(ends[fit.member], "train_loss") for fit in fits}
    alive = {name: values for name, values in losses.items() if len(values)}
    if not alive:
        return f"On {function} no run came to its end."
    told = ", ".join(f"{range_words(values)} for {name}" for name, values in alive.items())
    ranked = sorted(alive, key=lambda name: float(np.median(alive[name])))
    text = f"On {function} the last training loss is {told}"
    if len(ranked) > 1:
        best, second = ranked[:2]
        factor = float(np.median(alive[second]) / np.median(alive[best]))
        apart = alive[best].max() < alive[second].min()
        how = (
            f"every run of it below every run of {second}" if apart else f"but its runs overlap with those of {second}"
        )
        if all(len(values) == 1 for values in alive.values()):
            how = f"below {second}, of one run each, which says nothing about other seeds"
        text += f"; lowest in the median is {best}, by a factor of {number(factor)}, {how}"
    lines = [f"{fit.network}" for fit in fits if _is_line(fit, losses[fit.network])]
    if lines:
        text += f"; no better than a straight line: {', '.join(lines)}"
    dead = [f"{counted(count, 'run')} of {fit.network}" for fit in fits if (count := _constant(fit))]
    if dead:
        text += f"; dead networks, which are constant: {', '.join(dead)}"
    return f"{text}."


def _constant(fit: Fit) -> int:
    """Number of runs whose function does not move by a thousandth of the target's range."""
    if not fit.values:
        return 0
    moved = np.ptp(fit.values["predictions"], axis=1)
    return int((moved < 1e-3 * np.ptp(fit.values["truth"])).sum())


def _is_line(fit: Fit, losses: np.ndarray) -> bool:
    return bool(fit.values) and len(losses) > 0 and float(np.median(losses)) > 0.9 * float(fit.values["line"][0])


def _only_lines(config: Config) -> list[str]:
    """Networks that no training can bend."""
    if config.data.source is not None:
        return []
    stiff = [text for text in config.networks if network(text, config.model, config.budget).homogeneous]
    low = [
        (target(text).interval if config.data.interval is None else config.data.interval)[0]
        for text in config.functions
    ]
    if not stiff or min(low) < 0 or config.data.scaling == "zscore":
        return []
    kinks = f"Without biases {config.model.activation} networks have kinks at 0 only"
    return [f"{kinks}: on x > 0 {', '.join(stiff)} can only be f(x) = c·x."]


def _losses(config: Config, history: pl.DataFrame, fits: Sequence[Fit]) -> Figure:
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
            Panel(Axis("epoch"), Axis("training loss", scale="log"), (*marks, *level), title=_title(config, function))
        )
    caption = (
        f"{_loss_words(config)} on the training points, all networks of a target in one frame (number of parameters in "
        f"parentheses). {shared.how_to_read(config.replicas)}"
    )
    return Figure("training-loss", "Training loss", caption, tuple(panels))


def _loss_words(config: Config) -> str:
    return "Mean squared error" if config.loss in ("auto", "mse") and config.data.source is None else "Loss"


def _fits(config: Config, fits: Sequence[Fit], ends: Mapping[str, pl.DataFrame]) -> Figure:
    panels = []
    for function in config.functions:
        those = [fit for fit in fits if fit.function == function]
        values = those[0].values
        marks: list[Mark] = [Line(values["x"], values["truth"], label="target", colour="ink", width=2.6, opacity=0.45)]
        if config.data.noise or values["points"].shape[1] <= 64:
            marks.append(Scatter(*values["points"], label="training points", colour="ink", size=3.0))
        for fit in those:
            losses = ends[fit.member]["train_loss"].fill_null(np.nan).to_numpy()
            alive = np.flatnonzero(np.isfinite(fit.values["predictions"]).all(axis=1) & np.isfinite(losses))
            if not len(alive):
                continue
            middle = alive[np.argsort(losses[alive])[(len(alive) - 1) // 2]]
            others = [r for r in alive if r != middle]
            if others:
                names = tuple(f"{fit.network}, run {r + 1}" for r in others)
                y = fit.values["predictions"][others]
                marks.append(Lines(values["x"], y, group=fit.network, names=names, width=0.5, opacity=0.35))
            marks.append(Line(values["x"], fit.values["predictions"][middle], label=fit.network, width=1.4))
        standard = " (standardised)" if config.data.scaling == "zscore" else ""
        panels.append(Panel(Axis(f"x{standard}"), Axis("f(x)"), tuple(marks), title=_title(config, function)))
    caption = "The target and the networks after training: the run of median loss (thick) and the others (thin)."
    return Figure("fits", "Targets and fits", caption, tuple(panels))


def _title(config: Config, function: str) -> str:
    if config.data.source is not None:
        return config.data.called
    return target(function).label
