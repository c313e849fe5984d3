"""The course as one hands it in: at most ten pages of question, settings, figure and comment.

What does not fit on ten pages stands in the page for the browser: tables, further figures, all settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reportlab.platypus import KeepTogether

from thalweg.report.course import Question
from thalweg.report.document import Answer, Document
from thalweg.report.paper import HEIGHT, bound, drawn, figure, marked, words
from thalweg.report.pictures import Picture
from thalweg.report.section import Section

__all__ = ["PAGES", "handed_in"]

PAGES = 10
"""Pages that a report of the course has at most, unless comments of one's own need more."""

SENTENCES = 6  # of what was measured: the answer and five more
WARNINGS = 2  # that are printed; how many more there are is said
HEIGHTS = (0.36, 0.32, 0.28, 0.24, 0.20, 0.17)  # of a page, tried until the pages suffice
SETTINGS = 320  # letters


def handed_in(document: Document) -> bytes:
    """The document as PDF, every figure as high as the pages allow.

    Args:
        document: Ordered by the course's questions; its pictures need no static form.

    Returns:
        The PDF, of more pages only where comments of one's own need them.
    """
    contents = {id(one): drawn(one) for answer in document.answers for one in _pictures(answer)}
    made = b""
    for share in HEIGHTS:
        made, pages = bound(document.title, lambda share=share: _story(document, share * HEIGHT, contents))
        if pages <= PAGES:
            break
    return made


def _story(document: Document, tallest: float, contents: dict[int, bytes]) -> Iterator[Any]:
    yield words("title", document.title)
    yield from marked(document.text)
    for part in document.parts:
        for answer in part.answers:
            if answer.question:  # others are beyond the course
                yield from _answer(answer, answer.question, tallest, contents)


def _answer(answer: Answer, question: Question, tallest: float, contents: dict[int, bytes]) -> Iterator[Any]:
    sections, pictures = answer.sections, _pictures(answer)
    begin: list[Any] = [words("big", f"{question.number} {question.title}"), words("small", question.text)]
    begin += [words("small", told) for told in map(_settings, sections) if told]
    begin += [part for one in pictures for part in figure(one, tallest / len(pictures), contents[id(one)])]
    yield KeepTogether(begin)  # no heading at the foot of a page
    if not sections:
        yield words("body", f"No run answers this question yet; {question.command} does.")
    for section in sections:
        yield from _comment(section)
    yield from marked(answer.comment)


def _pictures(answer: Answer) -> tuple[Picture, ...]:
    """The chosen figures, or the main one: that of all runs where there are several."""
    if answer.chosen:
        return tuple(p for section in answer.sections for p in section.pictures if p.name in answer.chosen)
    compared = tuple(one.picture for one in answer.comparisons if one.picture)
    return compared or tuple(section.pictures[0] for section in answer.sections if section.pictures)


def _settings(section: Section) -> str:
    """What was set otherwise than by default, in one line."""
    told = ", ".join(f"{one.name} = {one.value}" for one in section.settings if one.chosen)
    told = told if len(told) <= SETTINGS else f"{told[:SETTINGS].rpartition(',')[0]}, …"
    name = f"{section.label}: " if section.label else ""
    return f"{name}{told}; seed {dict(section.environment).get('seed', '')}" if told else ""


def _comment(section: Section) -> Iterator[Any]:
    name = f"{section.label}: " if section.label else ""
    if section.statements:
        answer, *more = section.statements[:SENTENCES]
        yield words("body", " ".join(more), bold=name + answer)
    warnings = (*section.warnings, *section.lost)
    if warnings:
        more = len(warnings) - WARNINGS
        rest = f" {more} more such remarks stand in the page for the browser." if more > 0 else ""
        yield words("small", f"Mind this: {' '.join(warnings[:WARNINGS])}{rest}")
