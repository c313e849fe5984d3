"""What of the course a document shows: questions, figures, and comments of one's own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from thalweg._files.reading import read_bytes
from thalweg.errors import InputError, brief, nearest
from thalweg.report.course import COURSE, Chapter
from thalweg.report.document import Answer, Document
from thalweg.report.story import markup

__all__ = ["choose", "commented", "questions_of"]


def questions_of(names: Sequence[str]) -> tuple[Chapter, ...]:
    """The chapters of the course with the questions that were named, all of them without names.

    Args:
        names: Chapters such as ``1-2``, questions such as ``1-2-3``, or experiments.

    Raises:
        InputError: There is no such question.

    >>> [q.experiment for chapter in questions_of(["1-2-1", "capacity"]) for q in chapter.questions]
    ['trajectory', 'capacity']
    """
    if not names:
        return COURSE
    keys = {key: q.experiment for chapter in COURSE for q in chapter.questions for key in (q.experiment, q.number)}
    keys |= {chapter.number: "" for chapter in COURSE}
    for name in names:
        if name not in keys:
            raise InputError(f"questions must be of {', '.join(keys)}, found {brief(name)}{nearest(name, keys)}")
    wanted = {keys[name] for name in names}
    chapters = []
    for chapter in COURSE:
        kept = tuple(one for one in chapter.questions if chapter.number in names or one.experiment in wanted)
        if kept:
            chapters.append(dataclasses.replace(chapter, questions=kept))
    return tuple(chapters)


def choose(document: Document, figures: Iterable[str]) -> Document:
    """The document with these figures of its questions first, and alone where there is room for no others.

    Args:
        document: Ordered by the course's questions.
        figures: Each ``EXPERIMENT/FIGURE``.

    Raises:
        InputError: A figure that no run of the document has; the message names those that there are.
    """
    known = {f"{one.experiment}/{p.name}" for one in document.sections for p in one.pictures}
    wanted = tuple(figures)
    for name in wanted:
        if name not in known:
            own = sorted(one for one in known if one.startswith(f"{name.partition('/')[0]}/")) or sorted(known)
            raise InputError(f"figures must be of {', '.join(own)}, found {brief(name)}{nearest(name, known)}")

    def first(answer: Answer) -> Answer:
        own = [name.partition("/")[2] for name in wanted if name.startswith(f"{answer.experiment}/")]
        order = {name: place for place, name in enumerate(own)}
        sections = tuple(
            dataclasses.replace(one, pictures=tuple(sorted(one.pictures, key=lambda p: order.get(p.name, len(order)))))
            for one in answer.sections
        )
        return dataclasses.replace(answer, sections=sections, chosen=frozenset(own))

    return _mapped(document, first)


def commented(document: Document, folder: str | os.PathLike[str]) -> Document:
    """The document with one's own comment under each question.

    Args:
        document: Ordered by the course's questions.
        folder: Of text files in UTF-8, ``EXPERIMENT.md`` each, and ``title.md`` for words beneath the title.

    Raises:
        InputError: No folder, no such file in it, or a file that belongs to no question.
    """
    root = Path(folder)
    files = {path.stem: path for path in sorted(root.glob("*.md"))}
    if not files:
        raise InputError(f"comments must be a folder of files EXPERIMENT.md, found none in {root}")
    known = {answer.experiment for answer in document.answers}
    known |= {question.experiment for chapter in COURSE for question in chapter.questions} | {"title"}
    for name, path in files.items():
        if name not in known:
            raise InputError(f"{path} must be named after an experiment of the course{nearest(name, known)}")
    texts = {name: _text(path) for name, path in files.items()}

    def with_comment(answer: Answer) -> Answer:
        return dataclasses.replace(answer, comment=texts.get(answer.experiment, Markup()))

    return dataclasses.replace(_mapped(document, with_comment), text=texts.get("title", document.text))


def _text(path: Path) -> Markup:
    try:
        return markup(read_bytes(path).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be a text in UTF-8, found byte {error.object[error.start]:#x}") from None


def _mapped(document: Document, change: Callable[[Answer], Answer]) -> Document:
    parts = tuple(dataclasses.replace(part, answers=tuple(map(change, part.answers))) for part in document.parts)
    return dataclasses.replace(document, parts=parts)
