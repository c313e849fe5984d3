"""What `sensitivity` says: how the definitions change over the settings, what ranks the gap, the trap."""

from __future__ import annotations

import polars as pl

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.sensitivity import figures
from thalweg.experiments.sensitivity.config import Config
from thalweg.experiments.shared import measures
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.correlations import correlations
from thalweg.experiments.shared.members import METRICS
from thalweg.figures.scales import number

__all__ = ["merge"]


def merge(config: Config, table: pl.DataFrame) -> Findings:
    """Figures, sentences and numbers of a table, however many runs it comes from."""
    table, x = measures.place(config, table)
    names = {f"sensitivity_{of}": words for of, words in _words(table).items()}
    names = {name: words for name, words in names.items() if len(shared.column(table, name))}
    warnings = [*shared.diverged(table), *_dead(table)]
    if not names:
        return Findings(statements=("Every run diverged.",), numbers={"completed": 0}, warnings=warnings)
    chosen = f"sensitivity_{config.definition}"
    drawn = chosen if chosen in names else "sensitivity_loss"
    pictures = [figures.twins(config, table, x, drawn, names[drawn]), figures.definitions(config, table, x, names)]
    ranked = correlations(config, table, names)
    statements = [*_answer(table, drawn, names[drawn]), measures.setting(config, table), *ranked.sentences]
    if len(figures.batches(table)) > 1:
        pictures += [*ranked.figures, figures.trap(table)]
        statements.append(_trap(table))
    else:
        pictures += ranked.figures
    tables = {"Settings": measures.rows(table, names)} | ranked.tables
    numbers = measures.flat(table, [*METRICS, *names], ranked.rows)
    return Findings(pictures, statements, tables, numbers, warnings)


def _words(table: pl.DataFrame) -> dict[str, str]:
    classes = not table["train_accuracy"].is_null().all()
    return {
        "loss": "gradient of the loss",
        "probabilities": "Jacobian of the probabilities",
        "outputs": f"Jacobian of the {'logits' if classes else 'outputs'}",
    }


def _dead(table: pl.DataFrame) -> list[str]:
    """A sentence for every network that reacts to no input at all."""
    if "sensitivity_outputs" not in table.columns:
        return []
    return [
        f"Run {row['replica'] + 1} of {row['member']} reacts to none of the inputs (sensitivity 0): its units are dead."
        for row in table.filter(table["sensitivity_outputs"] == 0).iter_rows(named=True)
    ]


def _trap(table: pl.DataFrame) -> str:
    part = next(part for part in shared.groups(table).values() if len(shared.column(part, "sensitivity_loss")))
    sizes = figures.batches(table)
    first, last = (number(shared.median(part, f"batch_mean_{size}")) for size in (sizes[0], sizes[-1]))
    return (
        f"The trap: the norm of the batch-mean gradient of one and the same network ({part['member'][0]}) falls from "
        f"{first} on evaluation batches of {sizes[0]} to {last} on batches of {sizes[-1]}; per example it is "
        f"{number(shared.median(part, 'sensitivity_loss'))} on any."
    )


def _answer(table: pl.DataFrame, name: str, words: str) -> list[str]:
    """How the definition that is drawn changes from the first to the last setting; nothing if all are zero."""
    ends = measures.ends(table, name)
    if ends is None or not shared.column(table, name).max() > 0:
        return []
    parts = shared.groups(table).values()
    means, errors = ([shared.median(part, column) for part in parts] for column in (name, f"{name}_error"))
    error = max(one / mean for one, mean in zip(errors, means, strict=True) if mean > 0)
    change = ends[0] if ends[0] == ends[1] else " and ".join(ends)
    sentence = (
        f"The {words} with respect to the input has mean norm {change} (standard error over samples at most "
        f"{number(100 * error)} %)."
    )
    return [sentence]
