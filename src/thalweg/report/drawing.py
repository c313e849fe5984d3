"""From runs and what they have found to a document: every figure drawn, runs of one experiment compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.progress import track
from thalweg.report.comparison import curves, labels, side_by_side
from thalweg.report.course import Chapter
from thalweg.report.document import Comparison, Document, document
from thalweg.report.pictures import Picture, draw
from thalweg.report.section import section, table
from thalweg.report.settings import experiment_of

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.figures import Figure
    from thalweg.runs import Run

__all__ = ["drawn"]


def drawn(
    runs: Sequence[Run], found: Sequence[Findings], page: Path, *, title: str, chapters: Sequence[Chapter]
) -> Document:
    """Draw all figures into the folders of their runs, and put the runs into the order of the document.

    A report of a single run draws its figures anew; one of several takes those that are drawn already. For a PDF,
    which draws them itself, none is written.

    Args:
        runs: The runs; ``found`` what each has found.
        found: See there.
        page: Where the document will be; charts of several runs go into the folder ``NAME-figures`` beside it.
        title: Its heading, "" for the default.
        chapters: Of the course, by whose questions the runs are ordered; none for the order given.

    Raises:
        WriteError: A file cannot be written.
    """
    experiments = [experiment_of(run) for run in runs]
    several = {name: [i for i, one in enumerate(experiments) if one == name] for name in dict.fromkeys(experiments)}
    several = {name: places for name, places in several.items() if len(places) > 1}
    named = [""] * len(runs)
    for places in several.values():
        given = labels([runs[i].config for i in places], [runs[i].name for i in places])
        for i, label in zip(places, given, strict=True):
            named[i] = label
    total = sum(len(one.figures) for one in found) + len(several)
    sections, comparisons, done = [], {}, 0
    with track("drawing figures", total=max(1, total)) as advance:
        for number, (run, one) in enumerate(zip(runs, found, strict=True)):
            pictures = []
            for figure in one.figures:
                pictures.append(_picture(figure, run.files.figures, page, keep=len(runs) > 1))
                done += 1
                advance(done)
            key = f"run{number + 1}"
            sections.append(
                (experiments[number], section(run, one, pictures, page.parent, key=key, label=named[number]))
            )
        for name, places in several.items():
            words = [named[i] for i in places]
            chart = curves([runs[i] for i in places], words, name)
            folder = page.parent / f"{page.stem}-figures"
            picture = _picture(chart, folder, page, keep=True) if chart else None
            rows = side_by_side(words, [found[i].numbers for i in places])
            beside = table("Numbers side by side", rows) if rows else None
            comparisons[name] = Comparison(name, len(places), picture, beside)
            done += 1
            advance(done)
    return document(sections, comparisons, chapters=chapters, title=title)


def _picture(figure: Figure, folder: Path, page: Path, *, keep: bool) -> Picture:
    return Picture(figure) if page.suffix.lower() == ".pdf" else draw(figure, folder, page.parent, keep=keep)
