"""One self-contained page per run: what was asked, what was measured, the figures, the settings.

The page opens offline, anywhere: styles, scripts, plotly.js (once) and all data are inside it. Figures are interactive,
with a static picture in their place on paper and where scripts are off. Everything is made from what the run has kept;
nothing is computed again. Beside the page, ``figures/`` holds every figure as PNG, SVG and JSON.

``write(run)`` is all there is to call; ``write([run, other], "both.html")`` makes one document of several runs, with
the training curves of runs of one experiment in one chart, and ``write(runs, course=True)`` orders them by the
questions of the course. ``pdf(page)`` prints a page.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import InputError
from thalweg.report.printing import pdf

if TYPE_CHECKING:
    from thalweg.experiments.findings import Findings
    from thalweg.runs import Run

__all__ = ["pdf", "write"]


def write(
    runs: Run | Sequence[Run],
    path: str | os.PathLike[str] | None = None,
    *,
    findings: Findings | Sequence[Findings] | None = None,
    title: str = "",
    course: bool = False,
) -> Path:
    """Write the report of one run, or one report of several, and the figures into the folder of each run.

    Args:
        runs: Complete runs, or a single one.
        path: Where; default ``report.html`` in the run's folder, of several runs in the folder around the first, and
            ``course.html`` there for the course. Charts that belong to no single run go into a folder beside it.
        findings: What each run has found; default what it has kept.
        title: Heading; default the experiment's summary, or how many runs there are.
        course: Order the runs by the questions of the course, and name those that no run answers.

    Returns:
        The path of the page.

    Raises:
        InputError: No run, one run twice, a run without findings, or not as many findings as runs.
        WriteError: A file cannot be written.
    """
    from thalweg.report.drawing import drawn
    from thalweg.report.page import rendered
    from thalweg.runs import Run
    from thalweg.runs.files import write_bytes

    chosen = [runs] if isinstance(runs, Run) else list(runs)
    if not chosen:
        raise InputError("runs must hold at least one run, found none")
    folders = [run.path.resolve() for run in chosen]
    for run, folder in zip(chosen, folders, strict=True):
        if folders.count(folder) > 1:
            raise InputError(f"runs must be different runs, found {run.name} twice")
    if findings is None:
        from thalweg.experiments.execution import load_findings

        found = [load_findings(run) for run in chosen]
    else:
        found = list(findings) if isinstance(findings, Sequence) else [findings]
    if len(found) != len(chosen):
        raise InputError(f"findings must be one for each of the {len(chosen)} runs, found {len(found)}")
    around = chosen[0].path.parent
    default = around / "course.html" if course else around / "report.html"
    default = chosen[0].files.report if len(chosen) == 1 and not course else default
    target = Path(path) if path is not None else default
    write_bytes(target, rendered(drawn(chosen, found, target, title=title, course=course)))
    return target
