"""A whole report on paper: everything that the page for a browser says, but for films and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reportlab.platypus import KeepTogether, PageBreak, Spacer

from thalweg.report.document import Answer, Comparison, Document
from thalweg.report.paper import HEIGHT, WIDTH, bound, figure, marked, words
from thalweg.report.print_tables import laid_out
from thalweg.report.section import Section, Table

__all__ = ["printed"]

TALLEST = 0.62 * HEIGHT  # of a figure: its caption belongs to the same page


def printed(document: Document) -> bytes:
    """The whole document as PDF.

    Args:
        document: Its pictures need no static form.
    """
    return bound(document.title, lambda: _story(document))[0]


def _story(document: Document) -> Iterator[Any]:
    alone = document.alone
    if alone:
        yield words("kicker", document.sections[0].experiment)
    yield words("title", document.title)
    if alone:
        yield words("meta", f"Run {document.sections[0].name}")
    yield from marked(document.text)
    for number, part in enumerate(document.parts):
        if part.chapter:
            if number:
                yield PageBreak()
            yield words("part", part.chapter.heading)
        for answer in part.answers:
            yield from _answer(answer, alone)


def _answer(answer: Answer, alone: bool) -> Iterator[Any]:
    question = answer.question
    if question:
        yield words("big", question.title)
        yield words("body", question.text)
        if not answer.sections:
            yield words("meta", "No run was given that answers this question. This command does:")
            yield words("code", question.command)
    for comparison in answer.comparisons:
        yield from _comparison(comparison)
    for section in answer.sections:
        if not alone:
            heading = section.label or ("" if question else section.summary or section.experiment)
            if heading:
                yield words("big", heading)
            if section.name:
                yield words("meta", f"{section.experiment}, run {section.name}")
        yield from _section(section)


def _comparison(comparison: Comparison) -> Iterator[Any]:
    if comparison.picture:
        yield KeepTogether(figure(comparison.picture, TALLEST))
    if comparison.table:
        yield from _table(comparison.table)


def _section(section: Section) -> Iterator[Any]:
    """The answer first, then the main picture, then everything else."""
    if section.statements:
        yield words("answer", section.statements[0])
    if section.pictures:
        yield KeepTogether(figure(section.pictures[0], TALLEST))
    for statement in section.statements[1:]:
        yield words("item", statement, bullet="•")
    if section.warnings or section.lost:
        yield words("head", "Mind this")
        for warning in (*section.warnings, *section.lost):
            yield words("item", warning, bullet="•")
    for heading, text in (("What was asked", section.question), ("How it was answered", section.method)):
        if text:
            yield words("head", heading)
            yield from marked(text)
    for picture in section.pictures[1:]:
        yield KeepTogether(figure(picture, TALLEST))
    for table in (*section.tables, *filter(None, [section.numbers])):
        yield from _table(table)
    yield from _origin(section)


def _origin(section: Section) -> Iterator[Any]:
    chosen = [setting for setting in section.settings if setting.chosen]
    if chosen or section.replicas or section.command:
        yield words("head", "Settings and origin")
    if section.replicas:
        yield words("body", " ".join(section.replicas))
    if section.command:
        yield words("code", section.command)
    for setting in chosen:
        yield words("item", f"{setting.name} = {setting.value}", bullet="•")
    known = dict(section.environment)
    if known:
        wanted = ("seed", "device", "thalweg", "torch", "machine", "created", "time spent")
        yield words("meta", "; ".join(f"{name} {known[name]}" for name in wanted if name in known))


def _table(table: Table) -> Iterator[Any]:
    yield words("head", table.name)
    yield from laid_out(table, WIDTH)
    yield Spacer(0, 8)
