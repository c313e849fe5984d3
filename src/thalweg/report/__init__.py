"""One self-contained page: of a run, of several, or of any results and figures of your own.

The page opens offline, anywhere: styles, scripts, plotly.js (once, packed) and all data are inside it. Figures are
interactive, with a static picture in their place on paper and where scripts are off. Everything is made from what a run
has kept; nothing is computed again. Beside the page of a run, ``figures/`` holds every figure as PNG, SVG and JSON.

- ``write(run)`` makes the report of a run, ``write([run, other], "both.html")`` one document of several, with the
  training curves of runs of one experiment in one chart, ``write(runs, course=True)`` that of the course's questions;
- ``write(runs, "course.pdf", course=True)`` the report that one hands in: at most ten pages;
- ``write("mine.html", surface, density, figure)`` makes the same page of results, figures and tables.

A path that ends in ``.pdf`` makes a PDF instead: the figures as vectors, the answer first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from thalweg._files.writing import write_bytes
from thalweg.errors import InputError, brief
from thalweg.report.choice import choose, commented, questions_of
from thalweg.runs import Run

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.report.course import Chapter
    from thalweg.report.document import Document
    from thalweg.runs import Run

__all__ = ["write"]

KINDS = (".html", ".pdf")


@overload
def write(
    runs: Run | Sequence[Run],
    path: str | os.PathLike[str] | None = None,
    /,
    *,
    findings: Findings | Sequence[Findings] | None = None,
    title: str = "",
    course: bool = False,
    questions: Sequence[str] = (),
    figures: Sequence[str] = (),
    comments: str | os.PathLike[str] | None = None,
    whole: bool = False,
) -> Path: ...


@overload
def write(path: str | os.PathLike[str], /, *contents: Any, title: str = "", text: str = "") -> Path: ...


def write(
    first: Any,
    /,
    *more: Any,
    findings: Findings | Sequence[Findings] | None = None,
    title: str = "",
    text: str = "",
    course: bool = False,
    questions: Sequence[str] = (),
    figures: Sequence[str] = (),
    comments: str | os.PathLike[str] | None = None,
    whole: bool = False,
) -> Path:
    """Write a report of runs, or one of results of your own.

    Args:
        first: Complete runs, or a single one; or, for a report of your own, the path.
        more: After runs the path; default ``report.html`` in the run's folder, of several runs in the folder around the
            first, and ``course.html`` there for the course. Charts that belong to no single run go into a folder
            beside it. After a path what the report shows, in this order: results (:class:`thalweg.results.Result`),
            figures, tables (polars) and runs.
        findings: What each run has found; default what it has kept.
        title: Heading; default the experiment's summary, how many runs there are, or the first figure's title.
        text: Of a report of your own: paragraphs beneath the title, divided by empty lines; ``*emphasis*``,
            ``**bold**``, ``- lists`` and code in backquotes are set as such.
        course: Order the runs by the questions of the course, and name those that no run answers. As PDF it has at most
            ten pages: for each question its settings, the main figure and the answer.
        questions: Only these of the course: chapters (``1-2``), questions (``1-2-3``) or experiments.
        figures: Of the course: these figures first, each ``EXPERIMENT/FIGURE``, and alone in the short PDF.
        comments: Of the course: a folder of Markdown files, ``EXPERIMENT.md`` each, with comments of one's own in any
            language, and ``title.md`` for words beneath the title.
        whole: Print everything of the course, as the page for the browser has it.

    Returns:
        The path of the report.

    Raises:
        InputError: No run, one run twice, a run without findings, or not as many findings as runs; nothing to show, or
            something that is no result, figure or table; a path that ends in something else than html or pdf.
        WriteError: A file cannot be written.
    """
    if isinstance(first, str | os.PathLike):
        from thalweg.report.own import collected

        if findings is not None or course or questions or figures or comments or whole:
            raise InputError("findings, course and its options must be left out where the first argument is a path")
        target = _target(Path(first))
        document = collected(more, target, title=title, text=text)
    else:
        if len(more) > 1:
            raise InputError(f"after runs must come the path alone, found {len(more)} arguments")
        if text:
            raise InputError(f"text must be left out for runs, which tell their own story, found {brief(text)}")
        if not course and (questions or figures or comments or whole):
            raise InputError("questions, figures, comments and whole must be left out without course=True")
        chapters = questions_of(questions) if course else ()
        target, document = _of_runs(first, more[0] if more else None, findings, title, chapters)
        document = choose(document, figures)
        document = document if comments is None else commented(document, comments)
    write_bytes(target, _content(document, target, whole=whole))
    return target


def _content(document: Document, target: Path, *, whole: bool) -> str | bytes:
    if target.suffix.lower() == ".pdf":
        from thalweg.report.printing import printed

        if document.course and not whole:
            from thalweg.report.handin import handed_in

            return handed_in(document)

        return printed(document)
    from thalweg.report.page import rendered

    return rendered(document)


def _target(path: Path) -> Path:
    if path.suffix.lower() not in KINDS:
        raise InputError(f"path must end in .html or .pdf, found '{path.name}'")
    return path


def _of_runs(
    runs: Any,
    path: str | os.PathLike[str] | None,
    findings: Findings | Sequence[Findings] | None,
    title: str,
    chapters: Sequence[Chapter],
) -> tuple[Path, Document]:
    """Where the report of runs goes, and what it says."""
    from thalweg.report.drawing import drawn

    chosen = [runs] if isinstance(runs, Run) else list(runs)
    if not chosen:
        raise InputError("runs must hold at least one run, found none")
    folders = [run.path.resolve() for run in chosen]
    for run, folder in zip(chosen, folders, strict=True):
        if folders.count(folder) > 1:
            raise InputError(f"runs must be different runs, found {run.name} twice")
    if findings is None:
        from thalweg.report.recorded import found_in

        found = [found_in(run) for run in chosen]
    else:
        found = list(findings) if isinstance(findings, Sequence) else [findings]
    if len(found) != len(chosen):
        raise InputError(f"findings must be one for each of the {len(chosen)} runs, found {len(found)}")
    around = chosen[0].path.parent
    default = around / "course.html" if chapters else around / "report.html"
    default = chosen[0].files.report if len(chosen) == 1 and not chapters else default
    target = Path(path) if path is not None else default
    return target, drawn(chosen, found, target, title=title, chapters=chapters)
