"""Does a measure rank trained networks by their generalization gap? Kendall τ of many, over the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Figure
from thalweg.figures.scales import number
from thalweg.generalization import rank_correlations
from thalweg.results.words import counted

if TYPE_CHECKING:
    from thalweg.experiments.shared.members import Varied

__all__ = ["Ranked", "correlations", "gaps"]

FEWEST = 5  # settings: of fewer, a bootstrap interval promises more than it keeps


def gaps(table: pl.DataFrame) -> dict[str, np.ndarray]:
    """Generalization gaps, name -> one per row: test loss − training loss, and test error − training error."""
    out = {}
    for name, metric, sign in (("gap in loss", "loss", 1.0), ("gap in error", "accuracy", -1.0)):
        train, test = (table[f"{key}_{metric}"].cast(float).fill_null(np.nan).to_numpy() for key in ("train", "test"))
        if np.isfinite(test - train).any():
            out[name] = sign * (test - train)
    return out


@dataclass(frozen=True)
class Ranked:
    """What is drawn, listed and said of the rank correlations."""

    sentences: Sequence[str]
    figures: Sequence[Figure] = ()
    rows: Sequence[Mapping[str, Any]] = ()

    @property
    def tables(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The rows under their name, where there are some."""
        return {"Rank correlations": self.rows} if self.rows else {}


def correlations(config: Varied, table: pl.DataFrame, measures: Mapping[str, str]) -> Ranked:
    """Kendall's τ of every measure with every gap over all settings; only a sentence where that cannot be had.

    Args:
        config: Its seed draws the intervals.
        table: Rows by member and replica.
        measures: column -> words; columns that the table lacks are left out.
    """
    settings = table.filter(table["status"] == "completed")["member"].n_unique()
    known = {words: name for name, words in measures.items() if len(shared.column(table, name))}
    found = gaps(table)
    no = "No rank correlation with the generalization gap"
    if settings < FEWEST or not found or not known:
        reason = "there is no test set" if not found else f"{counted(settings, 'setting')} completed"
        return Ranked([f"{no}: {reason}."])
    columns = {words: table[name].cast(float).to_numpy() for words, name in known.items()}
    ranks = rank_correlations(columns, found, groups=table["member"].to_list(), seed=config.seed)
    if not ranks.measured:
        return Ranked([f"{no}: every measure is constant."])
    rows = ranks.table().filter(status="measured").drop("status").to_dicts()
    return Ranked([*ranks.sentences().values(), *_unequal(table)], [ranks.plot()], rows)


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
