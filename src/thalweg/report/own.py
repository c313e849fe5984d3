"""A report of anybody's results, figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thalweg.errors import InputError, brief
from thalweg.figures import Figure
from thalweg.report.document import Answer, Document, Part
from thalweg.report.drawing import drawn
from thalweg.report.pictures import Picture, static
from thalweg.report.recorded import found_in
from thalweg.report.section import Section, Table, table
from thalweg.report.story import markup
from thalweg.runs import Run

__all__ = ["MOST_ROWS", "collected"]

MOST_ROWS, ON_PAPER = 200, 20
"""Rows of a table that a report of one's own shows, in the browser and on paper: a surface alone has thousands."""


def collected(contents: Sequence[Any], target: Path, *, title: str, text: str) -> Document:
    """A document of what was given, in the same order.

    Args:
        contents: Results, figures, tables (polars, alone or as (title, table)) and runs.
        target: Where the document will be.
        title: Its heading; default that of the first figure.
        text: Paragraphs beneath it.

    Raises:
        InputError: Nothing was given, or something that cannot be shown.
    """
    if not contents:
        raise InputError("contents must hold at least one result, figure or table, found none")
    paper = target.suffix.lower() == ".pdf"
    sections = tuple(_section(one, target, f"part{k}", paper=paper) for k, one in enumerate(contents, 1))
    heading = title or next((one.label or one.summary for one in sections if one.label or one.summary), "Results")
    return Document(heading, (Part((Answer(sections, ()),)),), markup(text))


def _section(content: Any, target: Path, key: str, *, paper: bool) -> Section:
    if isinstance(content, Run):
        return _of_run(content, target, key)
    if isinstance(content, Figure):
        return _plain(key, content.title, pictures=(_picture(content, paper=paper),))
    if _is_table(content):
        return _plain(key, "Table", tables=(_table("Table", content, paper=paper),))
    if isinstance(content, tuple) and len(content) == 2 and isinstance(content[0], str) and _is_table(content[1]):
        return _plain(key, content[0], tables=(_table(content[0], content[1], paper=paper),))
    if all(callable(getattr(content, name, None)) for name in ("plot", "table", "summary")):
        figure = content.plot()
        rows = _table(figure.title, content.table(), paper=paper)
        return _plain(
            key, figure.title, (content.summary(),), pictures=(_picture(figure, paper=paper),), tables=(rows,)
        )
    raise InputError(
        "contents must be results (with plot, table and summary), figures, polars tables or runs, "
        f"found {brief(content)}"
    )


def _is_table(content: Any) -> bool:
    return type(content).__module__.startswith("polars") and hasattr(content, "iter_rows")


def _of_run(run: Run, target: Path, key: str) -> Section:
    (section,) = drawn([run], [found_in(run)], target, title="", chapters=()).sections
    return dataclasses.replace(section, key=key)


def _picture(figure: Figure, *, paper: bool) -> Picture:
    return Picture(figure) if paper else Picture(figure, static(figure))


def _table(name: str, frame: Any, *, paper: bool) -> Table:
    most = ON_PAPER if paper else MOST_ROWS
    more = f" (the first {most} of {frame.height:,} rows)" if frame.height > most else ""
    return table(name + more, list(frame.head(most).iter_rows(named=True)))


def _plain(
    key: str,
    label: str,
    statements: tuple[str, ...] = (),
    *,
    pictures: tuple[Picture, ...] = (),
    tables: tuple[Table, ...] = (),
) -> Section:
    """A section that is of no run: nothing was asked in advance, and there are no settings."""
    empty = markup("")
    return Section(
        key=key,
        experiment="",
        name="",
        label=label,
        summary="",
        question=empty,
        method=empty,
        reading=(),
        statements=statements,
        warnings=(),
        pictures=pictures,
        films=(),
        tables=tables,
        numbers=None,
        replicas=(),
        lost=(),
        settings=(),
        environment=(),
        command="",
        again="",
    )
