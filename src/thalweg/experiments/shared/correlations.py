"""Does a measure rank trained networks by their generalisation gap? Kendall τ of many measures, as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Axis, Bars, Figure, Mark, Panel, VLine
from thalweg.figures.scales import number
from thalweg.results.words import counted

if TYPE_CHECKING:
    import polars as pl

    from thalweg.experiments.shared.members import Varied
    from thalweg.generalization import RankCorrelation

__all__ = ["correlations", "gaps"]

FEWEST = 5  # settings: of fewer, a bootstrap interval promises more than it keeps


def gaps(table: pl.DataFrame) -> dict[str, np.ndarray]:
    """Generalisation gaps, name -> one per row: test loss − training loss, and test error − training error."""
    out = {}
    for name, metric, sign in (("gap in loss", "loss", 1.0), ("gap in error", "accuracy", -1.0)):
        train, test = (table[f"{key}_{metric}"].cast(float).fill_null(np.nan).to_numpy() for key in ("train", "test"))
        if np.isfinite(test - train).any():
            out[name] = sign * (test - train)
    return out


def correlations(
    config: Varied, table: pl.DataFrame, measures: Mapping[str, str]
) -> tuple[list[Figure], list[dict[str, Any]], list[str]]:
    """Kendall's τ of every measure with every gap over all settings: a figure, rows and sentences.

    Args:
        config: Its seed draws the intervals.
        table: Rows by member and replica.
        measures: column -> words; columns that the table lacks are left out.

    Returns:
        Nothing but a sentence where there are too few settings or no test set.
    """
    from thalweg.generalization import rank_correlation

    settings = table.filter(table["status"] == "completed")["member"].n_unique()
    known = {name: words for name, words in measures.items() if len(shared.column(table, name))}
    found_gaps = gaps(table)
    if settings < FEWEST or not found_gaps or not known:
        reason = "there is no test set" if not found_gaps else f"{counted(settings, 'setting')} completed"
        return [], [], [f"No rank correlation with the generalisation gap: {reason}."]
    members = table["member"].to_list()
    marks: list[Mark] = [VLine(0.0, style="solid", width=0.8)]
    rows, best = [], []
    for gap, values in found_gaps.items():
        taus: dict[str, RankCorrelation] = {
            words: rank_correlation(table[name].cast(float).to_numpy(), values, groups=members, seed=config.seed)
            for name, words in known.items()
        }
        taus = {words: found for words, found in taus.items() if found.status == "measured"}
        if not taus:
            continue
        names = tuple(taus)
        tau, low, high = (np.array([getattr(taus[name], end) for name in names]) for end in ("tau", "low", "high"))
        marks.append(Bars(names, tau, low, high, label=gap, horizontal=True))
        rows += [
            {
                "measure": words,
                "gap": gap,
                "Kendall τ": one.tau,
                "low": one.low,
                "high": one.high,
                "networks": one.networks,
            }
            for words, one in taus.items()
        ]
        sure = [words for words, one in taus.items() if one.low > 0 or one.high < 0]
        top = max(taus, key=lambda words: abs(taus[words].tau))
        best.append(
            f"{_sure(sure, len(taus))} with the {gap} whose 95 % interval excludes zero; the strongest is that of the "
            f"{top}, Kendall τ = {_interval(taus[top])}."
        )
    best += _unequal(table)
    if len(marks) == 1:
        return [], [], ["No rank correlation with the generalisation gap: every measure is constant."]
    caption = (
        f"Kendall rank correlation of each measure with the generalisation gap (test minus training) over "
        f"{settings} settings and all their runs; whiskers: 95 % bootstrap interval over settings. A positive τ: the "
        "larger the measure, the larger the gap."
    )
    height = max(2.6, 0.9 + 0.34 * len(known))
    panel = Panel(Axis("Kendall τ", limits=(-1.0, 1.0)), Axis(), tuple(marks))
    figure = Figure(
        "correlations", "Rank correlation with the generalisation gap", caption, (panel,), size=(7.0, height)
    )
    return [figure], rows, best


def _unequal(table: pl.DataFrame) -> list[str]:
    """Whether some trainings came much farther than others, which makes any measure of that a measure of the gap."""
    losses = [shared.median(part, "train_loss") for part in shared.groups(table).values()]
    low, high = np.nanmin(losses), np.nanmax(losses)
    if not high > 2 * low:
        return []
    range_of = f"training loss {number(float(low))} to {number(float(high))}"
    sentence = (
        f"The trainings did not come equally far ({range_of}): whatever grows with the length of training also ranks "
        "the gap. Jiang et al. (2020) stop all networks at one loss."
    )
    return [sentence]


def _interval(found: RankCorrelation) -> str:
    if found.low == found.high:  # no draw from a perfect order is less perfect
        return f"{number(found.tau)} (no two settings out of order, so that resampling shows no uncertainty)"
    return f"{number(found.tau)} ({number(found.low)} to {number(found.high)})"


def _sure(names: list[str], total: int) -> str:
    """How many measures rank the gap beyond doubt, by name where they are few."""
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 4 and len(names) < total else ""
    told = f"{len(names) or 'None'} of {counted(total, 'measure')}"
    return f"{told}{listed} {'have' if len(names) > 1 else 'has'} a rank correlation"
