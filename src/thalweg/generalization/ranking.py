"""Which of many measures ranks trained networks by their generalization gap? Kendall's τ of all, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Bars, Figure, Mark, Panel, VLine
from thalweg.generalization.correlation import RankCorrelation, rank_correlation
from thalweg.results import BaseResult
from thalweg.results.words import counted

__all__ = ["RankCorrelations", "rank_correlations"]


@short
@dataclass(frozen=True, eq=False)
class RankCorrelations(BaseResult):
    """Kendall's τ-b of several measures with one or several gaps.

    Args:
        gaps: Gap -> measure -> its correlation.
        groups: How many groups (settings) there are.
    """

    gaps: Mapping[str, Mapping[str, RankCorrelation]]
    groups: int

    @property
    def measured(self) -> dict[str, dict[str, RankCorrelation]]:
        """The same without measures that are constant or known of too few networks, and gaps without any."""
        known = {
            gap: {name: one for name, one in taus.items() if one.status == "measured"}
            for gap, taus in self.gaps.items()
        }
        return {gap: taus for gap, taus in known.items() if taus}

    def plot(self) -> Figure:
        """A bar for each measure and gap, with its interval."""
        marks: list[Mark] = [VLine(0.0, style="solid", width=0.8)]
        shown = self.measured if any(self.measured.values()) else self.gaps  # the names alone, where none has an order
        names = {name for taus in shown.values() for name in taus}
        for gap, taus in shown.items():
            ends = (np.array([getattr(one, end) for one in taus.values()]) for end in ("tau", "low", "high"))
            marks.append(Bars(tuple(taus), *ends, label=gap, horizontal=True))
        caption = (
            f"Kendall rank correlation of each measure with the generalization gap over {self.groups} settings and all "
            "their runs; whiskers: 95 % bootstrap interval over settings. A positive τ: the larger the measure, the "
            "larger the gap."
        )
        panel = Panel(Axis("Kendall τ", limits=(-1.0, 1.0)), Axis("measure"), tuple(marks))
        title, size = "Rank correlation with the generalization gap", (7.0, max(2.6, 0.9 + 0.34 * len(names)))
        return Figure("correlations", title, caption, (panel,), size=size)

    def table(self) -> pl.DataFrame:
        """One row for each measure and gap: the value, its interval, the number of networks, the status."""
        columns = {"Kendall τ": "tau", "low": "low", "high": "high", "networks": "networks", "status": "status"}
        return pl.DataFrame(
            {"measure": name, "gap": gap} | {column: getattr(one, field) for column, field in columns.items()}
            for gap, taus in self.gaps.items()
            for name, one in taus.items()
        )

    def summary(self) -> str:
        """How many measures rank each gap with a settled sign, and which does so most strongly."""
        return (
            " ".join(self.sentences().values())
            or "No measure has a rank correlation with the gap: all are constant or known of too few networks."
        )

    def sentences(self) -> dict[str, str]:
        """The summary of each gap."""
        return {gap: _sentence(gap, taus) for gap, taus in self.measured.items()}


def _sentence(gap: str, taus: Mapping[str, RankCorrelation]) -> str:
    sure = [name for name, one in taus.items() if one.sure]
    names = f" ({', '.join(sure)})" if 0 < len(sure) <= 4 and len(sure) < len(taus) else ""
    top = max(taus, key=lambda name: abs(taus[name].tau))
    return (
        f"{len(sure) or 'None'} of {counted(len(taus), 'measure')}{names} {'have' if len(sure) > 1 else 'has'} a "
        f"rank correlation with the {gap} whose 95 % interval excludes zero; the strongest is that of the {top}, "
        f"Kendall τ = {taus[top].interval}."
    )


@declared
def rank_correlations(
    measures: Mapping[str, Sequence[float] | np.ndarray],
    gaps: Mapping[str, Sequence[float] | np.ndarray],
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    seed: int = 0,
) -> RankCorrelations:
    """Kendall's τ-b of every measure with every gap, with 95 % bootstrap intervals over groups (Jiang et al. 2020).

    Args:
        measures: What it is called -> (n,), one number per network; networks without a finite number are left out.
        gaps: What it is called -> (n,), such as test loss minus training loss.
        groups: (n,), the setting of each network, as for `rank_correlation`. Default: every network by itself.
        seed: Of the bootstrap.

    Raises:
        InputError: No measure or gap, or lengths that differ.

    Example:
        >>> found = rank_correlations({"norm": [1, 2, 3, 4], "λmax": [1, 3, 2, 4]}, {"gap": [5, 6, 7, 8]})
        >>> found.table()["Kendall τ"].round(2).to_list()
        [1.0, 0.67]
    """
    for name, given in (("measures", measures), ("gaps", gaps)):
        if not isinstance(given, Mapping) or not given:
            raise InputError(f"{name} must map at least one name to numbers, found {given!r:.80}")
    found = {
        gap: {name: rank_correlation(one, values, groups=groups, seed=seed) for name, one in measures.items()}
        for gap, values in gaps.items()
    }
    networks = len(next(iter(gaps.values())))
    return RankCorrelations(found, networks if groups is None else len(set(np.asarray(groups).tolist())))
