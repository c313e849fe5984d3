"""The order of a document: a single run, several runs, or the course's questions with their answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from thalweg.report.course import BEYOND, COURSE, Chapter, Question
from thalweg.report.pictures import Picture
from thalweg.report.section import Section, Table

__all__ = ["Answer", "Comparison", "Document", "Part", "document"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs of one experiment side by side.

    Attributes:
        experiment: Which.
        runs: How many.
        picture: The training curves of all in one chart; None where nothing was recorded.
        table: Their numbers; None where they have none.
    """

    experiment: str
    runs: int
    picture: Picture | None
    table: Table | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """Runs under one heading.

    Attributes:
        sections: The runs.
        comparisons: Those of them that belong to one experiment, side by side.
        question: The course's question; None where the runs stand for themselves.
        comment: Of one's own.
        chosen: Names of the figures that were chosen for a short document; empty for the main one.
    """

    sections: tuple[Section, ...]
    comparisons: tuple[Comparison, ...]
    question: Question | None = None
    comment: Markup = dataclasses.field(default_factory=Markup)
    chosen: frozenset[str] = frozenset()

    @property
    def experiment(self) -> str:
        """Which experiment gives the answer; the first, where several stand together."""
        return self.question.experiment if self.question else self.sections[0].experiment


@dataclasses.dataclass(frozen=True)
class Part:
    """Answers under one heading; without a chapter the runs stand for themselves."""

    answers: tuple[Answer, ...]
    chapter: Chapter | None = None


@dataclasses.dataclass(frozen=True)
class Document:
    """Everything that a page says, in the order of reading.

    Attributes:
        title: The heading.
        parts: Chapters; a single one without a heading if the document is not ordered by the course.
        text: Paragraphs beneath the heading.
    """

    title: str
    parts: tuple[Part, ...]
    text: Markup = dataclasses.field(default_factory=Markup)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers of all parts."""
        return tuple(answer for part in self.parts for answer in part.answers)

    @property
    def sections(self) -> tuple[Section, ...]:
        """All runs."""
        return tuple(section for answer in self.answers for section in answer.sections)

    @property
    def alone(self) -> bool:
        """Whether it is the report of a single run."""
        return len(self.sections) == 1 and not self.course and bool(self.sections[0].name)

    @property
    def course(self) -> bool:
        """Whether it is ordered by the course's questions."""
        return any(part.chapter for part in self.parts)


def document(
    sections: Sequence[tuple[str, Section]],
    comparisons: Mapping[str, Comparison],
    *,
    chapters: Sequence[Chapter] = (),
    title: str = "",
) -> Document:
    """Put runs into order.

    Args:
        sections: The runs, each with the experiment that it is of.
        comparisons: By experiment, where there are several runs of one.
        chapters: Those of the course by whose questions the runs are ordered, questions without a run included; without
            any in the order given.
        title: The heading; default the summary of the only run, or how many there are.
    """
    if not chapters:
        every = tuple(section for _, section in sections)
        only = every[0] if len(every) == 1 else None
        default = (only.summary.rstrip(".") or only.experiment) if only else f"{len(every)} runs"
        return Document(title or default, (Part((Answer(every, tuple(comparisons.values())),)),))

    def answer(experiment: str, question: Question | None) -> Answer:
        own = tuple(section for name, section in sections if name == experiment)
        beside = (comparisons[experiment],) if experiment in comparisons else ()
        return Answer(own, beside, question)

    parts = [Part(tuple(answer(q.experiment, q) for q in chapter.questions), chapter) for chapter in chapters]
    asked = {question.experiment for chapter in COURSE for question in chapter.questions}
    others = list(dict.fromkeys(name for name, _ in sections if name not in asked))
    if others and len(chapters) == len(COURSE):
        beyond = Chapter("", BEYOND, ())
        parts.append(Part(tuple(answer(name, None) for name in others), beyond))
    return Document(title or "How neural networks learn: the course", tuple(parts))
