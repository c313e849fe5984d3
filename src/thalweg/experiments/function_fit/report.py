"""What `function-fit` says: which network fits each target best, and whether the seeds agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.function_fit import figures
from thalweg.experiments.function_fit.config import Config
from thalweg.experiments.function_fit.measure import Fit
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.networks import network
from thalweg.experiments.shared.sizes import shapes
from thalweg.experiments.shared.training import recipe_words
from thalweg.figures.scales import number
from thalweg.results.words import counted, listed, range_words
from thalweg.sources import Source
from thalweg.tasks.functions import target

__all__ = ["MOST", "report"]

MOST = 4
"""Targets of which sentences speak; of more the table and the pictures do."""


def report(config: Config, history: pl.DataFrame, fits: Sequence[Fit]) -> Findings:
    """Figures, sentences and numbers from what was measured."""
    last = history.filter(history["step"] == history["step"].max())
    ends = shared.groups(last)
    drawn = bool(fits[0].values)
    pictures = [figures.losses(config, history, fits), *([figures.fits(config, fits, ends)] if drawn else [])]
    lengths = recipe_words(config.training, shapes(config.data)[2])
    names = list(dict.fromkeys(fit.network for fit in fits))
    counts = [int(ends[fit.member]["parameters"][0]) for fit in fits if fit.function == fits[0].function]
    apart = max(counts) / min(counts) - 1
    own = [Source.of(part.source).label for part in (config.model, config.data) if part.source is not None]
    compared = f"{counted(len(names), 'network')}{f' with {listed(own)}' if own else ''}"
    settings = (
        f"{compared} (numbers of parameters in parentheses, at most {100 * apart:.2g} % apart); "
        f"{f'{config.model.activation}, ' if config.model.source is None else ''}{lengths}, "
        f"{counted(config.replicas, 'run')} each."
    )
    answer, *others = (
        _verdict(function, [fit for fit in fits if fit.function == function], ends) for function in config.functions
    )
    statements = [answer, settings, *others[: MOST - 1]]
    if len(others) >= MOST:
        statements.append(f"The other {len(others) - MOST + 1} targets are in the table.")
    if not drawn:
        statements.append("The data have more than one input or output: their fit is no curve, only losses are drawn.")
    rows, numbers = [], {}
    for function in config.functions:
        those = [fit for fit in fits if fit.function == function]
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
    return Findings(pictures, statements, {"Fits": rows}, numbers, warnings)


def _verdict(function: str, fits: Sequence[Fit], ends: Mapping[str, pl.DataFrame]) -> str:
    """Who ends lowest on one target, and whether the runs agree."""
    losses = {fit.network: shared.column(ends[fit.member], "train_loss") for fit in fits}
    alive = {name: values for name, values in losses.items() if len(values)}
    if not alive:
        return f"On {function} no run came to its end."
    ranked = sorted(alive, key=lambda name: float(np.median(alive[name])))
    best = ranked[0]
    text = f"On {function}, {best} ends with the lowest training loss, {range_words(alive[best])}"
    if len(ranked) > 1:
        second = ranked[1]
        factor = number(float(np.median(alive[second]) / np.median(alive[best])))
        apart = alive[best].max() < alive[second].min()
        how = f"every run below every run of {second}" if apart else f"but its runs overlap with those of {second}"
        if all(len(values) == 1 for values in alive.values()):
            how = f"below {second}, of one run each, which says nothing about other seeds"
        text += f", by a factor of {factor} in the median, {how}"
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
