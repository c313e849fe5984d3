"""What `sharpness` says: which measure ranks the gap, and that the same function may have any sharpness."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared import measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.correlations import correlations
from thalweg.experiments.shared.members import METRICS
from thalweg.experiments.sharpness import figures
from thalweg.experiments.sharpness.config import Config
from thalweg.experiments.sharpness.measure import WORDS
from thalweg.generalization import Rescaling

__all__ = ["merge", "with_counter_example"]


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers of a table, however many runs it comes from."""
    table, x = measures.place(config, table)
    names = {name: words for name, words in WORDS.items() if len(shared.column(table, name))}
    warnings = [*shared.diverged(table), *_cautions(table)]
    if "epsilon" not in names:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    ranked = correlations(config, table, names)
    answer, *more = ranked.sentences
    first, last = measures.ends(table, "epsilon") or ("", "")
    change = first if first == last else f"{first} and {last}"
    statements = [
        answer,
        measures.setting(config, table),
        *more,
        f"At {'the checkpoints' if config.checkpoint else 'the end'}, the ε-sharpness is {change}.",
    ]
    pictures = [figures.twins(config, table, x), *figures.by_definition(table, x, names), *ranked.figures]
    tables = {"Settings": measures.rows(table, names)} | ranked.tables
    numbers = measures.flat(table, [*METRICS, *names], ranked.rows)
    return Findings(pictures, statements, tables, numbers, warnings)


def with_counter_example(found: Findings, counter: Rescaling | None, best: pl.DataFrame) -> Findings:
    """The findings with the rescaling of the network in the first row of `best`, where there is one."""
    if counter is None:
        which = "has no two layers that can be rescaled without changing its function, as ReLU layers can"
        return replace(found, statements=(*found.statements, f"The network {which}."))
    setting = f"{best['network'][0]} ({best['member'][0]}, run {best['replica'][0] + 1})"
    drawn = counter.plot()
    drawn = replace(drawn, caption=f"{setting}. {drawn.caption}")
    return replace(found, figures=(*found.figures, drawn), statements=(*found.statements, counter.summary()))


def _cautions(table: pl.DataFrame) -> list[str]:
    """What the eigenvalues must not be believed for."""
    if "lambda_min" not in table.columns:
        return []
    alive = table.filter(table["status"] == "completed")
    rough = int(alive["unconverged"].sum())
    out = [f"{rough} of {len(alive)} networks: extreme eigenvalues short of their tolerance."] if rough else []
    deep = int((-alive["lambda_min"] > alive["lambda_max"]).sum())
    if deep:
        out.append(
            f"{deep} of {len(alive)} networks have a negative eigenvalue larger in modulus than λmax: they are far "
            "from a minimum, and their spectral norm is that of the negative one."
        )
    return out
